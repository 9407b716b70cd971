//! `anomalyd models judge`: a candidate through the gate once more, with what is known now.

use std::collections::HashSet;

use super::{say, say_json};
use crate::commands::material::Material;
use crate::commands::promotion::{self, GateArgs, Rival};
use crate::error::{Failure, Kind, Result};
use crate::labels;
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::store::{self, Part};
use crate::train::seal;

/// Arguments of `models judge`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// The version, its number, or the beginning of its name.
    version: String,
    #[command(flatten)]
    gate: GateArgs,
    /// Print the verdict, and what became of the version, as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `models judge`.
///
/// # Errors
/// [`Kind::Usage`] for the current version, [`Kind::Model`] for one that is missing or damaged, [`Kind::Data`] where its frames are
/// gone, [`Kind::Io`].
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let pipeline = Pipeline::load(&args.pipeline, &settings.pipelines)?;
    let home = store::home(&settings.models, &pipeline.name);
    let version = store::find(&home, &args.version)?;
    if store::current(&settings.models, &pipeline.name)?.is_none_or(|current| current == version) {
        let message = format!("{version}: there is no other current version to hold it against");
        return Err(Failure::new(Kind::Usage, message).hint("see them with `anomalyd models list`"));
    }
    let folder = home.join(&version);
    let manifest = store::read_manifest(&folder)?;
    let mut material = Material::of_version(&folder, &manifest, &pipeline, settings)?;
    if let Some(listed) = store::read_frames(&folder)? {
        let held_out = listed.into_iter().filter(|row| row.part == Part::Calibration);
        let listed: HashSet<String> = held_out.map(|row| row.digest).collect();
        material.samples.frames.retain(|sample| listed.contains(sample.digest.to_hex().as_str()));
    }
    material.test = seal::carried(&folder, &manifest)?;
    material.heed(&labels::read(&settings.state)?, &pipeline.name);
    let made_with = promotion::trained(&pipeline, &manifest)?;
    let rival = Rival::find(&pipeline, &made_with, &material, settings)?;
    let known = promotion::known(&pipeline, rival.as_ref(), &args.gate, &material.test, settings)?;
    let outcome = promotion::settle(&pipeline, &manifest, rival, &known, settings)?;
    if args.json {
        return say_json(&outcome);
    }
    say(&outcome.text(&pipeline.name, &version))
}
