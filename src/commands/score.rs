//! `anomalyd score`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use indicatif::{ProgressBar, ProgressStyle};

use crate::daemon::{self, Intake, Orders, Plan, Progress, Summary};
use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::settings::Settings;

/// Arguments of `score`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline, by name or as the path of its file.
    pub pipeline: String,
    /// Files and folders.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Print the summary as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Runs `score`: every file ends scored or rejected, or had been before.
///
/// # Errors
/// Those of [`daemon::run`] and [`Pipeline::load`]; [`Kind::Interrupted`] where a signal came before the last file.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let load = || {
        let pipeline = Pipeline::load(&args.pipeline, &settings.pipelines)?;
        Ok(vec![Plan::load(pipeline, &settings.models, &settings.device)?])
    };
    let bar = std::io::stderr().is_terminal().then(bar);
    let view = |progress: &Progress| {
        if let Some(bar) = &bar {
            show(bar, progress);
        }
    };
    let view = bar.is_some().then_some(&view as &dyn Fn(&Progress));
    let orders = Orders { intake: Intake::Paths(args.paths.clone()), load: &load, view };
    let summary = daemon::run(settings, &orders)?;
    if let Some(bar) = &bar {
        bar.finish_and_clear();
    }
    print(args, settings, &summary)?;
    match summary.unfinished {
        0 => Ok(()),
        rest => Err(Failure::new(Kind::Interrupted, format!("stopped with {rest} files begun and not finished"))
            .hint("run the same command again: what is committed is not scored twice")),
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {pos}/{len} files, {msg}, {elapsed}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, progress: &Progress) {
    let summary = progress.summary(bar.elapsed());
    bar.set_length(progress.sent.load(Relaxed));
    bar.set_position(progress.ended.load(Relaxed));
    bar.set_message(format!(
        "{} scored, {} flagged, {} rejected, {:.0} images/s",
        summary.scored, summary.flagged, summary.rejected, summary.images_per_second
    ));
}

fn print(args: &Args, settings: &Settings, summary: &Summary) -> Result<()> {
    let reports = settings.state.join("reports");
    if args.json {
        let mut object = serde_json::to_value(summary)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot print the summary: {error}")))?;
        object["reports"] = serde_json::Value::String(reports.display().to_string());
        sayln!("{object}");
        return Ok(());
    }
    sayln!("scored    {}", summary.scored);
    sayln!("flagged   {}", summary.flagged);
    sayln!("rejected  {}", summary.rejected);
    if summary.other_sizes > 0 {
        sayln!(
            "uncovered {} of other sizes than the model was calibrated on: no certificate for them",
            summary.other_sizes
        );
    }
    if summary.known > 0 {
        sayln!("known     {} (scored before)", summary.known);
    }
    sayln!("images/s  {:.0} ({:.2} s)", summary.images_per_second, summary.seconds);
    sayln!("reports   {}", reports.display());
    Ok(())
}
