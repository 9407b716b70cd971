//! Tests across the files of this folder: the two executors, and the numbers of PyTorch.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

mod agreement;
mod chains;
mod labels;

use super::architecture::Architecture;
use super::feedforward::Chain;
use super::graph::Shape;
use super::masks::MaskLoss;
use super::*;
use crate::error::Kind;
use crate::pipeline::{
    Backbone, Block, Downsample, Filter, Input, Latent, Likelihood, Model, ModelKind, Norm, Scaling, Upsample,
};

const COUNTS: Likelihood = Likelihood::PoissonGaussian { gain: 1.5, read_noise: 5.0, offset: 100.0, model_error: 0.05 };
const ASINH: Scaling = Scaling::Asinh { black: 200.0, scale: 5.0 };
const UNIT: Scaling = Scaling::Linear { black: 0.0, white: 1.0 };
const STEP: Step = Step { learning_rate: 1e-3, weight_decay: 1e-2, l1: 0.0, clip_norm: 50.0, beta: 0.7 };

fn model(channels: &[usize], norm: Norm, latent: Latent, likelihood: Likelihood) -> Model {
    Model {
        kind: ModelKind::Vae,
        channels: channels.to_vec(),
        blocks: Vec::new(),
        backbone: None,
        upsample: Upsample::Transposed,
        norm,
        biases: true,
        variational: true,
        latent,
        beta: 1.0,
        likelihood,
        labels: None,
    }
}

fn input(size: usize, channels: usize, scaling: Scaling) -> Input {
    Input { size, channels, scaling, resize: false, tile: None, max_blank: 0.1, filters: vec![], clip: false }
}

fn uniform(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..n).map(|_| rng.random()).collect()
}

fn normal(n: usize, seed: u64) -> Vec<f32> {
    ChaCha8Rng::seed_from_u64(seed).sample_iter(StandardNormal).take(n).collect()
}

/// Largest difference over the largest value.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0f32, |m, b| m.max(b.abs())).max(1e-12);
    a.iter().zip(b).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

/// Both executors with the same weights.
fn both(model: &Model, input: &Input) -> (Autoencoder, Autoencoder) {
    let engine = Autoencoder::new(model, input, 3, Device::Cpu).expect("the engine");
    let reference = Autoencoder::new(model, input, 3, Device::Candle(candle_core::Device::Cpu)).expect("the reference");
    (engine, reference)
}

/// Weights after some steps with a strong L1, in both executors.
fn with_l1(model: &Model, input: &Input) -> [(Vec<f32>, f64); 2] {
    let step = Step { l1: 3.0, ..STEP };
    let train = |mut vae: Autoencoder| {
        for seed in 0..20 {
            let x = uniform(4 * 784, seed);
            let loss = vae.train_step(&x, &x, &normal(4 * vae.noise_len(), 6), &step).expect("a step");
            assert!(loss.nll.is_finite());
        }
        (vae.snapshot().expect("weights").0, vae.sparsity().expect("sparsity"))
    };
    let (engine, reference) = both(model, input);
    [train(engine), train(reference)]
}

#[test]
fn l1_reaches_exact_zeros_in_both_executors_and_spares_biases_and_norms() {
    let model = model(&[4, 8], Norm::Group, Latent::Vector { dim: 3 }, Likelihood::Bernoulli);
    let input = input(28, 1, UNIT);
    let [(engine, sparse), (reference, sparse_reference)] = with_l1(&model, &input);
    assert!((0.2..0.999).contains(&sparse), "{sparse}");
    assert!((sparse - sparse_reference).abs() < 0.01, "{sparse} {sparse_reference}");
    assert!(difference(&engine, &reference) < 2e-2, "{}", difference(&engine, &reference));
    for parameter in &Architecture::new(&model, &input).expect("network").network.parameters {
        let zeros = engine[parameter.range()].iter().filter(|weight| **weight == 0.0).count();
        assert!(parameter.decay || zeros == 0, "{} has {zeros} zeros", parameter.name);
    }
    let plain = Autoencoder::new(&model, &input, 3, Device::Cpu).expect("the engine");
    assert_eq!(plain.sparsity().expect("sparsity"), 0.0);
}

