//! A bound on bytes in memory, beside the channels' bounds on counts.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that may be held at once. What is larger than all of it passes alone.
#[derive(Debug)]
pub struct Budget {
    most: u64,
    used: Mutex<u64>,
    freed: Condvar,
}

/// Bytes held until it is dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    /// A budget of this many bytes.
    pub fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, used: Mutex::new(0), freed: Condvar::new() })
    }

    /// Waits until the bytes are free. Whoever holds a permit of a budget must not ask the same budget for another.
    pub fn take(self: &Arc<Self>, bytes: u64) -> Permit {
        let mut used = self.lock();
        while *used > 0 && used.saturating_add(bytes) > self.most {
            used = self.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        *used += bytes;
        Permit { budget: self.clone(), bytes }
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Makes it this large; for more, everything is given back first, so that nobody who waits holds anything.
    pub fn resize(&mut self, bytes: u64) {
        let mut used = self.budget.lock();
        *used -= self.bytes;
        self.budget.freed.notify_all();
        if bytes > self.bytes {
            self.bytes = 0;
            while *used > 0 && used.saturating_add(bytes) > self.budget.most {
                used = self.budget.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
            }
        }
        *used += bytes;
        self.bytes = bytes;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.budget.lock() -= self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_things_pass_alone_and_others_wait() {
        let budget = Budget::new(10);
        let large = budget.take(100);
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let other = budget.clone();
        let thread = std::thread::spawn(move || {
            let permit = other.take(4);
            sender.send(()).unwrap();
            drop(permit);
        });
        assert!(receiver.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        drop(large);
        receiver.recv_timeout(std::time::Duration::from_secs(5)).unwrap();
        thread.join().unwrap();
        assert_eq!(*budget.lock(), 0);
    }
    #[test]
    fn one_who_asks_for_more_gives_back_first() {
        let budget = Budget::new(10);
        let mut permit = budget.take(4);
        permit.resize(2);
        assert_eq!(*budget.lock(), 2);
        // Two that hold half each and both want all of it: neither may keep the other waiting.
        let mut other = budget.take(5);
        let thread = std::thread::spawn(move || other.resize(10));
        permit.resize(10);
        assert_eq!(permit.bytes, 10);
        drop(permit);
        thread.join().unwrap();
        assert_eq!(*budget.lock(), 0);
    }
}
