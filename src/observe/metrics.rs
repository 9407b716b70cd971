//! Numbers for Prometheus: what there is, what it is called, and the histograms that the stages write to as they work.
//!
//! Counters and gauges are copied from the [`Board`] at each scrape; only histograms cost anything between scrapes. Samples are
//! folded into their buckets every few seconds, so that memory is bounded whether anybody scrapes or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::board::Board;
use super::reloads::Configuration;
use super::tally::Tally;
use crate::error::{Failure, Kind, Result};

/// Bounds of the histogram of stages, seconds.
const STAGE_BUCKETS: [f64; 14] = [1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
/// Bounds of the histogram of whole files, seconds.
const FILE_BUCKETS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];
/// Seconds a stage takes.
const STAGE_SECONDS: &str = "anomalyd_stage_seconds";
/// Seconds from found to committed.
const FILE_SECONDS: &str = "anomalyd_file_seconds";
const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// What a counter, gauge or histogram is called, in what unit it counts, what it means.
type Description = (&'static str, Unit, &'static str);

const COUNTERS: [Description; 10] = [
    ("anomalyd_files_found_total", Unit::Count, "Files sent to the stages."),
    ("anomalyd_files_ended_total", Unit::Count, "Files acknowledged in the ledger, or gone before they were read."),
    ("anomalyd_files_duplicate_total", Unit::Count, "Files whose content had been scored under another name."),
    ("anomalyd_frames_scored_total", Unit::Count, "Frames with a committed row in the table scores."),
    ("anomalyd_frames_flagged_total", Unit::Count, "Frames with a committed row in the table anomalies."),
    (
        "anomalyd_frames_other_size_total",
        Unit::Count,
        "Frames scored that are of other sizes than the model was calibrated on: nothing is certified for them.",
    ),
    ("anomalyd_rejected_total", Unit::Count, "Committed rows in the table rejected, by reason."),
    ("anomalyd_read_bytes_total", Unit::Bytes, "Bytes of files read whole."),
    ("anomalyd_reloads_total", Unit::Count, "Reloads of pipelines and models, by outcome: success or failure."),
    ("anomalyd_retries_total", Unit::Count, "Files looked at again because they changed or could not be read yet."),
];
const GAUGES: [Description; 20] = [
    ("anomalyd_ready", Unit::Count, "1 where no condition hinders the service, else 0."),
    ("anomalyd_healthy", Unit::Count, "1 where every stage that has something in hand moves, else 0."),
    (
        "anomalyd_condition",
        Unit::Count,
        "1 while something is wrong, by reason, and by pipeline where it is about one.",
    ),
    (
        "anomalyd_config_last_reload_successful",
        Unit::Count,
        "0 where the last reload was refused: what runs is not what is on disk.",
    ),
    (
        "anomalyd_config_last_reload_success_timestamp_seconds",
        Unit::Seconds,
        "When the pipelines and models that run were loaded, since 1970.",
    ),
    ("anomalyd_queue_depth", Unit::Count, "Things that wait in front of a stage: jobs, items, rows."),
    ("anomalyd_budget_held_bytes", Unit::Bytes, "Bytes held of a budget: files being decoded, frames on their way."),
    ("anomalyd_inbox_waiting_files", Unit::Count, "Files found in the inbox and not yet sent to the stages."),
    ("anomalyd_files_under_way", Unit::Count, "Files in the stages."),
    ("anomalyd_after_waiting_files", Unit::Count, "Files in the inbox that are done, and for which [after] is not."),
    ("anomalyd_last_commit_timestamp_seconds", Unit::Seconds, "When the last batch was committed, since 1970."),
    ("anomalyd_last_commit_age_seconds", Unit::Seconds, "Seconds since the last batch was committed."),
    (
        "anomalyd_drift_log10_martingale",
        Unit::Count,
        "log10 of the martingale that bets on drift: on=scores, on=raw (a third of the largest of the raw statistics).",
    ),
    ("anomalyd_drift_raised", Unit::Count, "1 while frames have drifted: certificates are void, else 0."),
    ("anomalyd_build_info", Unit::Count, "1, with the version of the program."),
    ("anomalyd_uptime_seconds", Unit::Seconds, "Seconds since the process began its work."),
    ("anomalyd_state_free_bytes", Unit::Bytes, "Free bytes of the filesystem that holds ledger and reports."),
    ("process_resident_memory_bytes", Unit::Bytes, "Resident memory of the process."),
    ("process_open_fds", Unit::Count, "Open file descriptors of the process."),
    ("process_start_time_seconds", Unit::Seconds, "When the process began its work, since 1970."),
];
const HISTOGRAMS: [Description; 2] = [
    (STAGE_SECONDS, Unit::Seconds, "Seconds: read, commit (a batch), decode, prepare and score (a frame)."),
    (FILE_SECONDS, Unit::Seconds, "Seconds from a file's being found to its being committed."),
];

