//! Many runs of the watch over simulated instruments: how often it is raised for nothing, and how soon for something.

use chrono::{DateTime, Utc};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Monitor, RawStatistics, Setup};
use crate::image::{Depth, Frame};
use crate::simulate::{Instrument, frame};

const DELTA: f64 = 0.05;

/// A normal number, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

fn start(rng: &mut ChaCha8Rng, calibration: usize) -> (Setup, Monitor) {
    let calibration = (0..calibration).map(|_| normal(rng)).collect();
    let setup = Setup { calibration, delta: DELTA, seed: rng.random() };
    let monitor = Monitor::new(&setup, 0);
    (setup, monitor)
}

/// 200 runs of 10,000 frames of which nothing has changed. Scores and raw statistics hang together, as those of real frames do.
#[test]
fn without_a_change_it_is_raised_as_rarely_as_it_promises() {
    let raised = |run: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(run);
        let (setup, mut monitor) = start(&mut rng, 300);
        (0..10_000).any(|_| {
            let score = normal(&mut rng);
            let raw = RawStatistics {
                background: 200.0 + 4.0 * score + normal(&mut rng),
                noise: (15.0 + 0.2 * normal(&mut rng)).round(),
                hot_pixels: (100.0 * rng.random::<f64>().powi(3)).round(),
            };
            monitor.see(&setup, score, &raw, DateTime::<Utc>::UNIX_EPOCH).is_some()
        })
    };
    let runs = 200;
    let alarms = (0..runs).into_par_iter().filter(|&run| raised(run)).count() as f64;
    let (rate, error) = (alarms / runs as f64, (DELTA * (1.0 - DELTA) / runs as f64).sqrt());
    println!("{alarms} of {runs} runs of 10,000 frames without a change were raised: {rate:.3}, promised {DELTA}");
    assert!(rate <= DELTA + 3.0 * error, "{rate}");
}

/// Raw statistics of simulated frames of a telescope through a gain, in units of the readout.
fn frames(gain: f32, indices: std::ops::Range<u64>) -> Vec<RawStatistics> {
    const SIDE: usize = 96;
    let of = |index| {
        let pixels = frame(Instrument::Telescope, SIDE, 17, index, None).pixels;
        let pixels = pixels.into_iter().map(|value| (f32::from(value) * gain).round()).collect();
        let (index, depth) = (0, Depth::Unsigned(16));
        RawStatistics::of(&Frame {
            index,
            width: SIDE,
            height: SIDE,
            channels: 1,
            pixels,
            depth,
            observed_at: None,
            exposure_s: None,
        })
    };
    indices.into_par_iter().map(of).collect()
}

/// A run: how many frames after the change it was raised. Raised before, it has nothing to say of the change.
enum Run {
    RaisedBefore,
    Noticed(usize),
    Missed,
}

/// The gain rises by 5 % after 500 frames; the scores say nothing of it, the raw statistics must.
#[test]
fn a_gain_that_rises_by_five_per_cent_is_noticed() {
    let (before, after) = (frames(1.0, 0..500), frames(1.05, 500..900));
    let run = |run: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + run);
        let (setup, mut monitor) = start(&mut rng, 300);
        let (mut before, mut after) = (before.clone(), after.clone());
        before.shuffle(&mut rng);
        after.shuffle(&mut rng);
        let mut see =
            |raw: &RawStatistics| monitor.see(&setup, normal(&mut rng), raw, DateTime::<Utc>::UNIX_EPOCH).is_some();
        if before.iter().any(&mut see) {
            return Run::RaisedBefore;
        }
        after.iter().position(see).map_or(Run::Missed, |at| Run::Noticed(at + 1))
    };
    let runs: Vec<Run> = (0..50).into_par_iter().map(run).collect();
    let early = runs.iter().filter(|run| matches!(run, Run::RaisedBefore)).count();
    let missed = runs.iter().filter(|run| matches!(run, Run::Missed)).count();
    let mut delays: Vec<usize> =
        runs.iter().filter_map(|run| if let Run::Noticed(delay) = run { Some(*delay) } else { None }).collect();
    delays.sort_unstable();
    let median = delays[delays.len() / 2];
    println!(
        "a gain 5 % higher: noticed in {} of 50 runs after {median} frames (median; {} to {}), missed in {missed}, raised \
         before it in {early}",
        delays.len(),
        delays[0],
        delays[delays.len() - 1]
    );
    assert_eq!(missed, 0);
    assert!(early <= 7, "three standard deviations above the promise of 2.5");
    assert!(median <= 50, "{delays:?}");
}
