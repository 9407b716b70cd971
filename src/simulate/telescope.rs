//! A CCD behind a telescope: sky, stars, galaxies, seeing, shot noise and read noise. Values are electrons (gain 1).

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::kind::Kind;
use super::optics::{self, Psf};
use super::random::{Purpose, log_uniform, stream};
use super::{Simulated, fits, noise, telescope_faults as faults};

/// Mean sky, electrons a pixel.
pub const SKY: f64 = 200.0;
/// Read noise, electrons RMS.
pub const READ_NOISE: f64 = 5.0;
/// Electrons at which a pixel is full.
pub const SATURATION: u16 = 60_000;
/// The header's account of a frame.
const EXPOSURE: fits::Exposure =
    fits::Exposure { exposure_s: 30.0, gain: 1.0, read_noise: READ_NOISE, saturation: SATURATION };
/// Faintest and brightest star of a normal frame, electrons; the brightest fills its peak pixel to two fifths.
const STAR_FLUX: (f64, f64) = (500.0, 250_000.0);
/// Slope of the cumulative star counts, N(>F) ~ F^-slope; 1.5 for a uniform Euclidean space, less in the Galactic disc.
const STAR_SLOPE: f64 = 0.8;
/// Pixels of the frame that the source counts are given for.
const REFERENCE_AREA: f64 = 512.0 * 512.0;
/// Seeing of a normal frame, FWHM in px.
const SEEING: (f64, f64) = (2.5, 3.2);

/// What lies in front of the telescope in one exposure.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Pixels a side.
    pub size: usize,
    /// Seeing, FWHM in px.
    pub seeing: f64,
    /// Sky: level, slope in x and in y, curvature; electrons, over coordinates from -1 to 1.
    pub sky: [f64; 4],
    /// Point sources.
    pub stars: Vec<Star>,
    /// Extended sources.
    pub galaxies: Vec<Galaxy>,
}

/// A point source.
#[derive(Debug, Clone, Copy)]
pub struct Star {
    /// Centre, px.
    pub at: (f64, f64),
    /// Electrons.
    pub flux: f64,
}

/// An elliptical Sersic profile.
#[derive(Debug, Clone, Copy)]
pub struct Galaxy {
    /// Centre, px.
    pub at: (f64, f64),
    /// Electrons.
    pub flux: f64,
    /// Half-light radius along the major axis, px.
    pub radius: f64,
    /// Minor over major axis.
    pub axis_ratio: f64,
    /// Angle of the major axis to the rows, radians.
    pub angle: f64,
    /// Sersic index; 1 is an exponential disc.
    pub index: f64,
}

/// Makes frame `index`.
pub fn frame(size: usize, seed: u64, index: u64, kind: Option<Kind>) -> Simulated {
    let scene = Scene::draw(size, seed, index);
    let mut expected = scene.render(&Psf::Moffat { fwhm: scene.seeing });
    let normal = expected.clone();
    let truth = kind.and_then(|kind| faults::inject(kind, &scene, &mut expected, seed, index));
    let mask = (0..normal.len()).map(|at| faults::changed(normal[at], expected[at])).collect();
    let mut rng = stream(seed, index, Purpose::Noise);
    let pixels = noise::read_out(&mut rng, &expected, READ_NOISE as f32, SATURATION);
    let clean = expected.iter().map(|mean| mean.round().clamp(0.0, f32::from(SATURATION)) as u16).collect();
    Simulated { size, pixels, truth, clean, mask }
}

/// The bytes of the frame's FITS file.
pub fn encode(frame: &Simulated, index: u64) -> Vec<u8> {
    fits::encode(&frame.pixels, frame.size, index, &EXPOSURE)
}

impl Scene {
    /// Draws the scene of frame `index`.
    pub fn draw(size: usize, seed: u64, index: u64) -> Self {
        let mut rng = stream(seed, index, Purpose::Scene);
        let area = (size * size) as f64 / REFERENCE_AREA;
        let mut percent = |of: f64| SKY * of * f64::clamp(StandardNormal.sample(&mut rng), -2.5, 2.5);
        let sky = [SKY + percent(0.02), percent(0.01), percent(0.01), percent(0.005)];
        let seeing = rng.random_range(SEEING.0..SEEING.1);
        let galaxies = (rng.random_range(6.0..=12.0) * area).round().max(1.0) as usize;
        let stars = (rng.random_range(60.0..=120.0) * area).round() as usize;
        let mut scene = Self { size, seeing, sky, stars: Vec::new(), galaxies: Vec::new() };
        for _ in 0..galaxies {
            let galaxy = Galaxy::draw(&mut rng, size);
            if !scene.galaxies.iter().any(|other| distance(other.at, galaxy.at) < 3.0 * (other.radius + galaxy.radius))
            {
                scene.galaxies.push(galaxy);
            }
        }
        for _ in 0..stars {
            scene.add_star(Star { at: place(&mut rng, size), flux: star_flux(&mut rng) });
        }
        scene
    }

    /// Keeps a star unless it would look like a supernova in one of the galaxies.
    fn add_star(&mut self, star: Star) {
        if !self.galaxies.iter().any(|galaxy| distance(galaxy.at, star.at) < 3.0 * galaxy.radius + 3.0) {
            self.stars.push(star);
        }
    }

