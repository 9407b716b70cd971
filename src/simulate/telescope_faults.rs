//! What goes wrong with a telescope's frame, put into the expected signal before the noise.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::kind::Kind;
use super::optics::{self, Psf};
use super::random::{Purpose, log_uniform, stream};
use super::telescope::{READ_NOISE, SATURATION, SKY, Scene};
use super::truth::{Region, Truth};

/// Puts the anomaly into the expected electrons; its box holds every pixel that it changes by more than its noise.
pub fn inject(kind: Kind, scene: &Scene, expected: &mut Vec<f32>, seed: u64, index: u64) -> Option<Truth> {
    let mut rng = stream(seed, index, Purpose::Anomaly);
    let normal = expected.clone();
    let strength = match kind {
        Kind::SatelliteTrail => satellite_trail(&mut rng, scene, expected),
        Kind::CosmicRay => cosmic_ray(&mut rng, scene.size, expected),
        Kind::HotPixels => hot_pixels(&mut rng, scene.size, expected),
        Kind::HotColumn => hot_column(&mut rng, scene.size, expected),
        Kind::SaturationBleed => saturation_bleed(&mut rng, scene, expected),
        Kind::Defocus => {
            let strength = defocus(&mut rng, scene, expected);
            return Some(Truth { kind, region: Region::whole(scene.size), strength });
        }
        Kind::Supernova => supernova(&mut rng, scene, expected),
        Kind::AlphaBlob | Kind::DeadRegion | Kind::NoisyColumn | Kind::DoubleTrack => return None,
    };
    let region = Region::around(scene.size, |i| changed(normal[i], expected[i]))?;
    Some(Truth { kind, region, strength })
}

/// Whether a pixel's expected electrons differ from the normal ones by more than their noise.
pub fn changed(normal: f32, expected: f32) -> bool {
    (expected - normal).abs() > (normal + (READ_NOISE * READ_NOISE) as f32).sqrt()
}

/// Noise of a pixel of plain sky, electrons.
fn sky_noise() -> f64 {
    (SKY + READ_NOISE * READ_NOISE).sqrt()
}

/// A straight line across the frame, as wide as the seeing or a little more (satellites near perigee are out of focus).
fn satellite_trail(rng: &mut ChaCha8Rng, scene: &Scene, map: &mut [f32]) -> f64 {
    let size = scene.size as f64;
    let through = (rng.random_range(0.25..0.75) * size, rng.random_range(0.25..0.75) * size);
    let (sin, cos) = rng.random_range(0.0..std::f64::consts::PI).sin_cos();
    let sigma = Psf::Moffat { fwhm: scene.seeing * rng.random_range(1.0..1.5) }.blur_sigma();
    let peak = log_uniform(rng, 3.0, 20.0) * sky_noise();
    for (i, pixel) in map.iter_mut().enumerate() {
        let (x, y) = ((i % scene.size) as f64 - through.0, (i / scene.size) as f64 - through.1);
        let across = (y * cos - x * sin) / sigma;
        if across.abs() < 5.0 {
            *pixel += (peak * (-0.5 * across * across).exp()) as f32;
        }
    }
    peak / sky_noise()
}

/// A minimum-ionising particle: some 80 electron-hole pairs a micrometre of silicon, no seeing, hardly any diffusion.
fn cosmic_ray(rng: &mut ChaCha8Rng, size: usize, map: &mut [f32]) -> f64 {
    const STEPS_A_PIXEL: f64 = 8.0;
    let length = log_uniform(rng, 4.0, 40.0).min(size as f64 / 4.0);
    let (sin, cos) = rng.random_range(0.0..std::f64::consts::TAU).sin_cos();
    let margin = 0.3 * size as f64;
    let start = (rng.random_range(margin..size as f64 - margin), rng.random_range(margin..size as f64 - margin));
    let charge = log_uniform(rng, 400.0, 2000.0);
    let steps = (length * STEPS_A_PIXEL).ceil();
    let mut total = 0.0;
    for step in 0..steps as usize {
        let along = length * step as f64 / steps;
        let jitter = |rng: &mut ChaCha8Rng| rng.random_range(-0.35..0.35);
        let (x, y) = (start.0 + along * cos + jitter(rng), start.1 + along * sin + jitter(rng));
        let deposit = charge / STEPS_A_PIXEL * rng.random_range(0.5..1.5);
        map[y.round() as usize * size + x.round() as usize] += deposit as f32;
        total += deposit;
    }
    total
}

/// Several pixels near one another with a large dark current, as radiation damage or dust under the coating leaves them.
fn hot_pixels(rng: &mut ChaCha8Rng, size: usize, map: &mut [f32]) -> f64 {
    let count = rng.random_range(4..=12);
    let spread = rng.random_range(6..=14);
    let corner = (rng.random_range(0..size - spread), rng.random_range(0..size - spread));
    let mut total = 0.0;
    for _ in 0..count {
        let (x, y) = (corner.0 + rng.random_range(0..spread), corner.1 + rng.random_range(0..spread));
        let charge = log_uniform(rng, 200.0, 4000.0);
        map[y * size + x] += charge as f32;
        total += charge;
    }
    total
}

