//! `anomalyd models show`.

use std::fmt::Write;
use std::path::Path;

use super::{name_of, say, say_json};
use crate::error::{Failure, Kind, Result};
use crate::store::{self, Entry, History, Manifest};

/// Arguments of `models show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline's name.
    pipeline: String,
    /// The version, its number, or the beginning of its name [default: the current one].
    version: Option<String>,
    /// Print manifest and history as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `models show`.
///
/// # Errors
/// [`Kind::Model`] for a version that is missing or damaged, [`Kind::Io`].
pub fn run(args: &Args, models: &Path) -> Result<()> {
    let pipeline = name_of(&args.pipeline);
    let home = store::home(models, &pipeline);
    let version = match &args.version {
        Some(given) => store::find(&home, given)?,
        None => store::current(models, &pipeline)?.ok_or_else(|| {
            Failure::new(Kind::Model, format!("{}: no version is current", home.display()))
                .hint("see them with `anomalyd models list`, and name one")
        })?,
    };
    let manifest = store::read_manifest(&home.join(&version))?;
    let entries: Vec<Entry> =
        History::read(&home)?.entries.into_iter().filter(|entry| entry.version == version).collect();
    if args.json {
        return say_json(&serde_json::json!({ "manifest": manifest, "history": entries }));
    }
    say(&text(&manifest, &entries)?)
}

fn text(manifest: &Manifest, entries: &[Entry]) -> Result<String> {
    let mut text = toml::to_string_pretty(&Manifest { pipeline: String::new(), ..manifest.clone() })
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the manifest: {error}")))?
        .replace("pipeline = \"\"\n", "");
    // A line an epoch says as much as eleven.
    if let Some(at) = text.find("[[history.epochs]]") {
        text.truncate(at);
    }
    for epoch in &manifest.history.epochs {
        let _ = writeln!(
            text,
            "epoch {:>3}  train {:.3} + {:.3}  validation {:.3} + {:.3} nats  {} active units",
            epoch.epoch, epoch.train_nll, epoch.train_kl, epoch.validation_nll, epoch.validation_kl, epoch.active_units
        );
    }
    for Entry { at, event, reason, .. } in entries {
        let _ = writeln!(text, "{}  {}: {reason}", at.format("%Y-%m-%d %H:%M:%S"), event.as_str());
    }
    let _ = write!(text, "\n{}", manifest.pipeline.trim_start());
    Ok(text)
}
