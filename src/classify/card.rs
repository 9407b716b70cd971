//! Classifiers on disk: published atomically, immutable, checked at every load.
//!
//! ```text
//! models/<pipeline>/classifier/current                     the name of one version
//! models/<pipeline>/classifier/<version>/classifier.toml   what it is, what it was made from, how well it does
//!                                        classifier.safetensors
//!                                        confusion.svg     validation, or test where there is any
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::design::Design;
use super::figures::Figures;
use super::lens::Lens;
use super::set::Left;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::{Input, Pipeline};
use crate::store;
use crate::train::chain::History;

const CARD: &str = "classifier.toml";
const WEIGHTS: &str = "classifier.safetensors";
const CURRENT: &str = "current";

/// What a classifier is, what it was made from, and how well it does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Card {
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
    /// Seed of weights, order and what is dropped out.
    pub seed: u64,
    /// Trained numbers.
    pub parameters: usize,
    /// BLAKE3 of the weights' file, hex.
    pub weights: String,
    /// The kinds it knows, in the order of its outputs.
    pub classes: Vec<String>,
    /// The network.
    pub design: Design,
    /// How outputs become an answer.
    pub answer: Answer,
    /// From the model's units to what the network sees.
    pub lens: Lens,
    /// The pipeline's input, as trained.
    pub input: Input,
    /// How it was fitted.
    pub fitting: Fitting,
    /// The data.
    pub data: Data,
    /// On the validation share, which chose the epoch, temperature and floor.
    pub validation: Figures,
    /// On the test share, looked at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Figures>,
    /// Every epoch.
    pub history: History,
}

/// How outputs become an answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Divides the logits (Guo et al. 2017).
    pub temperature: f64,
    /// Least probability at which a kind is named.
    pub floor: f64,
    /// Share of right answers among the named that the floor was chosen for, on validation.
    pub wanted: f64,
}

/// How it was fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fitting {
    /// Most epochs.
    pub epochs: usize,
    /// Frames a step.
    pub batch_size: usize,
    /// AdamW's step size at its height.
    pub learning_rate: f32,
    /// Decoupled L2.
    pub weight_decay: f32,
    /// Epochs without a better validation loss before stopping.
    pub patience: usize,
    /// Shares of train, validation and test.
    pub split: [f64; 3],
}

/// The data a classifier was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// The paths given.
    pub given: Vec<String>,
    /// The file of labels; none where folders name the kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// Frames that were left out.
    pub left_out: Left,
    /// Fitted the weights.
    pub train: Part,
    /// Chose the epoch, the temperature and the floor.
    pub validation: Part,
    /// Gave the figures, once.
    pub test: Part,
}

/// Frames of one share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// How many.
    pub frames: usize,
    /// BLAKE3 over their digests, hex.
    pub digest: String,
}

/// Loads the current classifier's card and the path of its weights; `None` where the pipeline has no classifier.
///
/// # Errors
/// [`Kind::Model`] saying what is missing, damaged or different.
pub fn load(models: &Path, pipeline: &Pipeline) -> Result<Option<(Card, PathBuf)>> {
    let home = home(models, &pipeline.name);
    let current = home.join(CURRENT);
    let name = match fs::read_to_string(&current) {
        Ok(name) => name,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(damaged(&current, &error)),
    };
    let (card, weights) = (home.join(name.trim()).join(CARD), home.join(name.trim()).join(WEIGHTS));
    let text = fs::read_to_string(&card).map_err(|error| damaged(&card, &error))?;
    let found: Card = toml::from_str(&text).map_err(|error| damaged(&card, &error))?;
    let bytes = fs::read(&weights).map_err(|error| damaged(&weights, &error))?;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    if digest != found.weights {
        let why = format!("its digest is {digest}, {CARD} says {}", found.weights);
        return Err(damaged(&weights, &why));
    }
    same_input(pipeline, &found)?;
    Ok(Some((found, weights)))
}

fn damaged(file: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Model, format!("{}: {why}", file.display()))
        .hint("restore the classifier from a copy, train it again, or delete its file `current` to do without")
}

/// The frames must arrive as those it was taught with.
fn same_input(pipeline: &Pipeline, card: &Card) -> Result<()> {
    let table = |input: &Input| {
        toml::Value::try_from(input)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot compare inputs: {error}")))
    };
    let (now, then) = (table(&pipeline.spec.input)?, table(&card.input)?);
    if now == then {
        return Ok(());
    }
    let (name, path) = (&pipeline.name, pipeline.path.display());
    let message = format!(
        "classifier {} was made for another [input] than {path} has\n  classifier: {then}\n  pipeline:   {now}",
        card.version
    );
    Err(Failure::new(Kind::Model, message)
        .hint(format!("train it again (anomalyd classify train {name}), or undo the change")))
}

/// A classifier being written: a folder beside the others that becomes one of them by a rename.
#[derive(Debug)]
pub struct Draft {
    home: PathBuf,
    folder: PathBuf,
}

impl Draft {
    /// Starts a version.
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

    /// Where the weights go.
    pub fn weights(&self) -> PathBuf {
        self.folder.join(WEIGHTS)
    }

    /// Writes a file beside them.
    ///
    /// # Errors
    /// [`Kind::Io`] naming it.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).map_err(|error| Failure::io(&path, error))
    }

    /// Completes the card, syncs every file, renames the folder to its version and makes it current. Returns that folder.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file or folder.
    pub fn publish(self, card: &mut Card) -> Result<PathBuf> {
        let weights = self.weights();
        let bytes = fs::read(&weights).map_err(|error| Failure::io(&weights, error))?;
        card.weights = blake3::hash(&bytes).to_hex().to_string();
        card.version = format!("{:04}-{}", last(&self.home)? + 1, &card.weights[..8]);
        let text = toml::to_string_pretty(card)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise {CARD}: {error}")))?;
        self.write(CARD, &text)?;
        let target = self.home.join(&card.version);
        let publish = || -> std::io::Result<()> {
            for entry in fs::read_dir(&self.folder)? {
                File::open(entry?.path())?.sync_all()?;
            }
            File::open(&self.folder)?.sync_all()?;
            fs::rename(&self.folder, &target)?;
            set_current(&self.home, &card.version)
        };
        publish().map_err(|error| Failure::io(&target, error))?;
        Ok(target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After publishing, the folder has another name and this finds nothing.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn home(models: &Path, pipeline: &str) -> PathBuf {
    store::home(models, pipeline).join(store::CLASSIFIER)
}

/// The highest number of a version that is there, or 0.
fn last(home: &Path) -> Result<u32> {
    let entries = fs::read_dir(home).map_err(|error| Failure::io(home, error))?;
    let number = |name: String| name.split('-').next()?.parse::<u32>().ok();
    let numbers = entries.flatten().filter_map(|entry| number(entry.file_name().to_string_lossy().into_owned()));
    Ok(numbers.max().unwrap_or(0))
}

fn set_current(home: &Path, version: &str) -> std::io::Result<()> {
    let draft = home.join(".current");
    let mut file = File::create(&draft)?;
    writeln!(file, "{version}")?;
    file.sync_all()?;
    fs::rename(&draft, home.join(CURRENT))?;
    File::open(home)?.sync_all()
}
