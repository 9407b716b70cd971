//! What a network looks like to the CPU, and what a task does with one chunk of samples.

use super::stack::{Activations, Scratch, Stack, Weights};
use crate::model::LOG_VAR_LIMIT;
use crate::model::likelihood::{Observation, kl_of_one};
use crate::model::network::Network;
use crate::model::vae::{Inference, Parts};

/// Bytes of activations that a chunk of samples may take.
const CHUNK_BYTES: usize = 4 << 20;
/// Most samples a chunk holds: more does not make the matrix products faster.
const CHUNK_SAMPLES: usize = 16;

/// What never changes.
pub(super) struct Plan {
    pub network: Network,
    encoder: Stack,
    decoder: Stack,
    pub chunk: usize,
}

/// Room for one chunk of samples.
pub(super) struct Workspace {
    image: Vec<f32>,
    encoder: Activations,
    z: Vec<f32>,
    decoder: Activations,
    scratch: Scratch,
}

/// The part of an inference that one task writes.
pub(super) struct Slot<'a> {
    x: &'a [f32],
    mean: &'a mut [f32],
    log_var: &'a mut [f32],
    output: &'a mut [f32],
    features: Vec<&'a mut [f32]>,
}

/// Cuts images and room for their results into the parts of tasks of `chunk` samples; `sizes` as [`Plan::sizes`].
pub(super) fn slots<'a>(result: &'a mut Inference, x: &'a [f32], sizes: &[usize], chunk: usize) -> Vec<Slot<'a>> {
    let (image, latent) = (sizes[0] * chunk, sizes[1] * chunk);
    let Inference { mean, log_var, output, features } = result;
    let latents = mean.chunks_mut(latent).zip(log_var.chunks_mut(latent));
    let mut slots: Vec<Slot> = x
        .chunks(image)
        .zip(output.chunks_mut(image))
        .zip(latents)
        .map(|((x, output), (mean, log_var))| Slot { x, mean, log_var, output, features: Vec::new() })
        .collect();
    for (stage, size) in features.iter_mut().zip(&sizes[2..]) {
        for (slot, part) in slots.iter_mut().zip(stage.chunks_mut(size * chunk)) {
            slot.features.push(part);
        }
    }
    slots
}

impl Plan {
    pub(super) fn new(network: Network) -> Self {
        let encoder = Stack::new(&network.encoder, &network);
        let decoder = Stack::new(&network.decoder, &network);
        let bytes = (encoder.floats() + decoder.floats()) * size_of::<f32>();
        let chunk = (CHUNK_BYTES / bytes.max(1)).clamp(1, CHUNK_SAMPLES);
        Self { network, encoder, decoder, chunk }
    }

    fn pack(&self, weights: &[f32]) -> Vec<f32> {
        let mut packed = Vec::with_capacity(weights.len());
        for parameter in &self.network.parameters {
            let values = &weights[parameter.range()];
            packed.extend(parameter.packing.order(parameter.len()).map(|i| values[i]));
        }
        packed
    }

    pub(super) fn unpack(&self, packed: &[f32]) -> Vec<f32> {
        let mut weights = vec![0.0; packed.len()];
        for parameter in &self.network.parameters {
            let values = &mut weights[parameter.range()];
            let order = parameter.packing.order(parameter.len());
            order.zip(&packed[parameter.range()]).for_each(|(i, value)| values[i] = *value);
        }
        weights
    }

    pub(super) fn workspace(&self, train: bool) -> Workspace {
        let n = self.chunk;
        let (image, latent) = (self.network.image.len(), self.network.latent.len());
        Workspace {
            image: vec![0.0; n * image],
            encoder: self.encoder.activations(n),
            z: vec![0.0; n * latent],
            decoder: self.decoder.activations(n),
            scratch: Scratch::new([&self.encoder, &self.decoder], n, train),
        }
    }

    /// The executor's form of weights laid out as on disk.
    pub(super) fn prepare(&self, weights: &[f32]) -> Weights {
        let mut prepared = Weights { straight: self.pack(weights), transposed: Vec::new() };
        self.transpose(&mut prepared);
        prepared
    }

    /// Brings the transposed matrices up to date.
    pub(super) fn transpose(&self, weights: &mut Weights) {
        self.encoder.transpose(weights);
        self.decoder.transpose(weights);
    }

