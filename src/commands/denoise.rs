//! `anomalyd denoise`: how much noise a pipeline takes away, against frames without any.

use std::path::PathBuf;

use crate::denoise::{Denoiser, Pairs, compare, fidelity};
use crate::detector::Detector;
use crate::error::{Failure, Result};
use crate::model::device;
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::store;
use crate::train::data;
use crate::train::overlap::Overlap;

/// Arguments of `denoise`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// Frames with noise that the model was not trained on: files and folders.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    noisy: Vec<PathBuf>,
    /// The same frames without noise, by file name; `simulate --clean` writes such pairs.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    clean: Vec<PathBuf>,
    /// Contact sheet to write: noisy, each output, clean.
    #[arg(long, value_name = "FILE", default_value = "denoise.png")]
    out: PathBuf,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `denoise`.
///
/// # Errors
/// A wrong pipeline, no model, frames that cannot be used or have no clean twin.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let pipeline = Pipeline::load(&args.pipeline, &settings.pipelines)?;
    let version = store::load(&settings.models, &pipeline)?;
    let spec = &pipeline.spec;
    let noisy = data::load(&args.noisy, &spec.input, &settings.limits)?;
    let clean = data::load_clean(&args.clean, &spec.input, &settings.limits)?;
    let pairs = Pairs::of(&noisy.frames, &clean.frames, spec.input.scaling)?;
    let name = version.manifest.version.clone();
    let overlap = Overlap::find(&store::home(&settings.models, &pipeline.name).join(&name), &noisy.frames)?;
    let denoiser = Denoiser::load(spec, &version, device::pick(&settings.device)?)?;
    let mut detector = Detector::load(spec, version, device::pick(&settings.device)?)?;
    let twins = pairs.twins(&noisy.frames, 0..noisy.frames.len());
    let found = compare::compare((&mut detector, denoiser.as_ref()), spec.model.kind, &twins)?;
    std::fs::write(&args.out, &found.sheet).map_err(|error| Failure::io(&args.out, error))?;
    if args.json {
        return super::say(&format!("{}\n", serde_json::to_string_pretty(&found.figures).unwrap_or_default()));
    }
    let table = fidelity::table(&found.figures).join("\n");
    let frames = noisy.frames.len();
    let warning =
        overlap.and_then(|overlap| overlap.warning()).map_or(String::new(), |words| format!("warning: {words}\n"));
    super::say(&format!("model {name}, {frames} frames\n{warning}{table}\npictures: {}\n", args.out.display()))
}
