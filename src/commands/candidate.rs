//! From frames to a candidate and what becomes of it: what `train` and `retrain` have in common.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::material::Material;
use super::overrides::Overrides;
use super::progress::Progress;
use super::promotion::{self, GateArgs, Outcome, Rival};
use super::{say, summary};
use crate::error::{Failure, Kind, Result};
use crate::interrupt;
use crate::model::device::{self, Device};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::store::Manifest;
use crate::train::{self, Job};

/// Arguments of whatever makes a candidate.
#[derive(Debug, clap::Args)]
pub struct MakeArgs {
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

/// What a candidate is made with.
pub struct Bench<'a> {
    args: &'a MakeArgs,
    settings: &'a Settings,
    /// With what the command line overrides.
    pub pipeline: Pipeline,
    device: Device,
    stop: &'static AtomicBool,
}

impl MakeArgs {
    /// Reads the pipeline and finds the device, before any work.
    ///
    /// # Errors
    /// A wrong pipeline, an override that is none, a device that is not there.
    pub fn bench<'a>(&'a self, pipeline: &str, settings: &'a Settings) -> Result<Bench<'a>> {
        let mut pipeline = Pipeline::load(pipeline, &settings.pipelines)?;
        self.overrides.apply(&mut pipeline)?;
        let device = device::pick(self.device.as_deref().unwrap_or(&settings.device))?;
        Ok(Bench { args: self, settings, pipeline, device, stop: interrupt::flag()? })
    }
}

impl Bench<'_> {
    /// Trains from the weights at `start`, or from fresh ones, and takes the candidate through the gate; says what came of it.
    ///
    /// # Errors
    /// Those of [`train::train`] and of [`promotion::settle`].
    pub fn make(self, mut material: Material, start: Option<&Path>) -> Result<()> {
        let Self { args, settings, pipeline, device, stop } = self;
        tracing::info!(
            frames = material.samples.frames.len(),
            rejected = material.samples.rejected.len(),
            "data loaded"
        );
        let rival = Rival::find(&pipeline, &pipeline.spec, &material, settings)?;
        let known = promotion::known(&pipeline, rival.as_ref(), &args.gate, &material.test, settings)?;
        let clean = material.clean(&pipeline, settings)?;
        let samples = std::mem::take(&mut material.samples);
        let job = Job {
            pipeline: &pipeline,
            given: &material.given,
            sources: &material.sources,
            start,
            test: material.test,
            clean,
            segmenter: material.segmenter,
            models: &settings.models,
            command: std::iter::once("anomalyd".to_string())
                .chain(std::env::args().skip(1))
                .collect::<Vec<_>>()
                .join(" "),
        };
        let mut progress = Progress::new(pipeline.spec.model.beta);
        let manifest = train::train(&job, samples, device, stop, &mut |event| progress.show(event))?;
        progress.finish();
        let outcome = promotion::settle(&pipeline, &manifest, rival, &known, settings)?;
        tell(&manifest, &outcome, &pipeline, settings, args.json)
    }
}

/// Prints what was made and what became of it.
fn tell(manifest: &Manifest, outcome: &Outcome, pipeline: &Pipeline, settings: &Settings, json: bool) -> Result<()> {
    if json {
        let fail = |error| Failure::new(Kind::Internal, format!("cannot serialise the manifest: {error}"));
        let mut value = serde_json::to_value(manifest).map_err(fail)?;
        value["promotion"] = serde_json::to_value(outcome).map_err(fail)?;
        return say(&format!("{value:#}\n"));
    }
    let folder = settings.models.join(&pipeline.name).join(&manifest.version);
    say(&summary::text(manifest, &folder, pipeline.spec.model.beta))?;
    say(&outcome.text(&pipeline.name, &manifest.version))
}
