//! `anomalyd models diff`: two manifests, key by key, the pipeline's keys among them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Serialize, Serializer};

use super::{name_of, say, say_json};
use crate::error::{Failure, Kind, Result};
use crate::store::{self, History, Manifest, Verdict};

/// Longest value in the text, characters.
const WIDEST: usize = 40;
/// The beginning of the keys that hold the files' digests.
const DIGESTS: &str = "digests.";
/// Hexadecimal digits of a digest in the text, of 64.
const DIGEST: usize = 12;

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
    #[serde(serialize_with = "whole")]
    old: Option<toml::Value>,
    #[serde(serialize_with = "whole")]
    new: Option<toml::Value>,
}

/// Keys and their values.
type Keys = BTreeMap<String, toml::Value>;

/// A value as TOML has it.
fn whole<S: Serializer>(value: &Option<toml::Value>, serializer: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(ToString::to_string).serialize(serializer)
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
    let read = |version: &str| -> Result<Keys> {
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
fn keys(manifest: &Manifest, verdict: Option<&Verdict>) -> Result<Keys> {
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

fn flatten(prefix: &str, value: &toml::Value, keys: &mut Keys) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&key, value, keys);
            }
        }
        other => {
            keys.insert(prefix.to_string(), other.clone());
        }
    }
}

fn changes(old: &Keys, new: &Keys) -> Vec<Change> {
    let all: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |key: &&String| old.get(*key) != new.get(*key);
    let told = |key: &String| Change { key: key.clone(), old: old.get(key).cloned(), new: new.get(key).cloned() };
    all.into_iter().filter(change).map(told).collect()
}

/// A line a key; the digests of files, which all differ, on one. What is long is in the JSON.
fn text(changes: &[Change], old: &str, new: &str) -> String {
    let shown: Vec<&Change> = changes.iter().filter(|change| !is_said_twice(change, changes)).collect();
    let widest = shown.iter().map(|change| change.key.len()).max().unwrap_or(0).max(DIGESTS.len());
    let value = |value: &Option<toml::Value>| value.as_ref().map_or_else(|| "-".into(), short);
    let mut text = format!("{:<widest$}  {old}  ->  {new}\n", "key");
    for change in shown {
        text.push_str(&format!("{:<widest$}  {}  ->  {}\n", change.key, value(&change.old), value(&change.new)));
    }
    let files: Vec<&str> = changes.iter().filter_map(|change| change.key.strip_prefix(DIGESTS)).collect();
    if !files.is_empty() {
        text.push_str(&format!("{:<widest$}  other content: {}\n", "digests", files.join(", ")));
    }
    text
}

/// The digests of files have a line of their own; what a training was made with is in the pipeline, unless the command line had
/// another word.
fn is_said_twice(change: &Change, changes: &[Change]) -> bool {
    let in_pipeline = format!("pipeline.{}", change.key);
    let is_same = |other: &Change| other.key == in_pipeline && (&other.old, &other.new) == (&change.old, &change.new);
    change.key.starts_with(DIGESTS) || changes.iter().any(is_same)
}

/// A value for people: numbers rounded, digests by their beginning, of lists how many values there are.
fn short(value: &toml::Value) -> String {
    match value {
        toml::Value::Float(number) => rounded(*number),
        toml::Value::String(text) if is_digest(text) => format!("{}…", &text[..DIGEST]),
        toml::Value::Array(values) => {
            let listed = values.iter().map(short).collect::<Vec<_>>().join(", ");
            let is_table = values.iter().any(toml::Value::is_table);
            match values.first().filter(|_| is_table || listed.chars().count() > WIDEST) {
                None => format!("[{listed}]"),
                Some(toml::Value::String(first)) if !is_digest(first) => {
                    format!("[{:?}, … {} in all]", cut(first), values.len())
                }
                Some(_) => format!("{} values", values.len()),
            }
        }
        other => cut(&other.to_string()),
    }
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Five significant digits.
fn rounded(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{number:.3e}");
    }
    let digits = if size >= 1.0 { 4_usize.saturating_sub(size.log10() as usize) } else { 5 };
    let text = format!("{number:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// The beginning of a long text.
fn cut(text: &str) -> String {
    if text.chars().count() <= WIDEST {
        return text.to_string();
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
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
        assert_eq!(find("pipeline.training.epochs").new, Some(30.into()));
        assert_eq!(find("pipeline.training.tiles_per_epoch").old, None);
        assert_eq!(find("data.frames").old, Some(60000.into()));
        assert!(find("history.best_epoch.validation_nll").new.as_ref().unwrap().to_string().starts_with("82.93"));
    }

    #[test]
    fn what_is_long_is_short_for_people_and_whole_for_programs() {
        let digest = "0123456789abcdef".repeat(4);
        let list = |count: usize| toml::Value::Array((0..count).map(|at| (at as f64 / 7.0).into()).collect());
        let cases: [(toml::Value, &str); 7] = [
            (82.93042854602031.into(), "82.93"),
            ((-1436.123456).into(), "-1436.1"),
            (0.000012.into(), "1.200e-5"),
            (digest.as_str().into(), "0123456789ab…"),
            (list(3), "[0, 0.14286, 0.28571]"),
            (list(64), "64 values"),
            (vec!["/data/night/of/many/frames".to_string(); 9].into(), "[\"/data/night/of/many/frames\", … 9 in all]"),
        ];
        for (value, text) in cases {
            assert_eq!(short(&value), text);
        }
        let change = |key: &str, new: toml::Value| Change { key: key.into(), old: None, new: Some(new) };
        let changes = [
            change("digests.a", digest.as_str().into()),
            change("digests.b", digest.as_str().into()),
            change("history.latent.kl", list(64)),
            change("pipeline.training.epochs", 30.into()),
            change("training.epochs", 30.into()),
        ];
        let told = text(&changes, "1", "2");
        assert_eq!(told.lines().count(), 4, "{told}");
        assert!(told.contains("other content: a, b") && !told.contains(&digest), "{told}");
        let json = serde_json::to_string(&changes).unwrap();
        assert!(json.contains(&digest) && json.contains("0.14285714285714285"), "{json}");
    }
}
