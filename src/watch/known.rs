//! Which versions of files need no second look.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Stat;

/// Files that need no second look, 16 bytes each: a hash of the name, and one of what the file was.
#[derive(Debug, Default)]
pub struct Known(HashMap<u64, u64>);

impl Known {
    /// Remembers a version of a file.
    pub fn insert(&mut self, name: &[u8], stat: Stat) {
        self.0.insert(hash(name), hash(stat));
    }

    /// Whether this version of the file is known.
    pub fn contains(&self, name: &[u8], stat: Stat) -> bool {
        self.0.get(&hash(name)) == Some(&hash(stat))
    }

    /// Forgets a file, so that it is looked at again.
    pub fn forget(&mut self, name: &[u8]) {
        self.0.remove(&hash(name));
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