#[test]
fn every_gradient_is_the_slope_of_the_loss() {
    for (norm, latent, likelihood, scaling, filters) in [
        (Norm::Group, Latent::Vector { dim: 3 }, Likelihood::Bernoulli, UNIT, vec![]),
        (Norm::Layer, Latent::Map { dim: 2 }, Likelihood::Gaussian, UNIT, vec![]),
        (Norm::Layer, Latent::Map { dim: 2 }, Likelihood::Gaussian, UNIT, vec![Filter::Sobel]),
        (Norm::Group, Latent::Map { dim: 2 }, COUNTS, ASINH, vec![]),
    ] {
        let (model, input) = (model(&[3, 4], norm, latent, likelihood), Input { filters, ..input(8, 2, scaling) });
        let mut vae = Autoencoder::new(&model, &input, 1, Device::Cpu).expect("engine");
        // Counts far from their mean, so that the slope stands out of the loss's rounding.
        let reach = if likelihood == COUNTS { 4.0 } else { 1.0 };
        let x: Vec<f32> = uniform(3 * 2 * 64, 1).into_iter().map(|x| reach * x).collect();
        let noise = normal(3 * vae.latent_len(), 2);
        let (parts, gradient) = vae.gradients((&x, &[]), &noise, 0.7).expect("gradient");
        let loss = parts.nll + 0.7 * parts.kl;
        let start = vae.snapshot().expect("weights");
        let whole = gradient.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
        for parameter in &Architecture::new(&model, &input).expect("network").network.parameters {
            let slope = &gradient[parameter.range()];
            let norm = slope.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
            // Along the gradient the slope is its norm. The way is as short as single precision allows: relu has kinks.
            let h = (3e-5 * loss / norm).min(2e-3) as f32;
            let mut loss_at = |sign: f32| {
                let mut moved = start.clone();
                for (w, g) in moved.0[parameter.range()].iter_mut().zip(slope) {
                    *w += sign * h * g / norm as f32;
                }
                vae.restore(&moved).expect("restore");
                let (parts, _) = vae.gradients((&x, &[]), &noise, 0.7).expect("loss");
                parts.nll + 0.7 * parts.kl
            };
            let measured = (loss_at(1.0) - loss_at(-1.0)) / (2.0 * f64::from(h));
            assert!(
                (measured - norm).abs() < 0.03 * norm + 2e-3 * whole,
                "{} of {model:?}: slope {norm}, measured {measured}",
                parameter.name
            );
        }
    }
}

#[test]
fn training_is_the_same_on_one_thread_and_on_two() {
    let (model, input) =
        (model(&[8, 16], Norm::Group, Latent::Vector { dim: 4 }, Likelihood::Bernoulli), input(28, 1, UNIT));
    let train = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
        pool.install(|| {
            let mut vae = Autoencoder::new(&model, &input, 9, Device::Cpu).expect("engine");
            for step in 0..4 {
                let x = uniform(50 * 784, step);
                vae.train_step(&x, &x, &normal(50 * 4, step), &STEP).expect("step");
            }
            vae.snapshot().expect("weights")
        })
    };
    let bits = |weights: Weights| weights.0.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(train(1)), bits(train(2)));
}

#[test]
fn training_lowers_the_loss() {
    let (model, input) =
        (model(&[8, 16], Norm::Group, Latent::Vector { dim: 4 }, Likelihood::Bernoulli), input(28, 1, UNIT));
    let mut vae = Autoencoder::new(&model, &input, 9, Device::Cpu).expect("engine");
    let x: Vec<f32> = (0..16 * 784).map(|i| f32::from((i / 28) % 28 > i % 28)).collect();
    let mut losses = (0..60).map(|step| vae.train_step(&x, &x, &normal(16 * 4, step), &STEP).expect("step").nll);
    let first = losses.next().expect("a first step");
    let last = losses.last().expect("a last step");
    assert!(last < 0.5 * first, "{first} to {last}");
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    let (model, input) = (model(&[4], Norm::Group, Latent::Vector { dim: 2 }, Likelihood::Gaussian), input(8, 1, UNIT));
    for device in [Device::Cpu, Device::Candle(candle_core::Device::Cpu)] {
        let mut vae = Autoencoder::new(&model, &input, 9, device).expect("a vae");
        let before = vae.snapshot().expect("weights");
        let loss = vae.train_step(&[f32::NAN; 64], &[f32::NAN; 64], &[0.5, 0.5], &STEP).expect("step");
        assert!(!loss.gradient_norm.is_finite());
        assert_eq!(vae.snapshot().expect("weights"), before);
    }
}

