//! One file a subcommand: its arguments and what it does. Results go to stdout, everything else to stderr.

#[macro_use]
mod output;

pub mod ablate;
mod candidate;
mod cells;
pub mod check;
pub mod classify;
pub mod compact;
pub mod completions;
pub mod demo;
pub mod denoise;
pub mod drift;
pub mod evaluate;
pub mod evidence;
pub mod generate;
pub mod inspect;
pub mod interpolate;
pub mod label;
pub mod labelled;
pub mod latent;
pub mod ledger;
pub mod man;
pub mod masked;
mod material;
pub mod models;
pub mod origin;
pub mod overrides;
mod past;
mod progress;
pub mod promotion;
pub mod query;
pub mod report;
pub mod retrain;
pub mod score;
pub mod show;
pub mod simulate;
pub mod status;
mod steps;
mod summary;
mod test_split;
pub mod train;
pub mod watch;
mod whereabouts;

use std::path::{Path, PathBuf};

use crate::cli::Command;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use output::{all_printed, say};

/// Runs one subcommand.
///
/// # Errors
/// Whatever the subcommand fails with.
pub fn run(command: Command, settings: &Settings) -> Result<()> {
    dispatch(command, settings)?;
    all_printed()
}

fn dispatch(command: Command, settings: &Settings) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args, settings),
        Command::Watch(args) => watch::run(&args, settings),
        Command::Check(args) => check::run(&args, settings),
        Command::Score(args) => score::run(&args, settings),
        Command::Status(args) => status::run(&args, settings),
        Command::Drift(args) => drift::run(&args, settings),
        Command::Compact(args) => compact::run(&args, settings),
        Command::Query(args) => query::run(&args, settings),
        Command::Ledger(args) => ledger::run(&args, settings),
        Command::Show(args) => show::run(&args, settings),
        Command::Inspect(args) => inspect::run(&args, settings),
        Command::Train(args) => train::run(&args, settings),
        Command::Report(args) => report::run(&args, settings),
        Command::Retrain(args) => retrain::run(&args, settings),
        Command::Label(args) => label::run(&args, settings),
        Command::Evaluate(args) => evaluate::run(&args, settings),
        Command::Ablate(args) => ablate::run(&args, settings),
        Command::Generate(args) => generate::run(&args, settings),
        Command::Classify(args) => classify::run(&args, settings),
        Command::Interpolate(args) => interpolate::run(&args, settings),
        Command::Latent(args) => latent::run(&args, settings),
        Command::Evidence(args) => evidence::run(&args, settings),
        Command::Models(args) => models::run(&args, settings),
        Command::Denoise(args) => denoise::run(&args, settings),
        Command::Simulate(args) => simulate::run(&args, settings),
        Command::Man(args) => man::run(&args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Every pipeline of a folder, by name.
///
/// # Errors
/// [`Kind::Settings`] where the folder or a file in it cannot be read.
pub(crate) fn pipelines(folder: &Path) -> Result<Vec<Pipeline>> {
    pipeline_files(folder)?.iter().map(|path| Pipeline::load(path, folder)).collect()
}

/// The paths of a folder's pipeline files, sorted.
///
/// # Errors
/// [`Kind::Settings`] where the folder cannot be read.
fn pipeline_files(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        Failure::new(Kind::Settings, format!("cannot read the pipelines in {}: {error}", folder.display()))
            .hint("name the folder with --pipelines DIR")
    })?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    files.sort();
    Ok(files.iter().map(|path| path.display().to_string()).collect())
}
