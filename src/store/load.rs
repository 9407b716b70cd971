//! A version read and checked: every file by its digest, and that it was trained as the pipeline says now.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use polars::prelude::*;
use serde::{Deserialize, Serialize};

use super::manifest::Manifest;
use super::{CALIBRATION, MANIFEST, REFERENCE, WEIGHTS, digest_of, home, versions};
use crate::calibrate::Tails;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::reference::Reference;

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

/// Loads the current version of a pipeline and checks it: digests, and that it was trained as the pipeline says now.
///
/// # Errors
/// [`Kind::Model`] saying what is missing, damaged or different.
pub fn load(models: &Path, pipeline: &Pipeline) -> Result<Version> {
    let current = versions::current(models, &pipeline.name)?.ok_or_else(|| {
        let path = versions::current_path(models, &pipeline.name);
        Failure::new(Kind::Model, format!("no model of pipeline {}: {} names none", pipeline.name, path.display()))
            .hint(format!("train one: anomalyd train {} --data DIR, or point --models at one", pipeline.name))
    })?;
    load_version(models, pipeline, &current)
}

/// The same of a version by its name.
///
/// # Errors
/// [`Kind::Model`] saying what is missing, damaged or different.
pub fn load_version(models: &Path, pipeline: &Pipeline, name: &str) -> Result<Version> {
    let folder = home(models, &pipeline.name).join(name);
    let manifest = verified(&folder)?;
    same_pipeline(pipeline, &manifest)?;
    let path = folder.join(REFERENCE);
    let bytes = fs::read(&path).map_err(|error| damaged(&path, &error))?;
    let fitted = rmp_serde::from_slice(&bytes).map_err(|error| damaged(&path, &error))?;
    let path = folder.join(CALIBRATION);
    let calibration = read_calibration(&path).map_err(|error| damaged(&path, &error))?;
    Ok(Version { manifest, fitted, calibration, weights: folder.join(WEIGHTS) })
}

/// Reads the manifest of a version's folder.
///
/// # Errors
/// [`Kind::Model`] naming the file.
pub fn manifest(folder: &Path) -> Result<Manifest> {
    let path = folder.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|error| damaged(&path, &error))?;
    toml::from_str(&text).map_err(|error| damaged(&path, &error))
}

/// The same, with every file checked against its digest.
///
/// # Errors
/// [`Kind::Model`] naming the file that is missing or damaged.
pub fn verified(folder: &Path) -> Result<Manifest> {
    let manifest = manifest(folder)?;
    for file in [WEIGHTS, REFERENCE, CALIBRATION] {
        if manifest.digests.of(file).is_empty() {
            return Err(damaged(&folder.join(MANIFEST), &format!("it has no digest of {file}")));
        }
    }
    for (file, expected) in &manifest.digests.0 {
        let path = folder.join(file);
        let found = digest_of(&path).map_err(|failure| damaged(&path, &failure.message))?;
        if found != *expected {
            return Err(damaged(&path, &format!("its digest is {found}, the manifest says {expected}")));
        }
    }
    Ok(manifest)
}

fn damaged(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Model, format!("{}: {why}", path.display())).hint(
        "restore the version from a copy, promote another (anomalyd models promote), or train again (anomalyd train)",
    )
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

fn read_calibration(path: &Path) -> PolarsResult<Vec<f64>> {
    let frame = ParquetReader::new(File::open(path)?).finish()?;
    Ok(frame.column("score")?.f64()?.into_no_null_iter().collect())
}
