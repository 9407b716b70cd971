//! How parts leave the tree, on a full disk too: what is let go is what makes room.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Part, Store, remove_file};
use crate::disk::{Trouble, patiently};
use crate::error::{Failure, Result};

impl Store {
    /// Removes parts from the tree, where they stand. A day of which nothing would be left leaves the tree in one rename, so that
    /// readers see it whole or not at all; only where the disk has no room even for that, its parts go one after the other.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn remove(&mut self, parts: &[Part]) -> Result<()> {
        let mut days: BTreeMap<PathBuf, HashSet<OsString>> = BTreeMap::new();
        for place in parts.iter().map(|part| self.reports.join(part.place())) {
            if let (Some(folder), Some(name)) = (place.parent(), place.file_name()) {
                days.entry(folder.to_path_buf()).or_default().insert(name.to_os_string());
            }
        }
        for (folder, names) in days {
            let standing = match names_in(&folder) {
                Ok(standing) => standing,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(Failure::io(&folder, error)),
            };
            if standing.is_subset(&names) {
                let moved = self.move_away(&folder);
                self.end_day(&folder, &standing, moved)?;
            } else {
                let places: Vec<_> = standing.intersection(&names).map(|name| folder.join(name)).collect();
                self.remove_files(&folder, &places)?;
            }
        }
        Ok(())
    }

    /// A folder of its own in staging, deleted when it is let go; what a crash leaves of it is deleted at the next start.
    ///
    /// # Errors
    /// [`Trouble`], with nothing left of the folder.
    pub fn scratch(&self, prefix: &str) -> Result<TempDir, Trouble> {
        tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(&self.staging)
            .map_err(|error| Trouble::io(&self.staging, &error))
    }

    /// Moves a folder of the tree into staging.
    fn move_away(&mut self, folder: &Path) -> Result<TempDir, Trouble> {
        let place = self.scratch("gone-")?;
        self.known.remove(folder);
        std::fs::rename(folder, place.path().join("day")).map_err(|error| Trouble::io(folder, &error))?;
        Ok(place)
    }

    /// Deletes a day that was moved into staging, or where it stands if there was no room to move it.
    fn end_day(&mut self, folder: &Path, standing: &HashSet<OsString>, moved: Result<TempDir, Trouble>) -> Result<()> {
        let parent = folder.parent().unwrap_or(&self.reports).to_path_buf();
        match moved {
            Ok(place) => {
                self.sync(&parent)?;
                let path = place.path().to_path_buf();
                place.close().map_err(|error| Failure::io(&path, error))
            }
            Err(Trouble::Full(_)) => {
                let places: Vec<_> = standing.iter().map(|name| folder.join(name)).collect();
                self.remove_files(folder, &places)?;
                self.known.remove(folder);
                patiently(&*self.patience, || remove_empty(folder))?;
                self.sync(&parent)
            }
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Deletes files of a folder, one after the other.
    fn remove_files(&self, folder: &Path, places: &[PathBuf]) -> Result<()> {
        for place in places {
            patiently(&*self.patience, || remove_file(place))?;
        }
        self.sync(folder)
    }
}

/// Removes a folder, unless something has come into it.
fn remove_empty(folder: &Path) -> Result<(), Trouble> {
    match std::fs::remove_dir(folder) {
        Err(error) if ![ErrorKind::NotFound, ErrorKind::DirectoryNotEmpty].contains(&error.kind()) => {
            Err(Trouble::io(folder, &error))
        }
        _ => Ok(()),
    }
}

fn names_in(folder: &Path) -> std::io::Result<HashSet<OsString>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_day_that_a_full_disk_does_not_let_move_is_deleted_where_it_stands() {
        let state = tempfile::tempdir().unwrap();
        let mut store = Store::open(state.path()).unwrap();
        let folder = store.reports().join("scores/pipeline=digits/date=2026-01-02");
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["part-1.parquet", "part-2.parquet"] {
            std::fs::write(folder.join(name), "rows").unwrap();
        }
        let (standing, failure) = (names_in(&folder).unwrap(), || Failure::new(Kind::Io, "no"));
        store.end_day(&folder, &standing, Err(Trouble::Final(failure()))).unwrap_err();
        assert_eq!(names_in(&folder).unwrap().len(), 2);
        store.end_day(&folder, &standing, Err(Trouble::Full(failure()))).unwrap();
        assert!(!folder.exists() && folder.parent().unwrap().exists());
    }
}
