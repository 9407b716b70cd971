//! What stands in the reports, for the comparison with the ledger. A day is read as it is at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use polars::prelude::*;

use super::Finding;
use crate::error::{Failure, Kind, Result};
use crate::report::part::Part;
use crate::report::schema::Table;

/// Frames scored twice that are named; the rest are counted.
const NAMED: usize = 20;
/// Tries to read a day whose parts are being replaced.
const TRIES: usize = 5;

/// What stands in the reports.
#[derive(Default)]
pub(super) struct Tree {
    /// Rows by place.
    pub standing: BTreeMap<PathBuf, usize>,
    unreadable: BTreeSet<PathBuf>,
    /// What is wrong with it by itself.
    pub findings: Vec<Finding>,
    /// The frames of `scores`, by pipeline.
    frames: BTreeMap<String, Vec<u64>>,
}

/// A day as it was listed and read.
type Day = Vec<(PathBuf, PolarsResult<(usize, Vec<u64>)>)>;

impl Tree {
    /// Whether a part stands there, readable or not.
    pub fn has(&self, place: &Path) -> bool {
        self.standing.contains_key(place) || self.unreadable.contains(place)
    }

    /// Reads all of it, day by day.
    ///
    /// # Errors
    /// [`Kind::Io`] for a folder that cannot be listed, or a day that changes whenever it is read.
    pub fn read(&mut self, reports: &Path) -> Result<()> {
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
    pub fn doubled(&mut self) -> (usize, Vec<Finding>) {
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