#[test]
fn inference_of_one_is_that_of_many() {
    let (model, input) =
        (model(&[8, 16], Norm::Group, Latent::Map { dim: 2 }, Likelihood::Gaussian), input(32, 3, UNIT));
    let mut vae = Autoencoder::new(&model, &input, 9, Device::Cpu).expect("engine");
    let x = uniform(37 * 3 * 1024, 4);
    let many = vae.infer(&x).expect("many");
    let (mut mean, mut output, mut features) = (Vec::new(), Vec::new(), Vec::new());
    for x in x.chunks(3 * 1024) {
        let one = vae.infer(x).expect("one");
        mean.extend(one.mean);
        output.extend(one.output);
        features.extend(one.features[1].clone());
    }
    assert!(difference(&mean, &many.mean) < 1e-5);
    assert!(difference(&output, &many.output) < 1e-5);
    assert!(difference(&features, &many.features[1]) < 1e-5);
    let without = vae.reconstruct(&x).expect("many");
    assert!(without.features.is_empty() && without.output == many.output);
    assert_eq!(vae.infer(&[]).expect("nothing").output.len(), 0);
    assert_eq!(vae.infer(&x[1..]).expect_err("not whole").kind, Kind::Internal);
}

#[test]
fn weights_survive_the_disk() {
    let (model, input) =
        (model(&[4, 8], Norm::Layer, Latent::Vector { dim: 3 }, Likelihood::Gaussian), input(28, 3, UNIT));
    let folder = tempfile::tempdir().expect("folder");
    let (one, two) = (folder.path().join("1.safetensors"), folder.path().join("2.safetensors"));
    let mut vae = Autoencoder::new(&model, &input, 9, Device::Cpu).expect("engine");
    let x = uniform(2 * 3 * 784, 1);
    vae.train_step(&x, &x, &normal(6, 1), &STEP).expect("step");
    let metadata = || (0..20).map(|i| (format!("key{i}"), format!("value \"{i}\""))).collect();
    vae.save(&one, metadata()).expect("save");
    vae.save(&two, metadata()).expect("save");
    let bytes = std::fs::read(&one).expect("bytes");
    assert_eq!(bytes, std::fs::read(&two).expect("bytes"));
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).expect("header");
    assert_eq!(header.metadata().as_ref().expect("metadata")["key7"], "value \"7\"");
    let mut back = Autoencoder::load(&model, &input, &one, Device::Cpu).expect("load");
    assert_eq!(back.snapshot().expect("weights"), vae.snapshot().expect("weights"));
    let x = uniform(3 * 784, 2);
    assert_eq!(back.infer(&x).expect("loaded"), vae.infer(&x).expect("saved"));
    assert_eq!(back.observation().nll(&x, &x), vae.observation().nll(&x, &x));
}

#[test]
fn weights_of_another_network_are_refused() {
    let small = model(&[4, 8], Norm::Group, Latent::Vector { dim: 3 }, Likelihood::Bernoulli);
    let input = input(28, 1, UNIT);
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("weights.safetensors");
    Autoencoder::new(&small, &input, 1, Device::Cpu).expect("engine").save(&path, Default::default()).expect("save");
    let refusal = |model: &Model| {
        let failure = Autoencoder::load(model, &input, &path, Device::Cpu).err().expect("a refusal");
        assert_eq!(failure.kind, Kind::Model);
        failure.to_string()
    };
    let wide = Model { latent: Latent::Vector { dim: 4 }, ..small.clone() };
    let text = refusal(&wide);
    assert!(text.contains("encoder.7.weight") && text.contains("[6, 392]") && text.contains("[8, 392]"), "{text}");
    assert!(refusal(&Model { likelihood: Likelihood::Gaussian, ..small.clone() }).contains("likelihood.log_var"));
    let shallow = Model { channels: vec![4], ..small.clone() };
    assert!(refusal(&shallow).contains("encoder."));
    std::fs::write(&path, b"not weights").expect("write");
    assert!(refusal(&small).contains("safetensors"));
    std::fs::remove_file(&path).expect("remove");
    assert!(refusal(&small).contains("cannot be read"));
}

#[test]
fn sizes_that_do_not_halve_are_refused() {
    let model = model(&[4, 8, 16], Norm::Group, Latent::Vector { dim: 3 }, Likelihood::Bernoulli);
    let failure = Autoencoder::new(&model, &input(28, 1, UNIT), 1, Device::Cpu).err().expect("a refusal");
    assert_eq!(failure.kind, Kind::Settings);
    assert!(failure.message.contains("24") && failure.message.contains("32"), "{failure}");
}

#[test]
fn a_vae_may_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Autoencoder>();
}
