//! The engine's half of benches/engine.sh: times blocks of steps as the other half asks for them.
//!
//! Reads `WHAT SIZE REPEATS` lines (`train`, `infer`, `features` or `one`) and answers each with the milliseconds of every repeat.

use std::io::BufRead;
use std::time::Instant;

use anomalyd::model::{Autoencoder, Device, Step};
use anomalyd::pipeline::{Input, Model, Scaling};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 128;
const LATENT: usize = 16;
const STEP: Step = Step { learning_rate: 1e-3, weight_decay: 1e-2, l1: 0.0, clip_norm: 1e9, beta: 1.0 };

const MODEL: &str = r#"
kind = "vae"
channels = [32, 64]
norm = "group"
latent = { kind = "vector", dim = 16 }
beta = 1.0
likelihood = { kind = "bernoulli" }
"#;

struct Subject {
    vae: Autoencoder,
    x: Vec<f32>,
    noise: Vec<f32>,
}

impl Subject {
    fn new(size: usize) -> Self {
        let model: Model = toml::from_str(MODEL).expect("a model");
        let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
        let input = Input {
            size,
            channels: 1,
            scaling,
            resize: false,
            clip: true,
            tile: None,
            max_blank: 0.1,
            filters: vec![],
        };
        let vae = Autoencoder::new(&model, &input, 0, Device::Cpu).expect("a network of the benchmark's size");
        let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.7).sin().abs()).collect();
        Self { vae, x: wave(BATCH * size * size), noise: wave(BATCH * LATENT) }
    }

    fn run(&mut self, what: &str) {
        let image = self.x.len() / BATCH;
        match what {
            "train" => drop(self.vae.train_step(&self.x, &self.x, &self.noise, &STEP).expect("a step")),
            "infer" => drop(self.vae.reconstruct(&self.x).expect("a batch")),
            "features" => drop(self.vae.infer(&self.x).expect("a batch")),
            "one" => drop(self.vae.reconstruct(&self.x[..image]).expect("an image")),
            _ => panic!("unknown work {what:?}"),
        }
    }
}

fn main() {
    let mut subjects = std::collections::HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let [what, size, repeats] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("WHAT SIZE REPEATS, not {line:?}")
        };
        let (size, repeats): (usize, usize) = (size.parse().expect("a size"), repeats.parse().expect("a number"));
        let subject = subjects.entry(size).or_insert_with(|| Subject::new(size));
        let times: Vec<String> = (0..repeats)
            .map(|_| {
                let start = Instant::now();
                subject.run(what);
                format!("{:.5}", start.elapsed().as_secs_f64() * 1e3)
            })
            .collect();
        println!("{}", times.join(" "));
    }
}
