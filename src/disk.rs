//! What a disk that fails means to what is being written to the state folder.
//!
//! | Fault | Where | What is done |
//! |---|---|---|
//! | ENOSPC, EDQUOT | writing or syncing a file in staging | the file is thrown away; wait; written anew from memory |
//! | ENOSPC, EDQUOT | making a folder, renaming, syncing a folder | wait; done again, as nothing of it has happened |
//! | ENOSPC, EDQUOT | moving a day away that retention lets go | its parts are deleted where they stand, as that makes room |
//! | ENOSPC, EDQUOT | merging a day, before it is swapped | what was built is thrown away; a later round tries again |
//! | SQLITE_FULL, SQLITE_IOERR_SHMSIZE | any transaction of the ledger | SQLite has rolled it back; wait; run again |
//! | SQLITE_BUSY | any transaction of the ledger | run again, until a stop |
//! | EIO | anything, the footer read back and every sync among it; SQLite's IOERR, CORRUPT, NOTADB | the process ends (exit code 6) and names the path |
//! | EACCES, EPERM, EROFS | anything | the same, with what to do about it |
//!
//! To wait is to ask again every second, the condition `disk_full` being held; a stop ends it, and then the next start settles
//! what had been prepared. Who has somebody to answer to does not wait but fails: reload, compaction, the commands on the ledger.
//!
//! A failed sync is final, since the kernel drops the pages it could not write and calls a second sync a success. A full disk is
//! the exception (delayed allocation, quotas and NFS tell of it only then), and only because nothing of the first try is kept: the
//! file is another one the second time. A folder has no such pages; its entries are in the file system's own journal.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use polars::prelude::PolarsError;
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rustix::fs::{StatVfs, statvfs};
use rustix::io::Errno;

use crate::error::{Failure, Kind, Result};

/// What there is room for on a disk.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes there are.
    pub all: u64,
    /// Whether there is an inode for one more file.
    pub inodes: bool,
}

impl Room {
    /// Of the file system a folder lies on.
    ///
    /// # Errors
    /// The folder is not there, or does not answer.
    pub fn of(folder: &Path) -> io::Result<Self> {
        Ok(Self::said(&statvfs(folder)?))
    }

    /// As the system says it. A file system that counts no inodes has them.
    pub fn said(disk: &StatVfs) -> Self {
        Self {
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            all: disk.f_blocks.saturating_mul(disk.f_frsize),
            inodes: disk.f_files == 0 || disk.f_favail > 0,
        }
    }
}

/// What is done about a full disk.
pub trait Patience: Send + Sync + fmt::Debug {
    /// Waits a moment for space.
    ///
    /// # Errors
    /// There is no use in waiting, or no time: the failure, for the caller.
    fn wait(&self, full: Failure) -> Result<()>;

    /// What was waited for has been done, or given up.
    fn over(&self);

    /// Waits a moment for who holds the ledger. SQLite has waited before.
    ///
    /// # Errors
    /// Those of [`Self::wait`].
    fn queue(&self, busy: Failure) -> Result<()>;
}

/// Does not wait.
#[derive(Debug)]
pub struct Never;

impl Patience for Never {
    fn wait(&self, full: Failure) -> Result<()> {
        Err(full.hint("make room on the disk"))
    }

    fn over(&self) {}

    fn queue(&self, busy: Failure) -> Result<()> {
        Err(busy.hint("another process holds the ledger; see which, and try again"))
    }
}

/// Why a step failed.
#[derive(Debug)]
pub enum Trouble {
    /// There is no space; nothing of the step has happened.
    Full(Failure),
    /// Somebody else holds the ledger; nothing of the step has happened.
    Busy(Failure),
    /// Anything else.
    Final(Failure),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let (Trouble::Full(failure) | Trouble::Busy(failure) | Trouble::Final(failure)) = trouble;
        failure
    }
}

