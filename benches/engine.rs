//! The engine's half of benches/engine.sh: times blocks of steps of one network as the other half asks for them.
//!
//! `engine KIND SIZE` says how many parameters the network has, then reads `WHAT REPEATS` lines (`train`, `infer` or
//! `one`) and answers each with the milliseconds of every repeat.

use std::io::BufRead;
use std::time::Instant;

use anomalyd::model::graph::Shape;
use anomalyd::model::{Autoencoder, Device, FeedForward, Observation, Step, Target, alexnet, lenet, unet};
use anomalyd::pipeline::{Input, Likelihood, Model, Norm, Scaling, Upsample};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;
const LATENT: usize = 16;
const CLASSES: usize = 10;
const STEP: Step = Step { learning_rate: 1e-3, weight_decay: 1e-2, l1: 0.0, clip_norm: 1e9, beta: 1.0 };

/// A network of the kind, and a batch for it.
enum Subject {
    Autoencoder { net: Box<Autoencoder>, x: Vec<f32>, noise: Vec<f32> },
    Classifier { net: Box<FeedForward>, x: Vec<f32>, classes: Vec<u32> },
    Denoiser { net: Box<FeedForward>, x: Vec<f32>, law: Box<Observation> },
}

impl Subject {
    fn new(kind: &str, size: usize) -> Self {
        let shape = Shape { c: 1, h: size, w: size };
        let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
        let x = wave(BATCH * size * size);
        let chain = match kind {
            "lenet5" => lenet::lenet5(shape, CLASSES),
            "alexnet" => alexnet::alexnet(shape, CLASSES, 0.125),
            "unet" => unet::unet(shape, 1, &[16, 32, 64], Norm::Group, Upsample::Transposed).expect("a U-Net"),
            _ => {
                let model: Model = toml::from_str(&model(kind)).expect("a model");
                let input: Input = toml::from_str(&format!(
                    "size = {size}\nchannels = 1\nclip = true\nscaling = {{ kind = \"linear\", black = 0, white = 1 }}"
                ))
                .expect("an input");
                let net = Autoencoder::new(&model, &input, 0, Device::Cpu).expect("a network of the benchmark's size");
                let noise = wave(BATCH * net.noise_len());
                return Self::Autoencoder { net: Box::new(net), x, noise };
            }
        };
        let net = Box::new(FeedForward::new(chain, 0, Device::Cpu).expect("a network of the benchmark's size"));
        match kind {
            "unet" => {
                let law = Box::new(Observation::new(Likelihood::Bernoulli, scaling, 1, &[]));
                Self::Denoiser { net, x, law }
            }
            _ => Self::Classifier { net, x, classes: (0..BATCH as u32).map(|i| i % CLASSES as u32).collect() },
        }
    }

    fn parameters(&self) -> usize {
        match self {
            Self::Autoencoder { net, .. } => net.parameter_count(),
            Self::Classifier { net, .. } | Self::Denoiser { net, .. } => net.parameter_count(),
        }
    }

    fn run(&mut self, what: &str) {
        match self {
            Self::Autoencoder { net, x, noise } => match what {
                "train" => drop(net.train_step(x, x, noise, &STEP).expect("a step")),
                "infer" => drop(net.reconstruct(x).expect("a batch")),
                _ => drop(net.reconstruct(&x[..x.len() / BATCH]).expect("an image")),
            },
            Self::Classifier { net, x, classes } => feed(net, x, Target::Classes(classes), what),
            Self::Denoiser { net, x, law } => feed(net, x, Target::Images(x, law), what),
        }
    }
}

fn feed(net: &mut FeedForward, x: &[f32], target: Target, what: &str) {
    match what {
        "train" => drop(net.train_step(x, target, 0, &STEP).expect("a step")),
        "infer" => drop(net.forward(x).expect("a batch")),
        _ => drop(net.forward(&x[..x.len() / BATCH]).expect("an image")),
    }
}

fn model(kind: &str) -> String {
    let channels = if kind == "dense" { "[512, 128]" } else { "[32, 64]" };
    format!(
        "kind = \"{kind}\"\nchannels = {channels}\nnorm = \"group\"\nlatent = {{ kind = \"vector\", dim = {LATENT} }}\n\
         beta = 1.0\nlikelihood = {{ kind = \"bernoulli\" }}"
    )
}

fn wave(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i as f32 * 0.7).sin().abs()).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [kind, size] = &arguments[..] else { panic!("engine KIND SIZE; run by benches/engine.sh") };
    let mut subject = Subject::new(kind, size.parse().expect("a size"));
    println!("{}", subject.parameters());
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let (what, repeats) = line.split_once(' ').expect("WHAT REPEATS");
        let times: Vec<String> = (0..repeats.parse().expect("a number"))
            .map(|_| {
                let start = Instant::now();
                subject.run(what);
                format!("{:.5}", start.elapsed().as_secs_f64() * 1e3)
            })
            .collect();
        println!("{}", times.join(" "));
    }
}
