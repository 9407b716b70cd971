//! `anomalyd models`: the versions of the models, and which one is in use.

mod diff;
mod judge;
mod list;
mod prune;
mod show;

pub use list::Status;

use std::path::Path;

use serde::Serialize;

use super::{report, say};
use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;
use crate::store::{Event, Shelf};

/// Arguments of `models`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// The versions there are, with status, date, data and key figures.
    List(list::Args),
    /// The manifest of a version, and what happened to it.
    Show(show::Args),
    /// What two versions differ in: pipeline, data, figures, digests.
    Diff(diff::Args),
    /// Take a candidate through the gate once more, with the anomalies and labels that are known now.
    Judge(judge::Args),
    /// Make a version the current one.
    Promote(Promote),
    /// Go back to the version that was promoted before the current one.
    Rollback(Rollback),
    /// Delete old versions.
    Prune(prune::Args),
}

/// Arguments of `promote`.
#[derive(Debug, clap::Args)]
struct Promote {
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

/// Arguments of `rollback`.
#[derive(Debug, clap::Args)]
struct Rollback {
    /// The pipeline's name.
    pipeline: String,
    /// Why; kept in the history.
    #[arg(long)]
    reason: String,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `models`.
///
/// # Errors
/// [`Kind::Model`] for a version that is missing or damaged, [`Kind::Io`].
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let models = &settings.models;
    match &args.command {
        Command::List(args) => list::run(args, models),
        Command::Show(args) => show::run(args, models),
        Command::Diff(args) => diff::run(args, models),
        Command::Judge(args) => judge::run(args, settings),
        Command::Promote(args) => promote(args, models),
        Command::Rollback(args) => roll_back(args, models),
        Command::Prune(args) => prune::run(args, settings),
    }
}

fn promote(args: &Promote, models: &Path) -> Result<()> {
    let pipeline = name_of(&args.pipeline);
    let shelf = Shelf::open(models, &pipeline)?;
    let version = shelf.find(&args.version)?;
    let is_new = shelf.promote(&version, Event::Promoted, &args.reason, None)?;
    if is_new {
        report::renew(models, &pipeline, &version);
    }
    told(&pipeline, &version, is_new, args.json)
}

fn roll_back(args: &Rollback, models: &Path) -> Result<()> {
    let pipeline = name_of(&args.pipeline);
    let shelf = Shelf::open(models, &pipeline)?;
    let version = shelf.roll_back(&args.reason)?;
    report::renew(models, &pipeline, &version);
    told(&pipeline, &version, true, args.json)
}

fn told(pipeline: &str, version: &str, is_new: bool, json: bool) -> Result<()> {
    if json {
        return say_json(&serde_json::json!({ "pipeline": pipeline, "current": version }));
    }
    say(&format!("{pipeline}: {version} is {}the current version\n", if is_new { "" } else { "already " }))
}

/// The name a pipeline's versions go by, of a name or of the path of its file.
pub fn name_of(given: &str) -> String {
    let path = Path::new(given);
    let stem = path.file_stem().filter(|_| given.ends_with(".toml")).or(path.file_name());
    stem.map_or_else(|| given.to_string(), |name| name.to_string_lossy().into_owned())
}

/// Prints a value as JSON.
///
/// # Errors
/// [`Kind::Internal`], [`Kind::Io`] when it cannot be printed.
pub fn say_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the result: {error}")))?;
    say(&format!("{text}\n"))
}
