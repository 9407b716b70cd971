//! A Timepix-like hybrid pixel detector in front of a beta source: counts of time over threshold, zero where nothing hit.

use rand::Rng;
use rand_distr::{Distribution, Exp1, Poisson, StandardNormal};

use super::electron::{Electron, deposit};
use super::kind::Kind;
use super::random::{Purpose, stream};
use super::{Simulated, detector_faults as faults};
use crate::error::{Failure, Kind as Fault, Result};

/// Counts below which a pixel does not fire.
pub const THRESHOLD: f32 = 8.0;
/// Beta electrons a frame of 256 x 256, as a Sr-90 source at contact gives them.
const ELECTRONS: f64 = 74.0;
/// Gamma photons converted a frame of 256 x 256.
const PHOTONS: f64 = 3.0;
/// Spread of the source's rate from frame to frame, beside Poisson's.
const RATE_SPREAD: f64 = 0.05;
/// Pixels of the frame that the rates are given for.
const REFERENCE_AREA: f64 = 256.0 * 256.0;
/// Relative spread of the time over threshold of one charge.
const RESOLUTION: f64 = 0.04;

/// Makes frame `index`.
pub fn frame(size: usize, seed: u64, index: u64, kind: Option<Kind>) -> Simulated {
    let mut charge = scene(size, seed, index);
    let normal = charge.clone();
    let truth = kind.and_then(|kind| faults::inject(kind, size, &mut charge, seed, index));
    let mask = faults::mask(&normal, &charge, size, truth.as_ref());
    let mut rng = stream(seed, index, Purpose::Noise);
    let pixels = read_out(&mut rng, &charge);
    let clean = charge.iter().map(|&counts| if counts < THRESHOLD { 0 } else { held(f64::from(counts)) }).collect();
    Simulated { size, pixels, truth, clean, mask }
}

/// The bytes of the frame's PNG file: 16-bit grey.
///
/// # Errors
/// When the encoder refuses, which it has no reason to.
pub fn encode(frame: &Simulated) -> Result<Vec<u8>> {
    let refused = |error: png::EncodingError| Failure::new(Fault::Internal, format!("PNG encoder: {error}"));
    let side = frame.size as u32;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Sixteen);
    let mut writer = encoder.write_header().map_err(refused)?;
    let data: Vec<u8> = frame.pixels.iter().flat_map(|pixel| pixel.to_be_bytes()).collect();
    writer.write_image_data(&data).map_err(refused)?;
    writer.finish().map_err(refused)?;
    Ok(bytes)
}

/// Counts `[size, size]` that the particles of frame `index` leave, before the threshold.
pub fn scene(size: usize, seed: u64, index: u64) -> Vec<f32> {
    let mut rng = stream(seed, index, Purpose::Scene);
    let area = (size * size) as f64 / REFERENCE_AREA;
    let wobble: f64 = StandardNormal.sample(&mut rng);
    let rate = area * (1.0 + RATE_SPREAD * wobble.clamp(-3.0, 3.0));
    let mut map = vec![0.0; size * size];
    for _ in 0..number(&mut rng, ELECTRONS * rate) {
        let (x, y) = place(&mut rng, size);
        Electron::from_source(&mut rng, x, y).walk(&mut rng, &mut map, size);
    }
    for _ in 0..number(&mut rng, PHOTONS * rate) {
        let (x, y) = place(&mut rng, size);
        let depth = rng.random_range(0.0..5.0);
        let energy: f64 = Exp1.sample(&mut rng);
        deposit(&mut rng, &mut map, size, [x, y, depth], 6.0 + 25.0 * energy);
    }
    map
}

/// Time over threshold, with its resolution; what stays under the threshold reads zero.
fn read_out(rng: &mut impl Rng, charge: &[f32]) -> Vec<u16> {
    charge
        .iter()
        .map(|&counts| {
            if counts < THRESHOLD {
                return 0;
            }
            let noise: f64 = StandardNormal.sample(rng);
            let value = f64::from(counts) * (1.0 + RESOLUTION * noise) + noise;
            held(value)
        })
        .collect()
}

/// The counter's value: Timepix counts to 11,810, then holds.
fn held(value: f64) -> u16 {
    value.round().clamp(1.0, 11_810.0) as u16
}

fn number(rng: &mut impl Rng, mean: f64) -> usize {
    Poisson::new(mean).map_or(0, |law| law.sample(rng) as usize)
}

fn place(rng: &mut impl Rng, size: usize) -> (f64, f64) {
    (rng.random_range(0.0..size as f64), rng.random_range(0.0..size as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activity_is_that_of_the_real_source() {
        // Real Sr-90 frames at contact: 341 to 582 pixels hit (5 to 95 %), median 452; value median 32.
        let frames: Vec<_> = (0..60).map(|index| frame(256, 1, index, None)).collect();
        let mut hits: Vec<usize> = frames.iter().map(|f| f.pixels.iter().filter(|&&p| p > 0).count()).collect();
        hits.sort_unstable();
        assert!((400..500).contains(&hits[30]), "median of pixels hit {}", hits[30]);
        let mut values: Vec<u16> = frames.iter().flat_map(|f| f.pixels.iter().copied().filter(|&p| p > 0)).collect();
        values.sort_unstable();
        assert!((24..36).contains(&values[values.len() / 2]), "median value {}", values[values.len() / 2]);
    }
}
