//! Everything that is known about a run, for those who answer questions about it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::metrics::Exporter;
use super::process::Process;
use super::reloads::{Configuration, Reloads};
use super::tally::Tally;
use crate::daemon::{Condition, Hindrance, Progress, Reason, Vigil};
use crate::drift::Standing;
use crate::error::Result;
use crate::report::names::source_name;
use crate::watch;

/// How full a queue or a budget is.
type Depth = Box<dyn Fn() -> u64 + Send + Sync>;

/// How full the queues and budgets of a run are. Held by the run alone: it may hold receivers, and must not outlive it.
#[derive(Default)]
pub struct Depths(Vec<(&'static str, Depth)>);

impl Depths {
    /// Adds a queue, or a budget under the name `bytes_of_<budget>`.
    pub fn add(&mut self, name: &'static str, depth: impl Fn() -> u64 + Send + Sync + 'static) {
        self.0.push((name, Box::new(depth)));
    }
}

/// A run, as others may see it.
pub struct Board {
    /// When the run began.
    pub started: Instant,
    /// The same by the clock.
    pub started_at: DateTime<Utc>,
    /// The state folder.
    pub state: PathBuf,
    /// What is wrong.
    pub condition: Arc<Condition>,
    /// How the reloads went.
    pub reloads: Reloads,
    /// Counters.
    pub progress: Arc<Progress>,
    /// Renders the numbers, where somebody may ask for them.
    pub exporter: Option<Arc<Exporter>>,
    /// The process.
    pub process: Process,
    vigil: Vigil,
    patience: Duration,
    round: Mutex<Option<Instant>>,
    depths: Mutex<Weak<Depths>>,
    reasons: Mutex<BTreeSet<Reason>>,
}

impl Board {
    /// The board of a run that begins now. A stage may stand still for as long as `patience`; what nobody `asks` for is not
    /// measured.
    ///
    /// # Errors
    /// Those of [`Exporter::new`].
    pub fn new(state: &Path, patience: Duration, asks: bool) -> Result<Self> {
        let reasons = [Reason::Starting, Reason::DiskFull, Reason::Draining, Reason::ReloadFailed].into();
        let condition = Arc::<Condition>::default();
        let exporter = asks.then(Exporter::new).transpose()?.map(Arc::new);
        Ok(Self {
            started: Instant::now(),
            started_at: Utc::now(),
            state: state.to_path_buf(),
            reloads: Reloads::new(condition.clone()),
            condition,
            progress: Arc::new(Progress::new(exporter.clone())),
            exporter,
            process: Process::default(),
            vigil: Vigil::new(patience),
            patience,
            round: Mutex::default(),
            depths: Mutex::default(),
            reasons: Mutex::new(reasons),
        })
    }

    /// Shows queues and budgets, as long as the run holds them.
    pub fn show(&self, depths: &Arc<Depths>) {
        *self.depths.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(depths);
    }

    /// How full the queues and budgets are; none where the stages have not begun, or have ended.
    pub fn depths(&self) -> Vec<(&'static str, u64)> {
        let depths = self.depths.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        depths.iter().flat_map(|depths| depths.0.iter().map(|(name, depth)| (*name, depth()))).collect()
    }

    /// The stages that do not move though they have something in hand; among them the supervisor, once it has begun its rounds.
    pub fn stuck(&self) -> Vec<&'static str> {
        let mut stuck = self.vigil.stuck(&self.progress, &self.condition);
        let round = *self.round.lock().unwrap_or_else(PoisonError::into_inner);
        if round.is_some_and(|round| round.elapsed() > self.patience) {
            stuck.push("supervisor");
        }
        stuck
    }

    /// Shows that the supervisor makes its rounds.
    pub fn make_round(&self) {
        *self.round.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Every condition that holds or ever held, and whether it holds.
    pub fn conditions_ever(&self) -> Vec<(Reason, bool)> {
        let held: BTreeSet<Reason> = self.condition.list().into_iter().map(|held| held.reason).collect();
        let mut ever = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        ever.extend(held.iter().cloned());
        ever.iter().map(|reason| (reason.clone(), held.contains(reason))).collect()
    }

    /// To be called once a second.
    pub fn tick(&self, now: Instant) {
        self.progress.tallies().iter().for_each(|tally| tally.sample(now));
        // What holds between two scrapes only has been there too.
        self.conditions_ever();
    }

    /// What `/status` says.
    pub fn status(&self) -> Status {
        let tallies = self.progress.tallies();
        let watched = tallies.iter().filter(|tally| tally.watched.load(Relaxed));
        let conditions: Vec<Obstacle> = self.condition.list().into_iter().map(Obstacle::from).collect();
        let stuck: Vec<String> = self.stuck().into_iter().map(Into::into).collect();
        Status {
            ready: conditions.iter().all(|held| !held.hinders) && stuck.is_empty(),
            conditions,
            configuration: Some(self.reloads.configuration()),
            stuck,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            started_at: self.started_at,
            uptime_s: self.started.elapsed().as_secs_f64(),
            resident_bytes: self.process.resident_bytes.load(Relaxed),
            open_files: self.process.open_files.load(Relaxed),
            free_bytes: self.process.free_bytes.load(Relaxed),
            depths: self.depths().into_iter().map(|(name, depth)| (name.into(), depth)).collect(),
            pipelines: watched.map(|tally| (tally.pipeline.clone(), line(tally))).collect(),
        }
    }
}

/// Seconds since then; 0 where the clock has been set back.
pub fn age_s(at: DateTime<Utc>) -> f64 {
    (Utc::now() - at).as_seconds_f64().max(0.0)
}

/// A run as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whether nothing hinders it.
    pub ready: bool,
    /// What hinders it, and what is to be mended though it does not.
    pub conditions: Vec<Obstacle>,
    /// Pipelines and models as they run.
    pub configuration: Option<Configuration>,
    /// Stages that do not move though they have something in hand.
    pub stuck: Vec<String>,
    /// Version of the program.
    pub version: String,
    /// Number of the process.
    pub pid: u32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Seconds since then.
    pub uptime_s: f64,
    /// Resident memory, bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Free bytes of the filesystem of the state folder.
    pub free_bytes: u64,
    /// How full queues (things) and budgets (bytes) are.
    pub depths: BTreeMap<String, u64>,
    /// By pipeline.
    pub pipelines: BTreeMap<String, Line>,
}

/// A condition that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// A stable word.
    pub reason: String,
    /// What somebody who is to mend it needs to know.
    pub detail: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Whether the service is not ready while it holds.
    pub hinders: bool,
    /// What to do about it, where the detail does not say.
    pub to_do: Option<String>,
}

