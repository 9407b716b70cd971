//! The days of the report tree: which there are, and which of their parts are worth merging.

use std::fs::{self, DirEntry};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use crate::error::{Failure, Result};
use crate::report::schema::Table;
use crate::report::writer::Part;

/// Bytes at which an output is closed and the next one begun: small enough to be copied, large enough to be read fast.
pub const FULL: u64 = 512 << 20;
/// A part of this size is left as it is.
const LARGE: u64 = FULL / 2;

/// One day of one table and pipeline: a folder of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// UTC date.
    pub date: NaiveDate,
    /// Its table.
    pub table: Table,
    /// Its pipeline.
    pub pipeline: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its parts, in order of their names.
    pub parts: Vec<Piece>,
    /// Something that is no part stands in the folder.
    pub stray: Option<PathBuf>,
}

/// A part of a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Name of its batch: `part-<batch>.parquet`.
    pub batch: String,
    /// Its size.
    pub bytes: u64,
}

impl Piece {
    /// Its file name.
    pub fn file_name(&self) -> String {
        format!("part-{}.parquet", self.batch)
    }
}

/// Which days are meant; `None` is all.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Of this table.
    pub table: Option<Table>,
    /// Of this pipeline.
    pub pipeline: Option<String>,
}

impl Choice {
    /// Whether a day is meant.
    pub fn takes(&self, day: &Day) -> bool {
        self.table.is_none_or(|table| table == day.table)
            && self.pipeline.as_ref().is_none_or(|name| *name == day.pipeline)
    }
}

impl Day {
    /// The date as folder names have it.
    pub fn date_text(&self) -> String {
        self.date.format("%Y-%m-%d").to_string()
    }

    /// A part of it, as the ledger knows it.
    pub fn part(&self, batch: &str, rows: usize) -> Part {
        let (pipeline, date) = (self.pipeline.clone(), self.date_text());
        Part { table: self.table, pipeline, date, batch: batch.to_string(), rows }
    }

    /// The same day as it stands on the disk now.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn again(&self) -> Result<Self> {
        read(self.date, self.table, &self.pipeline, self.folder.clone())
    }

    /// Bytes of all its parts.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// The parts worth merging: those that are not large already.
    pub fn loose(&self) -> Vec<&Piece> {
        self.parts.iter().filter(|part| part.bytes < LARGE).collect()
    }

    /// The parts that stay as they are.
    pub fn large(&self) -> Vec<&Piece> {
        self.parts.iter().filter(|part| part.bytes >= LARGE).collect()
    }
}

/// The days before a date, oldest first. Folders that are not named as days are passed over.
///
/// # Errors
/// [`crate::error::Kind::Io`] for a folder that cannot be listed.
pub fn before(reports: &Path, today: NaiveDate) -> Result<Vec<Day>> {
    let mut days = Vec::new();
    for table in Table::ALL {
        for pipeline in list(&reports.join(table.name()))? {
            let Some(name) = value_of(&pipeline, "pipeline=") else { continue };
            for date in list(&pipeline.path())? {
                let text = value_of(&date, "date=").unwrap_or_default();
                match NaiveDate::parse_from_str(&text, "%Y-%m-%d") {
                    Ok(day) if day < today => days.push(read(day, table, &name, date.path())?),
                    _ => {}
                }
            }
        }
    }
    days.sort_by(|a, b| (a.date, a.table, &a.pipeline).cmp(&(b.date, b.table, &b.pipeline)));
    Ok(days)
}

/// A day as it stands on the disk.
fn read(date: NaiveDate, table: Table, pipeline: &str, folder: PathBuf) -> Result<Day> {
    let (mut parts, mut stray) = (Vec::new(), None);
    for entry in list(&folder)? {
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Failure::io(&entry.path(), error)),
        };
        let name = entry.file_name();
        let batch = name.to_str().and_then(|name| name.strip_prefix("part-")?.strip_suffix(".parquet"));
        match batch {
            Some(batch) if meta.is_file() => parts.push(Piece { batch: batch.to_string(), bytes: meta.len() }),
            _ => stray = Some(entry.path()),
        }
    }
    parts.sort_by(|a, b| a.batch.cmp(&b.batch));
    Ok(Day { date, table, pipeline: pipeline.to_string(), folder, parts, stray })
}

/// What a folder holds; nothing where there is no such folder.
fn list(folder: &Path) -> Result<Vec<DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<std::io::Result<Vec<_>>>().map_err(|error| Failure::io(folder, error)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(Failure::io(folder, error)),
    }
}

/// What follows `key` in the name of a folder. A link to one that somebody keeps elsewhere is left to them.
fn value_of(entry: &DirEntry, key: &str) -> Option<String> {
    entry.file_type().ok().filter(std::fs::FileType::is_dir)?;
    entry.file_name().to_str()?.strip_prefix(key).map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn days_before_today_are_found_oldest_first_with_their_parts_in_order() {
        let root = tempfile::tempdir().unwrap();
        let reports = root.path().join("reports");
        for place in [
            "scores/pipeline=b/date=2026-01-02/part-2.parquet",
            "scores/pipeline=b/date=2026-01-02/part-1.parquet",
            "scores/pipeline=a/date=2026-01-01/part-1.parquet",
            "anomalies/pipeline=a/date=2026-01-02/part-1.parquet",
            "anomalies/pipeline=a/date=2026-01-02/notes.txt",
            "scores/pipeline=a/date=2026-01-03/part-1.parquet",
            "scores/pipeline=a/date=soon/part-1.parquet",
            "scores/stray.parquet",
        ] {
            let path = reports.join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"12345").unwrap();
        }
        std::os::unix::fs::symlink(reports.join("scores/pipeline=b"), reports.join("scores/pipeline=c")).unwrap();
        let days = before(&reports, date("2026-01-03")).unwrap();
        let names: Vec<_> = days.iter().map(|day| (day.date_text(), day.table.name(), day.pipeline.as_str())).collect();
        assert_eq!(
            names,
            [
                ("2026-01-01".to_string(), "scores", "a"),
                ("2026-01-02".to_string(), "scores", "b"),
                ("2026-01-02".to_string(), "anomalies", "a")
            ]
        );
        let parts: Vec<_> = days[1].parts.iter().map(|part| part.batch.as_str()).collect();
        assert_eq!((parts, days[1].bytes(), days[1].stray.is_none()), (vec!["1", "2"], 10, true));
        assert!(days[2].stray.as_ref().unwrap().ends_with("notes.txt"));
        let choice = Choice { table: Some(Table::Scores), pipeline: Some("b".into()) };
        assert_eq!(days.iter().map(|day| choice.takes(day)).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(before(&reports, date("2027-01-01")).unwrap().len(), 4);
        assert!(before(&root.path().join("none"), date("2027-01-01")).unwrap().is_empty());
    }

    #[test]
    fn large_parts_are_left_alone() {
        let piece = |bytes: u64| Piece { batch: bytes.to_string(), bytes };
        let day = Day {
            date: date("2026-01-01"),
            table: Table::Scores,
            pipeline: "a".into(),
            folder: PathBuf::new(),
            parts: vec![piece(1), piece(LARGE), piece(LARGE - 1)],
            stray: None,
        };
        assert_eq!((day.loose().len(), day.large().len()), (2, 1));
    }
}
