//! `anomalyd evaluate`: measure a model against labelled images.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::labelled::{self, ANOMALOUS, Selection, is_normal, kind_of};
use super::report;
use crate::draw::plot::{self, RocCurve};
use crate::error::{Failure, Kind, Result};
use crate::evaluate::{self, Evaluation, Scores};
use crate::frame_size::{OtherSize, Sizes};
use crate::pipeline::Pipeline;
use crate::prepare::Prepared;
use crate::score::Scorer;
use crate::settings::Settings;
use crate::stats::metrics::roc_curve;
use crate::store::{self, Manifest, Version};
use crate::train::data::{self, Labels, Sample, Samples};
use crate::train::overlap::{self, Overlap};
use crate::train::{opening, seal};

/// Arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// Normal images, none of which the model was trained on; of a simulation's folder the normal frames.
    #[arg(long, num_args = 1.., value_name = "PATH", requires = "anomalous", conflicts_with_all = ["data", "test"])]
    normal: Vec<PathBuf>,
    /// Anomalous images; the folders in it name their kinds. Of a simulation's folder the anomalous frames.
    #[arg(long, num_args = 1.., value_name = "PATH", requires = "normal")]
    anomalous: Vec<PathBuf>,
    /// Images of both sorts, told apart by --labels.
    #[arg(long, num_args = 1.., value_name = "PATH", requires = "labels", conflicts_with = "test",
          required_unless_present_any = ["normal", "test"])]
    data: Vec<PathBuf>,
    /// The test split that was sealed with the version: once, and on record in its manifest.
    #[arg(long)]
    test: bool,
    /// Open the test split once more; the reason is shown in every later report and evaluation.
    #[arg(long, value_name = "WHY", requires = "test")]
    reopen: Option<String>,
    #[command(flatten)]
    selection: Selection,
    /// The version to measure, its number, or the beginning of its name: a candidate before it is promoted [default: the
    /// current one].
    #[arg(long, value_name = "VERSION")]
    model_version: Option<String>,
    /// Write roc.svg, scores.svg and confusion.svg here.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Frames to be measured against: normal ones, anomalous ones by kind, and how many could not be used.
type Labelled = (Vec<Sample>, BTreeMap<String, Vec<Sample>>, usize);

/// Runs `evaluate`.
///
/// # Errors
/// A wrong pipeline or model, unusable data, a test split that was opened before.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let pipeline = Pipeline::load(&args.pipeline, &settings.pipelines)?;
    let version = version(args, &pipeline, settings)?;
    let folder = store::home(&settings.models, &pipeline.name).join(&version.manifest.version);
    let mut manifest = version.manifest.clone();
    let frames = if args.test {
        let (frames, opened) = unseal(args, &folder, &manifest, &pipeline, settings)?;
        manifest = opened;
        frames
    } else {
        let frames = given(args, &pipeline, settings)?;
        overlap::refuse_sealed(&folder, &manifest, all(&frames))?;
        frames
    };
    let overlap = Overlap::find(&folder, all(&frames))?;
    let (mut evaluation, normal, anomalous) = measure(frames, version, &pipeline, settings)?;
    if args.test {
        opening::record(&folder, &mut manifest, evaluation.figures())?;
        report::renew(&settings.models, &pipeline.name, &manifest.version);
    }
    evaluation.overlap = overlap;
    evaluation.test_openings = manifest.data.test.map_or(Vec::new(), |test| test.looks());
    if let Some(folder) = &args.out {
        draw(folder, &evaluation, &normal, &anomalous)?;
    }
    if args.json {
        sayln!("{}", serde_json::to_string_pretty(&evaluation).unwrap_or_default());
    } else {
        print(&evaluation);
    }
    Ok(())
}

fn version(args: &Args, pipeline: &Pipeline, settings: &Settings) -> Result<Version> {
    match &args.model_version {
        None => store::load(&settings.models, pipeline),
        Some(given) => {
            let name = store::find(&store::home(&settings.models, &pipeline.name), given)?;
            store::load_version(&settings.models, pipeline, &name)
        }
    }
}