impl From<Hindrance> for Obstacle {
    fn from(held: Hindrance) -> Self {
        let (hinders, to_do) = (held.reason.hinders(), held.reason.to_do().map(Into::into));
        Self { reason: held.reason.to_string(), detail: held.detail, since: held.since, hinders, to_do }
    }
}

/// Files that wait for long: their writers do not close them, or go on writing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// How many.
    pub files: u64,
    /// The one that waits longest, as reports would call it.
    pub longest: String,
    /// Seconds since it was found.
    pub seconds: f64,
}

impl From<watch::Held> for Held {
    fn from(held: watch::Held) -> Self {
        let seconds = held.since.elapsed().as_secs_f64();
        Self { files: held.files as u64, longest: source_name(&held.name), seconds }
    }
}

/// A pipeline as it is now. What is `None` is not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// Files in the inbox that have not been taken up.
    pub waiting: Option<u64>,
    /// Whether there are more than that.
    pub waiting_more: bool,
    /// Those of them that wait for long.
    pub held: Option<Held>,
    /// Files in the stages.
    pub under_way: Option<u64>,
    /// Files in the inbox that are done, and for which `[after]` is not.
    pub after_waiting: Option<u64>,
    /// Frames scored.
    pub scored: u64,
    /// Frames flagged.
    pub flagged: u64,
    /// Frames scored by this process that are of other sizes than the model was calibrated on: nothing is certified for them.
    pub other_sizes: u64,
    /// Files and frames rejected.
    pub rejected: u64,
    /// Files whose content had been scored under another name.
    pub duplicates: u64,
    /// Frames scored a second, over the last minute; only who scores them can tell.
    pub rate: Option<f64>,
    /// Seconds since the last commit of this process.
    pub last_commit_age_s: Option<f64>,
    /// Seconds from found to committed that 99 % of the last thousand files stayed below.
    pub latency_p99_s: Option<f64>,
    /// Version of the model.
    pub model_version: Option<String>,
    /// Digest of the model.
    pub model_digest: Option<String>,
    /// How the watch for drift stands.
    pub drift: Option<Standing>,
    /// Last error, and when, milliseconds since 1970.
    pub last_error: Option<(i64, String)>,
}

