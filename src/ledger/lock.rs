//! One process a state folder.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, flock};
use rustix::process::{geteuid, umask};

use crate::disk::Trouble;
use crate::error::{Failure, Kind, Result};

/// What files of the state folder are kept from: writing by the group, everything by others.
const NOT_OTHERS: Mode = Mode::WGRP.union(Mode::RWXO);
/// Tries to take a lock, and the pause after each.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Holds a state folder until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// A child process that is just being started holds this file too: to close it is not enough.
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

impl Lock {
    /// Makes the state folder and takes its lock. Whatever the process makes from then on is at most for its user and group.
    ///
    /// # Errors
    /// [`Kind::Locked`] naming the holder; [`Kind::Settings`] for a folder that everybody may write to, or that is another user's;
    /// [`Kind::Io`] where the folder cannot be made or written.
    pub fn take(state: &Path) -> Result<Self> {
        umask(umask(NOT_OTHERS) | NOT_OTHERS);
        DirBuilder::new().recursive(true).mode(0o750).create(state).map_err(|error| {
            Failure::io(state, error).hint("name another state folder with --state, or make this one writable")
        })?;
        check_owner(state, &std::fs::metadata(state).map_err(|error| Failure::io(state, error))?)?;
        let path = state.join("lock");
        let io = |error: std::io::Error| Failure::from(Trouble::io(&path, &error));
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match lock(&file) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(state, &mut file)),
            Err(error) => return Err(io(error.into())),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        match writeln!(file, "{}", std::process::id()) {
            // The number is for people: a full disk is no reason not to start and wait.
            Err(error) if !matches!(Trouble::io(&path, &error), Trouble::Full(_)) => Err(io(error)),
            _ => Ok(Self { file }),
        }
    }

    /// Whether a process holds the state folder now.
    pub fn is_held(state: &Path) -> bool {
        let Ok(file) = File::open(state.join("lock")) else { return false };
        let held = flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK);
        let _ = flock(&file, FlockOperation::Unlock);
        held
    }
}

/// Checks that a state folder is this user's and nobody else's. What another user, root too, left in it the service could not
/// write any more.
///
/// # Errors
/// [`Kind::Settings`] with what to do.
pub fn check_owner(state: &Path, meta: &Metadata) -> Result<()> {
    let (folder, me) = (state.display(), geteuid().as_raw());
    if meta.mode() & 0o002 != 0 {
        let message = format!("state folder {folder}: everybody may write to it");
        return Err(Failure::new(Kind::Settings, message)
            .hint(format!("who can write there can change reports and ledger: chmod o-w {folder}")));
    }
    if meta.uid() != me {
        let (owner, command) = (meta.uid(), std::env::args().next().unwrap_or_else(|| "anomalyd".into()));
        let message = format!("state folder {folder} belongs to user {owner}, this process is user {me}");
        return Err(Failure::new(Kind::Settings, message).hint(format!(
            "run it as the owner, `sudo -u '#{owner}' {command} ...`, or name another state folder with --state"
        )));
    }
    Ok(())
}

/// Who only asks, see [`Lock::is_held`], holds it for a moment.
fn lock(file: &File) -> rustix::io::Result<()> {
    for _ in 0..TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    Err(rustix::io::Errno::WOULDBLOCK)
}

fn held(state: &Path, file: &mut File) -> Failure {
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid);
    let holder = if pid.trim().is_empty() { "another process".to_string() } else { format!("process {}", pid.trim()) };
    Failure::new(Kind::Locked, format!("state folder {} is in use by {holder}", state.display()))
        .hint("stop that process, or name another state folder with --state")
}