    /// Expected electrons `[size, size]` through this point spread function.
    pub fn render(&self, psf: &Psf) -> Vec<f32> {
        let mut map = vec![0.0f32; self.size * self.size];
        for galaxy in &self.galaxies {
            galaxy.add_to(&mut map, self.size);
        }
        optics::blur(&mut map, self.size, psf.blur_sigma());
        for star in &self.stars {
            optics::add_point(&mut map, self.size, star.at, star.flux, psf);
        }
        let [level, in_x, in_y, curvature] = self.sky;
        let unit = |at: usize| 2.0 * (at as f64 + 0.5) / self.size as f64 - 1.0;
        for (row, pixels) in map.chunks_exact_mut(self.size).enumerate() {
            let y = unit(row);
            for (column, pixel) in pixels.iter_mut().enumerate() {
                let x = unit(column);
                *pixel += (level + in_x * x + in_y * y + curvature * (x * x + y * y)) as f32;
            }
        }
        map
    }
}

impl Galaxy {
    /// Draws a galaxy as a magnitude-limited field has them.
    fn draw(rng: &mut impl Rng, size: usize) -> Self {
        let radius = rng.random_range(3.0..8.0);
        Self {
            at: place(rng, size),
            // Larger discs are brighter: a mean surface brightness within a factor of four.
            flux: radius * radius * log_uniform(rng, 400.0, 1600.0),
            radius,
            axis_ratio: rng.random_range(0.35..1.0),
            angle: rng.random_range(0.0..std::f64::consts::PI),
            index: rng.random_range(0.8..2.0),
        }
    }

    /// Offset in px of a point at `radii` half-light radii along the direction `phase` in the disc's own plane.
    pub fn offset(&self, radii: f64, phase: f64) -> (f64, f64) {
        let (u, v) = (radii * self.radius * phase.cos(), radii * self.radius * self.axis_ratio * phase.sin());
        let (sin, cos) = self.angle.sin_cos();
        (u * cos - v * sin, u * sin + v * cos)
    }

    /// Adds the profile before the seeing, normalised on the pixel grid to the flux.
    pub fn add_to(&self, map: &mut [f32], size: usize) {
        let reach = 6.0 * self.radius;
        let side = 2 * reach.ceil() as usize + 1;
        let (x0, y0) = (self.at.0.round() - reach.ceil(), self.at.1.round() - reach.ceil());
        let stamp: Vec<f64> = (0..side * side)
            .map(|i| self.in_pixel(x0 + (i % side) as f64 - self.at.0, y0 + (i / side) as f64 - self.at.1))
            .collect();
        let scale = self.flux / stamp.iter().sum::<f64>();
        for (i, value) in stamp.into_iter().enumerate() {
            let (x, y) = (x0 + (i % side) as f64, y0 + (i / side) as f64);
            if x >= 0.0 && y >= 0.0 && x < size as f64 && y < size as f64 {
                map[y as usize * size + x as usize] += (scale * value) as f32;
            }
        }
    }

    /// Mean profile of the pixel at this offset; the cusp of the core needs sub-pixels.
    fn in_pixel(&self, dx: f64, dy: f64) -> f64 {
        if dx.hypot(dy) > 4.0 {
            return self.profile(dx, dy);
        }
        const SUB: usize = 4;
        let at = |i: usize| (i as f64 + 0.5) / SUB as f64 - 0.5;
        (0..SUB * SUB).map(|i| self.profile(dx + at(i % SUB), dy + at(i / SUB))).sum::<f64>() / (SUB * SUB) as f64
    }

    /// Sersic profile, up to a factor; `b` as of Capaccioli (1989).
    fn profile(&self, dx: f64, dy: f64) -> f64 {
        let (sin, cos) = self.angle.sin_cos();
        let (u, v) = (dx * cos + dy * sin, (dy * cos - dx * sin) / self.axis_ratio);
        let b = 1.9992 * self.index - 0.3271;
        (-b * (u.hypot(v) / self.radius).powf(1.0 / self.index)).exp()
    }
}

/// A place anywhere on the frame.
fn place(rng: &mut impl Rng, size: usize) -> (f64, f64) {
    let side = size as f64;
    (rng.random_range(-0.5..side - 0.5), rng.random_range(-0.5..side - 0.5))
}

/// A flux from the truncated power law, by inversion.
fn star_flux(rng: &mut impl Rng) -> f64 {
    let (low, high) = STAR_FLUX;
    let tail = (high / low).powf(-STAR_SLOPE);
    low * (tail + (1.0 - tail) * rng.random::<f64>()).powf(-1.0 / STAR_SLOPE)
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sky_and_noise_follow_the_law() {
        let frame = frame(512, 11, 0, None);
        let expected = Scene::draw(512, 11, 0).render(&Psf::Moffat { fwhm: Scene::draw(512, 11, 0).seeing });
        let variance = |e: f32| f64::from(e) + READ_NOISE * READ_NOISE + 1.0 / 12.0;
        let pulls: Vec<f64> = frame
            .pixels
            .iter()
            .zip(&expected)
            .map(|(&p, &e)| (f64::from(p) - f64::from(e)) / variance(e).sqrt())
            .collect();
        let n = pulls.len() as f64;
        let mean = pulls.iter().sum::<f64>() / n;
        let spread = pulls.iter().map(|p| p * p).sum::<f64>() / n;
        assert!(mean.abs() < 5.0 / n.sqrt(), "mean pull {mean}");
        assert!((spread - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "variance of the pulls {spread}");
        let mut sorted = frame.pixels.clone();
        sorted.sort_unstable();
        let median = f64::from(sorted[sorted.len() / 2]);
        assert!((median / SKY - 1.0).abs() < 0.1, "median {median}");
    }

    #[test]
    fn nothing_saturates_in_a_normal_frame() {
        for index in 0..20 {
            assert!(frame(256, 2, index, None).pixels.iter().all(|&p| p < SATURATION / 2 + SATURATION / 10));
        }
    }
}
