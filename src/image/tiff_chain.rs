//! The chain of a TIFF's pages. The decoder stops at the first page that it cannot read, so it is shown each page as the
//! first of a file; what a page's tags would take in memory is looked at before.

use std::collections::HashSet;

use super::bytes::Bytes;
use super::{Reason, Rejection};

/// Tags that are read: those of the layout, NewSubfileType, DateTime, ExtraSamples and JPEGTables.
const TAGS: [u64; 22] =
    [254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 306, 317, 322, 323, 324, 325, 338, 339, 347, 512, 530];
/// Values of a tag: offsets of as many strips or tiles. Each takes 32 bytes in memory.
const MOST_VALUES: u64 = 1 << 20;

/// Pages one after the other.
pub(super) struct Chain {
    form: Form,
    /// Offset of the next page; 0 past the last.
    next: u64,
    /// Pages passed, so that none comes twice.
    passed: HashSet<u64>,
}

/// How offsets are stored.
#[derive(Debug, Clone, Copy)]
struct Form {
    little: bool,
    /// BigTIFF: 64 bits.
    big: bool,
}

impl Chain {
    /// The chain from the file's header on.
    pub(super) fn of(bytes: &[u8]) -> Result<Self, Rejection> {
        let form =
            Form { little: bytes.starts_with(b"I"), big: bytes.get(2..4).is_some_and(|kind| kind.contains(&43)) };
        let next = form.offset(bytes, form.first()).ok_or_else(|| Rejection::truncated("ends within its header"))?;
        Ok(Self { form, next, passed: HashSet::new() })
    }

    /// The file as it would be with the next page as its first; `None` past the last. A page refused is passed as well.
    pub(super) fn follow(&mut self, bytes: &Bytes) -> Option<Result<Bytes, Rejection>> {
        let at = std::mem::take(&mut self.next);
        if at == 0 && !self.passed.is_empty() {
            return None;
        }
        if !self.passed.insert(at) {
            return Some(Err(Rejection::corrupt("its pages form a loop")));
        }
        let all = bytes.all();
        let Some(entries) = usize::try_from(at).ok().and_then(|at| self.form.entries(all, at)) else {
            return Some(Err(Rejection::truncated(format!("a page at byte {at} of {}", all.len()))));
        };
        self.next = self.form.offset(all, entries.end).unwrap_or(0);
        let first = self.form.first() as u64;
        Some(self.form.check(all, entries).map(|()| bytes.patched(first, self.form.stored(at))))
    }

    /// Leaves what is left.
    pub(super) fn end(&mut self) {
        self.next = 0;
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> u64 {
        // A place of a hash set and its control byte, at its least filling.
        (self.passed.capacity() * 2 * (size_of::<u64>() + 1)) as u64
    }
}

impl Form {
    /// Where the header says where the first page is.
    fn first(self) -> usize {
        self.width()
    }

    /// Bytes of an offset; the first stands in the header at a place of as many.
    fn width(self) -> usize {
        if self.big { 8 } else { 4 }
    }

    fn offset(self, bytes: &[u8], at: usize) -> Option<u64> {
        self.number(bytes, at, self.width())
    }

    /// Where the entries of the page lie.
    fn entries(self, bytes: &[u8], page: usize) -> Option<std::ops::Range<usize>> {
        let count_bytes = if self.big { 8 } else { 2 };
        let count = usize::try_from(self.number(bytes, page, count_bytes)?).ok()?;
        let start = page.checked_add(count_bytes)?;
        let end = count.checked_mul(self.entry_bytes())?.checked_add(start)?;
        (end <= bytes.len()).then_some(start..end)
    }

    fn entry_bytes(self) -> usize {
        if self.big { 20 } else { 12 }
    }

    /// Refuses tags of more values than the file can hold: the decoder makes room for them before it reads them.
    fn check(self, bytes: &[u8], entries: std::ops::Range<usize>) -> Result<(), Rejection> {
        for entry in bytes[entries].chunks_exact(self.entry_bytes()) {
            let tag = self.number(entry, 0, 2).unwrap_or(0);
            let values = self.offset(entry, 4).unwrap_or(0);
            if !TAGS.contains(&tag) || values <= MOST_VALUES.min(bytes.len() as u64) {
                continue;
            }
            if values > bytes.len() as u64 {
                return Err(Rejection::corrupt(format!("tag {tag} of {values} values in {} bytes", bytes.len())));
            }
            let detail = format!("tag {tag} of {values} values; {MOST_VALUES} are read");
            return Err(Rejection::new(Reason::TooLarge, detail));
        }
        Ok(())
    }

    fn number(self, bytes: &[u8], at: usize, length: usize) -> Option<u64> {
        let stored = bytes.get(at..at.checked_add(length)?)?;
        let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(if self.little { stored.iter().rev().fold(0, add) } else { stored.iter().fold(0, add) })
    }

    /// An offset as the header stores it.
    fn stored(self, offset: u64) -> Vec<u8> {
        if self.little {
            offset.to_le_bytes()[..self.width()].to_vec()
        } else {
            offset.to_be_bytes()[8 - self.width()..].to_vec()
        }
    }
}
