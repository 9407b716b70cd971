//! `anomalyd train`: fit a model to normal images, calibrate it, publish it.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use indicatif::{ProgressBar, ProgressStyle};

use super::labelled::{Selection, for_test, select};
use super::masked;
use super::origin;
use super::overrides::Overrides;
use super::promotion::{self, GateArgs, Outcome, Rival};
use super::say;
use crate::denoise::fidelity;
use crate::error::{Failure, Kind, Result};
use crate::interrupt;
use crate::model::device::{self, Device};
use crate::pipeline::Pipeline;
use crate::segment::words;
use crate::settings::Settings;
use crate::store::Manifest;
use crate::train::chain;
use crate::train::data::{Sample, Samples};
use crate::train::diagnosis;
use crate::train::fit::{End, Event};
use crate::train::report as page;
use crate::train::seal::Given;
use crate::train::symmetry::Symmetry;
use crate::train::{self, Job, data};

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// Normal images: files and folders.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    data: Vec<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Labelled images to be sealed as the test split, opened by `evaluate --test` alone; without --test-labels the folder
    /// `normal` holds normal ones, the others are named after what is odd about them.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    test: Vec<PathBuf>,
    /// Labels of the test images: CSV or IDX; `normal` and those of --normal-label are normal.
    #[arg(long, value_name = "FILE", requires = "test")]
    test_labels: Option<PathBuf>,
    /// The same images without noise, by file name: the denoiser learns from such pairs instead of noise added, and the report
    /// says how near each way of denoising comes to them.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    clean: Vec<PathBuf>,
    /// Frames whose anomalous pixels are known, for the segmenter alone: folders as `simulate --masks` writes them.
    #[arg(long, num_args = 1.., value_name = "DIR")]
    masks: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    gate: GateArgs,
    /// `auto`, `cpu` or `cuda:N` [default: the settings'].
    #[arg(long)]
    device: Option<String>,
    /// Print the manifest as JSON instead of a summary.
    #[arg(long)]
    json: bool,
}

/// Runs `train`.
///
/// # Errors
/// A wrong pipeline, unusable or too few data, a full disk.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let mut pipeline = Pipeline::load(&args.pipeline, &settings.pipelines)?;
    args.overrides.apply(&mut pipeline)?;
    args.selection.check(&pipeline)?;
    let device = device::pick(args.device.as_deref().unwrap_or(&settings.device))?;
    let stop = interrupt::flag()?;
    let samples = data::load(&args.data, &pipeline.spec.input, &settings.limits)?;
    for (file, rejection) in samples.rejected.iter().take(10) {
        tracing::warn!(file = %file.display(), %rejection, "not used");
    }
    let samples = select(samples, &args.selection, &args.data)?;
    tracing::info!(frames = samples.frames.len(), rejected = samples.rejected.len(), "data loaded");
    let command = std::iter::once("anomalyd".to_string()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ");
    let test = test_frames(args, &pipeline, settings)?;
    let rival = Rival::find(&pipeline, &samples, &test, settings)?;
    let sources = [origin::source(&args.data, &args.selection)];
    let clean = clean_frames(args, &pipeline, settings)?;
    let segmenter = masked::learnt(&args.masks, &pipeline, settings)?;
    if pipeline.spec.segmenter.is_some() && segmenter.is_none() {
        return Err(masked::missing(&pipeline));
    }
    let (given, models) = (&args.data, &settings.models);
    let job =
        Job { pipeline: &pipeline, given, sources: &sources, start: None, test, clean, segmenter, models, command };
    let manifest = fit(&job, samples, device, &stop)?;
    let outcome = promotion::settle(&pipeline, &manifest, rival, &args.gate, settings)?;
    tell(&manifest, &outcome, &pipeline, settings, args.json)
}

/// Trains, with a bar on a terminal and lines in a log.
///
/// # Errors
/// Those of [`train::train`].
pub fn fit(job: &Job, samples: Samples, device: Device, stop: &AtomicBool) -> Result<Manifest> {
    let mut progress = Progress::new(job.pipeline.spec.model.beta);
    let manifest = train::train(job, samples, device, stop, &mut |event| progress.show(event))?;
    progress.bar.finish_and_clear();
    Ok(manifest)
}

