//! The contents that are between reading and their commit: a second name of one of them waits for the first.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::stages::{FileInfo, Ticket};

/// Number of a line of identities, and digest of a content.
pub type Key = (i64, [u8; 32]);

/// A file that waits for its content's commit.
pub type Waiting = (Arc<FileInfo>, Ticket);

/// Contents under way, each with the other files that have it.
#[derive(Debug, Default)]
pub struct Flight(Mutex<HashMap<Key, Vec<Waiting>>>);

impl Flight {
    /// Takes a content and hands the ticket back. `None` where it is under way already: the file then waits for its commit.
    pub fn claim(&self, key: Key, file: &Arc<FileInfo>, ticket: Ticket) -> Option<Ticket> {
        match self.lock().entry(key) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().push((file.clone(), ticket));
                None
            }
            Entry::Vacant(entry) => {
                entry.insert(Vec::new());
                Some(ticket)
            }
        }
    }

    /// The files that waited, whose own commit comes next; without any the content is free again.
    pub fn committed(&self, key: &Key) -> Vec<Waiting> {
        let mut contents = self.lock();
        match contents.get_mut(key) {
            Some(waiting) if !waiting.is_empty() => std::mem::take(waiting),
            _ => {
                contents.remove(key);
                Vec::new()
            }
        }
    }

    /// Frees a content that needs no commit, and returns the files that waited.
    pub fn release(&self, key: &Key) -> Vec<Waiting> {
        self.lock().remove(key).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<Waiting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
