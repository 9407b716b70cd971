//! `anomalyd models list`.

use std::fmt::Write;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{name_of, say, say_json};
use crate::error::{Failure, Kind, Result};
use crate::store::{self, Event, History, Manifest};
use crate::train::seal::Opening;

/// Arguments of `models list`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline's name [default: all that have versions].
    pipeline: Option<String>,
    /// Print an array of objects.
    #[arg(long)]
    json: bool,
}

/// One version in the list.
#[derive(Debug, Serialize)]
pub struct Line {
    pipeline: String,
    /// Its name.
    pub version: String,
    /// What it is to the pipeline.
    pub status: Status,
    #[serde(flatten)]
    facts: Option<Facts>,
    /// Of the last thing that happened to it.
    reason: Option<String>,
    /// Why its manifest cannot be read.
    damaged: Option<String>,
}

/// What a version is to its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// In use.
    Current,
    /// In use before: where a rollback leads to.
    Previous,
    /// Waits for somebody to promote it.
    Candidate,
    /// The gate kept it out.
    Refused,
    /// Was in use once.
    Retired,
}

impl Status {
    /// Of a version, by what is in use and what happened to it.
    pub fn of(version: &str, current: Option<&str>, history: &History) -> Self {
        let previous = current.and_then(|current| history.before(current));
        match history.last_of(version).map(|entry| entry.event) {
            _ if current == Some(version) => Self::Current,
            _ if previous.as_deref() == Some(version) => Self::Previous,
            Some(Event::Refused) => Self::Refused,
            Some(Event::Promoted | Event::RolledBack) => Self::Retired,
            Some(Event::Waits | Event::Pruned) | None => Self::Candidate,
        }
    }

    /// The word in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Candidate => "candidate",
            Self::Refused => "refused",
            Self::Retired => "retired",
        }
    }
}

#[derive(Debug, Serialize)]
struct Facts {
    created_at: DateTime<Utc>,
    frames: usize,
    train: usize,
    validation: usize,
    calibration: usize,
    parameters: usize,
    epochs: usize,
    validation_nll: Option<f64>,
    validation_kl: Option<f64>,
    active_units: Option<usize>,
    data: Vec<String>,
    /// Looks at the figures of its test split.
    test_openings: Vec<Opening>,
}

/// Runs `models list`.
///
/// # Errors
/// [`Kind::Model`] where there are no versions, [`Kind::Io`].
pub fn run(args: &Args, models: &Path) -> Result<()> {
    let pipelines = match &args.pipeline {
        Some(given) => vec![name_of(given)],
        None => store::names(models)?,
    };
    let mut lines = Vec::new();
    for pipeline in &pipelines {
        lines.extend(self::lines(models, pipeline)?);
    }
    if lines.is_empty() {
        let place = args.pipeline.as_ref().map_or_else(|| models.to_path_buf(), |given| models.join(name_of(given)));
        return Err(Failure::new(Kind::Model, format!("{}: no versions", place.display()))
            .hint("train one: anomalyd train PIPELINE --data DIR, or name another folder with --models"));
    }
    if args.json { say_json(&lines) } else { say(&table(&lines)) }
}

/// The versions of a pipeline, the oldest first.
///
/// # Errors
/// [`Kind::Io`], [`Kind::Model`] for a history that cannot be read.
pub fn lines(models: &Path, pipeline: &str) -> Result<Vec<Line>> {
    let home = store::home(models, pipeline);
    let (current, history) = (store::current(models, pipeline)?, History::read(&home)?);
    let line = |version: String| {
        let status = Status::of(&version, current.as_deref(), &history);
        let read = store::read_manifest(&home.join(&version));
        let reason = history.last_of(&version).map(|entry| entry.reason.clone());
        let damaged = read.as_ref().err().map(|failure| failure.message.clone());
        Line { pipeline: pipeline.into(), version, status, facts: read.ok().map(facts), reason, damaged }
    };
    Ok(store::names(&home)?.into_iter().map(line).collect())
}

fn facts(manifest: Manifest) -> Facts {
    let best = manifest.history.best.checked_sub(1).and_then(|at| manifest.history.epochs.get(at));
    Facts {
        created_at: manifest.created_at,
        frames: manifest.data.frames,
        train: manifest.data.train,
        validation: manifest.data.validation,
        calibration: manifest.data.calibration,
        parameters: manifest.parameters,
        epochs: manifest.history.epochs.len(),
        validation_nll: best.map(|epoch| epoch.validation_nll),
        validation_kl: best.map(|epoch| epoch.validation_kl),
        active_units: best.map(|epoch| epoch.active_units),
        data: manifest.data.given,
        test_openings: manifest.data.test.map_or(Vec::new(), |test| test.looks()),
    }
}

fn table(lines: &[Line]) -> String {
    let mut text = String::new();
    for pipeline in lines.chunk_by(|a, b| a.pipeline == b.pipeline) {
        let _ = writeln!(text, "{}", pipeline[0].pipeline);
        let head = ["version", "status", "made (UTC)", "frames", "calibration", "nats", "KL"];
        let [version, status, made, frames, calibration, nll, kl] = head;
        let _ = writeln!(
            text,
            "  {version:<14} {status:<9}  {made:<16} {frames:>8} {calibration:>11} {nll:>9} {kl:>7}  data"
        );
        pipeline.iter().for_each(|line| text.push_str(&row(line)));
    }
    text
}

fn row(line: &Line) -> String {
    let (version, status) = (&line.version, line.status.as_str());
    let mut text = match &line.facts {
        None => format!("  {version:<14} {status:<9}  {}\n", line.damaged.as_deref().unwrap_or_default()),
        Some(facts) => {
            let made = facts.created_at.format("%Y-%m-%d %H:%M").to_string();
            let number = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.2}"));
            let (nll, kl) = (number(facts.validation_nll), number(facts.validation_kl));
            let (frames, calibration, data) = (facts.frames, facts.calibration, facts.data.join(" "));
            format!("  {version:<14} {status:<9}  {made:<16} {frames:>8} {calibration:>11} {nll:>9} {kl:>7}  {data}\n")
        }
    };
    for look in line.facts.iter().flat_map(|facts| &facts.test_openings) {
        let _ = writeln!(text, "  {:<14} test split opened {look}", "");
    }
    if let Some(reason) = &line.reason {
        let _ = writeln!(text, "  {:<14} {reason}", "");
    }
    text
}
