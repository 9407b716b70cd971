//! A version of a model being written.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use polars::prelude::*;

use super::frames::{self, FrameRow};
use super::load::Fitted;
use super::manifest::{Digests, Manifest};
use super::staging::Staging;
use super::{CALIBRATION, MANIFEST, PAGE, REFERENCE, WEIGHTS, digest_of};
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

/// A version of a model being written.
#[derive(Debug)]
pub struct Draft {
    staging: Staging,
    /// Where the files go.
    pub folder: PathBuf,
}

impl Draft {
    /// Starts a version of a pipeline.
    ///
    /// # Errors
    /// [`Kind::Io`] when the folder cannot be made.
    pub fn start(models: &Path, pipeline: &str) -> Result<Self> {
        let staging = Staging::start(models, pipeline)?;
        let folder = staging.folder().to_path_buf();
        Ok(Self { staging, folder })
    }

    /// Where a file of that name goes.
    pub fn path(&self, name: &str) -> PathBuf {
        self.staging.path(name)
    }

    /// Where the weights go.
    pub fn weights(&self) -> PathBuf {
        self.path(WEIGHTS)
    }

    /// Writes the distributions, the calibration, and which frames there were.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file.
    pub fn write(&self, fitted: &Fitted, calibration: &[CalibrationRow], rows: &[FrameRow]) -> Result<()> {
        frames::write(&self.folder, rows)?;
        let bytes = rmp_serde::to_vec_named(fitted)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the distributions: {error}")))?;
        self.staging.write(REFERENCE, bytes)?;
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
            manifest.version = self.staging.next(manifest.digests.weights())?;
        }
        Ok(())
    }

    /// Completes the manifest and publishes the folder as its version, see [`Staging::publish`].
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file or folder.
    pub fn publish(self, mut manifest: Manifest) -> Result<Manifest> {
        self.complete(&mut manifest)?;
        let text = toml::to_string_pretty(&manifest)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the manifest: {error}")))?;
        self.staging.write(MANIFEST, text)?;
        self.staging.publish(&manifest.version)?;
        Ok(manifest)
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

fn write_calibration(path: &Path, rows: &[CalibrationRow]) -> PolarsResult<()> {
    let mut frame = df!(
        "source" => rows.iter().map(|row| row.source.as_str()).collect::<Vec<_>>(),
        "frame_index" => rows.iter().map(|row| row.frame_index).collect::<Vec<_>>(),
        "score" => rows.iter().map(|row| row.score).collect::<Vec<_>>(),
    )?;
    ParquetWriter::new(File::create(path)?).finish(&mut frame)?;
    Ok(())
}
