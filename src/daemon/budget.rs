//! A bound on bytes in memory, beside the channels' bounds on counts. First come, first served: who wants much is not passed by
//! those who want little.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that may be held at once. What is larger than all of it passes alone.
#[derive(Debug)]
pub struct Budget {
    most: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    used: u64,
    /// The number of the next who comes, and of the one whose turn it is.
    next: u64,
    turn: u64,
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
        Arc::new(Self { most, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Waits until the bytes are free. Whoever holds a permit of a budget must not ask the same budget for another.
    pub fn take(self: &Arc<Self>, bytes: u64) -> Permit {
        self.wait(self.lock(), bytes);
        Permit { budget: self.clone(), bytes }
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.lock().used
    }

    fn wait(&self, mut state: MutexGuard<'_, State>, bytes: u64) {
        let number = state.next;
        state.next += 1;
        while state.turn != number || (state.used > 0 && state.used.saturating_add(bytes) > self.most) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.turn += 1;
        state.used += bytes;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Makes it this large; for more, everything is given back first, so that nobody who waits holds anything.
    pub fn resize(&mut self, bytes: u64) {
        let mut state = self.budget.lock();
        state.used -= self.bytes;
        if bytes > self.bytes {
            self.bytes = 0;
            self.budget.changed.notify_all();
            self.budget.wait(state, bytes);
        } else {
            state.used += bytes;
            self.budget.changed.notify_all();
        }
        self.bytes = bytes;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.lock().used -= self.bytes;
        self.budget.changed.notify_all();
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
        receiver.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
        thread.join().unwrap();
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn who_wants_much_is_not_passed_by_those_who_want_little() {
        let budget = Budget::new(10);
        let first = budget.take(4);
        let (sender, order) = crossbeam_channel::unbounded();
        let mut threads = Vec::new();
        for (number, bytes) in [(1, 10), (2, 1)] {
            let (other, sender) = (budget.clone(), sender.clone());
            threads.push(std::thread::spawn(move || {
                let permit = other.take(bytes);
                sender.send(number).unwrap();
                drop(permit);
            }));
            let begun = std::time::Instant::now();
            while budget.lock().next < number + 1 {
                assert!(begun.elapsed().as_secs() < 60);
                std::thread::yield_now();
            }
        }
        assert!(order.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "there was room for the second");
        drop(first);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(order.try_iter().collect::<Vec<u64>>(), [1, 2]);
    }

    #[test]
    fn one_who_asks_for_more_gives_back_first() {
        let budget = Budget::new(10);
        let mut permit = budget.take(4);
        permit.resize(2);
        assert_eq!(budget.held(), 2);
        // Two that hold half each and both want all of it: neither may keep the other waiting.
        let mut other = budget.take(5);
        let thread = std::thread::spawn(move || other.resize(10));
        permit.resize(10);
        assert_eq!(permit.bytes, 10);
        drop(permit);
        thread.join().unwrap();
        assert_eq!(budget.held(), 0);
    }
}
