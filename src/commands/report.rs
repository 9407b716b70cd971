//! `anomalyd report`: a version's training report, written anew from its folder.

use std::path::{Path, PathBuf};

use super::say;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::store::{self, History, Manifest};
use crate::train::report::{self, Report};

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// The version, or the beginning of its name [default: the one in use].
    version: Option<String>,
    /// Where the page goes [default: PIPELINE-VERSION.html].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `report`.
///
/// # Errors
/// No such version, a damaged one, a file that cannot be written.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let given = Path::new(args.pipeline.trim_end_matches(".toml"));
    let name = given.file_name().map_or(args.pipeline.clone(), |stem| stem.to_string_lossy().into_owned());
    let home = store::home(&settings.models, &name);
    let version = choose(args.version.as_deref(), &settings.models, &name)?;
    let folder = home.join(&version);
    let manifest = store::read_manifest(&folder)?;
    let pipeline = as_trained(&name, &folder, &manifest)?;
    let calibration = store::load_version(&settings.models, &pipeline, &version)?.calibration;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}-{version}.html")));
    keep_immutable(&out, &folder, &manifest)?;
    let events: Vec<_> = History::read(&home)?.entries.into_iter().filter(|entry| entry.version == version).collect();
    let made = Report {
        name: &name,
        manifest: &manifest,
        spec: &pipeline.spec,
        calibration: &calibration,
        seen: None,
        events: &events,
        folder: &folder,
    };
    report::write(&made, &out)?;
    say(&format!("{}\n", out.display()))
}

/// The version that is named, or the one in use.
fn choose(given: Option<&str>, models: &Path, name: &str) -> Result<String> {
    if let Some(given) = given {
        return store::find(&store::home(models, name), given);
    }
    store::current(models, name)?.ok_or_else(|| {
        Failure::new(Kind::Model, format!("no version of {name} in {} is in use", models.display()))
            .hint("name a version (anomalyd models list), or another folder with --models")
    })
}

/// The pipeline that the version was trained with.
fn as_trained(name: &str, folder: &Path, manifest: &Manifest) -> Result<Pipeline> {
    let mut pipeline = Pipeline::parse(name, &folder.join("manifest.toml"), manifest.pipeline.clone())
        .map_err(|failure| Failure::new(Kind::Model, format!("the manifest's pipeline: {}", failure.message)))?;
    if let Some(training) = &manifest.training {
        pipeline.spec.training = training.clone();
    }
    Ok(pipeline)
}

/// Refuses to write over a report whose digest is the manifest's: the version would be damaged.
fn keep_immutable(out: &Path, folder: &Path, manifest: &Manifest) -> Result<()> {
    let real = |path: &Path| path.canonicalize().ok();
    let is_own = real(out).is_some_and(|out| real(&folder.join(report::FILE)) == Some(out));
    if is_own && !manifest.digests.of(report::FILE).is_empty() {
        return Err(Failure::new(Kind::Usage, format!("{}: the files of a version never change", out.display()))
            .hint("name another file with --out"));
    }
    Ok(())
}
