//! `anomalyd models diff`: two manifests, key by key, the pipeline's keys among them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::{name_of, say, say_json};
use crate::error::{Failure, Kind, Result};
use crate::store::{self, History, Manifest, Verdict};

/// Longest value in the text, characters: a digest fits.
const WIDEST: usize = 68;

/// Arguments of `models diff`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline's name.
    pipeline: String,
    /// One version, its number, or the beginning of its name.
    old: String,
    /// The other [default: the current one].
    new: Option<String>,
    /// Print an array of objects.
    #[arg(long)]
    json: bool,
}

/// A key that differs.
#[derive(Debug, PartialEq, Serialize)]
struct Change {
    key: String,
    old: Option<String>,
    new: Option<String>,
}

/// Runs `models diff`.
///
/// # Errors
/// [`Kind::Model`] for a version that is missing or damaged, [`Kind::Io`].
pub fn run(args: &Args, models: &Path) -> Result<()> {
    let pipeline = name_of(&args.pipeline);
    let home = store::home(models, &pipeline);
    let old = store::find(&home, &args.old)?;
    let new = match &args.new {
        Some(given) => store::find(&home, given)?,
        None => store::current(models, &pipeline)?.ok_or_else(|| {
            Failure::new(Kind::Model, format!("{}: no version is current", home.display())).hint("name a second one")
        })?,
    };
    let history = History::read(&home)?;
    let read = |version: &str| -> Result<BTreeMap<String, String>> {
        let verdict = history.entries.iter().rev().find(|entry| entry.version == version && entry.verdict.is_some());
        keys(&store::read_manifest(&home.join(version))?, verdict.and_then(|entry| entry.verdict.as_ref()))
    };
    let changes = changes(&read(&old)?, &read(&new)?);
    if args.json {
        return say_json(&changes);
    }
    let mut told = text(&changes, &old, &new);
    if let Some([of_old, of_new, both]) = common(&home, &old, &new)? {
        told.push_str(&format!("{of_old} frames and {of_new}, {both} of them the same\n"));
    }
    say(&told)
}

/// How many frames each version was made from, and how many both were; `None` where one did not record them.
fn common(home: &Path, old: &str, new: &str) -> Result<Option<[usize; 3]>> {
    let frames = |version: &str| -> Result<Option<BTreeSet<String>>> {
        let rows = store::read_frames(&home.join(version))?;
        Ok(rows.map(|rows| rows.into_iter().map(|row| row.digest).collect()))
    };
    let (Some(old), Some(new)) = (frames(old)?, frames(new)?) else { return Ok(None) };
    Ok(Some([old.len(), new.len(), old.intersection(&new).count()]))
}

/// The values of a manifest by dotted key: of its epochs the chosen one, of the pipeline file its keys; and what the gate found.
fn keys(manifest: &Manifest, verdict: Option<&Verdict>) -> Result<BTreeMap<String, String>> {
    let fail = |error: &dyn std::fmt::Display| Failure::new(Kind::Model, format!("{}: {error}", manifest.version));
    let mut table = toml::Table::try_from(manifest).map_err(|error| fail(&error))?;
    let pipeline: toml::Table = toml::from_str(&manifest.pipeline).map_err(|error| fail(&error))?;
    table.insert("pipeline".into(), toml::Value::Table(pipeline));
    let best = manifest.history.best.checked_sub(1).and_then(|at| manifest.history.epochs.get(at));
    if let (Some(best), Some(toml::Value::Table(history))) = (best, table.get_mut("history")) {
        let best = toml::Value::try_from(best).map_err(|error| fail(&error))?;
        let epochs = i64::try_from(manifest.history.epochs.len()).unwrap_or(i64::MAX);
        history.insert("best_epoch".into(), best);
        history.insert("epochs".into(), epochs.into());
    }
    if let Some(verdict) = verdict {
        table.insert("gate".into(), toml::Value::try_from(verdict).map_err(|error| fail(&error))?);
    }
    let mut keys = BTreeMap::new();
    flatten("", &toml::Value::Table(table), &mut keys);
    Ok(keys)
}

fn flatten(prefix: &str, value: &toml::Value, keys: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, keys);
            }
        }
        other => {
            keys.insert(prefix.to_string(), other.to_string());
        }
    }
}

fn changes(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Change> {
    let all: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |key: &&String| old.get(*key) != new.get(*key);
    let told = |key: &String| Change { key: key.clone(), old: old.get(key).cloned(), new: new.get(key).cloned() };
    all.into_iter().filter(change).map(told).collect()
}

/// Lists of many numbers are in the JSON.
fn shortened(value: &str) -> String {
    if value.chars().count() <= WIDEST {
        return value.to_string();
    }
    value.chars().take(WIDEST - 1).chain(['…']).collect()
}

fn text(changes: &[Change], old: &str, new: &str) -> String {
    let widest = changes.iter().map(|change| change.key.len()).max().unwrap_or(0).max(3);
    let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "-".into(), shortened);
    let mut text = format!("{:<widest$}  {old}  ->  {new}\n", "key");
    for change in changes {
        text.push_str(&format!("{:<widest$}  {}  ->  {}\n", change.key, shown(&change.old), shown(&change.new)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_by_its_key() {
        let text = include_str!("../../../models/digits/0001-f8934809/manifest.toml");
        let old: Manifest = toml::from_str(text).unwrap();
        let mut new = old.clone();
        assert_eq!(changes(&keys(&old, None).unwrap(), &keys(&new, None).unwrap()), []);
        new.pipeline = old.pipeline.replace("epochs = 20", "epochs = 30\ntiles_per_epoch = 5");
        new.data.frames = 7;
        new.history.best = 1;
        let found = changes(&keys(&old, None).unwrap(), &keys(&new, None).unwrap());
        let find = |key: &str| found.iter().find(|change| change.key == key).unwrap();
        assert_eq!(find("pipeline.training.epochs").new.as_deref(), Some("30"));
        assert_eq!(find("pipeline.training.tiles_per_epoch").old, None);
        assert_eq!(find("data.frames").old.as_deref(), Some("60000"));
        assert!(find("history.best_epoch.validation_nll").new.as_ref().unwrap().starts_with("82.93"));
    }
}
