//! How far a run has come.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

/// Counters every stage adds to.
#[derive(Debug, Default)]
pub struct Progress {
    /// Files sent to the stages.
    pub sent: AtomicU64,
    /// Files acknowledged, or gone before they were read.
    pub ended: AtomicU64,
    /// Files whose content or name was known already.
    pub known: AtomicU64,
    /// Frames with a committed row in `scores`.
    pub scored: AtomicU64,
    /// Frames with a committed row in `anomalies`.
    pub flagged: AtomicU64,
    /// Committed rows in `rejected`.
    pub rejected: AtomicU64,
    /// Goes up whenever any stage has done anything; what the watchdog looks at.
    pub beats: AtomicU64,
}

impl Progress {
    /// Adds to a counter, and shows that something moves.
    pub fn add(&self, counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
        self.beat();
    }

    /// Shows that something moves.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Relaxed);
    }

    /// Files in the stages.
    pub fn under_way(&self) -> u64 {
        self.sent.load(Relaxed).saturating_sub(self.ended.load(Relaxed))
    }

    /// The counts so far.
    pub fn summary(&self, elapsed: Duration) -> Summary {
        let scored = self.scored.load(Relaxed);
        Summary {
            files: self.sent.load(Relaxed),
            unfinished: self.under_way(),
            known: self.known.load(Relaxed),
            scored,
            flagged: self.flagged.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            seconds: elapsed.as_secs_f64(),
            images_per_second: scored as f64 / elapsed.as_secs_f64().max(1e-9),
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Files read.
    pub files: u64,
    /// Files that were begun and not acknowledged; the next run reads them again.
    pub unfinished: u64,
    /// Files whose content or name had been scored before.
    pub known: u64,
    /// Frames scored.
    pub scored: u64,
    /// Frames flagged.
    pub flagged: u64,
    /// Files and frames rejected.
    pub rejected: u64,
    /// From the first file to the last commit.
    pub seconds: f64,
    /// Frames scored a second.
    pub images_per_second: f64,
}