/// Prints what was made and what became of it.
///
/// # Errors
/// [`crate::error::Kind::Io`] when it cannot be printed.
pub fn tell(
    manifest: &Manifest,
    outcome: &Outcome,
    pipeline: &Pipeline,
    settings: &Settings,
    json: bool,
) -> Result<()> {
    if json {
        let fail = |error| Failure::new(Kind::Internal, format!("cannot serialise the manifest: {error}"));
        let mut value = serde_json::to_value(manifest).map_err(fail)?;
        value["promotion"] = serde_json::to_value(outcome).map_err(fail)?;
        return say(&format!("{value:#}\n"));
    }
    report(manifest, &settings.models.join(&pipeline.name).join(&manifest.version), pipeline.spec.model.beta);
    say(&outcome.text(&pipeline.name, &manifest.version))
}

/// What is to be sealed.
fn test_frames(args: &Args, pipeline: &Pipeline, settings: &Settings) -> Result<Given> {
    if args.test.is_empty() {
        return Ok(Given::default());
    }
    let samples = data::load(&args.test, &pipeline.spec.input, &settings.limits)?;
    for (file, rejection) in samples.rejected.iter().take(10) {
        tracing::warn!(file = %file.display(), %rejection, "not used for test");
    }
    for_test(&samples, &args.test, args.test_labels.as_deref(), &args.selection.normal_label)
}

/// Clean twins, for the denoiser to learn from and for the report.
fn clean_frames(args: &Args, pipeline: &Pipeline, settings: &Settings) -> Result<Option<Vec<Sample>>> {
    if args.clean.is_empty() {
        return Ok(None);
    }
    Ok(Some(data::load(&args.clean, &pipeline.spec.input, &settings.limits)?.frames))
}

/// A bar on a terminal, a line an epoch in the log.
struct Progress {
    bar: ProgressBar,
    beta: f32,
    /// Of the last epoch.
    images_per_s: f64,
}

impl Progress {
    fn new(beta: f32) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, beta, images_per_s: 0.0 }
    }

    fn show(&mut self, event: Event) {
        match event {
            Event::Step(done, all, loss) => {
                self.bar.set_length(all as u64);
                self.bar.set_position(done as u64);
                self.bar.set_message(format!("-ELBO {loss:.2} nats, {:.0} images/s", self.images_per_s));
            }
            Event::Epoch(epoch) => {
                self.images_per_s = epoch.images_per_s;
                self.bar.suspend(|| {
                    tracing::info!(
                        epoch = epoch.epoch,
                        train_nll = format_args!("{:.2}", epoch.train_nll),
                        train_kl = format_args!("{:.2}", epoch.train_kl),
                        validation = format_args!("{:.2}", epoch.validation_loss(self.beta)),
                        validation_kl = format_args!("{:.2}", epoch.validation_kl),
                        active_units = epoch.active_units,
                        accuracy = epoch.validation_head.map(|head| tracing::field::display(percent(head.accuracy))),
                        images_per_s = format_args!("{:.0}", epoch.images_per_s),
                        "epoch"
                    );
                })
            }
            Event::Beside(name, event) => self.show_beside(name, event),
        }
    }

    fn show_beside(&mut self, name: &str, event: chain::Event) {
        match event {
            chain::Event::Step(done, all, loss) => {
                self.bar.set_length(all as u64);
                self.bar.set_position(done as u64);
                self.bar.set_message(format!("{name}, loss {loss:.2} nats"));
            }
            chain::Event::Epoch(epoch) => self.bar.suspend(|| {
                tracing::info!(
                    epoch = epoch.epoch,
                    train = format_args!("{:.2}", epoch.train_loss),
                    validation = format_args!("{:.2}", epoch.validation_loss),
                    images_per_s = format_args!("{:.0}", epoch.images_per_s),
                    network = name,
                    "epoch"
                );
            }),
        }
    }
}