impl Trouble {
    /// Of a call of the system.
    pub fn io(path: &Path, error: &io::Error) -> Self {
        let failure = Failure::io(path, error);
        // An error that was wrapped to name a path has its kind still, but no number.
        if [ErrorKind::StorageFull, ErrorKind::QuotaExceeded].contains(&error.kind()) {
            return Self::Full(failure);
        }
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::IO) => Self::Final(failure.hint(
                "the disk or the way to it fails, see the kernel's log; what is acknowledged is safe, the next start reads the rest again",
            )),
            Some(Errno::ACCESS | Errno::PERM) => {
                Self::Final(failure.hint("the user that runs anomalyd must own the state folder and all that is in it"))
            }
            Some(Errno::ROFS) => Self::Final(failure.hint(
                "the file system is read-only; where it was mounted writable, the kernel's log says which error made it so",
            )),
            _ => Self::Final(failure),
        }
    }

    /// Of SQLite.
    pub fn sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let failure = Failure::io(path, error);
        // No page of the shared memory could be added: that is written to only to have it on the disk.
        if error.sqlite_extended_error_code() == Some(SQLITE_IOERR_SHMSIZE) {
            return Self::Full(failure);
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(failure),
            Some(ErrorCode::DatabaseBusy) => Self::Busy(failure),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Final(
                failure
                    .hint("stop the service and run `anomalyd ledger rebuild`: the reports hold what the ledger knew"),
            ),
            Some(ErrorCode::SystemIoFailure) => {
                Self::Final(failure.hint("the disk or the way to it fails, see the kernel's log"))
            }
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::Final(failure.hint("the user that runs anomalyd must own the state folder and all that is in it"))
            }
            _ => Self::Final(failure),
        }
    }

    /// Of polars, which may have lost what the system said; `said` has kept it.
    pub fn parquet(path: &Path, error: &PolarsError, said: Option<&io::Error>) -> Self {
        match (said, error) {
            (Some(said), _) => Self::io(path, said),
            (None, PolarsError::IO { error, .. }) => Self::io(path, error),
            (None, other) => Self::Final(Failure::io(path, other)),
        }
    }
}

/// Does a step until it succeeds, fails for good, or is not to be waited for any longer.
///
/// # Errors
/// What the step or the patience ends with.
pub fn patiently<T>(patience: &dyn Patience, mut step: impl FnMut() -> Result<T, Trouble>) -> Result<T> {
    let mut waited = false;
    let outcome = loop {
        match step() {
            Ok(done) => break Ok(done),
            Err(Trouble::Final(failure)) => break Err(failure),
            Err(Trouble::Busy(failure)) => {
                if let Err(failure) = patience.queue(failure) {
                    break Err(failure);
                }
            }
            Err(Trouble::Full(failure)) => {
                waited = true;
                if let Err(failure) = patience.wait(failure) {
                    break Err(failure);
                }
            }
        }
    };
    if waited {
        patience.over();
    }
    outcome
}

/// Whether a wait was given up because of a stop: then all is well, and the next start goes on.
pub fn is_given_up(failure: &Failure) -> bool {
    failure.kind == Kind::Interrupted
}

/// A sink that keeps the first error of the system.
#[derive(Debug)]
pub struct Listening<W> {
    sink: W,
    said: Option<io::Error>,
}

impl<W> Listening<W> {
    /// Listens to what a sink says.
    pub fn to(sink: W) -> Self {
        Self { sink, said: None }
    }

    /// What the system said.
    pub fn said(&self) -> Option<&io::Error> {
        self.said.as_ref()
    }

    fn keep<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome
            && let Some(code) = error.raw_os_error()
        {
            self.said.get_or_insert_with(|| io::Error::from_raw_os_error(code));
        }
        outcome
    }
}

impl<W: Write> Write for Listening<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.sink.write(bytes);
        self.keep(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.sink.flush();
        self.keep(outcome)
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
