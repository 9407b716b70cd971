//! What each transformation must keep, and that seeds reproduce.

use super::light::{Instrument, add_noise, brighten, hide};
use super::motion::{turned, warp};
use super::*;
use crate::pipeline::{ExtraNoise, Mask, Pipeline, Scaling};

const UNIT: Scaling = Scaling::Linear { black: 0.0, white: 1.0 };
const ASINH: Scaling = Scaling::Asinh { black: 200.0, scale: 15.0 };

/// A frame of its own pixel numbers, in 1024ths, in tiles of `size`.
fn numbered(width: usize, height: usize, size: usize) -> Prepared {
    let pixels = (0..width * height).map(|at| at as f32 / 1024.0).collect();
    let tiles = (0..height / size).flat_map(|y| (0..width / size).map(move |x| (x * size, y * size))).collect();
    Prepared { width, height, channels: 1, pixels, tiles, in_file: [width, height], scaling: UNIT }
}

fn random() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(1)
}

/// The tile at `corner` after a motion.
fn moved(frame: &Prepared, (x, y): (usize, usize), size: usize, motion: Motion) -> Vec<f32> {
    let mut out = vec![f32::NAN; size * size];
    warp(frame, (x, y, size, size), &motion, None, &mut random(), &mut out);
    out
}

fn telescope() -> Spec {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    Pipeline::load("telescope", &folder).unwrap().spec
}

#[test]
fn whole_pixels_move_exactly_and_the_neighbours_move_in() {
    let frame = numbered(12, 12, 4);
    let tile = moved(&frame, (4, 4), 4, Motion::NONE.shifted(2.0, -3.0));
    let expected: Vec<f32> = (0..16).map(|at| frame.pixels[(4 + at / 4 + 3) * 12 + 4 + at % 4 - 2]).collect();
    assert_eq!(tile, expected);
}

#[test]
fn outside_of_the_frame_is_its_mirror_image() {
    let frame = numbered(4, 4, 4);
    let tile = moved(&frame, (0, 0), 4, Motion::NONE.shifted(2.0, 0.0));
    assert_eq!(tile[..4], [2.0, 1.0, 0.0, 1.0].map(|number| number / 1024.0));
}

#[test]
fn between_pixels_is_the_mean_weighted_by_nearness_in_physical_units() {
    let mut frame = Prepared { scaling: ASINH, ..numbered(4, 4, 4) };
    frame.pixels = (0..16).map(|at| ASINH.scale(200.0 + 100.0 * (at % 4) as f32)).collect();
    let tile = moved(&frame, (0, 0), 4, Motion::NONE.shifted(-0.25, 0.5));
    for (at, value) in tile.iter().enumerate().filter(|(at, _)| at % 4 < 3) {
        let expected = 200.0 + 100.0 * ((at % 4) as f32 + 0.25);
        assert!((ASINH.unscale(*value) - expected).abs() < 0.01, "{at}: {}", ASINH.unscale(*value));
    }
}

#[test]
fn four_quarter_turns_are_none_and_keep_every_pixel() {
    let frame = numbered(12, 8, 4);
    let tile = moved(&frame, (4, 4), 4, Motion::NONE);
    assert_eq!(moved(&frame, (4, 4), 4, Motion::NONE.turned(4)), tile);
    let mut round = numbered(4, 4, 4);
    round.pixels = tile.clone();
    for quarter in 1..=4 {
        round.pixels = moved(&round, (0, 0), 4, Motion::NONE.turned(1));
        assert_eq!(round.pixels == tile, quarter == 4);
        assert_eq!(round.pixels.iter().sum::<f32>(), tile.iter().sum::<f32>());
    }
    // The right edge goes to the bottom.
    assert_eq!(moved(&frame, (4, 4), 4, Motion::NONE.turned(1))[12..], [tile[15], tile[11], tile[7], tile[3]]);
}

#[test]
fn a_turned_frame_is_made_of_turned_tiles() {
    let frame = numbered(12, 8, 4);
    for quarters in 0..4 {
        let whole = turned(&frame, quarters, 4);
        for (&corner, &now) in frame.tiles.iter().zip(&whole.tiles) {
            let mut tile = vec![0.0; 16];
            whole.copy_tile(now, 4, &mut tile);
            assert_eq!(tile, moved(&frame, corner, 4, Motion::NONE.turned(quarters)));
        }
    }
    assert_eq!(turned(&frame, 4, 4).pixels, frame.pixels);
}

