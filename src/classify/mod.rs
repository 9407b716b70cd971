//! Known kinds of anomaly by name: a classifier beside a pipeline's model, asked about frames that were flagged.
//!
//! ```text
//! labelled frames ─> set ─> fit (chain of layers) ─> temperature, floor ─> card ─> models/<pipeline>/classifier/<version>/
//!                     └ held out from both ─> rival: the candidate against the current one ─> current, or kept with the reason
//! flagged frame ──> a window around what is odd ──> Classifier ──> kind and probability, or no kind below the floor
//! ```

pub mod card;
pub mod design;
pub mod figures;
pub mod fit;
pub mod lens;
pub mod lesson;
pub mod rival;
pub mod set;
pub mod window;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::model::{Device, FeedForward};
use crate::pipeline::Pipeline;
use crate::stats::classes::{largest, softmax};
use card::Card;

/// What a classifier says of a tile.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// The kind; `None` where its probability is below the classifier's floor: unknown, never a guess.
    pub kind: Option<String>,
    /// Probability of the most probable kind, calibrated on validation.
    pub probability: f64,
    /// The classifier's version.
    pub version: String,
}

/// A classifier, ready to name.
pub struct Classifier {
    /// What it is and how well it does.
    pub card: Card,
    network: FeedForward,
}

impl Classifier {
    /// The current classifier of a pipeline; `None` where it has none.
    ///
    /// # Errors
    /// [`crate::error::Kind::Model`] when it is damaged, or was made for another input.
    pub fn load(models: &Path, pipeline: &Pipeline, device: Device) -> Result<Option<Self>> {
        card::load(models, pipeline)?.map(|loaded| Self::of(loaded, device)).transpose()
    }

    /// A version by its name.
    ///
    /// # Errors
    /// Those of [`Classifier::load`], and of a version that is missing.
    pub fn load_version(models: &Path, pipeline: &Pipeline, version: &str, device: Device) -> Result<Self> {
        Self::of(card::load_version(models, pipeline, version)?, device)
    }

    fn of((card, weights): (Card, PathBuf), device: Device) -> Result<Self> {
        let chain = card.design.chain(&card.input, card.classes.len())?;
        let network = FeedForward::load(chain, &weights, device)?;
        Ok(Self { card, network })
    }

    /// Logits of tiles `[N, C, S, S]` in the model's units, `[N, classes]`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn logits(&self, tiles: &[f32]) -> Result<Vec<f32>> {
        let mut x = tiles.to_vec();
        self.card.lens.apply(&mut x, self.card.input.size);
        self.network.forward(&x)
    }

    /// Names tiles `[N, C, S, S]` in the model's units.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn name(&self, tiles: &[f32]) -> Result<Vec<Named>> {
        let logits = self.logits(tiles)?;
        let name = |row: &[f32]| {
            let (class, probability) = largest(&softmax(row, self.card.answer.temperature));
            let kind = (probability >= self.card.answer.floor).then(|| self.card.classes[class].clone());
            Named { kind, probability, version: self.card.version.clone() }
        };
        Ok(logits.chunks_exact(self.card.classes.len()).map(name).collect())
    }
}
