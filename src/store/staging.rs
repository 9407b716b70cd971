//! A version being written: a folder beside the others that becomes one of them by a rename.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{home, versions};
use crate::error::{Failure, Kind, Result};

/// A folder that nobody reads yet; gone when it is dropped before it is published.
#[derive(Debug)]
pub struct Staging {
    home: PathBuf,
    folder: PathBuf,
}

impl Staging {
    /// Starts a version of what goes by this name among the models.
    ///
    /// # Errors
    /// [`Kind::Io`] when the folder cannot be made.
    pub fn start(models: &Path, name: &str) -> Result<Self> {
        let home = home(models, name);
        let folder = home.join(format!(".draft-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| Failure::io(&folder, error))?;
        }
        fs::create_dir_all(&folder).map_err(|error| Failure::io(&folder, error))?;
        Ok(Self { home, folder })
    }

    /// Where the files go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file of that name goes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// [`Kind::Io`] naming it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, content).map_err(|error| Failure::io(&path, error))
    }

    /// The name that a version with these weights gets: the next number, and the beginning of their digest.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the folder; [`Kind::Internal`] for what is no digest.
    pub fn next(&self, weights: &str) -> Result<String> {
        let names = versions::names(&self.home)?;
        let last = names.iter().filter_map(|name| name.split('-').next()?.parse::<u32>().ok()).max();
        let short = weights.get(..8).ok_or_else(|| Failure::new(Kind::Internal, "a version needs weights"))?;
        Ok(format!("{:04}-{short}", last.unwrap_or(0) + 1))
    }

    /// Syncs every file and renames the folder to its version: a candidate, which nobody uses until it is promoted. Returns it.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the folder.
    pub fn publish(self, version: &str) -> Result<PathBuf> {
        let target = self.home.join(version);
        let publish = || -> std::io::Result<()> {
            for entry in fs::read_dir(&self.folder)? {
                File::open(entry?.path())?.sync_all()?;
            }
            File::open(&self.folder)?.sync_all()?;
            fs::rename(&self.folder, &target)?;
            File::open(&self.home)?.sync_all()
        };
        publish().map_err(|error| Failure::io(&target, error))?;
        Ok(target)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After publishing, the folder has another name and this finds nothing.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
