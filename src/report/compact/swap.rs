//! One day's way: built beside the tree, swapped with what stands there, told to the ledger.

use std::fs;
use std::path::{Path, PathBuf};

use chrono::Utc;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use super::Halt;
use super::days::{Day, FULL, Piece};
use super::merge::{Merge, Merged};
use crate::disk::Room;
use crate::error::Result;
use crate::report::writer::{Part, Store, synced};

/// A day built anew in staging. It is deleted when it is let go, and so is, after the swap, what stood there before.
#[derive(Debug)]
pub struct Built {
    day: Day,
    scratch: TempDir,
    /// The parts that are merged.
    pub old: Vec<Part>,
    /// What holds their rows.
    pub new: Vec<Part>,
    /// Bytes of the new parts.
    pub bytes: u64,
}

impl Built {
    /// Merges a day's small parts in staging; everything is synced. The parts are read by other names of theirs, so that nobody who
    /// watches the day sees them read. `breath` is called often, and may end the work.
    ///
    /// # Errors
    /// [`Halt::Later`] where the day holds what is no part, space is short, or a part cannot be read or written; what `breath` says.
    pub fn new(
        day: &Day,
        store: &Store,
        min_free: u64,
        breath: &mut dyn FnMut() -> Result<(), Halt>,
    ) -> Result<Self, Halt> {
        if let Some(stray) = &day.stray {
            return Err(Halt::Later(format!("{} is no part of the reports", stray.display())));
        }
        let scratch = store.scratch("compact-").map_err(|trouble| Halt::put_off(trouble.into()))?;
        ensure_space(scratch.path(), day, min_free)?;
        let (reading, building) = (scratch.path().join("read"), scratch.path().join("day"));
        let links = link(day, &day.loose(), &reading)?;
        link(day, &day.large(), &building)?;
        let name = Utc::now().format("%Y%m%dT%H%M%S%6fZ").to_string();
        let merged = Merge { parts: &links, folder: &building, name: &name, full: FULL }.run(breath)?;
        let mode = fs::metadata(&day.folder).map_err(|error| Halt::later(&day.folder, &error))?.permissions();
        fs::set_permissions(&building, mode).map_err(|error| Halt::later(&building, &error))?;
        for folder in [&building, scratch.path(), scratch.path().parent().unwrap_or(scratch.path())] {
            synced(folder).map_err(Halt::in_staging)?;
        }
        Ok(Self::of(day.clone(), scratch, &merged))
    }

    fn of(day: Day, scratch: TempDir, merged: &Merged) -> Self {
        let part = |batch: &str, rows: usize| day.part(batch, rows);
        let old = day.loose().iter().zip(&merged.rows).map(|(piece, rows)| part(&piece.batch, *rows)).collect();
        let new = merged.outputs.iter().map(|output| part(&output.batch, output.rows)).collect();
        let bytes = merged.outputs.iter().map(|output| output.bytes).sum();
        Self { old, new, bytes, scratch, day }
    }

    /// Puts the new folder in the place of the old one, in one step, and makes that durable; for that a full disk is waited for
    /// as the store does.
    ///
    /// # Errors
    /// [`Halt::Later`] where the filesystem cannot; [`Halt::Failed`] where nobody knows whether it is durable.
    pub fn exchange(&self, store: &Store) -> Result<(), Halt> {
        let (staged, place) = (self.scratch.path().join("day"), &self.day.folder);
        renameat_with(CWD, &staged, CWD, place, RenameFlags::EXCHANGE).map_err(|error| {
            Halt::Later(format!("{}: cannot be swapped with its successor: {error}", place.display()))
        })?;
        for folder in [place.parent().unwrap_or(place), self.scratch.path()] {
            store.sync(folder)?;
        }
        Ok(())
    }

    /// Deletes what is not needed any more.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`]; the next start deletes what is left.
    pub fn clear(self) -> std::io::Result<()> {
        self.scratch.close()
    }
}

/// Gives parts of a day a second name in a new folder.
fn link(day: &Day, parts: &[&Piece], folder: &Path) -> Result<Vec<PathBuf>, Halt> {
    fs::create_dir(folder).map_err(|error| Halt::later(folder, &error))?;
    let link = |part: &&Piece| {
        let (from, to) = (day.folder.join(part.file_name()), folder.join(part.file_name()));
        fs::hard_link(&from, &to).map(|()| to).map_err(|error| Halt::later(&from, &error))
    };
    parts.iter().map(link).collect()
}

/// What is merged is there twice for a while.
fn ensure_space(folder: &Path, day: &Day, min_free: u64) -> Result<(), Halt> {
    let Room { free, .. } = Room::of(folder).map_err(|error| Halt::later(folder, &error))?;
    let needed = day.loose().iter().map(|part| part.bytes).sum::<u64>().saturating_add(min_free);
    if free < needed {
        return Err(Halt::Later(format!("needs {needed} bytes of free space, there are {free}")));
    }
    Ok(())
}

#[cfg(test)]
#[path = "swap_tests.rs"]
mod tests;
