//! Which files each worker holds right now, so that a file that kills the process is found out.
//!
//! A worker overwrites its own small file before and after each piece of work, without any sync: the page cache outlives the
//! process, and after a power cut there is nobody to blame.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Result};
use crate::ledger::Suspect;
use crate::watch::Stat;

/// Deaths over one file after which it is rejected.
pub const MOST_TRIES: u32 = 3;

/// One worker's note of what it holds.
#[derive(Debug)]
pub struct Work {
    file: File,
    buffer: Vec<u8>,
}

/// Makes the folder of the notes and returns what a dead process held.
///
/// # Errors
/// [`crate::error::Kind::Io`].
pub fn left_behind(state: &Path) -> Result<Vec<Suspect>> {
    let folder = folder(state);
    std::fs::create_dir_all(&folder).map_err(|error| Failure::io(&folder, error))?;
    let entries = std::fs::read_dir(&folder).map_err(|error| Failure::io(&folder, error))?;
    let mut held = Vec::new();
    for entry in entries.flatten() {
        held.extend(std::fs::read(entry.path()).ok().and_then(|bytes| parse(&bytes)).unwrap_or_default());
        std::fs::remove_file(entry.path()).map_err(|error| Failure::io(&entry.path(), error))?;
    }
    held.sort_by(|a, b| a.path.cmp(&b.path));
    held.dedup_by(|a, b| a.path == b.path && a.pipeline == b.pipeline);
    Ok(held)
}

impl Work {
    /// The note of a worker, empty.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn new(state: &Path, worker: &str) -> Result<Self> {
        let path = folder(state).join(worker);
        let file = File::create(&path).map_err(|error| Failure::io(&path, error))?;
        Ok(Self { file, buffer: Vec::new() })
    }

    /// Notes files: pipeline, name, version. A note that cannot be written costs no more than the blame.
    pub fn begin<'a>(&mut self, files: impl Iterator<Item = (&'a str, &'a [u8], Stat)>) {
        self.buffer.clear();
        self.buffer.extend(0u32.to_le_bytes());
        let mut count = 0u32;
        for (pipeline, name, stat) in files {
            for text in [pipeline.as_bytes(), name] {
                self.buffer.extend((text.len() as u32).to_le_bytes());
                self.buffer.extend(text);
            }
            for number in [stat.size, stat.mtime_ns as u64, stat.inode] {
                self.buffer.extend(number.to_le_bytes());
            }
            count += 1;
        }
        self.buffer[..4].copy_from_slice(&count.to_le_bytes());
        let _ = self.file.write_all_at(&self.buffer, 0);
    }

    /// Notes that the work is done.
    pub fn done(&mut self) {
        let _ = self.file.write_all_at(&0u32.to_le_bytes(), 0);
    }
}

fn folder(state: &Path) -> PathBuf {
    state.join("work")
}

fn parse(bytes: &[u8]) -> Option<Vec<Suspect>> {
    let mut rest = bytes;
    let count = number::<4>(&mut rest)?;
    (0..count)
        .map(|_| {
            let mut text = || {
                let length = usize::try_from(number::<4>(&mut rest)?).ok()?;
                let (text, tail) = rest.split_at_checked(length)?;
                rest = tail;
                Some(text.to_vec())
            };
            let (pipeline, path) = (String::from_utf8(text()?).ok()?, text()?);
            let (size, mtime_ns, inode) =
                (number::<8>(&mut rest)?, number::<8>(&mut rest)? as i64, number::<8>(&mut rest)?);
            Some(Suspect { pipeline, path, stat: Stat { size, mtime_ns, inode }, tries: 0 })
        })
        .collect()
}

/// A little-endian number of N bytes from the front.
fn number<const N: usize>(rest: &mut &[u8]) -> Option<u64> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(head);
    Some(u64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_found_and_what_is_done_is_not() {
        let state = tempfile::tempdir().unwrap();
        assert!(left_behind(state.path()).unwrap().is_empty());
        let stat = Stat { size: 1, mtime_ns: -2, inode: 3 };
        let mut one = Work::new(state.path(), "decode-0").unwrap();
        let mut two = Work::new(state.path(), "score").unwrap();
        one.begin([("digits", &b"a long name"[..], stat)].into_iter());
        one.begin([("digits", &b"b"[..], stat)].into_iter());
        two.begin([("digits", &b"c"[..], stat), ("digits", b"d", stat)].into_iter());
        two.done();
        let held = left_behind(state.path()).unwrap();
        assert_eq!(held, [Suspect { pipeline: "digits".into(), path: b"b".to_vec(), stat, tries: 0 }]);
        assert!(parse(&[9, 0, 0, 0, 1]).is_none(), "a torn note blames nobody");
    }
}