/// A defect that leaks into every pixel read out through it: the column from the defect to the far end.
fn hot_column(rng: &mut ChaCha8Rng, size: usize, map: &mut [f32]) -> f64 {
    let column = rng.random_range(0..size);
    let from = if rng.random_bool(0.5) { 0 } else { rng.random_range(0..size / 2) };
    let excess = log_uniform(rng, 1.5, 8.0) * sky_noise();
    for row in from..size {
        map[row * size + column] += excess as f32;
    }
    excess / sky_noise()
}

/// A star far beyond the full well; what a pixel cannot hold runs along its column, as much up as down.
fn saturation_bleed(rng: &mut ChaCha8Rng, scene: &Scene, map: &mut [f32]) -> f64 {
    let size = scene.size;
    let inside = 0.15 * size as f64..0.85 * size as f64;
    let at = (rng.random_range(inside.clone()), rng.random_range(inside));
    let flux = log_uniform(rng, 5e6, 4e7);
    optics::add_point(map, size, at, flux, &Psf::Moffat { fwhm: scene.seeing });
    let full = f32::from(SATURATION);
    for column in 0..size {
        let mut overflow = 0.0;
        for row in 0..size {
            let pixel = &mut map[row * size + column];
            overflow += (*pixel - full).max(0.0);
            *pixel = pixel.min(full);
        }
        let centre = at.1.round() as usize;
        fill(map, size, column, (0..=centre).rev(), overflow / 2.0);
        fill(map, size, column, centre + 1..size, overflow / 2.0);
    }
    map.iter().filter(|&&pixel| pixel >= full).count() as f64
}

/// Fills the column's pixels one after another with the overflow until it is used up or runs off the chip.
fn fill(map: &mut [f32], size: usize, column: usize, rows: impl Iterator<Item = usize>, mut overflow: f32) {
    for row in rows {
        if overflow <= 0.0 {
            return;
        }
        let pixel = &mut map[row * size + column];
        let room = (f32::from(SATURATION) - *pixel).min(overflow);
        *pixel += room;
        overflow -= room;
    }
}

/// The same scene through a defocused telescope: a broad core, or the pupil's image.
fn defocus(rng: &mut ChaCha8Rng, scene: &Scene, map: &mut Vec<f32>) -> f64 {
    let psf = if rng.random_bool(0.5) {
        Psf::Moffat { fwhm: scene.seeing * rng.random_range(1.7..2.6) }
    } else {
        let outer = rng.random_range(3.5..7.0);
        Psf::Donut { outer, inner: 0.4 * outer, edge: 0.25 * scene.seeing }
    };
    *map = scene.render(&psf);
    psf.fwhm() / scene.seeing
}

/// A point source within one to two half-light radii of a galaxy's core; near maximum a type Ia rivals its host.
fn supernova(rng: &mut ChaCha8Rng, scene: &Scene, map: &mut [f32]) -> f64 {
    let size = scene.size as f64;
    let inside = |at: (f64, f64), margin: f64| at.0.min(at.1) > margin && at.0.max(at.1) < size - 1.0 - margin;
    let mut hosts: Vec<_> = scene.galaxies.iter().filter(|g| inside(g.at, 2.0 * g.radius + 4.0)).collect();
    // A survey finds supernovae in the hosts it sees well: the brighter half.
    hosts.sort_by(|a, b| b.flux.total_cmp(&a.flux));
    hosts.truncate(hosts.len().div_ceil(2));
    let host = match hosts.len() {
        0 => scene.galaxies[0],
        count => *hosts[rng.random_range(0..count)],
    };
    let (dx, dy) = host.offset(rng.random_range(0.8..1.8), rng.random_range(0.0..std::f64::consts::TAU));
    let ratio = log_uniform(rng, 0.5, 2.0);
    let at = ((host.at.0 + dx).clamp(0.0, size - 1.0), (host.at.1 + dy).clamp(0.0, size - 1.0));
    optics::add_point(map, scene.size, at, ratio * host.flux, &Psf::Moffat { fwhm: scene.seeing });
    ratio
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::Instrument;

    #[test]
    fn boxes_hold_the_excess() {
        for &kind in Instrument::Telescope.kinds() {
            for index in 0..6 {
                let scene = Scene::draw(256, 9, index);
                let normal = scene.render(&Psf::Moffat { fwhm: scene.seeing });
                let mut expected = normal.clone();
                let truth = inject(kind, &scene, &mut expected, 9, index).expect("an anomaly");
                let excess = |i: usize| f64::from((expected[i] - normal[i]).abs());
                let total: f64 = (0..normal.len()).map(excess).sum();
                let inside: f64 =
                    (0..normal.len()).filter(|i| truth.region.contains(i % 256, i / 256)).map(excess).sum();
                assert!(total > 0.0 && inside > 0.9 * total, "{kind:?} {index}: {inside} of {total}");
            }
        }
    }
}
