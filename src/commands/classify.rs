//! `anomalyd classify`: a classifier that names known kinds of anomaly.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::labelled::kind_by_folder;
use crate::classify::Classifier;
use crate::classify::card::{Card, Fitting};
use crate::classify::design::{Design, Network};
use crate::classify::figures::{Figures, figures};
use crate::classify::fit::{self, Job};
use crate::classify::set::Labelled;
use crate::draw::plot::{classes_svg, classes_text};
use crate::error::{Failure, Kind, Result};
use crate::interrupt;
use crate::model::device;
use crate::pipeline::Pipeline;
use crate::score::Scorer;
use crate::settings::Settings;
use crate::train::chain::Event;
use crate::train::data::{self, Labels, Sample};
use crate::train::fit::End;

/// Tiles classified at once.
const BATCH: usize = 256;

/// Arguments of `classify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fit a classifier to labelled frames and publish it beside the pipeline's models.
    Train(Box<TrainArgs>),
    /// Measure the pipeline's classifier against labelled frames.
    Evaluate(EvaluateArgs),
}

/// Labelled frames. Of a tiled pipeline only those count that its model flags, by their most anomalous tile, as in use.
#[derive(Debug, clap::Args)]
struct Given {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// Frames: files and folders. Without --labels the first folder below each path names the kind.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    data: Vec<PathBuf>,
    /// Kinds of the frames: CSV with columns `file` and `kind` (or `label`), or IDX (one label a frame, in order).
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct TrainArgs {
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
    /// Most epochs.
    #[arg(long, value_name = "N", default_value_t = 30)]
    epochs: usize,
    /// Frames a step.
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch_size: usize,
    /// AdamW's step size at its height.
    #[arg(long, value_name = "F", default_value_t = 1e-3)]
    learning_rate: f32,
    /// Decoupled L2.
    #[arg(long, value_name = "F", default_value_t = 1e-2)]
    weight_decay: f32,
    /// Epochs without a better validation loss before stopping.
    #[arg(long, value_name = "N", default_value_t = 8)]
    patience: usize,
    /// Share of right answers wanted among those named; what is less probable stays unknown.
    #[arg(long, value_name = "F", default_value_t = 0.95)]
    precision: f64,
    /// Seed of weights, order and what is dropped out [default: the pipeline's].
    #[arg(long)]
    seed: Option<u64>,
    /// `auto`, `cpu` or `cuda:N` [default: the settings'].
    #[arg(long)]
    device: Option<String>,
    /// Print the card as JSON instead of a summary.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct EvaluateArgs {
    #[command(flatten)]
    given: Given,
    /// Write confusion.svg here.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `classify`.
///
/// # Errors
/// A wrong pipeline or model, unusable or too few data, a full disk.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    match &args.action {
        Action::Train(args) => train(args, settings),
        Action::Evaluate(args) => evaluate(args, settings),
    }
}

fn train(args: &TrainArgs, settings: &Settings) -> Result<()> {
    let mut pipeline = Pipeline::load(&args.given.pipeline, &settings.pipelines)?;
    pipeline.spec.training.seed = args.seed.unwrap_or(pipeline.spec.training.seed);
    let fitting = fitting(args)?;
    let design = Design { network: args.network, width: args.width };
    design.chain(&pipeline.spec.input, 2)?;
    let device = device::pick(args.device.as_deref().unwrap_or(&settings.device))?;
    let stop = interrupt::flag()?;
    let labelled = gather(&args.given, &pipeline, settings)?;
    tracing::info!(frames = labelled.frames.len(), left_out = %labelled.left, "data loaded");
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
    let bar = bar();
    let (card, folder) = fit::train(&job, labelled, device, &stop, &mut |event| show(&bar, &event))?;
    bar.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&card).unwrap_or_default());
    } else {
        report(&card, &folder);
    }
    Ok(())
}

fn fitting(args: &TrainArgs) -> Result<Fitting> {
    let wrong = |what: &str| Err(Failure::new(Kind::Usage, what));
    let [train, validation, test] = args.split[..] else { return wrong("--split: three shares") };
    if !(train > 0.0 && validation > 0.0 && test >= 0.0 && (train + validation + test - 1.0).abs() < 1e-6) {
        return wrong("--split: shares of train, validation and test that sum to 1; the test share alone may be 0");
    }
    if args.epochs == 0 || args.batch_size == 0 || args.patience == 0 {
        return wrong("--epochs, --batch-size and --patience are at least 1");
    }
    if !(args.learning_rate > 0.0 && args.weight_decay >= 0.0) {
        return wrong("--learning-rate is above 0, --weight-decay at least 0");
    }
    if !(args.precision > 0.0 && args.precision <= 1.0) {
        return wrong("--precision: a share above 0 and at most 1");
    }
    Ok(Fitting {
        epochs: args.epochs,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate,
        weight_decay: args.weight_decay,
        patience: args.patience,
        split: [train, validation, test],
    })
}

