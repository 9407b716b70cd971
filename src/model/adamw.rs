//! AdamW over one flat vector of weights, with clipping by the global norm.
//!
//! Loshchilov & Hutter, Decoupled Weight Decay Regularization, arXiv:1711.05101, algorithm 2; moments as in Kingma & Ba, arXiv:1412.6980.
//! L1 is decoupled as well: the proximal step of its penalty, a soft threshold, follows the update (Parikh & Boyd, Proximal
//! Algorithms, 2014, section 6.5.2). Unlike a term in the gradient it reaches exact zeros.

use rayon::prelude::*;

use super::engine::vectors;

/// Decay of the first moment.
pub(crate) const BETA1: f32 = 0.9;
/// Decay of the second moment.
pub(crate) const BETA2: f32 = 0.999;
/// Keeps the division finite.
pub(crate) const EPS: f32 = 1e-8;

/// Values a task takes; fixed, so that the norm's sum has one order whatever the number of threads.
const BLOCK: usize = 1 << 15;

/// The settings of one training step.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// AdamW's step size.
    pub learning_rate: f32,
    /// Decoupled decay of the weights (not of biases and norms).
    pub weight_decay: f32,
    /// Strength of the L1 penalty on the same weights: after the update each moves towards zero by `learning_rate * l1`,
    /// and stays there where it would pass it.
    pub l1: f32,
    /// Largest global norm of the gradient; a longer one is shortened to it.
    pub clip_norm: f32,
    /// Weight of the KL term.
    pub beta: f32,
}

impl Step {
    /// What the gradient is multiplied by, given its norm.
    pub(crate) fn clip(&self, norm: f64) -> f32 {
        let limit = f64::from(self.clip_norm);
        if norm > limit { (limit / norm) as f32 } else { 1.0 }
    }
}

/// The factors of one update, shared by all weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
    /// Multiplies the gradient (clipping).
    pub clip: f32,
    /// Multiplies a decaying weight first.
    pub keep: f32,
    /// What a decaying weight is drawn towards zero by, last.
    pub shrink: f32,
    /// Step size over the first moment's bias correction.
    pub rate: f32,
    /// Inverse root of the second moment's bias correction.
    pub correction: f32,
}

impl Update {
    /// The factors of the `t`-th update (from 1).
    pub(crate) fn new(t: i32, step: &Step, norm: f64) -> Self {
        let correct = |beta: f32| 1.0 - f64::from(beta).powi(t);
        Self {
            clip: step.clip(norm),
            keep: 1.0 - step.learning_rate * step.weight_decay,
            shrink: step.learning_rate * step.l1,
            rate: (f64::from(step.learning_rate) / correct(BETA1)) as f32,
            correction: (1.0 / correct(BETA2).sqrt()) as f32,
        }
    }
}

/// The moments of every weight.
pub(crate) struct AdamW {
    first: Vec<f32>,
    second: Vec<f32>,
    decays: Vec<bool>,
    t: i32,
}

impl AdamW {
    /// Fresh moments; `decays` says of each weight whether it decays.
    pub(crate) fn new(decays: Vec<bool>) -> Self {
        Self { first: vec![0.0; decays.len()], second: vec![0.0; decays.len()], decays, t: 0 }
    }

    /// Updates the weights and returns the gradient's norm before clipping. A gradient that is not finite changes nothing.
    pub(crate) fn step(&mut self, weights: &mut [f32], gradient: &[f32], step: &Step) -> f64 {
        let squares: Vec<f64> = gradient.par_chunks(BLOCK).map(vectors::sum_of_squares).collect();
        let norm = squares.iter().sum::<f64>().sqrt();
        if !norm.is_finite() {
            return norm;
        }
        self.t += 1;
        let update = Update::new(self.t, step, norm);
        let moments = self.first.par_chunks_mut(BLOCK).zip(self.second.par_chunks_mut(BLOCK));
        let values = weights.par_chunks_mut(BLOCK).zip(gradient.par_chunks(BLOCK)).zip(self.decays.par_chunks(BLOCK));
        values.zip(moments).for_each(|(((weights, gradient), decays), (first, second))| {
            vectors::adamw(weights, gradient, decays, first, second, &update);
            if update.shrink > 0.0 {
                vectors::soft_threshold(weights, decays, update.shrink);
            }
        });
        norm
    }
}