    /// Room for the result of `n` images.
    pub(super) fn room(&self, n: usize, features: bool) -> Inference {
        let [image, latent, taps @ ..] = &self.sizes()[..] else { unreachable!("image and latent come first") };
        let features = taps.iter().filter(|_| features).map(|tap| vec![0.0; n * tap]).collect();
        let latents = || vec![0.0; n * latent];
        Inference { mean: latents(), log_var: latents(), output: vec![0.0; n * image], features }
    }

    /// Values a sample takes: image, latent, each stage's features.
    pub(super) fn sizes(&self) -> Vec<usize> {
        let network = &self.network;
        let taps = network.taps.iter().map(|&tap| network.encoder[tap].output.len());
        [network.image.len(), network.latent.len()].into_iter().chain(taps).collect()
    }

    /// Mean and log-variance of a chunk, channels last and stacked: `[n, positions, 2 dim]`.
    fn encode<'a>(&self, weights: &Weights, x: &[f32], n: usize, space: &'a mut Workspace) -> &'a [f32] {
        let image = self.network.image;
        let pixels = image.h * image.w;
        for (from, to) in x.chunks_exact(image.len()).zip(space.image.chunks_exact_mut(image.len())) {
            to_channels_last(from, to, image.c, pixels);
        }
        self.encoder.forward(weights, &space.image, n, &mut space.encoder, &mut space.scratch);
        self.encoder.output(&space.encoder, self.network.encoder.len() - 1, n)
    }

    pub(super) fn infer(&self, weights: &Weights, slot: Slot, space: &mut Workspace) {
        let (image, latent) = (self.network.image.len(), self.network.latent);
        let n = slot.x.len() / image;
        let (dim, positions) = (latent.c, latent.h * latent.w);
        let posterior = self.encode(weights, slot.x, n, space);
        for (row, posterior) in posterior.chunks_exact(2 * dim).enumerate() {
            let start = row / positions * dim * positions + row % positions;
            for (d, (mean, log_var)) in posterior[..dim].iter().zip(&posterior[dim..]).enumerate() {
                slot.mean[start + d * positions] = *mean;
                slot.log_var[start + d * positions] = log_var.clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT);
            }
        }
        for (&tap, target) in self.network.taps.iter().zip(slot.features) {
            target.copy_from_slice(self.encoder.output(&space.encoder, tap, n));
        }
        self.decode(weights, slot.mean, slot.output, space);
    }

    pub(super) fn decode(&self, weights: &Weights, z: &[f32], output: &mut [f32], space: &mut Workspace) {
        let (image, latent) = (self.network.image, self.network.latent);
        let n = z.len() / latent.len();
        for (from, to) in z.chunks_exact(latent.len()).zip(space.z.chunks_exact_mut(latent.len())) {
            to_channels_last(from, to, latent.c, latent.h * latent.w);
        }
        self.decoder.forward(weights, &space.z, n, &mut space.decoder, &mut space.scratch);
        let decoded = self.decoder.output(&space.decoder, self.network.decoder.len() - 1, n);
        for (from, to) in decoded.chunks_exact(image.len()).zip(output.chunks_exact_mut(image.len())) {
            to_planar(from, to, image.c, image.h * image.w);
        }
    }

    /// Loss of a shard (summed over its images), and its gradient (times `weight`) added to `gradient`.
    pub(super) fn train(
        &self,
        weights: &Weights,
        (x, noise): (&[f32], &[f32]),
        observation: &Observation,
        (weight, beta): (f32, f32),
        gradient: &mut [f32],
        space: &mut Workspace,
    ) -> Parts {
        let (image, latent) = (self.network.image.len(), self.network.latent.len());
        let mut total = Parts { nll: 0.0, kl: 0.0 };
        for (x, noise) in x.chunks(self.chunk * image).zip(noise.chunks(self.chunk * latent)) {
            let n = x.len() / image;
            self.encode(weights, x, n, space);
            total.kl += self.sample(noise, space, n);
            self.decoder.forward(weights, &space.z, n, &mut space.decoder, &mut space.scratch);
            total.nll += self.reconstruction(x, n, observation, weight, gradient, space);
            self.decoder.backward(weights, (&space.z, n), &space.decoder, &mut space.scratch, gradient, true);
            self.posterior_gradient(noise, n, weight * beta, space);
            self.encoder.backward(weights, (&space.image, n), &space.encoder, &mut space.scratch, gradient, false);
        }
        total
    }

    /// `z = mean + exp(log_var / 2) noise`; returns the KL from the prior, summed (Kingma & Welling 2013, eq. 10).
    fn sample(&self, noise: &[f32], space: &mut Workspace, n: usize) -> f64 {
        let latent = self.network.latent;
        let (dim, positions) = (latent.c, latent.h * latent.w);
        let posterior = self.encoder.output(&space.encoder, self.network.encoder.len() - 1, n);
        let mut kl = 0.0;
        for (row, (posterior, z)) in posterior.chunks_exact(2 * dim).zip(space.z.chunks_exact_mut(dim)).enumerate() {
            let start = row / positions * dim * positions + row % positions;
            for (d, z) in z.iter_mut().enumerate() {
                let (mean, log_var) = (posterior[d], posterior[dim + d].clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT));
                *z = mean + (0.5 * log_var).exp() * noise[start + d * positions];
                kl += kl_of_one(mean, log_var);
            }
        }
        kl
    }

    /// Reconstruction loss of a chunk; leaves its gradient in the decoder's output in `scratch.upper`.
    fn reconstruction(
        &self,
        x: &[f32],
        n: usize,
        observation: &Observation,
        weight: f32,
        gradient: &mut [f32],
        space: &mut Workspace,
    ) -> f64 {
        let image = self.network.image;
        let (size, pixels) = (image.len(), image.h * image.w);
        let fitted = self.network.log_var.map_or(0..0, |index| self.network.parameters[index].range());
        let log_var_gradient = &mut gradient[fitted];
        let output = self.decoder.output(&space.decoder, self.network.decoder.len() - 1, n);
        let upper = &mut space.scratch.upper[..n * size];
        let images = x.chunks_exact(size).zip(output.chunks_exact(size)).zip(upper.chunks_exact_mut(size));
        let mut room = vec![0.0; if image.c == 1 { 0 } else { 2 * size }];
        let (planar, slope) = room.split_at_mut(if image.c == 1 { 0 } else { size });
        images
            .map(|((x, output), upper)| {
                if image.c == 1 {
                    return observation.gradient(x, output, upper, weight, log_var_gradient);
                }
                to_planar(output, planar, image.c, pixels);
                let nll = observation.gradient(x, planar, slope, weight, log_var_gradient);
                to_channels_last(slope, upper, image.c, pixels);
                nll
            })
            .sum()
    }

    /// From the gradient in `z` (in `scratch.upper`) to that in mean and log-variance, the KL term's included.
    fn posterior_gradient(&self, noise: &[f32], n: usize, kl_weight: f32, space: &mut Workspace) {
        let latent = self.network.latent;
        let (dim, positions) = (latent.c, latent.h * latent.w);
        let posterior = self.encoder.output(&space.encoder, self.network.encoder.len() - 1, n);
        let Scratch { upper, lower, .. } = &mut space.scratch;
        let rows = posterior.chunks_exact(2 * dim).zip(upper.chunks_exact(dim)).zip(lower.chunks_exact_mut(2 * dim));
        for (row, ((posterior, dz), target)) in rows.enumerate() {
            let start = row / positions * dim * positions + row % positions;
            for d in 0..dim {
                let (mean, raw) = (posterior[d], posterior[dim + d]);
                let log_var = raw.clamp(-LOG_VAR_LIMIT, LOG_VAR_LIMIT);
                let sampled = dz[d] * 0.5 * (0.5 * log_var).exp() * noise[start + d * positions];
                target[d] = dz[d] + kl_weight * mean;
                target[dim + d] = if log_var == raw { sampled + kl_weight * 0.5 * log_var.exp_m1() } else { 0.0 };
            }
        }
        std::mem::swap(upper, lower);
    }
}

fn to_channels_last(from: &[f32], to: &mut [f32], channels: usize, pixels: usize) {
    if channels == 1 || pixels == 1 {
        return to.copy_from_slice(from);
    }
    for (c, plane) in from.chunks_exact(pixels).enumerate() {
        to[c..].iter_mut().step_by(channels).zip(plane).for_each(|(to, from)| *to = *from);
    }
}

fn to_planar(from: &[f32], to: &mut [f32], channels: usize, pixels: usize) {
    if channels == 1 || pixels == 1 {
        return to.copy_from_slice(from);
    }
    for (c, plane) in to.chunks_exact_mut(pixels).enumerate() {
        plane.iter_mut().zip(from[c..].iter().step_by(channels)).for_each(|(to, from)| *to = *from);
    }
}