/// How long the work on a pipeline's images takes, in seconds.
pub struct Timings {
    /// Reading a file whole.
    pub read: Histogram,
    /// Decoding a frame.
    pub decode: Histogram,
    /// Preparing a frame.
    pub prepare: Histogram,
    /// Scoring a frame: its share of a batch.
    pub score: Histogram,
    /// Committing a batch.
    pub commit: Histogram,
    /// A file's whole way, from found to committed.
    pub file: Histogram,
}

impl Timings {
    /// Timings that nobody looks at, and that cost nothing.
    pub const fn none() -> Self {
        const NONE: Histogram = Histogram::noop();
        Self { read: NONE, decode: NONE, prepare: NONE, score: NONE, commit: NONE, file: NONE }
    }
}

/// Renders the numbers of a run in the text format of Prometheus.
pub struct Exporter {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Exporter {
    /// An exporter of its own: nothing is installed for the whole process.
    ///
    /// # Errors
    /// [`Kind::Internal`] for bounds of buckets that cannot be used.
    pub fn new() -> Result<Self> {
        let named = |name: &str| Matcher::Full(name.to_string());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(named(STAGE_SECONDS), &STAGE_BUCKETS)
            .and_then(|builder| builder.set_buckets_for_metric(named(FILE_SECONDS), &FILE_BUCKETS))
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot set up the metrics: {error}")))?
            .build_recorder();
        let text = |text: &'static str| SharedString::const_str(text);
        for (name, unit, help) in COUNTERS {
            recorder.describe_counter(name.into(), Some(unit), text(help));
        }
        for (name, unit, help) in GAUGES {
            recorder.describe_gauge(name.into(), Some(unit), text(help));
        }
        for (name, unit, help) in HISTOGRAMS {
            recorder.describe_histogram(name.into(), Some(unit), text(help));
        }
        let handle = recorder.handle();
        Ok(Self { recorder, handle })
    }

    /// The histograms of a pipeline; the same ones for the same name.
    pub fn timings(&self, pipeline: &str) -> Timings {
        let histogram = |key: Key| self.recorder.register_histogram(&key, &METADATA);
        let stage = |stage| histogram(key(STAGE_SECONDS, &[("pipeline", pipeline), ("stage", stage)]));
        Timings {
            read: stage("read"),
            decode: stage("decode"),
            prepare: stage("prepare"),
            score: stage("score"),
            commit: stage("commit"),
            file: histogram(key(FILE_SECONDS, &[("pipeline", pipeline)])),
        }
    }

