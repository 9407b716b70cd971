//! What a fit records of its epochs, kept in the manifest. What later versions added is optional: manifests read on.

use serde::{Deserialize, Serialize};

use super::diagnosis::Finding;
use super::judge::{Answers, Latent, Loss};

/// What one epoch came to; losses are means a tile, in nats.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// Weight of the KL term at the epoch's end.
    pub beta: f32,
    /// Step size at the epoch's end.
    pub learning_rate: f32,
    /// Reconstruction loss on train, sampled latent.
    pub train_nll: f64,
    /// KL on train.
    pub train_kl: f64,
    /// Cross-entropy of the classification head on train, times its weight; 0 without a head.
    #[serde(default)]
    pub train_head: f64,
    /// Reconstruction loss on validation, latent at its mean.
    pub validation_nll: f64,
    /// KL on validation.
    pub validation_kl: f64,
    /// Standard error of the validation loss; 0 in histories that did not record it.
    #[serde(default)]
    pub validation_error: f64,
    /// What the head answers on validation; none without labels.
    pub validation_head: Option<Answers>,
    /// Training tiles judged as validation is: as they are, latent at its mean, by the weights of the epoch's end.
    pub train_judged: Option<Loss>,
    /// Latent units whose mean varies over the validation tiles.
    pub active_units: usize,
    /// Mean global norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Its largest value; 0 in histories that did not record it.
    #[serde(default)]
    pub largest_gradient: f64,
    /// Share of the steps whose gradient was clipped.
    #[serde(default)]
    pub clipped: f64,
    /// Steps whose gradient was no number: they changed no weight.
    #[serde(default)]
    pub lost_steps: usize,
    /// Norm of the last step's gradient in the weights of each of [`History::layers`], before clipping.
    #[serde(default)]
    pub layer_gradients: Vec<f64>,
    /// Tiles trained a second.
    pub images_per_s: f64,
}

impl Epoch {
    /// What early stopping compares: the validation loss at the pipeline's full beta.
    pub fn validation_loss(&self, beta: f32) -> f64 {
        let head = self.validation_head.map_or(0.0, |head| head.loss());
        self.validation_nll + f64::from(beta) * self.validation_kl + head
    }

    /// The loss on train while it was fitted: latent drawn, tiles augmented.
    pub fn running_loss(&self, beta: f32) -> f64 {
        self.train_nll + f64::from(beta) * self.train_kl + self.train_head
    }

    /// The loss of training tiles judged as validation is.
    pub fn train_loss(&self, beta: f32) -> Option<f64> {
        self.train_judged.map(|loss| loss.whole(beta))
    }
}

/// How a fit ended.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct History {
    /// Every epoch.
    pub epochs: Vec<Epoch>,
    /// The epoch whose weights were kept, from 1.
    pub best: usize,
    /// Why it stopped.
    pub end: End,
    /// The layers with weights, in the order of the network.
    #[serde(default)]
    pub layers: Vec<String>,
    /// What the latent units carry over the validation tiles, by the weights that were kept.
    #[serde(default)]
    pub latent: Latent,
    /// What all this says, in words.
    #[serde(default)]
    pub diagnosis: Vec<Finding>,
}

/// Why a fit stopped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All epochs were run.
    #[default]
    Epochs,
    /// Validation did not improve for `patience` epochs.
    EarlyStop,
    /// The user interrupted.
    Interrupted,
}

impl History {
    /// The epoch whose weights were kept.
    pub fn kept(&self) -> Option<&Epoch> {
        self.epochs.get(self.best.checked_sub(1)?)
    }
}
