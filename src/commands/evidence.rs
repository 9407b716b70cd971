//! `anomalyd evidence`: how probable held-out images are under a model.

use std::io::IsTerminal;
use std::path::PathBuf;

use indicatif::ProgressBar;

use super::labelled::{Selection, select};
use super::summary;
use crate::error::Result;
use crate::evidence;
use crate::model::{Autoencoder, device};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::store;
use crate::train::data;
use crate::train::overlap::Overlap;

/// Arguments of `evidence`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// Images that the model was not trained on: files and folders.
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    data: Vec<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Latents drawn an image for the importance-weighted bound.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    draws: u32,
    /// Make each value, a number in [0, 1], a one with that probability: how published figures on MNIST are made.
    #[arg(long)]
    binarise: bool,
    /// Seed of draws and binarisation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `evidence`.
///
/// # Errors
/// A wrong pipeline, a model without a distribution over its latents, unusable data.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let pipeline = Pipeline::load(&args.pipeline, &settings.pipelines)?;
    args.selection.check(&pipeline)?;
    let version = store::load(&settings.models, &pipeline)?;
    let spec = &pipeline.spec;
    let mut model = Autoencoder::load(&spec.model, &spec.input, &version.weights, device::pick(&settings.device)?)?;
    let samples = select(data::load(&args.data, &spec.input, &settings.limits)?, &args.selection, &args.data)?;
    let folder = store::home(&settings.models, &pipeline.name).join(&version.manifest.version);
    let overlap = Overlap::find(&folder, &samples.frames)?;
    let frames: Vec<_> = samples.frames.into_iter().map(|sample| sample.prepared).collect();
    let tiles = frames.iter().map(|frame| frame.tiles.len() as u64).sum();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(tiles) } else { ProgressBar::hidden() };
    let asked = (args.draws as usize, args.binarise, args.seed);
    let found = evidence::evidence(&mut model, &frames, asked, |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    if args.json {
        sayln!("{}", serde_json::to_string_pretty(&found).unwrap_or_default());
        return Ok(());
    }
    sayln!("model                 {}", version.manifest.version);
    super::output::print(format_args!("{}", summary::looks(&version.manifest)));
    if let Some(warning) = overlap.and_then(|overlap| overlap.warning()) {
        sayln!("warning               {warning}");
    }
    sayln!("tiles                 {}{}", found.tiles, if args.binarise { ", binarised" } else { "" });
    sayln!("reconstruction loss   {:.2} nats", found.reconstruction_nll);
    sayln!("KL                    {:.2} nats", found.kl);
    sayln!("-ELBO                 {:.2} nats", found.negative_elbo);
    sayln!(
        "-ln p(x), at most     {:.2} +- {:.2} nats ({} draws)",
        found.importance_weighted,
        found.standard_error,
        found.draws
    );
    Ok(())
}