fn report(manifest: &Manifest, folder: &std::path::Path, beta: f32) {
    let history = &manifest.history;
    let best = &history.epochs[history.best - 1];
    let end = match history.end {
        End::Epochs => "all epochs run",
        End::EarlyStop => "validation stopped improving",
        End::Interrupted => "interrupted",
    };
    println!("version      {}", manifest.version);
    println!("folder       {}", folder.display());
    println!("page         {}", folder.join(page::FILE).display());
    println!(
        "frames       {} train, {} validation, {} calibration, {} rejected",
        manifest.data.train, manifest.data.validation, manifest.data.calibration, manifest.data.rejected
    );
    if let Some(groups) = manifest.data.groups {
        println!(
            "groups       {} train, {} validation, {} calibration",
            groups.train, groups.validation, groups.calibration
        );
    }
    if let Some(test) = &manifest.data.test {
        let (normal, anomalous) = (test.normal, test.anomalous);
        println!("test         {normal} normal and {anomalous} anomalous frames sealed, {}", &test.digest[..16]);
    }
    println!("parameters   {}, {:.1} % of the weights exactly zero", manifest.parameters, 100.0 * manifest.sparsity);
    if let Some(denoiser) = &manifest.denoiser {
        let (history, from) = (&denoiser.history, if denoiser.pairs { "clean twins" } else { "noise added" });
        println!(
            "denoiser     {} parameters, learnt from {from}, kept epoch {} of {}",
            denoiser.parameters,
            history.best,
            history.epochs.len()
        );
    }
    if let Some(denoising) = &manifest.denoising {
        println!("denoising    {} validation frames against their clean twins", denoising.frames);
        fidelity::table(&denoising.figures).iter().for_each(|line| println!("             {line}"));
    }
    if let Some(segmenter) = &manifest.segmenter {
        println!("segmenter    {}", words::origin(segmenter));
        println!("             {}", words::threshold(segmenter));
        words::table(segmenter).lines().for_each(|line| println!("             {line}"));
    }
    println!("kept epoch   {} of {} ({end})", history.best, history.epochs.len());
    println!(
        "validation   loss {:.3} nats (reconstruction {:.3} + beta {beta} x KL {:.3}{}), {} active latent units",
        best.validation_loss(beta),
        best.validation_nll,
        best.validation_kl,
        best.validation_head.map_or(String::new(), |head| format!(" + labels {:.3}", head.loss())),
        best.active_units
    );
    if let (Some(head), Some(classes)) = (best.validation_head, &manifest.data.classes) {
        println!(
            "classes      {}: {} of the validation tiles named right, cross-entropy {:.3} nats; {} frames without a label",
            classes.names.len(),
            percent(head.accuracy),
            head.cross_entropy,
            classes.unlabelled
        );
    }
    for symmetry in &manifest.symmetries {
        report_symmetry(symmetry);
    }
    if let Some(gap) = diagnosis::gap(history, beta) {
        println!(
            "gap          validation loses {:.3} nats a tile more than train ({:.1} standard errors)",
            gap.nats, gap.errors
        );
    }
    for finding in &history.diagnosis {
        println!("{:<12} {}", if finding.is_warning() { "warning" } else { "diagnosis" }, finding.words);
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

fn report_symmetry(symmetry: &Symmetry) {
    let Symmetry { transformation, frames, test, flagged_before, flagged_after, .. } = symmetry;
    let p = if test.p_value < 1e-12 { "< 1e-12".to_string() } else { format!("= {:.2e}", test.p_value) };
    println!(
        "augment      {transformation}: distance of scores {:.3}, p {p} ({frames} validation frames); flagged {:.1} % before, \
         {:.1} % after",
        test.distance,
        100.0 * flagged_before,
        100.0 * flagged_after
    );
    if symmetry.is_broken() {
        println!(
            "warning      {transformation} is no symmetry of these frames: transformed ones are judged differently. Take it out \
             of [training.augment], or declare less of it"
        );
    }
}
