//! Classifiers on disk: published atomically, immutable, checked at every load.
//!
//! ```text
//! models/<pipeline>/classifier/current                     the name of the version in use
//! models/<pipeline>/classifier/history.toml                promotions, rollbacks and refusals, with times and reasons
//! models/<pipeline>/classifier/<version>/classifier.toml   what it is, what it was made from, how well it does
//!                                        classifier.safetensors
//!                                        confusion.svg     validation, or test where there is any
//!                                        frames.parquet    one row a frame that it was made from: file, digest, what it was for
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::design::Design;
use super::figures::Figures;
use super::lens::Lens;
use super::set::{Left, Said};
use crate::error::{Failure, Kind, Result};
use crate::pipeline::{Augment, Input, Pipeline};
use crate::store::{self, Shelf, Staging};
use crate::train::chain::History;

const CARD: &str = "classifier.toml";
/// The weights' file.
pub const WEIGHTS: &str = "classifier.safetensors";

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
    /// What is done to the frames that fit the weights: symmetries of every kind, not of normal frames alone.
    #[serde(default, skip_serializing_if = "Augment::is_off")]
    pub augment: Augment,
}

/// The data a classifier was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// The paths given.
    pub given: Vec<String>,
    /// The file of labels; none where folders name the kinds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<String>,
    /// What people's labels gave; none where they were not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
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
    match current(models, &pipeline.name)? {
        Some(version) => load_version(models, pipeline, &version).map(Some),
        None => Ok(None),
    }
}

/// The same of a version by its name.
///
/// # Errors
/// [`Kind::Model`] saying what is missing, damaged or different.
pub fn load_version(models: &Path, pipeline: &Pipeline, version: &str) -> Result<(Card, PathBuf)> {
    let folder = home(models, &pipeline.name).join(version);
    let card = verified(&folder)?;
    same_input(pipeline, &card)?;
    Ok((card, folder.join(WEIGHTS)))
}

/// The name of the classifier in use; `None` where there is none.
///
/// # Errors
/// [`Kind::Io`] naming the file.
pub fn current(models: &Path, pipeline: &str) -> Result<Option<String>> {
    store::current(models, &store::classifiers_of(pipeline))
}

/// The folder of a pipeline's classifiers.
pub fn home(models: &Path, pipeline: &str) -> PathBuf {
    store::home(models, &store::classifiers_of(pipeline))
}

/// The classifiers of a pipeline, held against other processes that would change them.
///
/// # Errors
/// [`Kind::Model`] where there are none, [`Kind::Io`].
pub fn shelf(models: &Path, pipeline: &str) -> Result<Shelf> {
    Shelf::of(models, &store::classifiers_of(pipeline), |folder| verified(folder).map(drop)).map_err(|failure| {
        match failure.kind {
            Kind::Model => {
                failure.hint(format!("train one: anomalyd classify train {pipeline} --data DIR --network lenet5"))
            }
            _ => failure,
        }
    })
}

/// Completes the card and publishes the folder as its version: a candidate. Returns the folder.
///
/// # Errors
/// [`Kind::Io`] naming the file or folder.
pub fn publish(staging: Staging, card: &mut Card) -> Result<PathBuf> {
    card.weights = store::digest_of(&staging.path(WEIGHTS))?;
    card.version = staging.next(&card.weights)?;
    let text = toml::to_string_pretty(card)
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise {CARD}: {error}")))?;
    staging.write(CARD, text)?;
    staging.publish(&card.version)
}

/// Reads the card of a version's folder.
///
/// # Errors
/// [`Kind::Model`] naming the file.
pub fn read(folder: &Path) -> Result<Card> {
    let path = folder.join(CARD);
    let text = fs::read_to_string(&path).map_err(|error| damaged(&path, &error))?;
    toml::from_str(&text).map_err(|error| match has_old_lens(&text) {
        true => Failure::new(
            Kind::Model,
            format!("{}: of an earlier version, which was shown frames in another way", path.display()),
        )
        .hint("train it again (anomalyd classify train), or delete `current` to do without"),
        false => damaged(&path, &error),
    })
}

/// Whether a card is of a classifier that was shown tiles of the grid, in units of their standard deviation.
fn has_old_lens(card: &str) -> bool {
    let card: Option<toml::Table> = card.parse().ok();
    card.is_some_and(|card| card.get("lens").is_some_and(|lens| lens.get("scale").is_some()))
}

/// The same, with the weights checked against their digest.
fn verified(folder: &Path) -> Result<Card> {
    let (card, path) = (read(folder)?, folder.join(WEIGHTS));
    let digest = store::digest_of(&path).map_err(|failure| damaged(&path, &failure.message))?;
    if digest != card.weights {
        return Err(damaged(&path, &format!("its digest is {digest}, {CARD} says {}", card.weights)));
    }
    Ok(card)
}

fn damaged(file: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Model, format!("{}: {why}", file.display()))
        .hint("restore the classifier from a copy, go back (anomalyd classify rollback), train again, or delete `current` to do without")
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
