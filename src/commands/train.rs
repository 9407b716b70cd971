//! `anomalyd train`: fit a model to normal images, calibrate it, publish it.

use std::path::PathBuf;

use super::candidate::MakeArgs;
use super::labelled::Selection;
use super::masked;
use super::material::Material;
use super::test_split;
use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::train::data;
use crate::train::seal::Given;

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// Normal images: files and folders. Of a simulation's folder those frames are taken that its truth table calls normal.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    data: Vec<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Labelled images to be sealed as the test split, opened by `evaluate --test` alone; without --test-labels the folder
    /// `normal` holds normal ones, the others are named after what is odd about them, and of simulations the truth table counts.
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
    make: MakeArgs,
}

/// Runs `train`.
///
/// # Errors
/// A wrong pipeline, unusable or too few data, a full disk.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let bench = args.make.bench(&args.pipeline, settings)?;
    args.selection.check(&bench.pipeline)?;
    let mut material = Material::of(&args.data, &args.selection, &args.clean, &bench.pipeline, settings)?;
    material.test = test_frames(args, &bench.pipeline, settings)?;
    test_split::check(&material.test, &material.samples, &args.selection, &bench.pipeline)?;
    material.segmenter = masked::learnt(&args.masks, &bench.pipeline, settings)?;
    if bench.pipeline.spec.segmenter.is_some() && material.segmenter.is_none() {
        return Err(masked::missing(&bench.pipeline));
    }
    bench.make(material, None)
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
    test_split::given(&samples, &args.test, args.test_labels.as_deref(), &args.selection.normal_label)
}
