//! What goes wrong with a detector's frame, or flies into it, put into the counts before the threshold.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};

use super::detector::THRESHOLD;
use super::electron::deposit;
use super::kind::Kind;
use super::random::{Purpose, log_uniform, stream};
use super::truth::{Region, Truth};

/// Puts the anomaly into the counts; its box holds every pixel that it makes fire, or that is dead.
pub fn inject(kind: Kind, size: usize, counts: &mut [f32], seed: u64, index: u64) -> Option<Truth> {
    let mut rng = stream(seed, index, Purpose::Anomaly);
    let normal = counts.to_vec();
    let strength = match kind {
        Kind::AlphaBlob => alpha_blob(&mut rng, size, counts),
        Kind::NoisyColumn => noisy_column(&mut rng, size, counts),
        Kind::DoubleTrack => double_track(&mut rng, size, counts),
        Kind::DeadRegion => {
            let region = dead_region(&mut rng, size, counts);
            let strength = (region.width * region.height) as f64 / (size * size) as f64;
            return Some(Truth { kind, region, strength });
        }
        _ => return None,
    };
    let region = Region::around(size, |i| fires(normal[i], counts[i]))?;
    Some(Truth { kind, region, strength })
}

/// The pixels of an anomaly: those that it makes fire, or that are dead.
pub fn mask(normal: &[f32], counts: &[f32], size: usize, truth: Option<&Truth>) -> Vec<bool> {
    let dead = truth.filter(|truth| truth.kind == Kind::DeadRegion).map(|truth| truth.region);
    let inside = |at: usize| dead.is_some_and(|region| region.contains(at % size, at / size));
    (0..counts.len()).map(|at| inside(at) || fires(normal[at], counts[at])).collect()
}

fn fires(normal: f32, counts: f32) -> bool {
    counts != normal && counts >= THRESHOLD
}

/// An alpha particle of a few MeV: the plasma of its short track spreads into a round Gaussian cloud.
///
/// Widths and peaks as measured on alphas in real frames: peak 240 to 610 counts, 22 to 72 px.
fn alpha_blob(rng: &mut ChaCha8Rng, size: usize, counts: &mut [f32]) -> f64 {
    let margin = 6.0;
    let (x, y) = (rng.random_range(margin..size as f64 - margin), rng.random_range(margin..size as f64 - margin));
    let sigma = rng.random_range(1.1..1.45);
    let peak = log_uniform(rng, 260.0, 600.0);
    let mut total = 0.0;
    super::optics::for_box(size, (x, y), 5.0 * sigma, |column, row| {
        let r2 = (column as f64 - x).powi(2) + (row as f64 - y).powi(2);
        let value = peak * (-0.5 * r2 / (sigma * sigma)).exp();
        counts[row * size + column] += value as f32;
        total += value;
    });
    total
}

/// A part of the matrix that reads nothing: a quadrant, a readout block of full height, or a rectangle.
///
/// Never smaller than a fifth of the frame: at the source's rate, smaller holes occur by chance.
fn dead_region(rng: &mut ChaCha8Rng, size: usize, counts: &mut [f32]) -> Region {
    let region = match rng.random_range(0..4) {
        0 | 1 => {
            let half = size / 2;
            Region { x: half * rng.random_range(0..2), y: half * rng.random_range(0..2), width: half, height: half }
        }
        2 => Region { x: size / 4 * rng.random_range(0..4), y: 0, width: size / 4, height: size },
        _ => {
            let width = (size as f64 * rng.random_range(0.42..0.6)) as usize;
            let height = (size as f64 * rng.random_range(0.5..0.65)) as usize;
            Region { x: rng.random_range(0..=size - width), y: rng.random_range(0..=size - height), width, height }
        }
    };
    for row in region.y..region.y + region.height {
        counts[row * size + region.x..][..region.width].fill(0.0);
    }
    region
}

/// A column whose comparator fires on noise: short times over threshold in most of its rows.
fn noisy_column(rng: &mut ChaCha8Rng, size: usize, counts: &mut [f32]) -> f64 {
    let column = rng.random_range(0..size);
    let share = rng.random_range(0.6..0.95);
    let mean = log_uniform(rng, 6.0, 40.0);
    let mut fired = 0;
    for row in 0..size {
        if rng.random_bool(share) {
            let value: f64 = Exp1.sample(rng);
            counts[row * size + column] += THRESHOLD + (mean * value) as f32;
            fired += 1;
        }
    }
    fired as f64 / size as f64
}

/// Two energetic particles from one vertex in the sensor's plane: long, hardly scattered arms that ionise more than an electron.
fn double_track(rng: &mut ChaCha8Rng, size: usize, counts: &mut [f32]) -> f64 {
    let margin = 0.35 * size as f64;
    let vertex = (rng.random_range(margin..size as f64 - margin), rng.random_range(margin..size as f64 - margin));
    let first: f64 = rng.random_range(0.0..std::f64::consts::TAU);
    let opening = rng.random_range(0.4..2.1);
    let length = |rng: &mut ChaCha8Rng| rng.random_range(0.12..0.28) * size as f64;
    let arms = [(first, length(rng)), (first + opening, length(rng))];
    for (angle, length) in arms {
        arm(rng, size, counts, vertex, angle, length);
    }
    arms[0].1 + arms[1].1
}

/// One arm: a nearly straight line of 35 to 70 keV a pixel, twice to three times a fast electron's.
fn arm(rng: &mut ChaCha8Rng, size: usize, counts: &mut [f32], vertex: (f64, f64), angle: f64, length: f64) {
    const STEP: f64 = 0.25;
    let loss = rng.random_range(35.0..70.0);
    let (mut x, mut y, mut angle) = (vertex.0, vertex.1, angle);
    for _ in 0..(length / STEP) as usize {
        let (kick, straggle): (f64, f64) = (StandardNormal.sample(rng), Exp1.sample(rng));
        deposit(rng, counts, size, [x, y, 2.5], STEP * loss * (0.6 + 0.4 * straggle));
        angle += 0.01 * kick;
        x += STEP * angle.cos();
        y += STEP * angle.sin();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::{Instrument, detector};

    #[test]
    fn boxes_hold_the_change() {
        for &kind in Instrument::Detector.kinds() {
            for index in 0..6 {
                let normal = detector::scene(256, 4, index);
                let mut counts = normal.clone();
                let truth = inject(kind, 256, &mut counts, 4, index).expect("an anomaly");
                let change = |i: usize| f64::from((counts[i] - normal[i]).abs());
                let total: f64 = (0..counts.len()).map(change).sum();
                let inside: f64 =
                    (0..counts.len()).filter(|i| truth.region.contains(i % 256, i / 256)).map(change).sum();
                assert!(total > 0.0 && inside > 0.98 * total, "{kind:?} {index}: {inside} of {total}");
            }
        }
    }

    #[test]
    fn an_alpha_is_what_the_real_rule_calls_one() {
        for index in 0..10 {
            let mut counts = vec![0.0; 256 * 256];
            let truth = inject(Kind::AlphaBlob, 256, &mut counts, 4, index).expect("an anomaly");
            let fired = counts.iter().filter(|&&c| c >= THRESHOLD).count();
            let radius = truth.region.width.max(truth.region.height) as f64 / 2.0;
            let fill = fired as f64 / (std::f64::consts::PI * radius * radius);
            assert!(fired >= 20 && fill > 0.6, "{fired} px, fill {fill}");
        }
    }
}
