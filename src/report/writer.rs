//! Parquet files that are whole or not there: staged outside the tree, checked, synced, renamed, and the folders synced.
//! What becomes of a batch when the disk fails stands in [`crate::disk`].

mod removal;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

pub use super::part::Part;
use super::schema::{ROW_GROUP, SCHEMA_VERSION, Table, VERSION_KEY};
use crate::disk::{Listening, Never, Patience, Trouble, patiently};
use crate::error::{Failure, Kind, Result};

/// The reports and the staging folder of a state folder; both on one filesystem.
#[derive(Debug)]
pub struct Store {
    reports: PathBuf,
    staging: PathBuf,
    known: HashSet<PathBuf>,
    patience: Arc<dyn Patience>,
}

impl Store {
    /// Makes the folders. A full disk is not waited for.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the folder.
    pub fn open(state: &Path) -> Result<Self> {
        Self::open_with(state, Arc::new(Never))
    }

    /// The same; a full disk is waited for, here and in whatever the store does.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the folder.
    pub fn open_with(state: &Path, patience: Arc<dyn Patience>) -> Result<Self> {
        let (reports, staging) = (state.join("reports"), state.join("staging"));
        for folder in [&reports, &staging] {
            patiently(&*patience, || std::fs::create_dir_all(folder).map_err(|error| Trouble::io(folder, &error)))?;
        }
        patiently(&*patience, || synced(state))?;
        Ok(Self { reports, staging, known: HashSet::new(), patience })
    }

    /// The root of the report tables.
    pub fn reports(&self) -> &Path {
        &self.reports
    }

    /// Writes one part in staging, reads its footer back and syncs it.
    ///
    /// # Errors
    /// [`Kind::Io`] or [`Kind::Internal`]; an fsync error among them is final, as nobody knows what is on the disk then.
    pub fn stage(&self, part: &Part, rows: &mut DataFrame) -> Result<()> {
        let path = self.staging.join(part.staged());
        patiently(&*self.patience, || {
            // Always a file of its own: what a first try left in the kernel belongs to the first try.
            remove_file(&path)?;
            write_file(&path, rows, part.rows).inspect_err(|_| drop(std::fs::remove_file(&path)))
        })
    }

    /// Makes the staged names durable; after this a batch can always be completed.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn sync_staging(&self) -> Result<()> {
        self.sync(&self.staging)
    }

    /// Makes the names in a folder of the tree or of staging durable.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn sync(&self, folder: &Path) -> Result<()> {
        patiently(&*self.patience, || synced(folder))
    }

    /// Renames a staged part into the tree and syncs the folders.
    ///
    /// # Errors
    /// [`Kind::Io`]; among them that the name is taken.
    pub fn publish(&mut self, part: &Part) -> Result<()> {
        let place = self.reports.join(part.place());
        let folder = place.parent().unwrap_or(&self.reports).to_path_buf();
        let staged = self.staging.join(part.staged());
        let patience = self.patience.clone();
        patiently(&*patience, || {
            loop {
                self.make_folder(&folder)?;
                match renameat_with(CWD, &staged, CWD, &place, RenameFlags::NOREPLACE) {
                    Ok(()) => return Ok(()),
                    // Emptied by retention or compaction, and removed, since it was made.
                    Err(Errno::NOENT) if self.known.remove(&folder) && staged.exists() => {}
                    Err(error) => return Err(Trouble::io(&place, &error.into())),
                }
            }
        })?;
        self.sync(&folder)
    }

    /// Every part that stands in the tree, in order of its place, with its rows.
    ///
    /// # Errors
    /// [`Kind::Io`] naming a part or a folder that cannot be read.
    pub fn parts(&self) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for entry in walkdir::WalkDir::new(&self.reports).min_depth(4).max_depth(4).sort_by_file_name() {
            let entry = entry.map_err(|error| Failure::io(&self.reports, error))?;
            let Some(part) = entry.path().strip_prefix(&self.reports).ok().and_then(Part::at) else { continue };
            let rows = File::open(entry.path())
                .map_err(PolarsError::from)
                .and_then(|file| ParquetReader::new(file).num_rows())
                .map_err(|error| Failure::from(Trouble::parquet(entry.path(), &error, None)))
                .map_err(|failure| {
                    failure.hint("move this part out of the reports and try again: its files are then scored anew")
                })?;
            parts.push(Part { rows, ..part });
        }
        Ok(parts)
    }

    /// Publishes what is left in staging of batches that a process died over between their first rename and their last, as
    /// [`crate::ledger::settle`] does, where there is no ledger to ask.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn complete_staged(&mut self) -> Result<()> {
        let dates: HashMap<String, String> = self.parts()?.into_iter().map(|part| (part.batch, part.date)).collect();
        let entries = std::fs::read_dir(&self.staging).map_err(|error| Failure::io(&self.staging, error))?;
        for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            let Some((batch, rest)) = name.strip_suffix(".parquet").and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Some((table, pipeline)) = rest.split_once('.') else { continue };
            if let (Some(table), Some(date)) = (Table::from_name(table), dates.get(batch).cloned()) {
                self.publish(&Part { table, pipeline: pipeline.into(), date, batch: batch.into(), rows: 0 })?;
            }
        }
        Ok(())
    }

    /// Whether a part stands in the tree.
    pub fn is_published(&self, part: &Part) -> bool {
        self.reports.join(part.place()).is_file()
    }

    /// Removes everything from staging.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn clear_staging(&self) -> Result<()> {
        let entries = std::fs::read_dir(&self.staging).map_err(|error| Failure::io(&self.staging, error))?;
        for entry in entries.flatten() {
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let remove = if is_folder { std::fs::remove_dir_all } else { std::fs::remove_file };
            remove(entry.path()).map_err(|error| Failure::io(&entry.path(), error))?;
        }
        Ok(())
    }

    /// Makes a folder of the tree, and every new parent durable.
    fn make_folder(&mut self, folder: &Path) -> Result<(), Trouble> {
        if !self.known.contains(folder) {
            std::fs::create_dir_all(folder).map_err(|error| Trouble::io(folder, &error))?;
            for parent in folder.ancestors().skip(1).take_while(|parent| parent.starts_with(&self.reports)) {
                synced(parent)?;
            }
            self.known.insert(folder.to_path_buf());
        }
        Ok(())
    }
}

