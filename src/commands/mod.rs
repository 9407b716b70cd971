//! One file a subcommand: its arguments and what it does. Results go to stdout, everything else to stderr.

mod cells;
pub mod demo;
pub mod evaluate;
pub mod inspect;
pub mod labelled;
pub mod query;
pub mod score;
pub mod show;
pub mod simulate;
pub mod status;
pub mod train;
pub mod watch;

use crate::cli::Command;
use crate::error::Result;
use crate::settings::Settings;

/// Runs one subcommand.
///
/// # Errors
/// Whatever the subcommand fails with.
pub fn run(command: Command, settings: &Settings) -> Result<()> {
    match command {
        Command::Demo(args) => demo::run(&args, settings),
        Command::Watch(args) => watch::run(&args, settings),
        Command::Score(args) => score::run(&args, settings),
        Command::Status(args) => status::run(&args, settings),
        Command::Query(args) => query::run(&args, settings),
        Command::Show(args) => show::run(&args, settings),
        Command::Inspect(args) => inspect::run(&args, settings),
        Command::Train(args) => train::run(&args, settings),
        Command::Evaluate(args) => evaluate::run(&args, settings),
        Command::Simulate(args) => simulate::run(&args, settings),
    }
}
