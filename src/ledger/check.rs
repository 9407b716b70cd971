//! Whether ledger and reports agree. Works beside a running daemon: the ledger is read before and after the reports, and what it
//! knew at either time, prepared batches among it, is no finding.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use polars::prelude::*;
use rusqlite::Connection;
use serde::Serialize;

use super::{Reader, read_part};
use crate::error::{Failure, Kind, Result};
use crate::report::schema::Table;
use crate::report::writer::Part;

/// Frames scored twice that are named; the rest are counted.
const NAMED: usize = 20;
/// Tries to read a day whose parts are being replaced.
const TRIES: usize = 5;

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
/// [`Kind::Io`] where the ledger or a folder cannot be read at all.
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

/// What stands in the reports.
#[derive(Default)]
struct Tree {
    /// Rows by place.
    standing: BTreeMap<PathBuf, usize>,
    unreadable: BTreeSet<PathBuf>,
    findings: Vec<Finding>,
    /// The frames of `scores`, by pipeline.
    frames: BTreeMap<String, Vec<u64>>,
}

/// A day as it was listed and read.
type Day = Vec<(PathBuf, PolarsResult<(usize, Vec<u64>)>)>;

impl Tree {
    fn has(&self, place: &Path) -> bool {
        self.standing.contains_key(place) || self.unreadable.contains(place)
    }

    fn read(&mut self, reports: &Path) -> Result<()> {
        let mut days = BTreeSet::new();
        for entry in walkdir::WalkDir::new(reports).min_depth(1).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.io_error().is_some_and(|error| error.kind() == ErrorKind::NotFound) => continue,
                Err(error) => return Err(Failure::io(reports, error)),
            };
            if entry.file_type().is_dir() {
                continue;
            }
            let place = entry.path().strip_prefix(reports).unwrap_or(entry.path()).to_path_buf();
            match Part::at(&place) {
                Some(_) => days.extend(place.parent().map(Path::to_path_buf)),
                None => self.findings.push(Finding::Stray { file: place }),
            }
        }
        days.into_iter().try_for_each(|day| self.read_day(reports, &day))
    }

    /// Reads a day as it is at one moment: a day that is replaced meanwhile is read again.
    fn read_day(&mut self, reports: &Path, day: &Path) -> Result<()> {
        for _ in 0..TRIES {
            let read = list_day(reports, day)?;
            let gone = |(_, outcome): &(PathBuf, PolarsResult<_>)| matches!(outcome, Err(PolarsError::IO { error, .. }) if error.kind() == ErrorKind::NotFound);
            if !read.iter().any(gone) {
                read.into_iter().for_each(|(place, outcome)| self.note(place, outcome));
                return Ok(());
            }
        }
        Err(Failure::new(Kind::Io, format!("{}: it changes whenever it is read", reports.join(day).display())))
    }

    fn note(&mut self, place: PathBuf, outcome: PolarsResult<(usize, Vec<u64>)>) {
        match outcome {
            Ok((rows, frames)) => {
                if !frames.is_empty()
                    && let Some(part) = Part::at(&place)
                {
                    self.frames.entry(part.pipeline).or_default().extend(frames);
                }
                self.standing.insert(place, rows);
            }
            Err(error) => {
                self.findings.push(Finding::Unreadable { part: place.clone(), error: error.to_string() });
                self.unreadable.insert(place);
            }
        }
    }

    /// How many frames have a second row, and the first of them.
    fn doubled(&mut self) -> (usize, Vec<Finding>) {
        let (mut count, mut named) = (0, Vec::new());
        for (pipeline, frames) in &mut self.frames {
            frames.sort_unstable();
            for same in frames.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
                count += 1;
                if named.len() < NAMED {
                    let frame_id = format!("{:016x}", same[0]);
                    named.push(Finding::Twice { pipeline: pipeline.clone(), frame_id, rows: same.len() });
                }
            }
        }
        (count, named)
    }
}

fn list_day(reports: &Path, day: &Path) -> Result<Day> {
    let folder = reports.join(day);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::io(&folder, error)),
    };
    let mut places: Vec<PathBuf> = entries.flatten().map(|entry| day.join(entry.file_name())).collect();
    places.retain(|place| Part::at(place).is_some());
    places.sort();
    Ok(places.into_iter().map(|place| (place.clone(), read_part_file(reports, &place))).collect())
}

/// Rows by the footer, and the frames where it is a part of `scores`.
fn read_part_file(reports: &Path, place: &Path) -> PolarsResult<(usize, Vec<u64>)> {
    let rows = ParquetReader::new(File::open(reports.join(place))?).num_rows()?;
    if !place.starts_with(Table::Scores.name()) {
        return Ok((rows, Vec::new()));
    }
    let wanted = Some(vec!["frame_id".to_string()]);
    let frame = ParquetReader::new(File::open(reports.join(place))?).with_columns(wanted).finish()?;
    let ids = frame.column("frame_id")?.str()?;
    Ok((rows, ids.iter().flatten().map(number).collect()))
}

/// A frame's name as the number it is.
fn number(frame_id: &str) -> u64 {
    u64::from_str_radix(frame_id, 16).unwrap_or_else(|_| {
        let digest = blake3::hash(frame_id.as_bytes());
        digest.as_bytes().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    })
}
