//! `anomalyd ablate`: what each option of a pipeline is worth, as a table and a plot; makes no version. The table is kept
//! for the pages of the pipeline's versions.

use std::collections::HashSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::labelled::{self, Selection, is_normal};
use super::{report, say};
use crate::ablate::table::{self, name};
use crate::ablate::{self, Ablation, Basis, Choice, Progress};
use crate::error::{Failure, Kind, Result};
use crate::interrupt;
use crate::model::device;
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::store;
use crate::train::data::{self, Labels, Sample};
use crate::train::fit::Event;

/// Arguments of `ablate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// Normal images; with --labels, images of both sorts.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    data: Vec<PathBuf>,
    /// Anomalous images, for the area under the ROC curve.
    #[arg(long, num_args = 1.., value_name = "PATH", conflicts_with = "labels")]
    anomalous: Vec<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Options to be tried (comma-separated) [default: all].
    #[arg(long, value_enum, value_delimiter = ',', value_name = "OPTION")]
    options: Vec<Choice>,
    /// Trainings of each value, with seeds counted up from the pipeline's.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Most epochs of each training [default: the pipeline's].
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Plot to write [default: `PIPELINE-ablation.svg`].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// `auto`, `cpu` or `cuda:N` [default: the settings'].
    #[arg(long)]
    device: Option<String>,
    /// Print every training as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `ablate`.
///
/// # Errors
/// A wrong pipeline, unusable or too few data, an earlier table that cannot be read; a table or a plot that cannot be written.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let mut pipeline = Pipeline::load(&args.pipeline, &settings.pipelines)?;
    let out = args.out.clone().unwrap_or_else(|| format!("{}-ablation.svg", pipeline.name).into());
    let home = store::home(&settings.models, &pipeline.name);
    // Whatever would keep the results from being written is to be found before hours of training.
    has_folder(&out)?;
    let before = Ablation::read(&home)?;
    pipeline.spec.training.epochs = args.epochs.unwrap_or(pipeline.spec.training.epochs);
    pipeline.check()?;
    if pipeline.spec.model.labels.take().is_some() {
        tracing::warn!("options are compared without labels: [model.labels] is left out");
    }
    let device = device::pick(args.device.as_deref().unwrap_or(&settings.device))?;
    let stop = interrupt::flag()?;
    let (normal, anomalous) = frames(args, &pipeline, settings)?;
    tracing::info!(normal = normal.len(), anomalous = anomalous.len(), "data loaded");
    let choices = if args.options.is_empty() { Choice::value_variants() } else { &args.options };
    let bar = bar();
    let mut on = |progress: Progress| show(&bar, &progress);
    let basis = basis(&pipeline, &normal, &anomalous, args.seeds);
    let rows = ablate::ablate(&pipeline, choices, args.seeds, (&normal, &anomalous), &device, stop, &mut on)?;
    bar.finish_and_clear();
    let command = std::iter::once("anomalyd".to_string()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ");
    let software = format!("anomalyd {}", env!("CARGO_PKG_VERSION"));
    // Read again: another run may have ended meanwhile.
    let earlier = Ablation::read(&home).unwrap_or_else(|failure| {
        tracing::warn!(error = failure.message, "replaced by what it was before the trainings");
        before
    });
    let ablation = Ablation { made_at: Utc::now(), software, command, basis, rows }.after(earlier);
    let kept = ablation.write(&home)?;
    std::fs::write(&out, table::plot(&pipeline.name, &ablation.rows)?).map_err(|error| Failure::io(&out, error))?;
    let current = store::current(&settings.models, &pipeline.name)?;
    let page = current.and_then(|version| report::renew(&settings.models, &pipeline.name, &version));
    if args.json {
        let fail = |error| Failure::new(Kind::Internal, format!("cannot serialise the table: {error}"));
        return say(&format!("{}\n", serde_json::to_string_pretty(&ablation).map_err(fail)?));
    }
    let mut text = format!("{}plot   {}\ntable  {}\n", table::text(&ablation.rows), out.display(), kept.display());
    text.extend(page.map(|page| format!("page   {}\n", page.display())));
    say(&text)
}

/// Refuses a file to write whose folder does not exist.
fn has_folder(out: &Path) -> Result<()> {
    match out.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            let message = format!("--out {}: there is no folder {}", out.display(), folder.display());
            Err(Failure::new(Kind::Usage, message).hint("make the folder first, or name another file"))
        }
        _ => Ok(()),
    }
}

/// What the ablation is run on.
fn basis(pipeline: &Pipeline, normal: &[Sample], anomalous: &[Sample], seeds: u64) -> Basis {
    Basis {
        data: data::digest_of(normal),
        frames: normal.len(),
        anomalous_data: (!anomalous.is_empty()).then(|| data::digest_of(anomalous)),
        anomalous: anomalous.len(),
        seeds,
        training: pipeline.spec.training.clone(),
        pipeline: pipeline.text.clone(),
    }
}

/// Normal frames, each once, and anomalous ones.
fn frames(args: &Args, pipeline: &Pipeline, settings: &Settings) -> Result<(Vec<Sample>, Vec<Sample>)> {
    let load = |paths: &[PathBuf]| data::load(paths, &pipeline.spec.input, &settings.limits);
    let samples = load(&args.data)?;
    for (file, rejection) in samples.rejected.iter().take(10) {
        tracing::warn!(file = %file.display(), %rejection, "not used");
    }
    let (mut normal, anomalous) = match &args.selection.labels {
        None if args.anomalous.is_empty() => (labelled::normal(samples)?.frames, Vec::new()),
        None => (labelled::normal(samples)?.frames, labelled::anomalous(load(&args.anomalous)?)?.frames),
        Some(path) => {
            args.selection.named()?;
            let labels = Labels::read(path)?;
            labels.check(path, &samples.frames)?;
            let labelled = samples.frames.into_iter().filter(|sample| labels.of(sample).is_some());
            labelled.partition(|sample| is_normal(&labels, sample, &args.selection) == Some(true))
        }
    };
    let mut seen = HashSet::new();
    normal.retain(|sample| seen.insert(sample.digest));
    Ok((normal, anomalous))
}

fn bar() -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, progress: &Progress) {
    match progress {
        Progress::Start(number, all, variant, seed) => {
            let name = name(variant);
            bar.set_position(0);
            bar.set_message(format!("training {number} of {all}: {name}, seed {seed}"));
            bar.suspend(|| tracing::info!(number, all, variant = %name, seed, "training"));
        }
        Progress::Within(Event::Step(done, all, _)) => {
            bar.set_length(*all as u64);
            bar.set_position(*done as u64);
        }
        Progress::Within(Event::Epoch(_) | Event::Beside(..)) => {}
        Progress::Done(variant, run) => bar.suspend(|| {
            tracing::info!(
                variant = %name(variant),
                seed = run.seed,
                validation_loss = format_args!("{:.3}", run.validation_loss),
                auroc = run.auroc,
                images_per_s = format_args!("{:.0}", run.images_per_s),
                "trained"
            );
        }),
    }
}
