//! What a version was made from, and how it went: `manifest.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{CALIBRATION, REFERENCE, WEIGHTS};
use crate::denoise::Record;
use crate::denoise::compare::Denoising;
use crate::frame_size::Sizes;
use crate::pipeline::Training;
use crate::segment;
use crate::train::classes::Counts;
use crate::train::fit::History;
use crate::train::seal::Sealed;
use crate::train::split::GroupCounts;
use crate::train::symmetry::Symmetry;

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
    /// How the weights were fitted, with what the command line overrode; none in versions that did not record it.
    pub training: Option<Training>,
    /// The network that makes the denoised image, where the pipeline asks for one.
    pub denoiser: Option<Record>,
    /// How near each way of denoising comes to frames without noise, where such were given.
    pub denoising: Option<Denoising>,
    /// The network that makes the anomaly map, where the pipeline asks for one.
    pub segmenter: Option<segment::Record>,
    /// What each declared transformation does to the scores of validation frames.
    #[serde(default)]
    pub symmetries: Vec<Symmetry>,
    /// Every epoch.
    pub history: History,
    /// The pipeline file's text.
    pub pipeline: String,
}

impl Manifest {
    /// What is to be said, a sentence each, of networks beside the model that do worse than what they would take the place of.
    pub fn warnings(&self) -> Vec<String> {
        let of = |worse: Option<&String>, table: &str, kept: &str| {
            worse.map(|worse| {
                format!("the {table} has {worse}: {kept} is kept instead, unless [{table}] use = \"always\"")
            })
        };
        let denoiser = self.denoiser.as_ref().and_then(|record| record.worse.as_ref());
        let measured = |record: &segment::Record| match (&record.worse, &record.carried_from) {
            (Some(worse), Some(version)) => Some(format!("{worse} (measured beside the model of {version})")),
            (worse, _) => worse.clone(),
        };
        let segmenter = self.segmenter.as_ref().and_then(measured);
        let outdone = self.denoising.as_ref().and_then(Denoising::outdone);
        let outdone = outdone.map(|outdone| format!("the denoiser has {outdone}, without learning"));
        let compared = self.denoiser.is_none() || self.denoising.is_some();
        let unknown = "the denoiser was held against nothing, for want of frames without noise (--clean): it is used all the same";
        let each = [
            of(denoiser, "denoiser", "the model's reconstruction"),
            outdone,
            (!compared).then(|| unknown.to_string()),
            of(segmenter.as_ref(), "segmenter", "the residual"),
        ];
        each.into_iter().flatten().collect()
    }
}

/// The data a version was made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Data {
    /// The paths given.
    pub given: Vec<String>,
    /// The same with what tells normal frames apart in them; none in versions that did not record it.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// BLAKE3 over the digests of all frames.
    pub digest: String,
    /// The classes of the frames, where the model learnt from labels.
    pub classes: Option<Counts>,
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
    /// Sizes of the frames that give the p-values: what the certificate holds for; none in versions that did not record them.
    pub sizes: Option<Sizes>,
    /// How many groups these are of, where the pipeline keeps groups together.
    pub groups: Option<GroupCounts>,
    /// The sealed test split, and every look at its figures.
    pub test: Option<Sealed>,
}

/// Where normal frames are from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Files and folders, absolute.
    pub paths: Vec<PathBuf>,
    /// Labels of their frames, where they are labelled.
    pub labels: Option<PathBuf>,
    /// Labels that count as normal.
    #[serde(default)]
    pub normal_label: Vec<String>,
    /// Clean twins of the frames, absolute paths: what the denoiser learnt from.
    #[serde(default)]
    pub clean: Vec<PathBuf>,
}

impl Data {
    /// Where the frames are from; of an old manifest the paths as they were given.
    pub fn origin(&self) -> Vec<Source> {
        if !self.sources.is_empty() {
            return self.sources.clone();
        }
        vec![Source { paths: self.given.iter().map(PathBuf::from).collect(), ..Source::default() }]
    }
}

/// BLAKE3 of a version's files, hex, by file name. Old manifests name three files by what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, String>")]
pub struct Digests(pub BTreeMap<String, String>);

impl From<BTreeMap<String, String>> for Digests {
    fn from(read: BTreeMap<String, String>) -> Self {
        let file = |name: String| match name.as_str() {
            "weights" => WEIGHTS.to_string(),
            "reference" => REFERENCE.to_string(),
            "calibration" => CALIBRATION.to_string(),
            _ => name,
        };
        Self(read.into_iter().map(|(name, digest)| (file(name), digest)).collect())
    }
}

impl Digests {
    /// Of the weights.
    pub fn weights(&self) -> &str {
        self.of(WEIGHTS)
    }

    /// Of the calibration frames' scores.
    pub fn calibration(&self) -> &str {
        self.of(CALIBRATION)
    }

    /// Of a file; empty where the manifest does not name it.
    pub fn of(&self, file: &str) -> &str {
        self.0.get(file).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_manifests_read_on_and_name_the_same_files() {
        let old: Digests = toml::from_str("weights = 'a'\nreference = 'b'\ncalibration = 'c'").unwrap();
        let new: Digests =
            toml::from_str("'weights.safetensors' = 'a'\n'reference.msgpack' = 'b'\n'calibration.parquet' = 'c'")
                .unwrap();
        assert_eq!(old, new);
        assert_eq!((old.weights(), old.calibration(), old.of("report.html")), ("a", "c", ""));
    }
}
