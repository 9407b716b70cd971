//! Which versions of files need no second look.

use std::collections::HashMap;
use std::fs::Metadata;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;

use super::Stat;

/// The bits that tell versions apart.
const VERSION: u64 = !3;
const SCORED: u64 = 1;
const REJECTED: u64 = 2;
const UNREAD: u64 = 3;

/// Files that need no second look, 16 bytes each: a hash of the name, and one of what the file was, whose last two bits say whether
/// its rows are committed.
#[derive(Debug, Default)]
pub struct Known(HashMap<u64, u64>);

impl Known {
    /// Remembers a version of a file that is under way.
    pub fn insert(&mut self, name: &[u8], stat: Stat) {
        self.0.insert(hash(name), hash(stat) & VERSION);
    }

    /// Remembers a version of a file whose rows are committed.
    pub fn finish(&mut self, name: &[u8], stat: Stat, rejected: bool) {
        self.0.insert(hash(name), hash(stat) & VERSION | if rejected { REJECTED } else { SCORED });
    }

    /// Whether the version's rows are committed: `Some(true)` for one that was rejected.
    pub fn finished(&self, name: &[u8], stat: Stat) -> Option<bool> {
        let known = *self.0.get(&hash(name))?;
        let committed = matches!(known & !VERSION, SCORED | REJECTED);
        (committed && known & VERSION == hash(stat) & VERSION).then_some(known & !VERSION == REJECTED)
    }

    /// Remembers a version of a file that was rejected without being read.
    pub fn finish_unread(&mut self, name: &[u8], stat: Stat) {
        self.0.insert(hash(name), hash(stat) & VERSION | UNREAD);
    }

    /// Forgets the files that were rejected without being read: what stood in the way may be gone.
    pub fn forget_unread(&mut self) {
        self.0.retain(|_, known| *known & !VERSION != UNREAD);
    }

    /// Remembers a file that cannot be read until its metadata change: its permissions, for one.
    pub fn insert_unreadable(&mut self, name: &[u8], meta: &Metadata) {
        self.0.insert(hash(name), hash_with_ctime(meta) & VERSION);
    }

    /// Whether this version of the file is known.
    pub fn contains(&self, name: &[u8], stat: Stat) -> bool {
        self.0.get(&hash(name)).is_some_and(|known| known & VERSION == hash(stat) & VERSION)
    }

    /// Whether the file could not be read, and nothing about it has changed since.
    pub fn is_unreadable(&self, name: &[u8], meta: &Metadata) -> bool {
        self.0.get(&hash(name)).is_some_and(|known| *known == hash_with_ctime(meta) & VERSION)
    }

    /// Forgets a file, so that it is looked at again.
    pub fn forget(&mut self, name: &[u8]) {
        self.0.remove(&hash(name));
    }
}

fn hash_with_ctime(meta: &Metadata) -> u64 {
    hash((Stat::from(meta), meta.ctime(), meta.ctime_nsec()))
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
