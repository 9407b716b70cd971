//! `anomalyd latent`: a map of where frames lie in a model's latent space, before its training and after.

mod colours;

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use polars::prelude::*;

use self::colours::{colouring, known};
use super::labelled::folders;
use super::steps::Steps;
use crate::detector::Detector;
use crate::draw::plot::{Colouring, Map, scatter_svg};
use crate::error::{Failure, Kind, Result};
use crate::explore::chart::{self, Chart, Known, Method, Vectors};
use crate::explore::usage::{self, usage};
use crate::model::{Autoencoder, device};
use crate::pipeline::Pipeline;
use crate::prepare::Prepared;
use crate::settings::Settings;
use crate::stats::tsne;
use crate::store;
use crate::train::data::{self, Labels, Sample};
use crate::train::judge::Latent;

/// Arguments of `latent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// Images: files and folders.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    data: Vec<PathBuf>,
    /// Labels of the data: CSV with columns `file` and `label` (or `kind`), or IDX (one label a frame, in order) [default: the
    /// folders that the frames lie in, where there are several].
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// What the colours say [default: label where there are labels, else score].
    #[arg(long, alias = "color", value_enum)]
    colour: Option<Colour>,
    /// How many axes become two.
    #[arg(long, value_enum, default_value_t = By::Pca)]
    method: By,
    /// Neighbours each frame keeps, as it were (t-SNE) [default: 30, or a third of the frames where they are few].
    #[arg(long, value_name = "N")]
    perplexity: Option<f32>,
    /// Seed of the map (t-SNE); the same seed gives the same map.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Leave out the map of the weights before training.
    #[arg(long)]
    trained_only: bool,
    /// Most frames; of more, as many, evenly spread. t-SNE takes 20000 at most.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(3..))]
    most: u32,
    /// Plot to write; the table stands beside it, with `.parquet` [default: `PIPELINE-latent.svg`].
    #[arg(long, value_name = "FILE.svg")]
    out: Option<PathBuf>,
}

/// How many axes become two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Principal components: a shadow of the latents, true to scale.
    Pca,
    /// t-SNE: near is alike; axes and far distances mean nothing.
    Tsne,
}

/// What the colours say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    /// The label.
    Label,
    /// The score under the trained model.
    Score,
    /// When the frame was observed.
    Time,
}

/// The frames in the latent space of some weights.
struct View {
    when: String,
    vectors: Vectors,
    usage: Latent,
}

/// Runs `latent`.
///
/// # Errors
/// A wrong pipeline, model or label file, unusable data; [`Kind::Io`] naming the file that cannot be written.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let pipeline = Pipeline::load(&args.pipeline, &settings.pipelines)?;
    let version = store::load(&settings.models, &pipeline)?;
    let name = version.manifest.version.clone();
    let (samples, labels, all) = samples(args, &pipeline, settings)?;
    let colour = wanted(args.colour, args.labels.is_some() || !labels.is_empty())?;
    let method = method(args, samples.len())?;
    let (views, scores) = views(&pipeline, version, &samples, args.trained_only, settings)?;
    let known = known(&samples, &labels, &scores);
    let colouring = colouring(colour, &known)?;
    let charts = views.iter().map(|view| mapped(view, method)).collect::<Result<Vec<Chart>>>()?;
    let title = format!("{} {name}: {} frames in latent space", pipeline.name, samples.len());
    let out = args.out.clone().unwrap_or_else(|| format!("{}-latent.svg", pipeline.name).into());
    let table = out.with_extension("parquet");
    save(&out, &draw(&title, &views, &charts, &colouring)?)?;
    write_table(&table, &known, &charts).map_err(|error| Failure::io(&table, error))?;
    sayln!("model   {} {name}", pipeline.name);
    sayln!("frames  {} of {all}{}", samples.len(), if samples.len() < all { ", evenly spread" } else { "" });
    for (view, chart) in views.iter().zip(&charts) {
        sayln!("map     {}: {}", view.when, chart.words);
        sayln!("usage   {}: {}", view.when, usage::words(&view.usage));
    }
    sayln!("plot    {}\ntable   {}", out.display(), table.display());
    Ok(())
}

/// The frames under the weights before training, unless they are left out, and after; and the score of each.
fn views(
    pipeline: &Pipeline,
    version: store::Version,
    samples: &[Sample],
    trained_only: bool,
    settings: &Settings,
) -> Result<(Vec<View>, Vec<f64>)> {
    let (spec, seed, device) = (&pipeline.spec, version.manifest.seed, device::pick(&settings.device)?);
    let frames: Vec<&Prepared> = samples.iter().map(|sample| &sample.prepared).collect();
    let mut views = Vec::new();
    if !trained_only {
        let mut model = Autoencoder::new(&spec.model, &spec.input, seed, device.clone())?;
        let usage = usage(&mut model, samples)?;
        let mut steps = Steps::new("latents before training", frames.len());
        let vectors = chart::untrained(&mut model, &frames, |done| steps.at(done))?;
        views.push(View { when: format!("before training (weights of seed {seed})"), vectors, usage });
    }
    let mut model = Autoencoder::load(&spec.model, &spec.input, &version.weights, device.clone())?;
    let usage = usage(&mut model, samples)?;
    let mut detector = Detector::load(spec, version, device)?;
    let mut steps = Steps::new("latents", frames.len());
    let (vectors, scores) = chart::trained(&mut detector, &frames, spec, |done| steps.at(done))?;
    views.push(View { when: "after training".into(), vectors, usage });
    Ok((views, scores))
}

