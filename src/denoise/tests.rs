use std::sync::atomic::AtomicBool;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::error::Kind;
use crate::pipeline::Pipeline;
use crate::stats::fidelity::psnr;
use crate::train::data::Sample;
use crate::train::fit::tiles_of;

const SIDE: usize = 16;
const DENOISER: &str = "[denoiser]\nkind = \"unet\"\nwidths = [8, 16]\nnorm = \"none\"\nepochs = 12\nlearning_rate = 4e-3\nbatch_size = 8\n";

fn spec(extra: &str) -> Spec {
    let text = include_str!("../../pipelines/telescope.toml").to_string() + "\n" + DENOISER + extra;
    let mut spec = Pipeline::parse("sky", Path::new("sky.toml"), text).unwrap().spec;
    spec.input.size = SIDE;
    spec.training.tiles_per_epoch = None;
    spec.training.patience = 20;
    spec
}

fn sample(spec: &Spec, index: usize, noise: bool) -> Sample {
    let mut random = ChaCha8Rng::seed_from_u64(index as u64);
    let star = (4.0 + (index * 5 % 8) as f32, 4.0 + (index * 3 % 8) as f32);
    let pixel = |at: usize| {
        let (x, y) = ((at % SIDE) as f32 - star.0, (at / SIDE) as f32 - star.1);
        200.0 + 900.0 * (-0.5 * (x * x + y * y) / 2.0).exp()
    };
    let pixels = (0..SIDE * SIDE).map(|at| {
        let z: f32 = StandardNormal.sample(&mut random);
        let sigma = if noise { (pixel(at) + 25.0).sqrt() } else { 0.0 };
        spec.input.scaling.scale(pixel(at) + sigma * z)
    });
    let prepared = Prepared {
        width: SIDE,
        height: SIDE,
        channels: 1,
        pixels: pixels.collect(),
        tiles: vec![(0, 0)],
        in_file: [SIDE; 2],
        scaling: spec.input.scaling,
    };
    let digest = blake3::hash(&[index as u8]);
    Sample { source: format!("f/{index}.fits").into(), index: 0, digest, observed_at: None, prepared }
}

/// Gain in PSNR over the frames themselves, dB, on frames that were not learnt from.
fn gain(spec: &Spec, clean: bool) -> f64 {
    let frames: Vec<Sample> = (0..72).map(|index| sample(spec, index, true)).collect();
    let twins: Vec<Sample> = (0..72).map(|index| sample(spec, index, false)).collect();
    let pairs = clean.then(|| Pairs::of(&frames, &twins, spec.input.scaling).unwrap());
    let (train, held): (Vec<usize>, Vec<usize>) = ((0..56).collect(), (56..72).collect());
    let tiles = (&tiles_of(&frames, &train)[..], &tiles_of(&frames, &held)[..]);
    let stop = AtomicBool::new(false);
    let taught = (frames.as_slice(), pairs.as_ref());
    let (denoiser, record) =
        fit(spec, taught, tiles, Device::Cpu, (&stop, &mut |_| {})).unwrap().expect("the pipeline asks for one");
    assert_eq!((record.pairs, record.passed.is_none()), (clean, clean));
    let of = |image: &dyn Fn(usize) -> Vec<f32>| -> f64 {
        held.iter().map(|&index| psnr(&image(index), &twins[index].prepared.pixels, 10.0)).sum::<f64>()
            / held.len() as f64
    };
    of(&|index| denoiser.apply(&frames[index].prepared).unwrap()) - of(&|index| frames[index].prepared.pixels.clone())
}

#[test]
fn it_takes_noise_away_whether_it_has_seen_clean_frames_or_not() {
    let (with, without) = (gain(&spec(""), true), gain(&spec(""), false));
    println!("gain {with:.2} dB from pairs, {without:.2} dB from frames alone");
    assert!(with > 3.0, "{with} dB");
    assert!(without > 3.0, "{without} dB");
}

#[test]
fn the_noise_that_is_passed_on_is_taken_off() {
    let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
    // The frame is 3 off, of which the network passes on 0.8: what a perfect one does with half the noise added.
    let (x, mut x_hat) = ([13.0], [12.4]);
    Noisier { passed: 0.8, scaling }.correct(&x, &mut x_hat);
    assert!((x_hat[0] - 10.0).abs() < 1e-4, "{}", x_hat[0]);
}

#[test]
fn a_frame_without_its_twin_is_named() {
    let spec = spec("");
    let frames = [sample(&spec, 0, true), sample(&spec, 1, true)];
    let twins = [sample(&spec, 1, false)];
    let failure = Pairs::of(&frames, &twins, spec.input.scaling).unwrap_err();
    assert_eq!(failure.kind, Kind::Data);
    assert!(failure.message.contains("f/0.fits"), "{}", failure.message);
    let small = |index| {
        let mut small = sample(&spec, index, false);
        (small.prepared.height, small.prepared.pixels) = (10, vec![0.0; SIDE * 10]);
        small
    };
    let failure = Pairs::of(&[small(0)], &[small(0)], spec.input.scaling).unwrap_err();
    assert!(failure.kind == Kind::Data && failure.message.contains("16x10 pixels"), "{}", failure.message);
    assert_eq!(Pairs::of(&frames, &twins, Scaling::PerFrame).unwrap_err().kind, Kind::Settings);
}

#[test]
fn a_denoiser_that_cannot_be_is_refused_by_its_key() {
    let refused = |from: &str, to: &str| {
        let text = include_str!("../../pipelines/telescope.toml").to_string() + "\n" + &DENOISER.replace(from, to);
        Pipeline::parse("sky", Path::new("sky.toml"), text).unwrap_err().message
    };
    assert!(refused("[8, 16]", "[8, 0]").contains("denoiser.widths"));
    assert!(refused("[8, 16]", "[8, 8, 8, 8, 8, 8, 8, 8]").contains("denoiser.widths"));
    assert!(refused("epochs = 12", "epochs = 0").contains("denoiser.epochs"));
    assert!(refused("epochs = 12", "epochs = 2\nnoise = { gaussian = 0 }").contains("denoiser.noise"));
    let digits = include_str!("../../pipelines/digits.toml").to_string() + "\n" + DENOISER;
    let asked = Pipeline::parse("d", Path::new("d.toml"), digits.clone() + "noise = { instrument = 1 }").unwrap_err();
    assert!(asked.message.contains("denoiser.noise"), "{}", asked.message);
    let spec = Pipeline::parse("d", Path::new("d.toml"), digits).unwrap().spec;
    let stop = AtomicBool::new(false);
    let asked = fit(&spec, (&[], None), (&[], &[]), Device::Cpu, (&stop, &mut |_| {}));
    assert!(asked.err().is_some_and(|failure| failure.message.contains("denoiser.noise")));
}
