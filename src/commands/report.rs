//! `anomalyd report`: a version's training report, written anew from its folder.

use std::path::{Path, PathBuf};

use super::say;
use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;
use crate::store;
use crate::train::report::{self, Known};

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
    let version = choose(args.version.as_deref(), &settings.models, &name)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}-{version}.html")));
    Known::of(&settings.models, &name, &version)?.write(&out)?;
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

/// Writes the page in a version's folder anew, now that more is known of it; where it is. That it cannot be written is no reason
/// to call undone what was done.
pub fn renew(models: &Path, name: &str, version: &str) -> Option<PathBuf> {
    match report::renew(models, name, version) {
        Ok(path) => path,
        Err(failure) => {
            tracing::warn!(
                version,
                error = failure.message,
                "report.html is not up to date; `anomalyd report` writes it anew"
            );
            None
        }
    }
}
