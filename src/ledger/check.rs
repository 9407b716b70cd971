//! Whether ledger and reports agree. Works beside a running daemon: the ledger is read before and after the reports, and what it
//! knew at either time, prepared batches among it, is no finding.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use super::tree::Tree;
use super::{Reader, read_part};
use crate::error::Result;

/// Something that ledger and reports do not agree about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// A committed part does not stand in the reports.
    Missing {
        /// Where it should be, below `reports`.
        part: PathBuf,
        /// Rows it had.
        rows: usize,
    },
    /// A part that the ledger does not know.
    Unknown {
        /// Where it stands, below `reports`.
        part: PathBuf,
    },
    /// A file that is no part.
    Stray {
        /// Where it stands, below `reports`.
        file: PathBuf,
    },
    /// A part that cannot be read.
    Unreadable {
        /// Where it stands, below `reports`.
        part: PathBuf,
        /// Why.
        error: String,
    },
    /// A part with another number of rows than the ledger says.
    Rows {
        /// Where it stands, below `reports`.
        part: PathBuf,
        /// What the ledger says.
        ledger: usize,
        /// What the footer says.
        footer: usize,
    },
    /// A frame with more than one row in `scores`.
    Twice {
        /// Its pipeline.
        pipeline: String,
        /// Its name.
        frame_id: String,
        /// Its rows.
        rows: usize,
    },
    /// SQLite's own check of the ledger.
    Damaged {
        /// What it says.
        message: String,
    },
}

/// What was compared, and what was found.
#[derive(Debug, Serialize)]
pub struct Audit {
    /// Parts in the reports.
    pub parts: usize,
    /// Their rows.
    pub rows: usize,
    /// Batches that are on their way, or that the next start settles.
    pub prepared: usize,
    /// Parts that retention let go.
    pub retired: usize,
    /// Frames with a second row in `scores`, all of them.
    pub doubled: usize,
    /// What does not agree.
    pub findings: Vec<Finding>,
}

/// What the ledger says of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    OnItsWay,
    Committed(usize),
    Replaced,
    Retired,
}

/// The parts of a moment, by their place.
type Parts = BTreeMap<PathBuf, Said>;

/// Compares the ledger of a state folder with its reports.
///
/// # Errors
/// [`crate::error::Kind::Io`] where the ledger or a folder cannot be read at all.
pub fn check(state: &Path) -> Result<Audit> {
    let reader = Reader::open(state)?;
    let damage = reader.run(integrity)?;
    let before = reader.run(parts)?;
    let mut tree = Tree::default();
    tree.read(&state.join("reports"))?;
    let after = reader.run(parts)?;
    let mut findings: Vec<Finding> = damage.into_iter().map(|message| Finding::Damaged { message }).collect();
    findings.extend(missing(&before, &after, &tree));
    findings.extend(tree.standing.iter().filter_map(|(place, rows)| compare(place, *rows, &before, &after)));
    findings.append(&mut tree.findings);
    let (doubled, named) = tree.doubled();
    findings.extend(named);
    let count = |wanted: fn(&Said) -> bool| after.values().filter(|said| wanted(said)).count();
    Ok(Audit {
        parts: tree.standing.len(),
        rows: tree.standing.values().sum(),
        prepared: reader.run(|connection| {
            let count = "SELECT count(*) FROM batches WHERE committed = 0";
            connection.query_row(count, [], |row| row.get::<_, i64>(0))
        })? as usize,
        retired: count(|said| *said == Said::Retired),
        doubled,
        findings,
    })
}

fn integrity(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut query = connection.prepare("PRAGMA integrity_check")?;
    let lines = query.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// Every part the ledger has heard of.
fn parts(connection: &Connection) -> rusqlite::Result<Parts> {
    let mut found = Parts::new();
    let mut query = connection.prepare(
        "SELECT parts.name, parts.table_name, parts.pipeline, parts.date, parts.rows, batches.committed, parts.retired
         FROM parts JOIN batches ON batches.id = parts.batch",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let part = read_part(row)?;
        let said = match (row.get(5)?, row.get(6)?) {
            (false, _) => Said::OnItsWay,
            (true, true) => Said::Retired,
            (true, false) => Said::Committed(part.rows),
        };
        found.insert(part.place(), said);
    }
    let mut query = connection.prepare("SELECT name, table_name, pipeline, date, rows FROM replaced")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        found.insert(read_part(row)?.place(), Said::Replaced);
    }
    Ok(found)
}

/// The parts that were and are committed and do not stand in the reports.
fn missing<'a>(before: &'a Parts, after: &'a Parts, tree: &'a Tree) -> impl Iterator<Item = Finding> + 'a {
    after.iter().filter_map(|(place, said)| match said {
        Said::Committed(rows) if before.get(place) == Some(said) && !tree.has(place) => {
            Some(Finding::Missing { part: place.clone(), rows: *rows })
        }
        _ => None,
    })
}

/// What is to be said of a part that stands in the reports.
fn compare(place: &Path, footer: usize, before: &Parts, after: &Parts) -> Option<Finding> {
    let part = place.to_path_buf();
    match (before.get(place), after.get(place)) {
        (None, None) => Some(Finding::Unknown { part }),
        (_, Some(Said::Committed(ledger))) if *ledger != footer => {
            Some(Finding::Rows { part, ledger: *ledger, footer })
        }
        _ => None,
    }
}
