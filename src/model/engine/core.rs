//! What every engine has: weights in the executor's layouts, their gradients and optimiser, and workspaces.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::stack::{Activations, Scratch, Stack, Weights};
use super::vectors;
use crate::model::adamw::{AdamW, Step};
use crate::model::network::Network;
use crate::model::parameters::{Parameter, Trains};

/// Parts of a batch that may run at the same time.
const SHARDS: usize = 8;
/// Bytes of activations that a chunk of samples may take.
const CHUNK_BYTES: usize = 4 << 20;
/// Most samples a chunk holds: more does not make the matrix products faster.
const CHUNK_SAMPLES: usize = 16;

/// Weights, gradients, optimiser, and the compiled lists.
pub(super) struct Core {
    parameters: Vec<Parameter>,
    /// One for each list of the network.
    pub stacks: Vec<Stack>,
    /// Samples that go through the lists together.
    pub chunk: usize,
    pub weights: Weights,
    optimiser: AdamW,
    /// Made when training starts.
    gradients: Vec<Vec<f32>>,
    /// Zero where a value is not trained; none where all are.
    trained: Option<Vec<f32>>,
    spare: Spare,
}

/// Workspaces that no task holds.
#[derive(Default)]
struct Spare {
    inference: Mutex<Vec<Workspace>>,
    training: Mutex<Vec<Workspace>>,
}

/// Room for one chunk of samples.
pub(super) struct Workspace {
    /// The first list's input, channels last.
    pub image: Vec<f32>,
    /// The second list's input, channels last.
    pub latent: Vec<f32>,
    /// Means of the latents, channels last, and the gradient in them: what labels work on.
    pub mean: Vec<f32>,
    pub pull: Vec<f32>,
    /// One for each list.
    pub activations: Vec<Activations>,
    pub scratch: Scratch,
}

impl Core {
    /// The lists of `network` with weights laid out as on disk.
    pub(super) fn new(network: &Network, weights: &[f32]) -> Self {
        let stacks: Vec<Stack> = network.lists.iter().map(|nodes| Stack::new(nodes, network)).collect();
        let bytes = stacks.iter().map(Stack::floats).sum::<usize>() * size_of::<f32>();
        let parameters = network.parameters.clone();
        let decays = parameters.iter().flat_map(|p| std::iter::repeat_n(p.decay, p.len())).collect();
        let whole = parameters.iter().all(|parameter| parameter.trains == Trains::Whole);
        let mut core = Self {
            stacks,
            chunk: (CHUNK_BYTES / bytes.max(1)).clamp(1, CHUNK_SAMPLES),
            weights: Weights::default(),
            optimiser: AdamW::new(decays),
            gradients: Vec::new(),
            trained: None,
            spare: Spare::default(),
            parameters,
        };
        if !whole {
            let on_disk =
                core.parameters.iter().flat_map(Parameter::trained).map(|trained| f32::from(u8::from(trained)));
            core.trained = Some(core.pack(&on_disk.collect::<Vec<f32>>()));
        }
        core.set_weights(weights);
        core
    }

    /// The weights, laid out as on disk.
    pub(super) fn weights(&self) -> Vec<f32> {
        self.unpack(&self.weights.straight)
    }

    /// Replaces the weights by others, laid out as on disk.
    pub(super) fn set_weights(&mut self, weights: &[f32]) {
        self.weights.straight = self.pack(weights);
        self.transpose();
    }

    /// Where a parameter lies, and its present values.
    pub(super) fn values(&self, parameter: usize) -> &[f32] {
        &self.weights.straight[self.range(parameter)]
    }

    /// The same, laid out as on disk.
    pub(super) fn values_on_disk(&self, parameter: usize) -> Vec<f32> {
        let (packed, packing) = (self.values(parameter), self.parameters[parameter].packing);
        let mut values = vec![0.0; packed.len()];
        packing.order(packed.len()).zip(packed).for_each(|(at, value)| values[at] = *value);
        values
    }

    /// Where a parameter lies.
    pub(super) fn range(&self, parameter: usize) -> Range<usize> {
        self.parameters[parameter].range()
    }