/// The method, checked against the number of frames before anything is computed.
fn method(args: &Args, frames: usize) -> Result<Method> {
    match args.method {
        By::Pca if args.perplexity.is_some() => {
            Err(Failure::new(Kind::Usage, "--perplexity is t-SNE's, and the map is one of principal components")
                .hint("take --method tsne, or leave it out"))
        }
        By::Pca => Ok(Method::Pca),
        By::Tsne => {
            let perplexity = args.perplexity.unwrap_or_else(|| tsne::usual_perplexity(frames));
            tsne::check(frames, perplexity)?;
            Ok(Method::Tsne(tsne::Options { perplexity, seed: args.seed }))
        }
    }
}

fn mapped(view: &View, method: Method) -> Result<Chart> {
    let mut steps = Steps::new(&format!("map, {}", view.when), tsne::STEPS);
    chart::chart(&view.vectors, method, |done| steps.at(done))
}

fn wanted(colour: Option<Colour>, labelled: bool) -> Result<Colour> {
    match colour {
        Some(Colour::Label) if !labelled => Err(Failure::new(Kind::Usage, "--colour label needs labels").hint(
            "name them with --labels FILE, or give a folder with one folder a label; or colour by score or time",
        )),
        Some(colour) => Ok(colour),
        None if labelled => Ok(Colour::Label),
        None => Ok(Colour::Score),
    }
}

/// Labels of frames by their digests.
type FrameLabels = HashMap<blake3::Hash, String>;

/// The frames, their labels, and how many frames there were. Folders are labels where there are
/// several, of simulated frames the truth: one label tells nothing apart.
fn samples(args: &Args, pipeline: &Pipeline, settings: &Settings) -> Result<(Vec<Sample>, FrameLabels, usize)> {
    let samples = data::load(&args.data, &pipeline.spec.input, &settings.limits)?;
    for (file, rejection) in samples.rejected.iter().take(10) {
        tracing::warn!(file = %file.display(), %rejection, "not used");
    }
    let labels = match &args.labels {
        Some(path) => {
            let labels = Labels::read(path)?;
            labels.check(path, &samples.frames)?;
            let label = |sample: &Sample| Some((sample.digest, labels.of(sample)?.to_string()));
            samples.frames.iter().filter_map(label).collect()
        }
        None => {
            let mut found = folders(&samples, &args.data);
            let told = |sample: &Sample| Some((sample.digest, samples.truth.get(&sample.source)?.clone()));
            found.extend(samples.frames.iter().filter_map(told));
            let several = found.values().collect::<BTreeSet<_>>().len() > 1;
            if several { found } else { FrameLabels::new() }
        }
    };
    let (all, most) = (samples.frames.len(), args.most as usize);
    if all < 3 {
        return Err(Failure::new(Kind::Data, format!("a map of {all} frames shows nothing: 3 at least are needed")));
    }
    let frames = samples.frames.into_iter().enumerate();
    // The n-th of every `all / most`, exactly `most` of them.
    let kept = |index: usize| all <= most || index * most / all != (index + 1) * most / all;
    let frames = frames.filter(|(index, _)| kept(*index)).map(|(_, sample)| sample).collect();
    Ok((frames, labels, all))
}

fn draw(title: &str, views: &[View], charts: &[Chart], colouring: &Colouring) -> Result<String> {
    let map = |(view, chart): (&View, &Chart)| Map {
        title: format!("{}: {} of {} units active", view.when, view.usage.active(), view.usage.variance.len()),
        axes: chart.axes.clone(),
        places: chart.places.clone(),
    };
    let both = || views.iter().zip(charts);
    let note = both().next_back().map_or(String::new(), |(view, chart)| format!("{}: {}", view.when, chart.words));
    scatter_svg(title, &note, &both().map(map).collect::<Vec<_>>(), colouring)
}

/// A row a frame: `x`, `y` after training, `x_untrained`, `y_untrained` before it where that was asked for.
fn write_table(path: &Path, known: &[Known], charts: &[Chart]) -> PolarsResult<()> {
    let time: Vec<Option<i64>> = known.iter().map(|known| known.time.map(|time| time.timestamp_micros())).collect();
    let time = Series::new("time".into(), time).cast(&DataType::Datetime(TimeUnit::Microseconds, None))?;
    let mut table = df!(
        "source" => known.iter().map(|known| known.source.as_str()).collect::<Vec<_>>(),
        "frame_index" => known.iter().map(|known| known.frame_index).collect::<Vec<_>>(),
        "label" => known.iter().map(|known| known.label.as_deref()).collect::<Vec<_>>(),
        "score" => known.iter().map(|known| known.score).collect::<Vec<_>>(),
        "time" => time,
    )?;
    for (chart, ending) in charts.iter().rev().zip(["", "_untrained"]) {
        let (x, y): (Vec<f64>, Vec<f64>) = chart.places.iter().copied().unzip();
        table.with_column(Column::new(format!("x{ending}").into(), x))?;
        table.with_column(Column::new(format!("y{ending}").into(), y))?;
    }
    ParquetWriter::new(File::create(path)?).finish(&mut table)?;
    Ok(())
}

fn save(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| Failure::io(path, error))
}
