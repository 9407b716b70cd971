//! The files of a pipeline whose rows are committed and for which its `[after]` has not been done yet.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::observe::tally::Tally;

/// What waits, and why.
#[derive(Debug)]
pub struct Owed {
    tally: Arc<Tally>,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// By the hash of the name.
    files: HashMap<u64, Waits>,
    /// Scans of the inbox so far.
    round: u64,
    /// Files that were tried and failed, and how the last of them did.
    failed: usize,
    why: Option<String>,
    /// Why files could not go where they are to, were there any.
    lost: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Waits {
    /// The last scan it was known of.
    round: u64,
    /// Whether it stands in the queue, where no scan meets it.
    queued: bool,
    failed: bool,
}

impl Owed {
    /// Nothing yet; how much it is stands in the tally.
    pub fn new(tally: Arc<Tally>) -> Arc<Self> {
        Arc::new(Self { tally, now: Mutex::default() })
    }

    /// A file waits, in the queue or for the next scan.
    pub fn wait(&self, name: &Path, queued: bool) {
        self.change(|now| {
            let round = now.round;
            let fresh = Waits { round, queued, failed: false };
            let file = now.files.entry(hash(name)).or_insert(fresh);
            (file.round, file.queued) = (round, queued);
        });
    }

    /// It has been tried, and failed.
    pub fn fail(&self, name: &Path, why: String) {
        self.change(|now| {
            let round = now.round;
            let file = now.files.entry(hash(name)).or_insert(Waits { round, queued: false, failed: false });
            now.failed += usize::from(!file.failed);
            (file.failed, file.queued) = (true, false);
            now.why = Some(why);
        });
    }

    /// It is no longer in the inbox, or no longer what was scored.
    pub fn end(&self, name: &Path) {
        self.change(|now| {
            let ended = now.files.remove(&hash(name));
            now.failed -= usize::from(ended.is_some_and(|file| file.failed));
        });
    }

    /// A scan begins. What the last one did not meet has been taken away by somebody else.
    pub fn recount(&self) {
        self.change(|now| {
            now.round += 1;
            let round = now.round;
            now.files.retain(|_, file| file.queued || file.round + 1 >= round);
            now.failed = now.files.values().filter(|file| file.failed).count();
        });
    }

    /// How the last file failed, as long as one of those that did is still there.
    pub fn failing(&self) -> Option<String> {
        self.lock().why.clone()
    }

    /// Says why files could not go where they are to, or that they could.
    pub fn lose(&self, lost: Option<String>) {
        self.lock().lost = lost;
    }

    /// Whether that is so.
    pub fn is_lost(&self) -> bool {
        self.lock().lost.is_some()
    }

    /// What is wrong: how a file failed, or how one would.
    pub fn trouble(&self) -> Option<String> {
        let now = self.lock();
        now.why.clone().or_else(|| now.lost.clone())
    }

    /// Files that wait.
    pub fn waiting(&self) -> usize {
        self.lock().files.len()
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        let mut now = self.lock();
        change(&mut now);
        if now.failed == 0 {
            now.why = None;
        }
        self.tally.owed.store(now.files.len() as u64, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(name: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Timings;

    #[test]
    fn what_failed_is_said_until_the_last_such_file_is_dealt_with_or_gone() {
        let owed = Owed::new(Arc::new(Tally::new("digits", Timings::none())));
        let [good, bad, taken] = ["good", "bad", "taken"].map(Path::new);
        [good, bad, taken].iter().for_each(|name| owed.wait(name, true));
        assert_eq!((owed.waiting(), owed.failing()), (3, None));
        owed.fail(bad, "no rights".into());
        owed.fail(taken, "no rights".into());
        owed.end(good);
        assert_eq!((owed.waiting(), owed.failing().as_deref()), (2, Some("no rights")), "another one went well");
        owed.recount();
        owed.wait(bad, true);
        assert_eq!(owed.waiting(), 2, "the scan is not over");
        owed.recount();
        owed.recount();
        assert_eq!(owed.waiting(), 1, "one was taken away by hand; no scan meets what is in the queue");
        assert!(owed.failing().is_some(), "it has not been tried again");
        assert_eq!(owed.tally.owed.load(Relaxed), 1);
        owed.end(bad);
        assert_eq!((owed.waiting(), owed.failing()), (0, None));
    }
}