/// Loads, labels, and chooses the tiles.
fn gather(given: &Given, pipeline: &Pipeline, settings: &Settings) -> Result<Labelled> {
    let labels = given.labels.as_deref().map(Labels::read).transpose()?;
    let mut scorer = match pipeline.spec.input.tile {
        Some(_) => Some(Scorer::load(pipeline, &settings.models, &settings.device)?),
        None => None,
    };
    let samples = data::load(&given.data, &pipeline.spec.input, &settings.limits)?;
    for (file, rejection) in samples.rejected.iter().take(10) {
        tracing::warn!(file = %file.display(), %rejection, "not used");
    }
    if let (Some(path), Some(labels)) = (&given.labels, &labels) {
        labels.check(path, &samples.frames)?;
    }
    let kind = |sample: &Sample| match &labels {
        Some(labels) => labels.of(sample).filter(|label| !label.is_empty()).map(ToString::to_string),
        None => Some(kind_by_folder(sample, &given.data)),
    };
    Labelled::gather(samples, &kind, scorer.as_mut())
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

fn report(card: &Card, folder: &Path) {
    let (history, data) = (&card.history, &card.data);
    let end = match history.end {
        End::Epochs => "all epochs run",
        End::EarlyStop => "validation stopped improving",
        End::Interrupted => "interrupted",
    };
    println!("version      {}", card.version);
    println!("folder       {}", folder.display());
    let [train, validation, test] = [&data.train, &data.validation, &data.test].map(|part| part.frames);
    println!("frames       {train} train, {validation} validation, {test} test; {}", data.left_out);
    println!("parameters   {}", card.parameters);
    println!("kept epoch   {} of {} ({end})", history.best, history.epochs.len());
    println!(
        "answers      temperature {:.3}, named from a probability of {:.3} on",
        card.answer.temperature, card.answer.floor
    );
    print("validation", &card.validation);
    if let Some(test) = &card.test {
        println!();
        print("test", test);
    }
}

fn evaluate(args: &EvaluateArgs, settings: &Settings) -> Result<()> {
    let pipeline = Pipeline::load(&args.given.pipeline, &settings.pipelines)?;
    let device = device::pick(&settings.device)?;
    let Some(classifier) = Classifier::load(&settings.models, &pipeline, device)? else {
        return Err(Failure::new(Kind::Model, format!("pipeline {} has no classifier", pipeline.name))
            .hint(format!("train one: anomalyd classify train {} --data DIR --network lenet5", pipeline.name)));
    };
    let labelled = gather(&args.given, &pipeline, settings)?;
    let card = &classifier.card;
    let mut logits = Vec::with_capacity(labelled.frames.len() * card.classes.len());
    let all: Vec<usize> = (0..labelled.frames.len()).collect();
    for some in all.chunks(BATCH) {
        let tiles: Vec<f32> = some.iter().flat_map(|&at| labelled.tile(at, pipeline.spec.input.size)).collect();
        logits.extend(classifier.logits(&tiles)?);
    }
    let kinds: Vec<&str> = labelled.kinds.iter().map(String::as_str).collect();
    let found = figures(&card.classes, &logits, &kinds, &card.answer);
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(|error| Failure::io(folder, error))?;
        let path = folder.join("confusion.svg");
        let svg = classes_svg(&format!("classifier {} of {}", card.version, pipeline.name), &found.confusion)?;
        std::fs::write(&path, svg).map_err(|error| Failure::io(&path, error))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found).unwrap_or_default());
    } else {
        println!("classifier   {}", card.version);
        println!("left out     {}", labelled.left);
        print("frames", &found);
    }
    Ok(())
}

fn print(name: &str, figures: &Figures) {
    let share = |share: Option<f64>| share.map_or("-".to_string(), |share| format!("{:.2} %", 100.0 * share));
    println!(
        "{name:<12} {} frames, accuracy {}, loss {:.4} nats, calibration error {:.4} ({:.4} uncalibrated)",
        figures.frames,
        share(Some(figures.accuracy)),
        figures.loss,
        figures.calibration_error,
        figures.uncalibrated_error
    );
    println!("named        {}, of which right {}", share(Some(figures.named)), share(figures.right_when_named));
    println!("\n{}", classes_text(&figures.confusion));
    for (kind, [frames, named]) in &figures.strangers {
        println!("not taught   {kind}: {frames} frames, {named} named all the same");
    }
}