/// Writes a file, reads its footer back and syncs it.
fn write_file(path: &Path, frame: &mut DataFrame, rows: usize) -> Result<(), Trouble> {
    let version = [(VERSION_KEY.to_string(), SCHEMA_VERSION.to_string())];
    let io = |error: std::io::Error| Trouble::io(path, &error);
    let file = File::create_new(path).map_err(io)?;
    let mut out = Listening::to(BufWriter::with_capacity(1 << 18, file));
    let written = ParquetWriter::new(&mut out)
        .with_compression(ParquetCompression::Zstd(None))
        .with_row_group_size(Some(ROW_GROUP))
        // One column after the other: the pictures of a large frame are encoded one at a time.
        .set_parallel(false)
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(version.to_vec())))
        .finish(frame)
        .and_then(|_| Ok(std::io::Write::flush(&mut out)?));
    written.map_err(|error| Trouble::parquet(path, &error, out.said()))?;
    drop(out);
    let file = File::open(path).map_err(io)?;
    let read = ParquetReader::new(file.try_clone().map_err(io)?)
        .num_rows()
        .map_err(|error| Trouble::parquet(path, &error, None))?;
    if read != rows {
        let message = format!("{}: {read} rows, not {rows}", path.display());
        return Err(Trouble::Final(Failure::new(Kind::Internal, message)));
    }
    file.sync_all().map_err(io)
}

fn remove_file(path: &Path) -> Result<(), Trouble> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Trouble::io(path, &error)),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable; a full disk is told from other troubles.
pub(crate) fn synced(folder: &Path) -> Result<(), Trouble> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|error| Trouble::io(folder, &error))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    synced(folder).map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::schema;

    fn row(index: u32) -> schema::RejectedRow {
        schema::RejectedRow {
            source: "a.png".into(),
            file_digest: None,
            frame_index: Some(index),
            reason: "corrupt",
            detail: "no end".into(),
            received_at: chrono::Utc::now(),
            stat: crate::watch::Stat { size: 1, mtime_ns: 2, inode: 3, ctime_ns: 4 },
            identity: std::sync::Arc::new(crate::score::Identity {
                model_version: "1".into(),
                model_digest: "m".into(),
                calibration_digest: "c".into(),
                pipeline_digest: "p".into(),
            }),
        }
    }

    #[test]
    fn a_part_is_staged_then_published_once() {
        let state = tempfile::tempdir().unwrap();
        let mut store = Store::open(state.path()).unwrap();
        let part = Part {
            table: Table::Rejected,
            pipeline: "digits".into(),
            date: "2026-01-02".into(),
            batch: "7".into(),
            rows: 2,
        };
        let mut rows = schema::rejected(&[row(0), row(1)]).unwrap();
        store.stage(&part, &mut rows).unwrap();
        store.sync_staging().unwrap();
        assert!(!store.is_published(&part));
        store.publish(&part).unwrap();
        assert!(store.is_published(&part));
        let file = File::open(store.reports().join("rejected/pipeline=digits/date=2026-01-02/part-7.parquet")).unwrap();
        let back = ParquetReader::new(file).finish().unwrap();
        assert!(back.equals_missing(&rows));
        store.stage(&part, &mut rows).unwrap();
        assert_eq!(store.publish(&part).unwrap_err().kind, Kind::Io, "an existing part is never replaced");
        store.clear_staging().unwrap();
        assert_eq!(std::fs::read_dir(state.path().join("staging")).unwrap().count(), 0);
    }
}
