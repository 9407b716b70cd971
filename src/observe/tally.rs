//! What has happened to the images of one pipeline since the process began, and what the ledger knew before.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::metrics::Timings;
use crate::drift::Standing;
use crate::error::Result;
use crate::ledger::Counts;
use crate::watch::Held;

/// Files whose latency is kept for the percentile.
const LATENCIES: usize = 1000;
/// How far back the rate looks.
const RATE_WINDOW: Duration = Duration::from_secs(60);

/// The numbers of one pipeline. Counters go up from zero with the process; [`Self::totals`] has what the ledger had before, too.
pub struct Tally {
    /// The pipeline's name.
    pub pipeline: String,
    /// Files sent to the stages.
    pub found: AtomicU64,
    /// Files acknowledged, or gone before they were read.
    pub ended: AtomicU64,
    /// Files whose content had been scored under another name.
    pub duplicates: AtomicU64,
    /// Frames with a committed row in `scores`.
    pub scored: AtomicU64,
    /// Frames with a committed row in `anomalies`.
    pub flagged: AtomicU64,
    /// Frames scored that are of other sizes than the model was calibrated on.
    pub other_sizes: AtomicU64,
    /// Bytes of files read whole.
    pub read_bytes: AtomicU64,
    /// Files looked at again because they changed.
    pub retries: AtomicU64,
    /// Files found in the inbox and not yet sent to the stages.
    pub waiting: AtomicU64,
    /// Whether there are more than [`Self::waiting`]: a large inbox is taken in portions.
    pub waiting_more: AtomicBool,
    /// Files in the inbox whose rows are committed and for which `[after]` has not been done yet.
    pub owed: AtomicU64,
    /// Whether the pipeline is watched: a reload may let one go.
    pub watched: AtomicBool,
    /// How long the work takes.
    pub timings: Timings,
    committed_ms: AtomicI64,
    rest: Mutex<Rest>,
}

/// The model in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its version.
    pub version: String,
    /// Digest of its weights, hex.
    pub digest: String,
}

#[derive(Default)]
struct Rest {
    /// Scored, flagged, rejected, duplicates.
    before: Option<[u64; 4]>,
    /// Rows in `rejected` by reason.
    rejected: BTreeMap<&'static str, u64>,
    model: Option<Model>,
    last_error: Option<(i64, String)>,
    held: Option<Held>,
    drift: Option<Standing>,
    /// Seconds from found to committed of the last files.
    latencies: VecDeque<f64>,
    /// Frames scored, once a second.
    samples: VecDeque<(Instant, u64)>,
}

impl Tally {
    /// A pipeline of which nothing has happened yet.
    pub fn new(pipeline: &str, timings: Timings) -> Self {
        let zero = AtomicU64::default;
        Self {
            pipeline: pipeline.into(),
            found: zero(),
            ended: zero(),
            duplicates: zero(),
            scored: zero(),
            flagged: zero(),
            other_sizes: zero(),
            read_bytes: zero(),
            retries: zero(),
            waiting: zero(),
            waiting_more: AtomicBool::default(),
            owed: zero(),
            watched: AtomicBool::new(true),
            timings,
            committed_ms: AtomicI64::default(),
            rest: Mutex::default(),
        }
    }

    /// Takes over what the ledger had of this pipeline before this process; once.
    ///
    /// # Errors
    /// Those of `counts`, which is given the pipeline's name.
    pub fn set_before(&self, counts: impl FnOnce(&str) -> Result<Counts>) -> Result<()> {
        let mut rest = self.lock();
        if rest.before.is_none() {
            let counts = counts(&self.pipeline)?;
            rest.last_error = rest.last_error.take().or(counts.last_error);
            rest.before = Some([counts.scored, counts.flagged, counts.rejected, counts.duplicates]);
        }
        Ok(())
    }

    /// The counts of all processes: scored, flagged, rejected, duplicates.
    pub fn totals(&self) -> [u64; 4] {
        let rest = self.lock();
        let [scored, flagged, rejected, duplicates] = rest.before.unwrap_or_default();
        let more = rest.rejected.values().sum::<u64>();
        let [newly_scored, newly_flagged, second_names] =
            [&self.scored, &self.flagged, &self.duplicates].map(|count| count.load(Relaxed));
        [scored + newly_scored, flagged + newly_flagged, rejected + more, duplicates + second_names]
    }

    /// Names the model in use from now on.
    pub fn set_model(&self, version: &str, digest: &str) {
        self.lock().model = Some(Model { version: version.into(), digest: digest.into() });
    }

    /// The model in use; none where the pipeline is not watched any more.
    pub fn model(&self) -> Option<Model> {
        self.lock().model.clone().filter(|_| self.watched.load(Relaxed))
    }

    /// Adds committed rows: scored, flagged, and the reason of each that was rejected.
    pub fn add_rows(&self, scored: u64, flagged: u64, rejected: impl Iterator<Item = &'static str>) {
        self.scored.fetch_add(scored, Relaxed);
        self.flagged.fetch_add(flagged, Relaxed);
        let mut rest = self.lock();
        rejected.for_each(|reason| *rest.rejected.entry(reason).or_default() += 1);
    }

    /// Rows in `rejected`, by reason.
    pub fn rejections(&self) -> Vec<(&'static str, u64)> {
        self.lock().rejected.iter().map(|(reason, count)| (*reason, *count)).collect()
    }