    fn pack(&self, weights: &[f32]) -> Vec<f32> {
        let mut packed = Vec::with_capacity(weights.len());
        for parameter in &self.parameters {
            let values = &weights[parameter.range()];
            packed.extend(parameter.packing.order(parameter.len()).map(|i| values[i]));
        }
        packed
    }

    fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        let mut weights = vec![0.0; packed.len()];
        for parameter in &self.parameters {
            let values = &mut weights[parameter.range()];
            let order = parameter.packing.order(parameter.len());
            order.zip(&packed[parameter.range()]).for_each(|(i, value)| values[i] = *value);
        }
        weights
    }

    fn transpose(&mut self) {
        for stack in &self.stacks {
            stack.transpose(&mut self.weights);
        }
    }

    /// Gradients of `n` samples, shard by shard: `run` adds those of its range to the slice it is given.
    pub(super) fn gradients<T: Send>(
        &mut self,
        n: usize,
        run: impl Fn(&Self, Range<usize>, &mut [f32], &mut Workspace) -> T + Sync,
    ) -> Vec<T> {
        let per = n.div_ceil(SHARDS);
        let mut gradients = std::mem::take(&mut self.gradients);
        gradients.resize_with(SHARDS, || vec![0.0; self.weights.straight.len()]);
        let shards: Vec<Range<usize>> = (0..n).step_by(per).map(|start| start..(start + per).min(n)).collect();
        let count = shards.len();
        let tasks: Vec<_> = shards.into_iter().zip(&mut gradients).collect();
        let results = tasks
            .into_par_iter()
            .map(|(range, gradient)| {
                gradient.fill(0.0);
                self.with_workspace(true, |space| run(self, range, gradient, space))
            })
            .collect();
        let (total, rest) = gradients.split_at_mut(1);
        total[0].par_chunks_mut(1 << 15).enumerate().for_each(|(i, sum)| {
            for other in &rest[..count - 1] {
                vectors::add(sum, &other[i << 15..]);
            }
            if let Some(trained) = &self.trained {
                vectors::multiply(sum, &trained[i << 15..]);
            }
        });
        self.gradients = gradients;
        results
    }

    /// The gradient that [`Core::gradients`] left, laid out as on disk.
    #[cfg(test)]
    pub(super) fn last_gradient(&self) -> Vec<f32> {
        self.unpack(&self.gradients[0])
    }

    /// Norm of that gradient in each parameter; none before the first.
    pub(super) fn gradient_norms(&self) -> Vec<f64> {
        let Some(gradient) = self.gradients.first() else { return Vec::new() };
        let norm = |parameter: &Parameter| vectors::sum_of_squares(&gradient[parameter.range()]).sqrt();
        self.parameters.iter().map(norm).collect()
    }

    /// One step of AdamW along the gradient that [`Core::gradients`] left; returns its norm before clipping.
    pub(super) fn step(&mut self, step: &Step) -> f64 {
        let norm = self.optimiser.step(&mut self.weights.straight, &self.gradients[0], step);
        self.transpose();
        norm
    }

    /// Samples a task takes of `n`, so that every thread has one.
    pub(super) fn share(&self, n: usize) -> usize {
        let threads = if n > 1 { rayon::current_num_threads() } else { 1 };
        n.div_ceil(threads).clamp(1, self.chunk)
    }

    /// Runs `f` with a workspace of its own.
    pub(super) fn with_workspace<T>(&self, train: bool, f: impl FnOnce(&mut Workspace) -> T) -> T {
        let spare = if train { &self.spare.training } else { &self.spare.inference };
        let taken = spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut space = taken.unwrap_or_else(|| self.workspace(train));
        let result = f(&mut space);
        spare.lock().unwrap_or_else(PoisonError::into_inner).push(space);
        result
    }

    fn workspace(&self, train: bool) -> Workspace {
        let n = self.chunk;
        let input = |list: usize| self.stacks.get(list).map_or(0, |stack| n * stack.inputs());
        Workspace {
            image: vec![0.0; input(0)],
            latent: vec![0.0; input(1)],
            mean: vec![0.0; input(1)],
            pull: vec![0.0; if train { input(1) } else { 0 }],
            activations: self.stacks.iter().map(|stack| stack.activations(n, train)).collect(),
            scratch: Scratch::new(&self.stacks, n, train),
        }
    }
}