/// Normal and anomalous frames.
fn all((normal, kinds, _): &Labelled) -> impl Iterator<Item = &Sample> {
    normal.iter().chain(kinds.values().flatten())
}

/// The frames of the command line.
fn given(args: &Args, pipeline: &Pipeline, settings: &Settings) -> Result<Labelled> {
    let load = |paths: &[PathBuf]| data::load(paths, &pipeline.spec.input, &settings.limits);
    if !args.data.is_empty() {
        args.selection.named()?;
        return by_label(load(&args.data)?, &args.selection);
    }
    let normal = labelled::normal(load(&args.normal)?)?;
    let anomalous = labelled::anomalous(load(&args.anomalous)?)?;
    let rejected = normal.rejected.len() + anomalous.rejected.len();
    Ok((normal.frames, by_kind(anomalous, &args.anomalous), rejected))
}

/// The sealed frames. They are looked up first: an opening that fails for a missing file would be a waste.
fn unseal(
    args: &Args,
    folder: &Path,
    manifest: &Manifest,
    pipeline: &Pipeline,
    settings: &Settings,
) -> Result<(Labelled, Manifest)> {
    let may = opening::permit(manifest, args.reopen.as_deref())?;
    let mut kinds = seal::load(folder, may.sealed()?, &pipeline.spec.input, &settings.limits)?;
    let normal = kinds.remove(seal::NORMAL).unwrap_or_default();
    let opened = may.record(folder)?;
    Ok(((normal, kinds, 0), opened))
}

type Measured = (Evaluation, Vec<Scores>, BTreeMap<String, Vec<Scores>>);

fn measure(
    (normal, anomalous, rejected): Labelled,
    version: Version,
    pipeline: &Pipeline,
    settings: &Settings,
) -> Result<Measured> {
    let mut scorer = Scorer::of(pipeline, version, &settings.device)?;
    let mut score = |samples: &[Sample]| -> Result<Vec<Scores>> {
        let frames: Vec<&Prepared> = samples.iter().map(|sample| &sample.prepared).collect();
        evaluate::score(&mut scorer, &frames, &pipeline.spec.score)
    };
    let normal = score(&normal)?;
    let anomalous = anomalous
        .into_iter()
        .map(|(kind, samples)| Ok((kind, score(&samples)?)))
        .collect::<Result<BTreeMap<String, Vec<Scores>>>>()?;
    Ok((evaluate::evaluate(&scorer, &normal, &anomalous, rejected), normal, anomalous))
}

/// Frames by their [`kind_of`]; those of files that were given by themselves are one kind.
pub fn by_kind(samples: Samples, given: &[PathBuf]) -> BTreeMap<String, Vec<Sample>> {
    let mut kinds: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for sample in samples.frames {
        let kind = kind_of(&sample, &samples.truth, given).unwrap_or_else(|| ANOMALOUS.into());
        kinds.entry(kind).or_default().push(sample);
    }
    kinds
}

fn by_label(samples: Samples, selection: &Selection) -> Result<Labelled> {
    let path = selection.labels.as_deref().unwrap_or(Path::new(""));
    let labels = Labels::read(path)?;
    labels.check(path, &samples.frames)?;
    let (mut normal, mut kinds) = (Vec::new(), BTreeMap::<String, Vec<Sample>>::new());
    let mut unlabelled = 0;
    for sample in samples.frames {
        match is_normal(&labels, &sample, selection) {
            Some(true) => normal.push(sample),
            Some(false) => kinds.entry(labels.of(&sample).unwrap_or_default().to_string()).or_default().push(sample),
            None => unlabelled += 1,
        }
    }
    if unlabelled > 0 {
        tracing::warn!(unlabelled, labels = %path.display(), "frames without a label are left out");
    }
    if normal.is_empty() || kinds.is_empty() {
        let found =
            format!("{} normal and {} anomalous frames", normal.len(), kinds.values().map(Vec::len).sum::<usize>());
        return Err(Failure::new(Kind::Data, format!("{}: {found}; both are needed", path.display())));
    }
    Ok((normal, kinds, samples.rejected.len()))
}