#[test]
fn mirrors_exchange_sides_and_keep_the_sum() {
    let spec = telescope();
    let frame = Prepared { scaling: spec.input.scaling, ..numbered(64, 64, 64) };
    let mirror = |augment: Augment| {
        let augmenter = Augmenter::of(&augment, &spec).unwrap();
        let mut tile = vec![0.0; 64 * 64];
        let mut of = |number| {
            augmenter.tile(&frame, (0, 0), number, &mut tile);
            tile.clone()
        };
        (0..20).map(&mut of).find(|tile| *tile != frame.pixels).unwrap()
    };
    let x = mirror(Augment { flip_x: true, ..Augment::default() });
    let y = mirror(Augment { flip_y: true, ..Augment::default() });
    assert!((0..64 * 64).all(|at| x[at] == frame.pixels[at / 64 * 64 + 63 - at % 64]));
    assert!((0..64 * 64).all(|at| y[at] == frame.pixels[(63 - at / 64) * 64 + at % 64]));
}

#[test]
fn a_turn_and_its_opposite_meet_at_the_start() {
    let (forth, back) = (Motion::NONE.rotated(30.0), Motion::NONE.rotated(30.0).rotated(-30.0).shifted(1.0, 2.0));
    // A ramp: bilinear interpolation of it is exact.
    let frame = numbered(32, 32, 8);
    let tile = moved(&frame, (12, 12), 8, back);
    for (at, value) in tile.iter().enumerate() {
        let expected = frame.pixels[(12 + at / 8 - 2) * 32 + 12 + at % 8 - 1];
        assert!((value - expected).abs() < 1e-5, "{value} {expected}");
    }
    // Clockwise on the screen: the right edge's middle comes from above.
    let turned = moved(&frame, (12, 12), 8, forth);
    assert!(turned[3 * 8 + 7] < moved(&frame, (12, 12), 8, Motion::NONE)[3 * 8 + 7] - 32.0 / 1024.0);
}

#[test]
fn magnification_keeps_the_centre_and_surface_brightness() {
    let frame = numbered(32, 32, 8);
    let plain = moved(&frame, (12, 12), 8, Motion::NONE);
    let large = moved(&frame, (12, 12), 8, Motion::NONE.magnified(2.0));
    let mean = |tile: &[f32]| tile.iter().sum::<f32>() / 64.0;
    assert!((mean(&plain) - mean(&large)).abs() < 1e-5);
    assert!((large[7] - large[0] - 0.5 * (plain[7] - plain[0])).abs() < 1e-5);
}

fn moments(values: impl Iterator<Item = f32> + Clone) -> (f64, f64) {
    let n = values.clone().count() as f64;
    let mean = values.clone().map(f64::from).sum::<f64>() / n;
    (mean, values.map(|value| (f64::from(value) - mean).powi(2)).sum::<f64>() / n)
}

#[test]
fn noise_has_the_variance_of_the_model() {
    let instrument = Instrument { gain: 2.0, read_noise: 5.0, offset: 100.0 };
    // Signal 0 (reading alone), few photons, many.
    for (value, variance) in [(90.0, 25.0), (110.0, 2.0 * 10.0 + 25.0), (400.0, 2.0 * 300.0 + 25.0)] {
        let scaling = Scaling::Linear { black: 0.0, white: 1000.0 };
        for share in [1.0f32, 0.5] {
            let mut tile = vec![scaling.scale(value); 40_000];
            let noise = (ExtraNoise::Instrument(share), Some(&instrument));
            add_noise(&mut tile, scaling, noise, &mut random());
            let (mean, found) = moments(tile.iter().map(|&u| scaling.unscale(u)));
            let expected = variance * f64::from(share * share);
            // Four standard errors of 40,000 values.
            assert!((mean - f64::from(value)).abs() < 4.0 * (expected / 40_000.0).sqrt(), "{mean}");
            assert!((found / expected - 1.0).abs() < 4.0 * (2.0 / 40_000f64).sqrt() * 1.2, "{found} {expected}");
        }
    }
    let mut tile = vec![ASINH.scale(230.0); 40_000];
    add_noise(&mut tile, ASINH, (ExtraNoise::Gaussian(7.0), None), &mut random());
    let (_, found) = moments(tile.iter().map(|&u| ASINH.unscale(u)));
    assert!((found / 49.0 - 1.0).abs() < 0.03, "{found}");
}

