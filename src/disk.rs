//! What a disk that fails means to what is being written to the state folder.
//!
//! | Fault | Where | What is done |
//! |---|---|---|
//! | ENOSPC, EDQUOT | writing or syncing a file in staging | the file is thrown away; wait; written anew from memory |
//! | ENOSPC, EDQUOT | making a folder, renaming, syncing a folder | wait; done again, as nothing of it has happened |
//! | SQLITE_FULL | any transaction of the ledger | SQLite has rolled it back; wait; run again |
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
use std::io::{self, Write};
use std::path::Path;

use polars::prelude::PolarsError;
use rusqlite::ErrorCode;
use rustix::io::Errno;

use crate::error::{Failure, Kind, Result};

/// What is done about a full disk.
pub trait Patience: Send + Sync + fmt::Debug {
    /// Waits a moment for space.
    ///
    /// # Errors
    /// There is no use in waiting, or no time: the failure, for the caller.
    fn wait(&self, full: Failure) -> Result<()>;

    /// What was waited for has been done, or given up.
    fn over(&self);
}

/// Does not wait.
#[derive(Debug)]
pub struct Never;

impl Patience for Never {
    fn wait(&self, full: Failure) -> Result<()> {
        Err(full.hint("make room on the disk"))
    }

    fn over(&self) {}
}

/// Why a step failed.
#[derive(Debug)]
pub enum Trouble {
    /// There is no space; nothing of the step has happened.
    Full(Failure),
    /// Anything else.
    Final(Failure),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let (Trouble::Full(failure) | Trouble::Final(failure)) = trouble;
        failure
    }
}

impl Trouble {
    /// Of a call of the system.
    pub fn io(path: &Path, error: &io::Error) -> Self {
        let failure = Failure::io(path, error);
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full(failure),
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
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(failure),
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
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Twice(AtomicU32);

    impl Patience for Twice {
        fn wait(&self, full: Failure) -> Result<()> {
            if self.0.fetch_add(1, Ordering::Relaxed) < 2 { Ok(()) } else { Err(full) }
        }

        fn over(&self) {
            self.0.fetch_add(100, Ordering::Relaxed);
        }
    }

    fn trouble(errno: Errno) -> Trouble {
        Trouble::io(Path::new("/state/x"), &io::Error::from_raw_os_error(errno.raw_os_error()))
    }

    #[test]
    fn a_full_disk_is_waited_for_and_nothing_else_is() {
        let (patience, mut tries) = (Twice::default(), 0);
        let done = patiently(&patience, || {
            tries += 1;
            if tries < 3 { Err(trouble(if tries == 1 { Errno::NOSPC } else { Errno::DQUOT })) } else { Ok(7) }
        });
        assert_eq!((done.unwrap(), tries, patience.0.load(Ordering::Relaxed)), (7, 3, 102));
        for errno in [Errno::IO, Errno::ACCESS, Errno::ROFS, Errno::NOENT] {
            let (patience, mut tries) = (Twice::default(), 0);
            let failure = patiently::<()>(&patience, || {
                tries += 1;
                Err(trouble(errno))
            })
            .unwrap_err();
            assert_eq!((failure.kind, tries, patience.0.load(Ordering::Relaxed)), (Kind::Io, 1, 0), "{errno}");
            assert!(failure.message.starts_with("/state/x: "), "{failure}");
            assert_eq!(failure.hint.is_some(), errno != Errno::NOENT);
        }
        let given_up = patiently::<()>(&Twice::default(), || Err(trouble(Errno::NOSPC)));
        assert!(given_up.unwrap_err().message.contains("No space"));
    }

    #[test]
    fn sqlite_says_which_is_which() {
        let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        let place = Path::new("ledger.sqlite");
        assert!(matches!(Trouble::sqlite(place, &error(rusqlite::ffi::SQLITE_FULL)), Trouble::Full(_)));
        for code in [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_CORRUPT, rusqlite::ffi::SQLITE_READONLY] {
            let Trouble::Final(failure) = Trouble::sqlite(place, &error(code)) else { panic!("{code} is waited for") };
            assert!(failure.hint.is_some(), "{failure}");
        }
    }

    #[test]
    fn what_the_system_said_is_kept() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut sink = Listening::to(full);
        assert!(sink.write_all(b"x").is_err());
        let lost = PolarsError::ComputeError("underlying IO error".into());
        assert!(matches!(Trouble::parquet(Path::new("p"), &lost, sink.said()), Trouble::Full(_)));
        assert!(matches!(Trouble::parquet(Path::new("p"), &lost, None), Trouble::Final(_)));
    }
}