    /// A batch with rows of this pipeline has been committed.
    pub fn committed(&self, took: Duration) {
        self.committed_ms.store(Utc::now().timestamp_millis(), Relaxed);
        self.timings.commit.record(took);
    }

    /// When the last batch was committed by this process.
    pub fn last_commit(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.committed_ms.load(Relaxed)).filter(|at| at.timestamp_millis() > 0)
    }

    /// A file found at this time has been acknowledged; a duplicate's content had been scored under another name.
    pub fn end(&self, received_at: DateTime<Utc>, is_duplicate: bool) {
        self.ended.fetch_add(1, Relaxed);
        self.duplicates.fetch_add(u64::from(is_duplicate), Relaxed);
        let seconds = (Utc::now() - received_at).as_seconds_f64().max(0.0);
        self.timings.file.record(seconds);
        let mut rest = self.lock();
        if rest.latencies.len() == LATENCIES {
            rest.latencies.pop_front();
        }
        rest.latencies.push_back(seconds);
    }

    /// Seconds from found to committed that 99 % of the last thousand files stayed below; `None` where there were none.
    pub fn latency_p99(&self) -> Option<f64> {
        let mut sorted: Vec<f64> = self.lock().latencies.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get((sorted.len() * 99 / 100).min(sorted.len().wrapping_sub(1))).copied()
    }

    /// Says how many files wait in the inbox, and whether there are more than that.
    pub fn waits(&self, files: usize, more: bool) {
        self.waiting.store(files as u64, Relaxed);
        self.waiting_more.store(more, Relaxed);
    }

    /// Says which files wait for long.
    pub fn set_held(&self, held: Option<Held>) {
        self.lock().held = held;
    }

    /// The files that wait for long: their writers do not close them, or go on writing.
    pub fn held(&self) -> Option<Held> {
        self.lock().held.clone()
    }

    /// Says how the watch for drift stands.
    pub fn set_drift(&self, standing: Standing) {
        self.lock().drift = Some(standing);
    }

    /// How the watch for drift stands; none where the pipeline is not watched any more.
    pub fn drift(&self) -> Option<Standing> {
        self.lock().drift.clone().filter(|_| self.watched.load(Relaxed))
    }

    /// Files in the stages.
    pub fn under_way(&self) -> u64 {
        self.found.load(Relaxed).saturating_sub(self.ended.load(Relaxed))
    }

    /// Keeps the last error.
    pub fn set_error(&self, message: String) {
        self.lock().last_error = Some((Utc::now().timestamp_millis(), message));
    }

    /// The last error, and when, milliseconds since 1970.
    pub fn last_error(&self) -> Option<(i64, String)> {
        self.lock().last_error.clone()
    }

    /// To be called once a second, for the rate.
    pub fn sample(&self, now: Instant) {
        let scored = self.scored.load(Relaxed);
        let mut rest = self.lock();
        while rest.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= RATE_WINDOW) {
            rest.samples.pop_front();
        }
        rest.samples.push_back((now, scored));
    }

    /// Frames scored a second, over the last minute.
    pub fn rate(&self) -> f64 {
        let rest = self.lock();
        let (Some((from, before)), Some((to, after))) = (rest.samples.front(), rest.samples.back()) else { return 0.0 };
        (after - before) as f64 / to.duration_since(*from).as_secs_f64().max(1.0)
    }

    fn lock(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tally({})", self.pipeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let (tally, start) = (Tally::new("digits", Timings::none()), Instant::now());
        assert_eq!(tally.rate(), 0.0);
        for second in 0..200 {
            tally.scored.fetch_add(if second < 100 { 50 } else { 7 }, Relaxed);
            tally.sample(start + Duration::from_secs(second));
        }
        assert!((tally.rate() - 7.0).abs() < 0.2, "{}", tally.rate());
        assert!(tally.lock().samples.len() < 64);
    }

    #[test]
    fn the_percentile_is_of_the_last_files_and_old_ones_are_let_go() {
        let tally = Tally::new("digits", Timings::none());
        assert_eq!(tally.latency_p99(), None);
        let ago = |seconds| Utc::now() - chrono::TimeDelta::seconds(seconds);
        (0..50).for_each(|_| tally.end(ago(5000), false));
        (0..LATENCIES).for_each(|file| tally.end(ago(if file % 50 == 0 { 90 } else { 3 }), file == 0));
        assert!((tally.latency_p99().unwrap() - 90.0).abs() < 5.0);
        assert_eq!((tally.ended.load(Relaxed), tally.duplicates.load(Relaxed)), (50 + LATENCIES as u64, 1));
    }

    #[test]
    fn what_the_ledger_had_counts_and_the_model_in_use_is_the_last_named() {
        let tally = Tally::new("digits", Timings::none());
        let error = Some((1, "old".to_string()));
        let before =
            Counts { scored: 7, flagged: 2, rejected: 1, duplicates: 4, last_error: error, ..Counts::default() };
        tally.set_before(|_| Ok(before)).unwrap();
        tally.set_before(|_| panic!("it is known")).unwrap();
        tally.add_rows(3, 0, ["truncated"].into_iter());
        assert_eq!((tally.totals(), tally.last_error().unwrap().0), ([10, 2, 2, 4], 1));
        for version in ["1", "2"] {
            tally.set_model(version, "d");
        }
        assert_eq!(tally.model().unwrap().version, "2");
        tally.watched.store(false, Relaxed);
        assert_eq!(tally.model(), None, "let go by a reload");
    }
}