    /// Folds what has been measured into the buckets; to be called every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// All numbers as they are now.
    pub fn render(&self, board: &Board) -> String {
        self.copy_run(board);
        let tallies = board.progress.tallies();
        tallies.iter().for_each(|tally| self.copy_pipeline(tally));
        self.handle.render() + &models_in_use(&tallies)
    }

    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], value: u64) {
        self.recorder.register_counter(&key(name, labels), &METADATA).absolute(value);
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.recorder.register_gauge(&key(name, labels), &METADATA).set(value);
    }

    fn copy_run(&self, board: &Board) {
        let truth = |yes: bool| f64::from(u8::from(yes));
        let conditions = board.conditions_ever();
        self.gauge("anomalyd_ready", &[], truth(conditions.iter().all(|(reason, held)| !held || !reason.hinders())));
        self.gauge("anomalyd_healthy", &[], truth(board.stuck().is_empty()));
        for (reason, held) in conditions {
            let pipeline = reason.pipeline().map(|pipeline| ("pipeline", pipeline));
            let labels: Vec<_> = [("reason", reason.word())].into_iter().chain(pipeline).collect();
            self.gauge("anomalyd_condition", &labels, truth(held));
        }
        let Configuration { loaded_at, refused, reloads_succeeded, reloads_failed, .. } = board.reloads.configuration();
        self.gauge("anomalyd_config_last_reload_successful", &[], truth(refused.is_none()));
        let loaded_s = loaded_at.timestamp_millis() as f64 / 1e3;
        self.gauge("anomalyd_config_last_reload_success_timestamp_seconds", &[], loaded_s);
        self.count("anomalyd_reloads_total", &[("outcome", "success")], reloads_succeeded);
        self.count("anomalyd_reloads_total", &[("outcome", "failure")], reloads_failed);
        for (name, depth) in board.depths() {
            match name.strip_prefix("bytes_of_") {
                Some(budget) => self.gauge("anomalyd_budget_held_bytes", &[("budget", budget)], depth as f64),
                None => self.gauge("anomalyd_queue_depth", &[("queue", name)], depth as f64),
            }
        }
        self.gauge("anomalyd_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        self.gauge("anomalyd_uptime_seconds", &[], board.started.elapsed().as_secs_f64());
        self.gauge("process_start_time_seconds", &[], board.started_at.timestamp_millis() as f64 / 1e3);
        let process = &board.process;
        self.gauge("anomalyd_state_free_bytes", &[], process.free_bytes.load(Relaxed) as f64);
        self.gauge("process_resident_memory_bytes", &[], process.resident_bytes.load(Relaxed) as f64);
        self.gauge("process_open_fds", &[], process.open_files.load(Relaxed) as f64);
    }

    fn copy_pipeline(&self, tally: &Tally) {
        let labels = [("pipeline", tally.pipeline.as_str())];
        let counts = [
            ("anomalyd_files_found_total", &tally.found),
            ("anomalyd_files_ended_total", &tally.ended),
            ("anomalyd_files_duplicate_total", &tally.duplicates),
            ("anomalyd_frames_scored_total", &tally.scored),
            ("anomalyd_frames_flagged_total", &tally.flagged),
            ("anomalyd_frames_other_size_total", &tally.other_sizes),
            ("anomalyd_read_bytes_total", &tally.read_bytes),
            ("anomalyd_retries_total", &tally.retries),
        ];
        for (name, count) in counts {
            self.count(name, &labels, count.load(Relaxed));
        }
        for (reason, count) in tally.rejections() {
            self.count("anomalyd_rejected_total", &[labels[0], ("reason", reason)], count);
        }
        let of_watched = |files: &AtomicU64| if tally.watched.load(Relaxed) { files.load(Relaxed) as f64 } else { 0.0 };
        self.gauge("anomalyd_inbox_waiting_files", &labels, of_watched(&tally.waiting));
        self.gauge("anomalyd_after_waiting_files", &labels, of_watched(&tally.owed));
        self.gauge("anomalyd_files_under_way", &labels, tally.under_way() as f64);
        if let Some(drift) = tally.drift() {
            for (on, value) in [("scores", drift.scores_log10), ("raw", drift.raw_log10)] {
                self.gauge("anomalyd_drift_log10_martingale", &[labels[0], ("on", on)], value);
            }
        }
        let raised = tally.drift().is_some_and(|drift| drift.raised);
        self.gauge("anomalyd_drift_raised", &labels, f64::from(u8::from(raised)));
        if let Some(at) = tally.last_commit() {
            self.gauge("anomalyd_last_commit_timestamp_seconds", &labels, at.timestamp_millis() as f64 / 1e3);
            self.gauge("anomalyd_last_commit_age_seconds", &labels, super::board::age_s(at));
        }
    }
}

/// The models in use, and none that were: what the recorder has been told of it shows for ever, and a service that runs for years
/// is given many models.
fn models_in_use(tallies: &[Arc<Tally>]) -> String {
    let mut text =
        String::from("# HELP anomalyd_model_info 1, with the model in use.\n# TYPE anomalyd_model_info gauge\n");
    for tally in tallies {
        let Some(model) = tally.model() else { continue };
        // As many digits as tell models apart.
        let digest = model.digest.get(..12).unwrap_or(&model.digest);
        let labels = [("pipeline", &*tally.pipeline), ("model_version", &*model.version), ("model_digest", digest)];
        let labels = labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).join(",");
        text += &format!("anomalyd_model_info{{{labels}}} 1\n");
    }
    text + "\n"
}

/// A label's value as the format wants it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, value.to_string())).collect();
    Key::from_parts(name, labels)
}
