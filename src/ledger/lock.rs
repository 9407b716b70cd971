//! One process a state folder.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::disk::Trouble;
use crate::error::{Failure, Kind, Result};

/// Holds a state folder until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Makes the state folder and takes its lock.
    ///
    /// # Errors
    /// [`Kind::Locked`] naming the holder; [`Kind::Io`] where the folder cannot be made or written.
    pub fn take(state: &Path) -> Result<Self> {
        std::fs::create_dir_all(state).map_err(|error| {
            Failure::io(state, error).hint("name another state folder with --state, or make this one writable")
        })?;
        let path = state.join("lock");
        let io = |error: std::io::Error| Failure::from(Trouble::io(&path, &error));
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(state, &mut file)),
            Err(error) => return Err(io(error.into())),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        match writeln!(file, "{}", std::process::id()) {
            // The number is for people: a full disk is no reason not to start and wait.
            Err(error) if !matches!(Trouble::io(&path, &error), Trouble::Full(_)) => Err(io(error)),
            _ => Ok(Self { _file: file }),
        }
    }

    /// Whether a process holds the state folder now.
    pub fn is_held(state: &Path) -> bool {
        File::open(state.join("lock"))
            .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK))
    }
}

fn held(state: &Path, file: &mut File) -> Failure {
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid);
    let holder = if pid.trim().is_empty() { "another process".to_string() } else { format!("process {}", pid.trim()) };
    Failure::new(Kind::Locked, format!("state folder {} is in use by {holder}", state.display()))
        .hint("stop that process, or name another state folder with --state")
}