#[test]
fn a_shift_between_pixels_keeps_the_noise() {
    let spec = telescope();
    let scaling = spec.input.scaling;
    let mut frame = Prepared { scaling, ..numbered(256, 256, 64) };
    frame.pixels.fill(scaling.scale(200.0));
    let instrument = Instrument::of(spec.model.likelihood).unwrap();
    add_noise(&mut frame.pixels, scaling, (ExtraNoise::Instrument(1.0), Some(&instrument)), &mut random());
    let variance = |noise: Option<&Instrument>| {
        let mut out = vec![0.0; 256 * 256];
        warp(&frame, (0, 0, 256, 256), &Motion::NONE.shifted(0.5, 0.5), noise, &mut random(), &mut out);
        moments(out.iter().map(|&u| scaling.unscale(u))).1
    };
    // Sky 200 electrons, read noise 5: 225. Halfway between four pixels, a quarter of it.
    assert!((variance(None) / 56.25 - 1.0).abs() < 0.05, "{}", variance(None));
    assert!((variance(Some(&instrument)) / 225.0 - 1.0).abs() < 0.05, "{}", variance(Some(&instrument)));
}

#[test]
fn brightness_multiplies_what_lies_above_zero() {
    let mut tile: Vec<f32> = [150.0, 200.0, 500.0, 9000.0].map(|value| ASINH.scale(value)).to_vec();
    brighten(&mut tile, ASINH, 100.0, 1.1);
    for (value, expected) in tile.iter().zip([155.0, 210.0, 540.0, 9890.0]) {
        assert!((ASINH.unscale(*value) / expected - 1.0).abs() < 1e-4, "{} {expected}", ASINH.unscale(*value));
    }
}

#[test]
fn rectangles_show_the_background_and_nothing_else_changes() {
    let mut tile: Vec<f32> = (0..400).map(|at| if at % 3 == 0 { 7.0 } else { 1.0 }).collect();
    let before = tile.clone();
    hide(&mut tile, (20, 20), 2, 6, &mut random());
    let changed: Vec<usize> = (0..400).filter(|&at| tile[at] != before[at]).collect();
    assert!(!changed.is_empty() && changed.len() <= 2 * 36);
    assert!(changed.iter().all(|&at| tile[at] == 1.0));
}

#[test]
fn seeds_reproduce_and_numbers_differ() {
    let mut spec = telescope();
    let augment = Augment {
        translate: 3.0,
        flip_x: true,
        flip_y: true,
        rotate90: true,
        rotate: 20.0,
        scale: 0.1,
        gain: 0.1,
        noise: Some(ExtraNoise::Instrument(0.5)),
        mask: Some(Mask { count: 2, side: 9 }),
    };
    assert!(Augmenter::of(&Augment::default(), &spec).is_none());
    assert_eq!(augment.declared().len(), 9);
    let frame = Prepared { scaling: spec.input.scaling, ..numbered(128, 128, 64) };
    let frame = Prepared { pixels: frame.pixels.iter().map(|value| value / 16.0).collect(), ..frame };
    let draw = |spec: &Spec, number: u64| {
        let mut tile = vec![0.0; 64 * 64];
        Augmenter::of(&augment, spec).unwrap().tile(&frame, (64, 0), number, &mut tile);
        tile
    };
    assert_eq!(draw(&spec, 5), draw(&spec, 5));
    assert_ne!(draw(&spec, 5), draw(&spec, 6));
    let before = draw(&spec, 5);
    spec.training.seed += 1;
    assert_ne!(draw(&spec, 5), before);
    assert!(before.iter().all(|value| value.is_finite()));
}

#[test]
fn clipped_pipelines_stay_within_their_range() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let spec = Pipeline::load("digits", &folder).unwrap().spec;
    let frame = Prepared { scaling: spec.input.scaling, ..numbered(28, 28, 28) };
    let frame = Prepared { pixels: frame.pixels.iter().map(|value| value * 1024.0 / 783.0).collect(), ..frame };
    let augment = Augment { gain: 0.5, noise: Some(ExtraNoise::Gaussian(90.0)), ..Augment::default() };
    let mut tile = vec![0.0; 784];
    Augmenter::of(&augment, &spec).unwrap().tile(&frame, (0, 0), 0, &mut tile);
    assert!(tile.iter().all(|value| (0.0..=1.0).contains(value)) && tile.contains(&0.0) && tile.contains(&1.0));
}
