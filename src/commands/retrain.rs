//! `anomalyd retrain`: a candidate from the data of the current version, from what the service has scored since, or from folders.

use std::collections::HashSet;
use std::path::PathBuf;

use chrono::NaiveDate;

use super::candidate::MakeArgs;
use super::labelled::Selection;
use super::masked;
use super::material::Material;
use super::origin;
use super::past;
use crate::error::{Failure, Kind, Result};
use crate::labels::{self, NORMAL};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::store::{self, Manifest};
use crate::train::seal;

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
    /// Clean twins of the images of --data, by file name, for the denoiser and the report.
    #[arg(long, num_args = 1.., value_name = "PATH", requires = "data")]
    clean: Vec<PathBuf>,
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
    make: MakeArgs,
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
    let bench = args.make.bench(&args.pipeline, settings)?;
    args.selection.check(&bench.pipeline)?;
    let start =
        match args.from {
            From::Current => Some(store::load(&settings.models, &bench.pipeline).map_err(|failure| Failure {
                hint: Some("begin with fresh weights: --from scratch".into()),
                ..failure
            })?),
            From::Scratch => None,
        };
    let mut material = gather(args, &bench.pipeline, settings)?;
    material.segmenter = masked::learnt_or_carried(&args.masks, &bench.pipeline, settings)?;
    bench.make(material, start.as_ref().map(|version| version.weights.as_path()))
}

/// The current version's folder and manifest.
fn current(pipeline: &Pipeline, settings: &Settings) -> Result<Option<(PathBuf, Manifest)>> {
    let Some(name) = store::current(&settings.models, &pipeline.name)? else { return Ok(None) };
    let folder = store::home(&settings.models, &pipeline.name).join(name);
    let manifest = store::read_manifest(&folder)?;
    Ok(Some((folder, manifest)))
}

/// The frames, less those that a person found to be anomalous; what was sealed with the current version stays sealed.
fn gather(args: &Args, pipeline: &Pipeline, settings: &Settings) -> Result<Material> {
    let current = current(pipeline, settings)?;
    let mut material = if args.data.is_empty() {
        let (folder, manifest) = current.as_ref().ok_or_else(|| {
            Failure::new(Kind::Model, format!("pipeline {} has no version whose data could be used", pipeline.name))
                .hint("name folders of normal images with --data")
        })?;
        Material::of_version(folder, manifest, pipeline, settings)?
    } else {
        Material::of(&args.data, &args.selection, &args.clean, pipeline, settings)?
    };
    if let Some((folder, manifest)) = &current {
        material.test = seal::carried(folder, manifest)?;
    }
    heed(&mut material, args.since, pipeline, settings)?;
    if material.samples.frames.is_empty() {
        let gone: Vec<String> =
            material.sources.iter().flat_map(|source| &source.paths).map(|path| path.display().to_string()).collect();
        return Err(Failure::new(Kind::Data, format!("no frame to train on in {}", gone.join(", ")))
            .hint("name folders of normal images with --data, or take scored frames with --since"));
    }
    Ok(material)
}

/// Takes in what the service has scored since a day, and does what people said of frames.
fn heed(material: &mut Material, since: Option<NaiveDate>, pipeline: &Pipeline, settings: &Settings) -> Result<()> {
    let labels = labels::read(&settings.state)?;
    if let Some(since) = since {
        let normal: Vec<_> =
            labels.iter().filter(|label| label.pipeline == pipeline.name && label.label == NORMAL).collect();
        let past = past::load(pipeline, since, &normal, settings)?;
        let (found, state) = (past.frames.len(), settings.state.display());
        material.given.push(format!("{found} frames scored since {since} in {state}").into());
        let known: HashSet<_> = material.samples.frames.iter().map(|sample| sample.digest).collect();
        let new = past.frames.iter().map(|sample| sample.digest).filter(|digest| !known.contains(digest));
        material.scored.extend(new);
        origin::merge(&mut material.samples, past);
    }
    material.heed(&labels, &pipeline.name);
    Ok(())
}
