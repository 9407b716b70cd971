//! How far a run has come, and which of its stages move.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::observe::metrics::{Exporter, Timings};
use crate::observe::tally::Tally;

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
    /// Those scored that are of other sizes than their model was calibrated on.
    pub other_sizes: AtomicU64,
    /// Committed rows in `rejected`.
    pub rejected: AtomicU64,
    /// The decode stage.
    pub decode: Activity,
    /// The score stage.
    pub score: Activity,
    /// The write stage.
    pub write: Activity,
    exporter: Option<Arc<Exporter>>,
    tallies: Mutex<BTreeMap<String, Arc<Tally>>>,
}

/// Whether a stage has something in hand, and whether it moves; what the watchdog looks at.
#[derive(Debug, Default)]
pub struct Activity {
    busy: AtomicU64,
    beats: AtomicU64,
}

/// A worker of a stage has something in hand until this is dropped.
#[derive(Debug)]
pub struct AtWork<'a>(&'a Activity);

impl Activity {
    /// A worker takes something in hand.
    pub fn begin(&self) -> AtWork<'_> {
        self.busy.fetch_add(1, Relaxed);
        AtWork(self)
    }

    /// Shows that the stage moves.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Relaxed);
    }

    /// Goes up whenever the stage has done anything.
    pub fn beats(&self) -> u64 {
        self.beats.load(Relaxed)
    }

    /// Whether a worker has something in hand. A stage that has not takes what comes at once.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Relaxed) > 0
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.beat();
        self.0.busy.fetch_sub(1, Relaxed);
    }
}

impl Progress {
    /// Nothing done yet; how long the stages take is measured where somebody exports it.
    pub fn new(exporter: Option<Arc<Exporter>>) -> Self {
        Self { exporter, ..Self::default() }
    }

    /// The numbers of one pipeline; the same ones for the same name, also after a reload.
    pub fn tally(&self, pipeline: &str) -> Arc<Tally> {
        let timings = || self.exporter.as_ref().map_or(Timings::none(), |exporter| exporter.timings(pipeline));
        let fresh = || Arc::new(Tally::new(pipeline, timings()));
        self.lock().entry(pipeline.into()).or_insert_with(fresh).clone()
    }

    /// The numbers of all pipelines, by name.
    pub fn tallies(&self) -> Vec<Arc<Tally>> {
        self.lock().values().cloned().collect()
    }

    /// Says which pipelines are watched, and that the others are no longer.
    pub fn keep(&self, pipelines: &[&str]) {
        for tally in self.tallies() {
            tally.watched.store(pipelines.contains(&tally.pipeline.as_str()), Relaxed);
        }
    }

    /// Adds to a counter.
    pub fn add(&self, counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
    }

    /// The stages by name, in the order of an image's way.
    pub fn stages(&self) -> [(&'static str, &Activity); 3] {
        [("decode", &self.decode), ("score", &self.score), ("write", &self.write)]
    }

    /// Files in the stages.
    pub fn under_way(&self) -> u64 {
        self.sent.load(Relaxed).saturating_sub(self.ended.load(Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Tally>>> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
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
            other_sizes: self.other_sizes.load(Relaxed),
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
    /// Frames scored that are of other sizes than the model was calibrated on: the certificate does not hold for them.
    pub other_sizes: u64,
    /// Files and frames rejected.
    pub rejected: u64,
    /// From the first file to the last commit.
    pub seconds: f64,
    /// Frames scored a second.
    pub images_per_second: f64,
}
