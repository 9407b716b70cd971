//! Model versions on disk: published atomically, immutable, checked at every load.
//!
//! ```text
//! models/<pipeline>/current                      the name of one version
//! models/<pipeline>/<version>/manifest.toml      what it was made from, and how it went
//!                             weights.safetensors
//!                             reference.msgpack  distributions of normal tiles, tails
//!                             calibration.parquet  one row a calibration frame
//!                             loss.svg  reconstructions.png
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use polars::prelude::*;
use serde::{Deserialize, Serialize};

use crate::calibrate::Tails;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::{Pipeline, Training};
use crate::reference::Reference;
use crate::train::fit::History;
use crate::train::split::GroupCounts;
use crate::train::symmetry::Symmetry;

const MANIFEST: &str = "manifest.toml";
const WEIGHTS: &str = "weights.safetensors";
const REFERENCE: &str = "reference.msgpack";
const CALIBRATION: &str = "calibration.parquet";
const CURRENT: &str = "current";

/// What a version was made from, and how it went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// The version's folder name.
    pub version: String,
    /// When it was published.
    pub created_at: DateTime<Utc>,
    /// `anomalyd` and its version.
    pub software: String,
    /// The command that made it.
    pub command: String,
    /// `cpu` or the GPU it was trained on.
    pub device: String,
    /// Seed of weights, order and noise.
    pub seed: u64,
    /// Trainable numbers.
    pub parameters: usize,
    /// Share of the weights that are exactly zero: what `training.l1` reached.
    #[serde(default)]
    pub sparsity: f64,
    /// The data.
    pub data: Data,
    /// BLAKE3 of the version's files, hex.
    pub digests: Digests,
    /// Every epoch.
    pub history: History,
    /// How the weights were fitted, with what the command line overrode; none in versions that did not record it.
    pub training: Option<Training>,
    /// What each declared transformation does to the scores of validation frames.
    #[serde(default)]
    pub symmetries: Vec<Symmetry>,
    /// The pipeline file's text.
    pub pipeline: String,
}

/// The data a version was made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Data {
    /// The paths given.
    pub given: Vec<String>,
    /// BLAKE3 over the digests of all frames.
    pub digest: String,
    /// Frames used.
    pub frames: usize,
    /// Files or frames that could not be used.
    pub rejected: usize,
    /// Frames that fitted the weights.
    pub train: usize,
    /// Frames that stopped the training and fitted the tails.
    pub validation: usize,
    /// Frames that give the p-values.
    pub calibration: usize,
    /// How many groups these are of, where the pipeline keeps groups together.
    pub groups: Option<GroupCounts>,
}

/// BLAKE3 of a version's files, hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// The weights.
    pub weights: String,
    /// Distributions and tails.
    pub reference: String,
    /// The calibration frames' scores.
    pub calibration: String,
}

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

/// The reference and tails of a version, one file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fitted {
    /// Distributions of normal tiles.
    pub reference: Reference,
    /// Tails of the components.
    pub tails: Tails,
}

/// A version, loaded and checked; its weights are still on disk.
#[derive(Debug)]
pub struct Version {
    /// Its manifest.
    pub manifest: Manifest,
    /// Distributions and tails.
    pub fitted: Fitted,
    /// Scores of the calibration frames.
    pub calibration: Vec<f64>,
    /// Where the weights lie.
    pub weights: PathBuf,
}

