//! Batches publish their parts, and day folders are swapped: never both at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Held by the writer from a batch's first rename to its commit, and for the moment in which a day folder is swapped. One a process:
/// the lock of the state folder keeps other processes out.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Mutex<()>>);

/// The gate, while it is held.
pub type Held<'a> = MutexGuard<'a, ()>;

impl Gate {
    /// Waits for the gate.
    pub fn enter(&self) -> Held<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate, where nobody holds it now.
    pub fn try_enter(&self) -> Option<Held<'_>> {
        match self.0.try_lock() {
            Ok(held) => Some(held),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
