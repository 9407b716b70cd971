//! `anomalyd models prune`: the current version, the one before it and the newest stay, and whatever reports refer to.

use std::collections::BTreeSet;

use serde::Serialize;

use super::list::{Line, Status, lines};
use super::{name_of, say, say_json};
use crate::commands::cells::string;
use crate::error::Result;
use crate::report::query::Reports;
use crate::settings::Settings;
use crate::store::Shelf;

/// Arguments of `models prune`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline's name.
    pipeline: String,
    /// How many of the newest stay, beside the current one and the one before it.
    #[arg(long, value_name = "N", default_value_t = 3)]
    keep: usize,
    /// Delete those too that reports of the state folder refer to.
    #[arg(long)]
    force: bool,
    /// Only say what would be deleted.
    #[arg(long)]
    dry_run: bool,
    /// Print an array of objects.
    #[arg(long)]
    json: bool,
}

/// What becomes of a version.
#[derive(Debug, PartialEq, Serialize)]
struct Fate {
    version: String,
    /// Why it stays; `None` where it goes.
    kept: Option<&'static str>,
}

/// Runs `models prune`.
///
/// # Errors
/// [`crate::error::Kind::Model`] where there are no versions, [`crate::error::Kind::Io`].
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let pipeline = name_of(&args.pipeline);
    let shelf = Shelf::open(&settings.models, &pipeline)?;
    let referred = referred(settings, &pipeline)?;
    let fates = fates(&lines(&settings.models, &pipeline)?, args.keep, (&referred, args.force));
    if !args.dry_run {
        for fate in fates.iter().filter(|fate| fate.kept.is_none()) {
            shelf.remove(&fate.version, &format!("pruned, the newest {} kept", args.keep))?;
        }
    }
    if args.json {
        return say_json(&fates);
    }
    let gone = if args.dry_run { "would go" } else { "deleted" };
    let line = |fate: &Fate| match fate.kept {
        Some(why) => format!("{}  kept: {why}\n", fate.version),
        None => format!("{}  {gone}\n", fate.version),
    };
    say(&fates.iter().map(line).collect::<String>())
}

fn fates(lines: &[Line], keep: usize, (referred, force): (&BTreeSet<String>, bool)) -> Vec<Fate> {
    let old = lines.len().saturating_sub(keep);
    let fate = |(at, line): (usize, &Line)| {
        let kept = match line.status {
            Status::Current => Some("in use"),
            Status::Previous => Some("in use before"),
            _ if at >= old => Some("among the newest"),
            _ if !force && referred.contains(&line.version) => Some("reports refer to it (--force deletes it)"),
            _ => None,
        };
        Fate { version: line.version.clone(), kept }
    };
    lines.iter().enumerate().map(fate).collect()
}

/// The versions that rows of the reports name.
fn referred(settings: &Settings, pipeline: &str) -> Result<BTreeSet<String>> {
    let mut reports = Reports::open(&settings.state)?;
    let mut versions = BTreeSet::new();
    let name = pipeline.replace('\'', "''");
    for table in ["scores", "anomalies", "rejected", "duplicates"] {
        if reports.has(table) {
            let rows = reports.query(&format!(
                "SELECT DISTINCT model_version FROM {table} WHERE pipeline = '{name}' AND model_version IS NOT NULL"
            ))?;
            versions.extend((0..rows.height()).map(|row| string(&rows, "model_version", row)));
        }
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_new_or_named_by_reports_stays() {
        let root = tempfile::tempdir().unwrap();
        let versions = ["0001-a", "0002-b", "0003-c", "0004-d", "0005-e"];
        versions.iter().for_each(|version| crate::store::put_test_version(root.path(), version));
        let shelf = Shelf::open(root.path(), "digits").unwrap();
        for version in ["0001-a", "0003-c"] {
            shelf.promote(version, crate::store::Event::Promoted, "test", None).unwrap();
        }
        let lines = lines(root.path(), "digits").unwrap();
        let gone = |force: bool, referred: &[&str]| -> Vec<String> {
            let referred = referred.iter().map(ToString::to_string).collect();
            let fates = fates(&lines, 1, (&referred, force));
            fates.into_iter().filter(|fate| fate.kept.is_none()).map(|fate| fate.version).collect()
        };
        assert_eq!(gone(false, &[]), ["0002-b", "0004-d"]);
        assert_eq!(gone(false, &["0004-d"]), ["0002-b"]);
        assert_eq!(gone(true, &["0004-d", "0003-c"]), ["0002-b", "0004-d"]);
    }
}