fn draw(
    folder: &Path,
    evaluation: &Evaluation,
    normal: &[Scores],
    anomalous: &BTreeMap<String, Vec<Scores>>,
) -> Result<()> {
    let combined =
        |scores: &mut dyn Iterator<Item = &Scores>| scores.map(|scores| scores.combined).collect::<Vec<f64>>();
    let normal = combined(&mut normal.iter());
    let anomalous = combined(&mut anomalous.values().flatten());
    std::fs::create_dir_all(folder).map_err(|error| Failure::io(folder, error))?;
    let title = format!("model {}", evaluation.model_version);
    let mut plots = vec![
        ("scores.svg", plot::score_histogram_svg(&title, &normal, &anomalous, evaluation.threshold)?),
        ("confusion.svg", plot::confusion_svg(&title, &evaluation.confusion)?),
    ];
    if let Some(auroc) = evaluation.combined.auroc {
        let points = roc_curve(&normal, &anomalous);
        let points = points.iter().map(|point| (point.false_alarm_rate, point.recall)).collect();
        let curve = RocCurve { name: "combined score".into(), points, auroc };
        plots.push(("roc.svg", plot::roc_svg(&title, &[curve], Some(evaluation.alpha))?));
    }
    for (name, svg) in plots {
        let path = folder.join(name);
        std::fs::write(&path, svg).map_err(|error| Failure::io(&path, error))?;
    }
    Ok(())
}

fn print(evaluation: &Evaluation) {
    let number = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.4}"));
    let [low, high] = evaluation.false_alarm_interval;
    sayln!("model              {}", evaluation.model_version);
    for (count, opening) in evaluation.test_openings.iter().enumerate() {
        sayln!("test split opened  {opening}{}", if count == 0 { "" } else { " (its figures are no test any more)" });
    }
    sayln!(
        "frames             {} normal, {} anomalous, {} rejected",
        evaluation.normal,
        evaluation.anomalous,
        evaluation.rejected
    );
    match evaluation.calibrated_on {
        Some(calibrated) if evaluation.other_sizes > 0 => sayln!(
            "warning            {} of them are of other sizes than those calibrated on, {calibrated}: the certificate does not hold \
             for them; {}",
            evaluation.other_sizes,
            OtherSize::TO_DO
        ),
        Some(_) => {}
        None => sayln!("warning            {}", Sizes::UNKNOWN),
    }
    match evaluation.overlap.map(|overlap| overlap.warning()) {
        Some(Some(warning)) => sayln!("warning            {warning}"),
        Some(None) => {}
        None => sayln!(
            "note               the version does not say which frames it was made from: figures of those would be too good"
        ),
    }
    sayln!("auroc              {}", number(evaluation.combined.auroc));
    sayln!("average precision  {}", number(evaluation.combined.average_precision));
    sayln!("recall at alpha    {} (alpha {})", number(evaluation.recall_at_alpha), evaluation.alpha);
    sayln!("false-alarm rate   {} (95 % interval {low:.4} to {high:.4})", number(evaluation.false_alarm_rate));
    sayln!("\n{}", plot::confusion_text(&evaluation.confusion));
    if evaluation.anomalous == 0 {
        return;
    }
    sayln!("{:<28} {:>8} {:>8}", "component", "auroc", "ap");
    for (name, figures) in &evaluation.components {
        sayln!("{name:<28} {:>8} {:>8}", number(figures.auroc), number(figures.average_precision));
    }
    if evaluation.kinds.len() > 1 {
        sayln!("\n{:<20} {:>6} {:>8} {:>8} {:>8}  best component", "kind", "frames", "auroc", "ap", "recall");
        for (name, kind) in &evaluation.kinds {
            let best = kind.best_component.as_ref().map_or(String::new(), |(name, auroc)| format!("{name} {auroc:.4}"));
            let (auroc, ap) = (number(kind.figures.auroc), number(kind.figures.average_precision));
            sayln!("{name:<20} {:>6} {auroc:>8} {ap:>8} {:>8.3}  {best}", kind.frames, kind.recall_at_alpha);
        }
    }
}