/// A version being written: a folder beside the others that becomes one of them by a rename.
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
        let home = models.join(pipeline);
        let folder = home.join(format!(".draft-{}", std::process::id()));
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|error| Failure::io(&folder, error))?;
        }
        fs::create_dir_all(&folder).map_err(|error| Failure::io(&folder, error))?;
        Ok(Self { home, folder })
    }

    /// Where the weights go.
    pub fn weights(&self) -> PathBuf {
        self.folder.join(WEIGHTS)
    }

    /// Writes the distributions and the calibration.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file.
    pub fn write(&self, fitted: &Fitted, calibration: &[CalibrationRow]) -> Result<()> {
        let bytes = rmp_serde::to_vec_named(fitted)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the distributions: {error}")))?;
        let path = self.folder.join(REFERENCE);
        fs::write(&path, bytes).map_err(|error| Failure::io(&path, error))?;
        let path = self.folder.join(CALIBRATION);
        write_calibration(&path, calibration).map_err(|error| Failure::io(&path, error))
    }

    /// Completes the manifest, syncs every file, renames the folder to its version and makes it current.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file or folder.
    pub fn publish(self, mut manifest: Manifest) -> Result<Manifest> {
        manifest.digests = digests(&self.folder)?;
        let count = versions(&self.home)?.iter().filter_map(|name| name.split('-').next()?.parse::<u32>().ok()).max();
        manifest.version = format!("{:04}-{}", count.unwrap_or(0) + 1, &manifest.digests.weights[..8]);
        let text = toml::to_string_pretty(&manifest)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the manifest: {error}")))?;
        let path = self.folder.join(MANIFEST);
        fs::write(&path, text).map_err(|error| Failure::io(&path, error))?;
        sync_folder(&self.folder)?;
        let target = self.home.join(&manifest.version);
        fs::rename(&self.folder, &target).map_err(|error| Failure::io(&target, error))?;
        set_current(&self.home, &manifest.version)?;
        Ok(manifest)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After publishing, the folder has another name and this finds nothing.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Loads the current version of a pipeline and checks it: digests, and that it was trained as the pipeline says now.
///
/// # Errors
/// [`Kind::Model`] saying what is missing, damaged or different.
pub fn load(models: &Path, pipeline: &Pipeline) -> Result<Version> {
    let home = models.join(&pipeline.name);
    let current = home.join(CURRENT);
    let name = fs::read_to_string(&current).map_err(|error| {
        Failure::new(Kind::Model, format!("no model of pipeline {}: {}: {error}", pipeline.name, current.display()))
            .hint(format!("train one: anomalyd train {} --data DIR, or point --models at one", pipeline.name))
    })?;
    let folder = home.join(name.trim());
    let damaged = |file: &str, why: &dyn std::fmt::Display| {
        Failure::new(Kind::Model, format!("{}: {why}", folder.join(file).display()))
            .hint("restore the version from a copy, name another in `current`, or train again")
    };
    let read = |file: &str| fs::read(folder.join(file)).map_err(|error| damaged(file, &error));
    let text = String::from_utf8(read(MANIFEST)?).map_err(|error| damaged(MANIFEST, &error))?;
    let manifest: Manifest = toml::from_str(&text).map_err(|error| damaged(MANIFEST, &error))?;
    let found = digests(&folder).map_err(|failure| damaged("", &failure.message))?;
    for (file, found, expected) in [
        (WEIGHTS, found.weights, &manifest.digests.weights),
        (REFERENCE, found.reference, &manifest.digests.reference),
        (CALIBRATION, found.calibration, &manifest.digests.calibration),
    ] {
        if found != *expected {
            return Err(damaged(file, &format!("its digest is {found}, the manifest says {expected}")));
        }
    }
    same_pipeline(pipeline, &manifest)?;
    let fitted = rmp_serde::from_slice(&read(REFERENCE)?).map_err(|error| damaged(REFERENCE, &error))?;
    let calibration = read_calibration(&folder.join(CALIBRATION)).map_err(|error| damaged(CALIBRATION, &error))?;
    Ok(Version { manifest, fitted, calibration, weights: folder.join(WEIGHTS) })
}

/// Input, model and score must be what the version was trained and calibrated with; alpha, inbox and reports may differ.
fn same_pipeline(pipeline: &Pipeline, manifest: &Manifest) -> Result<()> {
    let trained = Pipeline::parse(&pipeline.name, &pipeline.path, manifest.pipeline.clone())
        .map_err(|failure| Failure::new(Kind::Model, format!("the manifest's pipeline: {}", failure.message)))?;
    let table = |spec: &crate::pipeline::Spec| {
        toml::Value::try_from(spec)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot compare pipelines: {error}")))
    };
    let (now, then) = (table(&pipeline.spec)?, table(&trained.spec)?);
    for section in ["input", "model", "score"] {
        let (now, then) = (now.get(section), then.get(section));
        if now != then {
            let show = |value: Option<&toml::Value>| value.map_or(String::new(), |value| value.to_string());
            return Err(Failure::new(
                Kind::Model,
                format!(
                    "model {} was made for another [{section}] than {} has\n  model:    {}\n  pipeline: {}",
                    manifest.version,
                    pipeline.path.display(),
                    show(then),
                    show(now)
                ),
            )
            .hint(format!("train again (anomalyd train {}), or undo the change", pipeline.name)));
        }
    }
    Ok(())
}

/// Names of a pipeline's versions, sorted.
fn versions(home: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(home).map_err(|error| Failure::io(home, error))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.') && name != CURRENT).collect();
    names.sort();
    Ok(names)
}

fn digests(folder: &Path) -> Result<Digests> {
    let digest = |file: &str| -> Result<String> {
        let path = folder.join(file);
        let bytes = fs::read(&path).map_err(|error| Failure::io(&path, error))?;
        Ok(blake3::hash(&bytes).to_hex().to_string())
    };
    Ok(Digests { weights: digest(WEIGHTS)?, reference: digest(REFERENCE)?, calibration: digest(CALIBRATION)? })
}

fn set_current(home: &Path, version: &str) -> Result<()> {
    let (draft, current) = (home.join(".current"), home.join(CURRENT));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&draft)?;
        writeln!(file, "{version}")?;
        file.sync_all()?;
        fs::rename(&draft, &current)?;
        File::open(home)?.sync_all()
    };
    write().map_err(|error| Failure::io(&current, error))
}

fn sync_folder(folder: &Path) -> Result<()> {
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

fn read_calibration(path: &Path) -> PolarsResult<Vec<f64>> {
    let frame = ParquetReader::new(File::open(path)?).finish()?;
    Ok(frame.column("score")?.f64()?.into_no_null_iter().collect())
}