fn line(tally: &Tally) -> Line {
    let [scored, flagged, rejected, duplicates] = tally.totals();
    let model = tally.model();
    Line {
        waiting: Some(tally.waiting.load(Relaxed)),
        waiting_more: tally.waiting_more.load(Relaxed),
        held: tally.held().map(Held::from),
        under_way: Some(tally.under_way()),
        after_waiting: Some(tally.owed.load(Relaxed)),
        scored,
        flagged,
        other_sizes: tally.other_sizes.load(Relaxed),
        rejected,
        duplicates,
        rate: Some(tally.rate()),
        last_commit_age_s: tally.last_commit().map(age_s),
        latency_p99_s: tally.latency_p99(),
        model_version: model.as_ref().map(|model| model.version.clone()),
        model_digest: model.map(|model| model.digest),
        drift: tally.drift(),
        last_error: tally.last_error(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Failure, Kind};

    #[test]
    fn what_is_asked_shows_what_hinders_and_forgets_what_a_reload_let_go() {
        let board = Board::new(Path::new("/"), Duration::ZERO, true).unwrap();
        let tally = board.progress.tally("digits");
        tally.set_model("0001-ab", "abcdef");
        board.condition.set(Reason::InboxUnreachable("digits".into()), "stale handle");
        let status = board.status();
        assert!(!status.ready && status.conditions[0].reason == "inbox_unreachable:digits");
        assert_eq!(status.pipelines["digits"].model_version.as_deref(), Some("0001-ab"));
        board.tick(Instant::now());
        board.condition.clear(&Reason::InboxUnreachable("digits".into()));
        assert!(board.status().ready, "the supervisor has not begun its rounds");
        let held: Vec<_> =
            board.conditions_ever().into_iter().filter(|(reason, _)| reason.pipeline().is_some()).collect();
        let inbox = Reason::InboxUnreachable("digits".into());
        assert_eq!(held, [(inbox, false)], "a gauge falls to 0, it does not vanish");
        board.make_round();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(board.status().stuck, ["supervisor"]);
        board.progress.keep(&["stars"]);
        assert!(board.status().pipelines.is_empty());
        assert!(!board.exporter.as_ref().unwrap().render(&board).contains("anomalyd_model_info{"));
    }

    #[test]
    fn what_does_not_hinder_is_shown_by_a_ready_service() {
        let board = Board::new(Path::new("/"), Duration::ZERO, true).unwrap();
        board.reloads.fail(&Failure::new(Kind::Settings, "digits.toml:3: no such key"));
        board.condition.set(Reason::AfterFailing("digits".into()), "no rights");
        let status = board.status();
        assert!(status.ready && status.conditions.iter().all(|held| !held.hinders), "{status:?}");
        assert_eq!(status.configuration.unwrap().refused.as_deref(), Some("digits.toml:3: no such key"));
        let text = board.exporter.as_ref().unwrap().render(&board);
        for sample in [
            "anomalyd_ready 1",
            "anomalyd_condition{reason=\"reload_failed\"} 1",
            "anomalyd_condition{reason=\"after_failing\",pipeline=\"digits\"} 1",
            "anomalyd_config_last_reload_successful 0",
            "anomalyd_reloads_total{outcome=\"failure\"} 1",
            "anomalyd_reloads_total{outcome=\"success\"} 0",
        ] {
            assert!(text.lines().any(|line| line == sample), "no {sample} in {text}");
        }
        board.reloads.succeed();
        let text = board.exporter.as_ref().unwrap().render(&board);
        assert!(text.lines().any(|line| line == "anomalyd_config_last_reload_successful 1"), "{text}");
    }
}
