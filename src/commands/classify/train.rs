//! `anomalyd classify train`.

use std::io::IsTerminal;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use super::given::Given;
use super::print;
use crate::classify::card::{Card, Fitting};
use crate::classify::design::{Design, Network};
use crate::classify::fit::{self, Job};
use crate::classify::rival::{self, Outcome, Rival};
use crate::commands::{overrides, say};
use crate::error::{Failure, Kind, Result};
use crate::interrupt;
use crate::model::device;
use crate::pipeline::{Augment, Pipeline};
use crate::settings::Settings;
use crate::train::chain::Event;
use crate::train::fit::End;

/// Steps of a fit, unless --epochs says otherwise,
const STEPS: usize = 2000;
/// in as many epochs at least and at most.
const EPOCHS: [usize; 2] = [30, 300];
/// Least patience, unless --patience says otherwise.
const PATIENCE: usize = 8;
/// What is said of a kind of which no frame is left.
const LOST: &str = "the pipeline's model flags none of its frames, so that the classifier will not know this kind";

/// Arguments of `classify train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    given: Given,
    /// The network.
    #[arg(long, value_enum)]
    network: Network,
    /// AlexNet's filters and units as a share of the published ones.
    #[arg(long, value_name = "F")]
    width: Option<f32>,
    /// Shares of train, validation and test; a frame's side goes by its digest. The test share is looked at once, at the end.
    #[arg(long, value_delimiter = ',', value_name = "F,F,F", default_values_t = [0.7, 0.15, 0.15])]
    split: Vec<f64>,
    /// Most epochs [default: as many as make 2000 steps, 30 to 300].
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Frames a step.
    #[arg(long, value_name = "N", default_value_t = 16)]
    batch_size: usize,
    /// AdamW's step size at its height.
    #[arg(long, value_name = "F", default_value_t = 1e-3)]
    learning_rate: f32,
    /// Decoupled L2.
    #[arg(long, value_name = "F", default_value_t = 1e-2)]
    weight_decay: f32,
    /// Epochs without a better validation loss before stopping [default: a quarter of the most, at least 8].
    #[arg(long, value_name = "N")]
    patience: Option<usize>,
    /// Share of right answers wanted among those named; what is less probable stays unknown.
    #[arg(long, value_name = "F", default_value_t = 0.95)]
    precision: f64,
    /// What every kind stays itself under, done to frames that fit the weights, as `[training.augment]` has it; may be repeated:
    /// `--augment translate=2`. The pipeline's own does not count here: a hot column, turned, is a hot row.
    #[arg(long, value_name = "KEY=VALUE")]
    augment: Vec<String>,
    /// Make the classifier the current one even where it is worse than the one before on the same held-out frames.
    #[arg(long)]
    force: bool,
    /// Seed of weights, order and what is dropped out [default: the pipeline's].
    #[arg(long)]
    seed: Option<u64>,
    /// `auto`, `cpu` or `cuda:N` [default: the settings'].
    #[arg(long)]
    device: Option<String>,
    /// Print the card, and what became of the classifier, as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `classify train`.
///
/// # Errors
/// A wrong pipeline or model, unusable or too few data, a full disk.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let mut pipeline = Pipeline::load(&args.given.pipeline, &settings.pipelines)?;
    pipeline.spec.training.seed = args.seed.unwrap_or(pipeline.spec.training.seed);
    let fitting = fitting(args, &pipeline)?;
    let design = Design { network: args.network, width: args.width };
    design.chain(&pipeline.spec.input, 2)?;
    let device = device::pick(args.device.as_deref().unwrap_or(&settings.device))?;
    let stop = interrupt::flag()?;
    let labelled = args.given.gather(&pipeline, settings)?;
    tracing::info!(frames = labelled.frames.len(), left_out = %labelled.left, "data loaded");
    for kind in labelled.left.lost() {
        tracing::warn!(kind, "{LOST}");
    }
    let fitting = long_enough(args, fitting, labelled.frames.len());
    let job = Job {
        pipeline: &pipeline,
        given: &args.given.data,
        labels: args.given.labels.as_deref(),
        models: &settings.models,
        command: std::iter::once("anomalyd".into()).chain(std::env::args().skip(1)).collect::<Vec<String>>().join(" "),
        design,
        fitting,
        wanted: args.precision,
    };
    let rival = Rival::find(&job, &labelled, device.clone())?;
    let bar = bar();
    let (card, folder) = fit::train(&job, labelled, device.clone(), stop, &mut |event| show(&bar, &event))?;
    bar.finish_and_clear();
    let outcome = rival::settle(&job, &card, rival, device, args.force)?;
    tell((&card, &folder), &outcome, &pipeline.name, args.json)
}

