//! The command line: global flags here, each subcommand's own in its file under `commands/`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::commands;

/// Watches folders of scientific images and flags the anomalous ones, with a certified false-alarm rate.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
pub struct Cli {
    /// Settings file [default: anomalyd.toml, /etc/anomalyd/anomalyd.toml where there is one].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Ledger, reports and staging [default: $STATE_DIRECTORY, else the XDG state folder].
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Model versions [default: ./models].
    #[arg(long, global = true, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Pipeline files [default: ./pipelines].
    #[arg(long, global = true, value_name = "DIR")]
    pub pipelines: Option<PathBuf>,
    /// Form of the log, and where it goes.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Form of the log, and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people, on stderr.
    Text,
    /// One JSON object a line, on stderr.
    Json,
    /// The journal of systemd, a field for each value.
    Journald,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// See it work: the daemon on a temporary inbox, with samples of known truth.
    Demo(commands::demo::Args),
    /// Watch inboxes and report until told to stop.
    Watch(commands::watch::Args),
    /// Whether `watch` could start now, and what stands in its way; writes nothing.
    Check(commands::check::Args),
    /// Score files and folders, then exit.
    Score(commands::score::Args),
    /// Counts, rate, model and last error of each pipeline.
    Status(commands::status::Args),
    /// Whether frames still come as the certificate supposes, since when not; and a new start.
    Drift(commands::drift::Args),
    /// SQL over the report tables.
    Query(commands::query::Args),
    /// Compare the ledger with the reports, or make it anew from them.
    Ledger(commands::ledger::Args),
    /// Merge the many parts of closed days into few, and drop what retention lets go; a running service does it by itself.
    Compact(commands::compact::Args),
    /// Draw one frame: input, reconstruction, anomaly map.
    Show(commands::show::Args),
    /// What is in a file, and what a pipeline makes of it.
    Inspect(commands::inspect::Args),
    /// Fit a model to normal images, calibrate it and publish it.
    Train(commands::train::Args),
    /// Write a version's training report anew: one HTML page.
    Report(commands::report::Args),
    /// Make a new version from the data of the current one, from frames scored since, or from folders; the gate decides about it.
    Retrain(commands::retrain::Args),
    /// Say what a frame is: normal, or a kind of anomaly.
    Label(commands::label::Args),
    /// Measure a model against labelled images.
    Evaluate(commands::evaluate::Args),
    /// What each option of a pipeline is worth: every value trained with several seeds; makes no version.
    Ablate(commands::ablate::Args),
    /// Train and measure a classifier of known kinds of anomaly.
    Classify(commands::classify::Args),
    /// How probable held-out images are under a model: -ELBO and the importance-weighted bound.
    Evidence(commands::evidence::Args),
    /// The versions of the models: list, compare, promote, roll back, prune.
    Models(commands::models::Args),
    /// Images drawn from a model's latent space: what it takes for normal.
    Generate(commands::generate::Args),
    /// The way between two images through a model's latent space.
    Interpolate(commands::interpolate::Args),
    /// A map of where frames lie in a model's latent space.
    Latent(commands::latent::Args),
    /// How much noise a pipeline takes away: PSNR and SSIM against frames without any, and a contact sheet.
    Denoise(commands::denoise::Args),
    /// Make frames with known truth.
    Simulate(commands::simulate::Args),
    /// Write the manual pages into a folder.
    Man(commands::man::Args),
    /// Print the completions of bash, zsh or fish.
    Completions(commands::completions::Args),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_help_lists_every_subcommand_and_those_for_packagers_last() {
        let mut command = Cli::command();
        let help = command.render_help().to_string();
        let place = |name: &str| help.find(&format!("\n  {name} ")).unwrap_or_else(|| panic!("no {name} in {help}"));
        let own: Vec<String> = Cli::command().get_subcommands().map(|command| command.get_name().to_string()).collect();
        let places: Vec<usize> = own.iter().map(|name| place(name)).collect();
        assert!(places.is_sorted(), "{help}");
        assert_eq!(own[own.len() - 2..], ["man", "completions"]);
    }

    #[test]
    fn no_argument_of_a_subcommand_stands_in_the_way_of_a_global_flag() {
        let given = ["anomalyd", "--pipelines", "p", "--models", "m", "--state", "s", "watch", "digits", "telescope"];
        let cli = Cli::try_parse_from(given).unwrap();
        assert_eq!(cli.pipelines, Some("p".into()));
        let Command::Watch(args) = cli.command else { panic!("not watch") };
        assert_eq!(args.pipelines, ["digits", "telescope"]);
    }
}
