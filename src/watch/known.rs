//! Which versions of files need no second look.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

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
        (committed && is_of(known, stat)).then_some(known & !VERSION == REJECTED)
    }

    /// Remembers a version of a file that was rejected without being read.
    pub fn finish_unread(&mut self, name: &[u8], stat: Stat) {
        self.0.insert(hash(name), hash(stat) & VERSION | UNREAD);
    }

    /// Forgets the files that were rejected without being read: what stood in the way may be gone.
    pub fn forget_unread(&mut self) {
        self.0.retain(|_, known| *known & !VERSION != UNREAD);
    }

    /// Whether this version of the file is known.
    pub fn contains(&self, name: &[u8], stat: Stat) -> bool {
        self.0.get(&hash(name)).is_some_and(|known| is_of(*known, stat))
    }

    /// The same of a file that has been met: what a ledger of an older version did not keep of it is kept from now on.
    pub fn meets(&mut self, name: &[u8], stat: Stat) -> bool {
        let Some(known) = self.0.get_mut(&hash(name)).filter(|known| is_of(**known, stat)) else { return false };
        *known = hash(stat) & VERSION | *known & !VERSION;
        true
    }

    /// Forgets a file, so that it is looked at again.
    pub fn forget(&mut self, name: &[u8]) {
        self.0.remove(&hash(name));
    }
}

/// Whether what is known is of this version, as far as it was kept.
fn is_of(known: u64, stat: Stat) -> bool {
    [stat, stat.without_ctime()].iter().any(|stat| hash(stat) & VERSION == known & VERSION)
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