fn fitting(args: &Args, pipeline: &Pipeline) -> Result<Fitting> {
    let wrong = |what: &str| Err(Failure::new(Kind::Usage, what));
    let [train, validation, test] = args.split[..] else { return wrong("--split: three shares") };
    if !(train > 0.0 && validation > 0.0 && test >= 0.0 && (train + validation + test - 1.0).abs() < 1e-6) {
        return wrong("--split: shares of train, validation and test that sum to 1; the test share alone may be 0");
    }
    if args.epochs == Some(0) || args.batch_size == 0 || args.patience == Some(0) {
        return wrong("--epochs, --batch-size and --patience are at least 1");
    }
    if !(args.learning_rate > 0.0 && args.weight_decay >= 0.0) {
        return wrong("--learning-rate is above 0, --weight-decay at least 0");
    }
    if !(args.precision > 0.0 && args.precision <= 1.0) {
        return wrong("--precision: a share above 0 and at most 1");
    }
    Ok(Fitting {
        epochs: args.epochs.unwrap_or(EPOCHS[0]),
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        weight_decay: args.weight_decay,
        patience: args.patience.unwrap_or(PATIENCE),
        split: [train, validation, test],
        augment: augment(args, pipeline)?,
    })
}

/// The same with as many epochs as these frames need: few frames make few steps an epoch.
fn long_enough(args: &Args, fitting: Fitting, frames: usize) -> Fitting {
    let taught = (frames as f64 * fitting.split[0]) as usize;
    let steps = taught.div_ceil(fitting.batch_size).max(1);
    let epochs = args.epochs.unwrap_or_else(|| STEPS.div_ceil(steps).clamp(EPOCHS[0], EPOCHS[1]));
    let patience = args.patience.unwrap_or_else(|| PATIENCE.max(epochs / 4));
    Fitting { epochs, patience, ..fitting }
}

/// What the flags declare; checked as a pipeline's would be.
fn augment(args: &Args, pipeline: &Pipeline) -> Result<Augment> {
    let declared =
        args.augment.iter().try_fold(Augment::default(), |augment, given| overrides::declare(augment, given))?;
    let mut checked = pipeline.clone();
    checked.spec.training.augment = declared;
    checked.check()?;
    Ok(declared)
}

fn bar() -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A bar on a terminal, a line an epoch in the log.
fn show(bar: &ProgressBar, event: &Event) {
    match event {
        Event::Step(done, all, loss) => {
            bar.set_length(*all as u64);
            bar.set_position(*done as u64);
            bar.set_message(format!("loss {loss:.4}"));
        }
        Event::Epoch(epoch) => bar.suspend(|| {
            tracing::info!(
                epoch = epoch.epoch,
                train = format_args!("{:.4}", epoch.train_loss),
                validation = format_args!("{:.4}", epoch.validation_loss),
                accuracy = format_args!("{:.4}", epoch.validation_accuracy.unwrap_or(f64::NAN)),
                images_per_s = format_args!("{:.0}", epoch.images_per_s),
                "epoch"
            );
        }),
    }
}

/// Prints what was made and what became of it.
fn tell((card, folder): (&Card, &Path), outcome: &Outcome, pipeline: &str, json: bool) -> Result<()> {
    if json {
        let fail = |error| Failure::new(Kind::Internal, format!("cannot serialise the card: {error}"));
        let mut value = serde_json::to_value(card).map_err(fail)?;
        value["promotion"] = serde_json::to_value(outcome).map_err(fail)?;
        return say(&format!("{value:#}\n"));
    }
    report(card, folder);
    say(&format!("\n{}", outcome.text(pipeline, &card.version)))
}

fn report(card: &Card, folder: &Path) {
    let (history, data) = (&card.history, &card.data);
    let end = match history.end {
        End::Epochs => "all epochs run",
        End::EarlyStop => "validation stopped improving",
        End::Interrupted => "interrupted",
    };
    sayln!("version      {}", card.version);
    sayln!("folder       {}", folder.display());
    let [train, validation, test] = [&data.train, &data.validation, &data.test].map(|part| part.frames);
    sayln!("frames       {train} train, {validation} validation, {test} test; {}", data.left_out);
    for kind in data.left_out.lost() {
        sayln!("warning      {kind}: {LOST}");
    }
    if let Some(said) = &data.said {
        sayln!("labels       {}", said.text());
    }
    sayln!("parameters   {}", card.parameters);
    sayln!("kept epoch   {} of {} ({end})", history.best, history.epochs.len());
    sayln!(
        "answers      temperature {:.3}, named from a probability of {:.3} on",
        card.answer.temperature,
        card.answer.floor
    );
    print("validation", &card.validation);
    if let Some(test) = &card.test {
        sayln!();
        print("test", test);
    }
}
