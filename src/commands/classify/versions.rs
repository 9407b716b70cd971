//! `anomalyd classify list|promote|rollback`: the classifiers of a pipeline, and which one is in use.

use std::fmt::Write;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::classify::card::{self, Card};
use crate::commands::models::{Status, name_of, say_json};
use crate::commands::say;
use crate::error::{Failure, Kind, Result};
use crate::store::{self, Event, History};

/// Arguments of `classify list`.
#[derive(Debug, clap::Args)]
pub struct List {
    /// The pipeline's name.
    pipeline: String,
    /// Print an array of objects.
    #[arg(long)]
    json: bool,
}

/// Arguments of `classify promote`.
#[derive(Debug, clap::Args)]
pub struct Promote {
    /// The pipeline's name.
    pipeline: String,
    /// The version, its number, or the beginning of its name.
    version: String,
    /// Why; kept in the history.
    #[arg(long)]
    reason: String,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `classify rollback`.
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// The pipeline's name.
    pipeline: String,
    /// Why; kept in the history.
    #[arg(long)]
    reason: String,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// One classifier in the list.
#[derive(Debug, Serialize)]
struct Line {
    version: String,
    status: Status,
    #[serde(flatten)]
    facts: Option<Facts>,
    /// Of the last thing that happened to it.
    reason: Option<String>,
    /// Why its card cannot be read.
    damaged: Option<String>,
}

#[derive(Debug, Serialize)]
struct Facts {
    created_at: DateTime<Utc>,
    kinds: Vec<String>,
    /// Frames of train, validation and test.
    frames: [usize; 3],
    validation_accuracy: f64,
    test_accuracy: Option<f64>,
}

/// Runs `classify list`.
///
/// # Errors
/// [`Kind::Model`] where there are none, or for a history that cannot be read; [`Kind::Io`].
pub fn list(args: &List, models: &Path) -> Result<()> {
    let pipeline = name_of(&args.pipeline);
    let home = card::home(models, &pipeline);
    let (current, history) = (card::current(models, &pipeline)?, History::read(&home)?);
    let line = |version: String| {
        let read = card::read(&home.join(&version));
        let status = Status::of(&version, current.as_deref(), &history);
        let reason = history.last_of(&version).map(|entry| entry.reason.clone());
        let damaged = read.as_ref().err().map(|failure| failure.message.clone());
        Line { version, status, facts: read.ok().map(facts), reason, damaged }
    };
    let lines: Vec<Line> = store::names(&home)?.into_iter().map(line).collect();
    if lines.is_empty() {
        return Err(Failure::new(Kind::Model, format!("{}: no classifiers", home.display()))
            .hint(format!("train one: anomalyd classify train {pipeline} --data DIR --network lenet5")));
    }
    if args.json { say_json(&lines) } else { say(&table(&lines)) }
}

fn facts(card: Card) -> Facts {
    Facts {
        created_at: card.created_at,
        frames: [card.data.train.frames, card.data.validation.frames, card.data.test.frames],
        validation_accuracy: card.validation.accuracy,
        test_accuracy: card.test.map(|figures| figures.accuracy),
        kinds: card.classes,
    }
}

fn table(lines: &[Line]) -> String {
    let mut text = format!(
        "{:<14} {:<9}  {:<16} {:>8} {:>10} {:>7}  kinds\n",
        "version", "status", "made (UTC)", "frames", "validation", "test"
    );
    for Line { version, status, facts, reason, damaged } in lines {
        let _ = match facts {
            None => writeln!(text, "{version:<14} {:<9}  {}", status.as_str(), damaged.as_deref().unwrap_or_default()),
            Some(facts) => {
                let made = facts.created_at.format("%Y-%m-%d %H:%M");
                let (all, validation) = (facts.frames.iter().sum::<usize>(), 100.0 * facts.validation_accuracy);
                let test = facts.test_accuracy.map_or("-".into(), |accuracy| format!("{:.2} %", 100.0 * accuracy));
                let kinds = facts.kinds.join(" ");
                writeln!(
                    text,
                    "{version:<14} {:<9}  {made:<16} {all:>8} {validation:>8.2} % {test:>7}  {kinds}",
                    status.as_str()
                )
            }
        };
        if let Some(reason) = reason {
            let _ = writeln!(text, "{:<14} {reason}", "");
        }
    }
    text
}

/// Runs `classify promote`.
///
/// # Errors
/// [`Kind::Model`] for a classifier that is missing or damaged, [`Kind::Io`].
pub fn promote(args: &Promote, models: &Path) -> Result<()> {
    let pipeline = name_of(&args.pipeline);
    let shelf = card::shelf(models, &pipeline)?;
    let version = shelf.find(&args.version)?;
    let is_new = shelf.promote(&version, Event::Promoted, &args.reason, None)?;
    told(&pipeline, &version, is_new, args.json)
}

/// Runs `classify rollback`.
///
/// # Errors
/// [`Kind::Model`] where no classifier was in use before, or it is gone or damaged; [`Kind::Io`].
pub fn roll_back(args: &Rollback, models: &Path) -> Result<()> {
    let pipeline = name_of(&args.pipeline);
    let version = card::shelf(models, &pipeline)?.roll_back(&args.reason).map_err(|failure| match failure.kind {
        Kind::Model => {
            let pipeline = &pipeline;
            failure
                .hint(format!("see them (anomalyd classify list {pipeline}), and name one: anomalyd classify promote"))
        }
        _ => failure,
    })?;
    told(&pipeline, &version, true, args.json)
}

fn told(pipeline: &str, version: &str, is_new: bool, json: bool) -> Result<()> {
    if json {
        return say_json(&serde_json::json!({ "pipeline": pipeline, "current": version }));
    }
    say(&format!("{pipeline}: {version} is {}the current classifier\n", if is_new { "" } else { "already " }))
}
