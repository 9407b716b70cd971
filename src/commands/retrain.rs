//! `anomalyd retrain`: a candidate from the data of the current version, from what the service has scored since, or from folders.

mod past;

use std::collections::HashSet;
use std::path::PathBuf;

use chrono::NaiveDate;

use super::labelled::Selection;
use super::overrides::Overrides;
use super::promotion::{self, GateArgs, Rival};
use super::whereabouts::digest_of;
use super::{masked, origin, train};
use crate::error::{Failure, Kind, Result};
use crate::interrupt;
use crate::labels::{self, NORMAL};
use crate::model::device;
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::store::{self, Source};
use crate::train::Job;
use crate::train::data::Samples;
use crate::train::seal::Given;

/// Arguments of `retrain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// Normal images, files and folders, instead of those the current version was made from.
    #[arg(long, num_args = 1.., value_name = "PATH")]
    data: Vec<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Besides, the frames that the service has scored since that day (UTC) and not flagged, or that a person labelled normal,
    /// where their file still stands in the inbox or the archive.
    #[arg(long, value_name = "YYYY-MM-DD")]
    since: Option<NaiveDate>,
    /// Weights to start from.
    #[arg(long, value_enum, default_value_t = From::Current)]
    from: From,
    /// Frames whose anomalous pixels are known, for a new segmenter, as `train --masks` takes them [default: the segmenter of the
    /// current version is taken over].
    #[arg(long, num_args = 1.., value_name = "DIR")]
    masks: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    #[command(flatten)]
    gate: GateArgs,
    /// `auto`, `cpu` or `cuda:N` [default: the settings'].
    #[arg(long)]
    device: Option<String>,
    /// Print the manifest, and what became of the version, as JSON.
    #[arg(long)]
    json: bool,
}

/// Weights to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// Those of the current version.
    Current,
    /// Drawn anew.
    Scratch,
}

/// Runs `retrain`.
///
/// # Errors
/// [`Kind::Model`] where there is no current version to start from, [`Kind::Data`] for too few frames; those of `train`.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let mut pipeline = Pipeline::load(&args.pipeline, &settings.pipelines)?;
    args.overrides.apply(&mut pipeline)?;
    args.selection.check(&pipeline)?;
    let device = device::pick(args.device.as_deref().unwrap_or(&settings.device))?;
    let stop = interrupt::flag()?;
    let start =
        match args.from {
            From::Current => Some(store::load(&settings.models, &pipeline).map_err(|failure| Failure {
                hint: Some("begin with fresh weights: --from scratch".into()),
                ..failure
            })?),
            From::Scratch => None,
        };
    let sources = sources(args, &pipeline, settings)?;
    let (samples, given) = gather(args, &pipeline, &sources, settings)?;
    tracing::info!(frames = samples.frames.len(), rejected = samples.rejected.len(), "data loaded");
    let command = std::iter::once("anomalyd".to_string()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ");
    let rival = Rival::find(&pipeline, &samples, &Given::default(), settings)?;
    let job = Job {
        pipeline: &pipeline,
        given: &given,
        sources: &sources,
        start: start.as_ref().map(|version| version.weights.as_path()),
        test: Given::default(),
        clean: None,
        segmenter: masked::learnt_or_carried(&args.masks, &pipeline, settings)?,
        models: &settings.models,
        command,
    };
    let manifest = train::fit(&job, samples, device, &stop)?;
    let outcome = promotion::settle(&pipeline, &manifest, rival, &args.gate, settings)?;
    train::tell(&manifest, &outcome, &pipeline, settings, args.json)
}

/// The folders given, else what the current version was made from.
fn sources(args: &Args, pipeline: &Pipeline, settings: &Settings) -> Result<Vec<Source>> {
    if !args.data.is_empty() {
        return Ok(vec![origin::source(&args.data, &args.selection)]);
    }
    let current = store::current(&settings.models, &pipeline.name)?.ok_or_else(|| {
        Failure::new(Kind::Model, format!("pipeline {} has no version whose data could be used", pipeline.name))
            .hint("name folders of normal images with --data")
    })?;
    Ok(store::read_manifest(&store::home(&settings.models, &pipeline.name).join(current))?.data.origin())
}

/// The frames, less those that a person found to be anomalous; and what the manifest says of them.
fn gather(
    args: &Args,
    pipeline: &Pipeline,
    sources: &[Source],
    settings: &Settings,
) -> Result<(Samples, Vec<PathBuf>)> {
    let origin::Origin { mut samples, missing } = origin::load(sources, &pipeline.spec.input, &settings.limits)?;
    for path in &missing {
        tracing::warn!(path = %path.display(), "missing, retraining without it");
    }
    let mut given: Vec<PathBuf> = sources.iter().flat_map(|source| source.paths.clone()).collect();
    given.retain(|path| !missing.contains(path));
    let labels = labels::read(&settings.state)?;
    let own = labels.iter().filter(|label| label.pipeline == pipeline.name);
    let (normal, odd): (Vec<_>, Vec<_>) = own.partition(|label| label.label == NORMAL);
    if let Some(since) = args.since {
        let past = past::load(pipeline, since, &normal, settings)?;
        let (found, state) = (past.frames.len(), settings.state.display());
        given.push(format!("{found} frames scored since {since} in {state}").into());
        origin::merge(&mut samples, past);
    }
    let odd: HashSet<_> = odd.iter().filter_map(|label| digest_of(label)).collect();
    samples.frames.retain(|sample| !odd.contains(&sample.digest));
    if samples.frames.is_empty() {
        let gone: Vec<String> = missing.iter().map(|path| path.display().to_string()).collect();
        return Err(Failure::new(Kind::Data, format!("no frame to train on; missing: {}", gone.join(", ")))
            .hint("name folders of normal images with --data, or take scored frames with --since"));
    }
    Ok((samples, given))
}
