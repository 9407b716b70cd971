//! A file's bytes as the decoders read them: every read may end with the deadline, or with what may be read at all.

use std::io::{BufRead, Cursor, Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::deadline::Deadline;

/// Reads between two looks at the clock.
const PATIENCE: u32 = 64;

/// Shared by clones, each with a place of its own.
#[derive(Debug, Clone)]
pub(super) struct Bytes {
    cursor: Cursor<Shared>,
    deadline: Deadline,
    reads: u32,
    /// Bytes that may still be read.
    allowance: Arc<AtomicU64>,
    /// Bytes that stand in place of others, from a position on.
    patch: Option<(u64, Vec<u8>)>,
}

#[derive(Debug, Clone)]
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Bytes {
    pub(super) fn new(bytes: Vec<u8>, deadline: Deadline) -> Self {
        let cursor = Cursor::new(Shared(Arc::new(bytes)));
        Self { cursor, deadline, reads: 0, allowance: Arc::new(AtomicU64::new(u64::MAX)), patch: None }
    }

    /// The bytes that can still be read ([`ErrorKind::FileTooLarge`] beyond), to be set from outside.
    pub(super) fn allowance(&self) -> Arc<AtomicU64> {
        self.allowance.clone()
    }

    /// Another view of the same bytes, from the start, that reads `patch` at `position`.
    pub(super) fn patched(&self, position: u64, patch: Vec<u8>) -> Self {
        let mut other = self.clone();
        other.cursor.set_position(0);
        other.patch = Some((position, patch));
        other
    }

    /// All of it, without the patch.
    pub(super) fn all(&self) -> &[u8] {
        self.cursor.get_ref().as_ref()
    }

    /// The bytes themselves, to be changed; a copy of them where they are shared.
    pub(super) fn edit(&mut self) -> &mut [u8] {
        let bytes: &mut Vec<u8> = Arc::make_mut(&mut self.cursor.get_mut().0);
        bytes
    }

    /// Looks at the clock, for those who read [`Self::all`].
    pub(super) fn check_time(&self) -> Result<()> {
        self.deadline.check()
    }

    /// Looks at the clock now and then.
    fn check(&mut self) -> Result<()> {
        self.reads = self.reads.wrapping_add(1);
        if self.reads % PATIENCE == 1 { self.deadline.check() } else { Ok(()) }
    }
}

impl Read for Bytes {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        self.check()?;
        let from = self.cursor.position();
        let read = self.cursor.read(out)?;
        let left = self.allowance.load(Ordering::Relaxed).checked_sub(read as u64);
        self.allowance.store(left.ok_or_else(|| Error::from(ErrorKind::FileTooLarge))?, Ordering::Relaxed);
        if let Some((position, patch)) = &self.patch {
            for (at, &byte) in (*position..).zip(patch) {
                if let Some(place) = at.checked_sub(from).and_then(|place| out[..read].get_mut(place as usize)) {
                    *place = byte;
                }
            }
        }
        Ok(read)
    }
}

impl BufRead for Bytes {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        self.check()?;
        self.cursor.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.cursor.consume(amount);
    }
}

impl Seek for Bytes {
    fn seek(&mut self, position: SeekFrom) -> Result<u64> {
        self.cursor.seek(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_read_in_place_of_the_bytes() {
        let bytes = Bytes::new(b"0123456789".to_vec(), Deadline::start(60));
        let read = |mut bytes: Bytes, from: u64| {
            let mut text = String::new();
            bytes.seek(SeekFrom::Start(from)).unwrap();
            bytes.read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(read(bytes.patched(4, b"ab".to_vec()), 0), "0123ab6789");
        assert_eq!(read(bytes.patched(4, b"ab".to_vec()), 5), "b6789");
        assert_eq!(read(bytes, 3), "3456789");
    }

    #[test]
    fn reading_ends_with_the_deadline_and_with_the_allowance() {
        let late = Bytes::new(vec![0; 10], Deadline::start(0)).read(&mut [0; 4]).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        let mut few = Bytes::new(vec![0; 10], Deadline::start(60));
        few.allowance().store(6, Ordering::Relaxed);
        assert_eq!(few.read(&mut [0; 4]).unwrap(), 4);
        assert_eq!(few.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
