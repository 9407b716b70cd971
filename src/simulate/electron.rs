//! Electrons in a silicon sensor: energy loss, multiple scattering and charge diffusion.

use rand::Rng;
use rand_distr::{Distribution, Exp1, StandardNormal};

/// Pixel pitch, micrometres.
const PITCH: f64 = 55.0;
/// Sensor thickness, px (300 micrometres).
const THICKNESS: f64 = 300.0 / PITCH;
/// Step of the walk, px.
const STEP: f64 = 0.25;
/// Radiation length of silicon, px (93.7 mm).
const RADIATION_LENGTH: f64 = 93_700.0 / PITCH;
/// Electron rest energy, keV.
const REST: f64 = 511.0;
/// Counts of time over threshold a keV.
const COUNTS_A_KEV: f64 = 1.2;
/// Diffusion of charge from the far side to the pixels, px RMS.
const DIFFUSION: f64 = 0.16;

/// An electron on its way.
#[derive(Debug, Clone, Copy)]
pub struct Electron {
    /// Position, px; z is the depth in the sensor.
    pub at: [f64; 3],
    /// Direction, a unit vector.
    pub direction: [f64; 3],
    /// Kinetic energy, keV.
    pub energy: f64,
}

impl Electron {
    /// An electron of a Sr-90/Y-90 source that enters the sensor at (x, y) px.
    pub fn from_source(rng: &mut impl Rng, x: f64, y: f64) -> Self {
        let endpoint = if rng.random_bool(0.45) { 546.0 } else { 2280.0 };
        let energy = beta_energy(rng, endpoint);
        // Isotropic flux would have the exponent 1/2; a source at contact is somewhat more of a beam.
        let cosine = rng.random::<f64>().powf(0.3).max(0.02);
        let azimuth: f64 = rng.random_range(0.0..std::f64::consts::TAU);
        let sine = (1.0 - cosine * cosine).sqrt();
        Self { at: [x, y, 0.0], direction: [sine * azimuth.cos(), sine * azimuth.sin(), cosine], energy }
    }

    /// Walks until it stops or leaves the sensor, leaving counts in the `[size, size]` map.
    pub fn walk(mut self, rng: &mut impl Rng, map: &mut [f32], size: usize) {
        while (0.0..=THICKNESS).contains(&self.at[2]) {
            let loss = (stopping_power(self.energy) * STEP * PITCH * straggling(rng)).min(self.energy);
            deposit(rng, map, size, self.at, loss);
            self.energy -= loss;
            if self.energy < 2.0 {
                deposit(rng, map, size, self.at, self.energy);
                return;
            }
            self.scatter(rng);
            for (at, direction) in self.at.iter_mut().zip(self.direction) {
                *at += STEP * direction;
            }
        }
    }

    /// Multiple Coulomb scattering in one step (Highland's formula, Review of Particle Physics, "Passage of particles").
    fn scatter(&mut self, rng: &mut impl Rng) {
        let momentum = (self.energy * (self.energy + 2.0 * REST)).sqrt();
        let beta = momentum / (self.energy + REST);
        let lengths = STEP / RADIATION_LENGTH;
        let theta = 13_600.0 / (beta * momentum) * lengths.sqrt() * (1.0 + 0.038 * lengths.ln());
        for component in &mut self.direction {
            let kick: f64 = StandardNormal.sample(rng);
            *component += theta * kick;
        }
        let norm = self.direction.iter().map(|c| c * c).sum::<f64>().sqrt().max(1e-9);
        self.direction.iter_mut().for_each(|c| *c /= norm);
    }
}

/// Leaves the counts of `energy` keV at a point, spread by diffusion over the way to the pixels.
pub fn deposit(rng: &mut impl Rng, map: &mut [f32], size: usize, at: [f64; 3], energy: f64) {
    const CLOUDS: usize = 3;
    let sigma = DIFFUSION * ((THICKNESS - at[2]).max(0.0) / THICKNESS).sqrt();
    for _ in 0..CLOUDS {
        let mut spread = |at: f64| at + sigma * Distribution::<f64>::sample(&StandardNormal, rng);
        let (x, y) = (spread(at[0]).round(), spread(at[1]).round());
        if x >= 0.0 && y >= 0.0 && x < size as f64 && y < size as f64 {
            map[y as usize * size + x as usize] += (COUNTS_A_KEV * energy / CLOUDS as f64) as f32;
        }
    }
}

/// Mean energy loss in silicon, keV a micrometre: within a tenth of NIST's ESTAR from 20 keV to 2 MeV.
fn stopping_power(energy: f64) -> f64 {
    let gamma = 1.0 + energy / REST;
    let beta_squared = (1.0 - 1.0 / (gamma * gamma)).max(1e-3);
    0.36 * beta_squared.powf(-0.65)
}

/// A factor of mean one: the spread of losses in a thin layer, with the rare knock-on electron.
fn straggling(rng: &mut impl Rng) -> f64 {
    let mut exponential = || -> f64 { Exp1.sample(rng) };
    let common = 0.2275 * (exponential() + exponential() + exponential() + exponential());
    let hard = 15.0 * exponential();
    common + if rng.random_bool(0.006) { hard } else { 0.0 }
}

/// Energy of a beta electron, keV: the allowed spectrum p W (Q - E)^2 without the Fermi function, by rejection.
fn beta_energy(rng: &mut impl Rng, endpoint: f64) -> f64 {
    let density = |e: f64| (e * (e + 2.0 * REST)).sqrt() * (e + REST) * (endpoint - e).powi(2);
    let bound = 1.02 * (0..=64).map(|i| density(endpoint * f64::from(i) / 64.0)).fold(0.0, f64::max);
    loop {
        let energy = rng.random_range(0.0..endpoint);
        // Air and the source's window stop the slowest.
        if energy > 60.0 && rng.random_range(0.0..bound) < density(energy) {
            return energy;
        }
    }
}
