//! `anomalyd classify`: classifiers that name known kinds of anomaly.

mod evaluate;
mod given;
mod train;
mod versions;

use clap::Subcommand;

use crate::classify::figures::Figures;
use crate::draw::plot::classes_text;
use crate::error::Result;
use crate::settings::Settings;

/// Arguments of `classify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fit a classifier to labelled frames, and use it where it is as good as the current one.
    Train(Box<train::Args>),
    /// Measure the pipeline's classifier against labelled frames.
    Evaluate(evaluate::Args),
    /// The classifiers of a pipeline, with status and figures.
    List(versions::List),
    /// Make a classifier the current one.
    Promote(versions::Promote),
    /// Go back to the classifier that was promoted before the current one.
    Rollback(versions::Rollback),
}

/// Runs `classify`.
///
/// # Errors
/// A wrong pipeline or model, unusable or too few data, a full disk.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    match &args.action {
        Action::Train(args) => train::run(args, settings),
        Action::Evaluate(args) => evaluate::run(args, settings),
        Action::List(args) => versions::list(args, &settings.models),
        Action::Promote(args) => versions::promote(args, &settings.models),
        Action::Rollback(args) => versions::roll_back(args, &settings.models),
    }
}

/// Figures for people, with the confusion matrix: counts, and each row divided by its sum.
fn print(name: &str, figures: &Figures) {
    let share = |share: Option<f64>| share.map_or("-".to_string(), |share| format!("{:.2} %", 100.0 * share));
    sayln!(
        "{name:<12} {} frames, accuracy {}, loss {:.4} nats, calibration error {:.4} ({:.4} uncalibrated)",
        figures.frames,
        share(Some(figures.accuracy)),
        figures.loss,
        figures.calibration_error,
        figures.uncalibrated_error
    );
    sayln!("named        {}, of which right {}", share(Some(figures.named)), share(figures.right_when_named));
    sayln!("\n{}", classes_text(&figures.confusion));
    for (kind, [frames, named]) in &figures.strangers {
        sayln!("not taught   {kind}: {frames} frames, {named} named all the same");
    }
}
