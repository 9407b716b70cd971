//! Model versions on disk: published atomically, immutable, checked at every load.
//!
//! ```text
//! models/<pipeline>/current                      the name of the version in use
//! models/<pipeline>/history.toml                 promotions, rollbacks and verdicts of the gate, with times and reasons
//! models/<pipeline>/<version>/manifest.toml      what it was made from, and how it went
//!                             weights.safetensors
//!                             reference.msgpack  distributions of normal tiles, tails
//!                             calibration.parquet  one row a calibration frame
//!                             validation.parquet  latent.parquet  the validation frames: for the page, and for who looks
//!                             frames.parquet     one row a frame that it was made from: file, digest, what it was for
//!                             loss.svg  reconstructions.png
//!                             denoiser.safetensors  segmenter.safetensors  segmentation.png  where asked for
//!                             report.html        the page: not of the version but about it, written anew as more is known
//! models/<pipeline>/ablation.json                the last ablation: see [`crate::ablate::kept`]
//! ```
//! A published version is a *candidate*; promotion, a step of its own, names it in `current`. The classifiers of a pipeline are
//! versions in the same way, of a name of their own: see [`crate::classify::card`].

mod draft;
mod frames;
mod history;
mod load;
mod manifest;
mod staging;
mod verdict;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Result};

pub use draft::{CalibrationRow, Draft};
pub use frames::{FrameRow, Part, read as read_frames, write as write_frames};
pub use history::{Entry, Event, History};
pub use load::{Fitted, Version, load, load_version, manifest as read_manifest};
pub use manifest::{Data, Digests, Manifest, Source};
pub use staging::Staging;
pub use verdict::{Anomalies, FalseAlarms, Other, Paired, Verdict};
#[cfg(test)]
pub(crate) use versions::tests::put as put_test_version;
pub use versions::{Shelf, current, find, names, promoted_at, replace};

const MANIFEST: &str = "manifest.toml";
const WEIGHTS: &str = "weights.safetensors";
const REFERENCE: &str = "reference.msgpack";
const CALIBRATION: &str = "calibration.parquet";
const CURRENT: &str = "current";
/// The folder of a pipeline's classifiers, beside its versions.
const CLASSIFIER: &str = "classifier";
/// The page about a version, in its folder: see [`crate::train::report`].
pub const PAGE: &str = "report.html";
const HISTORY: &str = "history.toml";

/// The folder of a pipeline's versions.
pub fn home(models: &Path, pipeline: &str) -> PathBuf {
    models.join(pipeline)
}

/// What the classifiers of a pipeline go by among the models, as its versions do by its name.
pub fn classifiers_of(pipeline: &str) -> String {
    format!("{pipeline}/{CLASSIFIER}")
}

/// BLAKE3 of a file, hex.
///
/// # Errors
/// [`crate::error::Kind::Io`] naming it.
pub fn digest_of(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| Failure::io(path, error))?;
    Ok(blake3::hash(&bytes).to_hex().to_string())
}
