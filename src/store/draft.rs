//! A version being written: a folder beside the others that becomes one of them by a rename.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use polars::prelude::*;

use super::load::Fitted;
use super::manifest::{Digests, Manifest};
use super::{CALIBRATION, MANIFEST, PAGE, REFERENCE, WEIGHTS, digest_of, home, versions};
use crate::error::{Failure, Kind, Result};

/// One calibration frame.
#[derive(Debug, Clone)]
pub struct CalibrationRow {
    /// The file it came from.
    pub source: String,
    /// Position in the file.
    pub frame_index: u32,
    /// Its frozen score.
    pub score: f64,
}

/// A version being written.
#[derive(Debug)]
pub struct Draft {
    home: PathBuf,
    /// Where the files go.
    pub folder: PathBuf,
}

impl Draft {
    /// Starts a version of a pipeline.
    ///
    /// # Errors
    /// [`Kind::Io`] when the folder cannot be made.
    pub fn start(models: &Path, pipeline: &str) -> Result<Self> {
        let home = home(models, pipeline);
        let folder = home.join(format!(".draft-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| Failure::io(&folder, error))?;
        }
        fs::create_dir_all(&folder).map_err(|error| Failure::io(&folder, error))?;
        Ok(Self { home, folder })
    }

    /// Where a file of that name goes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where the weights go.
    pub fn weights(&self) -> PathBuf {
        self.path(WEIGHTS)
    }

    /// Writes the distributions and the calibration.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file.
    pub fn write(&self, fitted: &Fitted, calibration: &[CalibrationRow]) -> Result<()> {
        let bytes = rmp_serde::to_vec_named(fitted)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the distributions: {error}")))?;
        let path = self.path(REFERENCE);
        fs::write(&path, bytes).map_err(|error| Failure::io(&path, error))?;
        let path = self.path(CALIBRATION);
        write_calibration(&path, calibration).map_err(|error| Failure::io(&path, error))
    }

    /// Gives the manifest its version and the digests of the files that are there; what is written afterwards is added by
    /// [`Draft::publish`].
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file or folder.
    pub fn complete(&self, manifest: &mut Manifest) -> Result<()> {
        manifest.digests = digests(&self.folder)?;
        if manifest.version.is_empty() {
            let names = versions::names(&self.home)?;
            let count = names.iter().filter_map(|name| name.split('-').next()?.parse::<u32>().ok()).max();
            let weights = manifest.digests.weights();
            let short = weights.get(..8).ok_or_else(|| Failure::new(Kind::Internal, "a version needs weights"))?;
            manifest.version = format!("{:04}-{short}", count.unwrap_or(0) + 1);
        }
        Ok(())
    }

    /// Completes the manifest, syncs every file and renames the folder to its version: a candidate, which nobody uses until it
    /// is promoted.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file or folder.
    pub fn publish(self, mut manifest: Manifest) -> Result<Manifest> {
        self.complete(&mut manifest)?;
        let text = toml::to_string_pretty(&manifest)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the manifest: {error}")))?;
        let path = self.path(MANIFEST);
        fs::write(&path, text).map_err(|error| Failure::io(&path, error))?;
        sync(&self.folder)?;
        let target = self.home.join(&manifest.version);
        fs::rename(&self.folder, &target).map_err(|error| Failure::io(&target, error))?;
        File::open(&self.home).and_then(|home| home.sync_all()).map_err(|error| Failure::io(&self.home, error))?;
        Ok(manifest)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After publishing, the folder has another name and this finds nothing.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Of every file that stands in the folder but the page, which is written anew when more is known of the version.
fn digests(folder: &Path) -> Result<Digests> {
    let entries = fs::read_dir(folder).map_err(|error| Failure::io(folder, error))?;
    let digest = |entry: std::io::Result<fs::DirEntry>| -> Result<(String, String)> {
        let path = entry.map_err(|error| Failure::io(folder, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, digest_of(&path)?))
    };
    let mut digests: BTreeMap<String, String> = entries.map(digest).collect::<Result<_>>()?;
    digests.remove(PAGE);
    Ok(Digests(digests))
}

fn sync(folder: &Path) -> Result<()> {
    let sync = || -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            File::open(entry?.path())?.sync_all()?;
        }
        File::open(folder)?.sync_all()
    };
    sync().map_err(|error| Failure::io(folder, error))
}

fn write_calibration(path: &Path, rows: &[CalibrationRow]) -> PolarsResult<()> {
    let mut frame = df!(
        "source" => rows.iter().map(|row| row.source.as_str()).collect::<Vec<_>>(),
        "frame_index" => rows.iter().map(|row| row.frame_index).collect::<Vec<_>>(),
        "score" => rows.iter().map(|row| row.score).collect::<Vec<_>>(),
    )?;
    ParquetWriter::new(File::create(path)?).finish(&mut frame)?;
    Ok(())
}
