//! The contents that are between reading and their commit: a second name of one of them waits for the first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stages::FileInfo;

/// Number of an identity, and digest of a content.
pub type Key = (i64, [u8; 32]);

/// Contents under way, each with the other names it was met under.
#[derive(Debug, Default)]
pub struct Flight(Mutex<HashMap<Key, Vec<Arc<FileInfo>>>>);

impl Flight {
    /// Takes a content. False where it is under way already: the file then waits to be acknowledged with it.
    pub fn claim(&self, key: Key, file: &Arc<FileInfo>) -> bool {
        match self.lock().entry(key) {
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                entry.get_mut().push(file.clone());
                false
            }
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Vec::new());
                true
            }
        }
    }

    /// Gives a content back and returns the files that waited for it.
    pub fn release(&self, key: &Key) -> Vec<Arc<FileInfo>> {
        self.lock().remove(key).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Arc<FileInfo>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
