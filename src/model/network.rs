//! A network as data: lists of layers and the parameters they share, which both executors read.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::graph::Node;
use super::parameters::{Init, Parameter};

/// Lists of layers, and every parameter in the order of one flat vector.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Of an autoencoder: encoder and decoder; of anything else: one list.
    pub lists: Vec<Vec<Node>>,
    /// Every parameter, in the order of the flat vector.
    pub parameters: Vec<Parameter>,
}

impl Network {
    /// Number of trained values.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(Parameter::trained_len).sum()
    }

    /// Share of the weights that are exactly zero, of those that are trained and decay (no biases, norms or variances).
    /// `weights` is the flat vector.
    pub fn sparsity(&self, weights: &[f32]) -> f64 {
        let (mut zeros, mut count) = (0usize, 0usize);
        for parameter in self.parameters.iter().filter(|parameter| parameter.decay) {
            for (weight, trained) in weights[parameter.range()].iter().zip(parameter.trained()) {
                count += usize::from(trained);
                zeros += usize::from(trained && *weight == 0.0);
            }
        }
        zeros as f64 / count.max(1) as f64
    }

    /// Length of the flat vector of all parameters.
    pub fn len(&self) -> usize {
        self.parameters.last().map_or(0, |last| last.range().end)
    }

    /// Whether there is no parameter at all.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Initial weights, in the order and layout of [`Network::parameters`]: a function of the seed alone.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values = Vec::with_capacity(self.len());
        for parameter in &self.parameters {
            let mut draw = |trained| match parameter.init {
                Init::Constant(value) => value,
                Init::Uniform(bound) => bound * (2.0 * rng.random::<f32>() - 1.0) * f32::from(u8::from(trained)),
            };
            values.extend(parameter.trained().map(&mut draw));
        }
        values
    }
}
