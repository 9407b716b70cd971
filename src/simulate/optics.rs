//! Point spread functions, and how they are laid on a frame.

/// FWHM of a Gaussian over its sigma.
const FWHM_OF_SIGMA: f64 = 2.354_820_045;
/// Expected electrons below which a star's wing is not drawn.
const WING: f64 = 0.3;

/// How the instrument images a point.
#[derive(Debug, Clone, Copy)]
pub enum Psf {
    /// Seeing: a Moffat profile with exponent 3 (Moffat 1969).
    Moffat {
        /// Full width at half maximum, px.
        fwhm: f64,
    },
    /// Far out of focus: the pupil's image, an annulus smeared by the seeing.
    Donut {
        /// Outer radius, px.
        outer: f64,
        /// Radius of the central obstruction, px.
        inner: f64,
        /// Width of the smeared edges, px.
        edge: f64,
    },
}

impl Psf {
    /// Surface brightness of a unit source at radius `r` px, a pixel.
    pub fn at(&self, r: f64) -> f64 {
        match *self {
            Self::Moffat { fwhm } => {
                let alpha = moffat_alpha(fwhm);
                let base = 1.0 + (r / alpha).powi(2);
                2.0 / (std::f64::consts::PI * alpha * alpha) / (base * base * base)
            }
            Self::Donut { outer, inner, edge } => {
                let step = |at: f64| 1.0 / (1.0 + ((r - at) / edge).exp());
                (step(outer) - step(inner)).max(0.0) / (std::f64::consts::PI * (outer * outer - inner * inner))
            }
        }
    }

    /// Radius beyond which a source of this flux is not drawn, px.
    pub fn reach(&self, flux: f64) -> f64 {
        match *self {
            Self::Moffat { fwhm } => {
                let alpha = moffat_alpha(fwhm);
                alpha * ((flux * self.at(0.0) / WING).cbrt() - 1.0).max(4.0).sqrt()
            }
            Self::Donut { outer, edge, .. } => outer + edge * (flux * self.at(0.7 * outer) / WING).max(4.0).ln(),
        }
    }

    /// Sigma of the Gaussian that blurs an extended source as much, px.
    pub fn blur_sigma(&self) -> f64 {
        match *self {
            Self::Moffat { fwhm } => fwhm / FWHM_OF_SIGMA,
            // A uniform disc of radius R has a variance of R^2/4 an axis.
            Self::Donut { outer, inner, edge } => (0.25 * (outer * outer + inner * inner) + edge * edge).sqrt(),
        }
    }

    /// Width at half maximum, px.
    pub fn fwhm(&self) -> f64 {
        match *self {
            Self::Moffat { fwhm } => fwhm,
            Self::Donut { outer, .. } => 2.0 * outer,
        }
    }
}

/// Adds a point source of `flux` electrons centred at (x, y) px to the `[size, size]` map.
pub fn add_point(map: &mut [f32], size: usize, (x, y): (f64, f64), flux: f64, psf: &Psf) {
    let reach = psf.reach(flux);
    for_box(size, (x, y), reach, |column, row| {
        let r = (column as f64 - x).hypot(row as f64 - y);
        map[row * size + column] += (flux * psf.at(r)) as f32;
    });
}

/// Visits the pixels of the square of half-width `reach` around (x, y) that lie in the frame.
pub fn for_box(size: usize, (x, y): (f64, f64), reach: f64, mut visit: impl FnMut(usize, usize)) {
    let first = |at: f64| (at - reach).floor().max(0.0) as usize;
    let end = |at: f64| ((at + reach).ceil() + 1.0).clamp(0.0, size as f64) as usize;
    for row in first(y)..end(y) {
        for column in first(x)..end(x) {
            visit(column, row);
        }
    }
}

/// Blurs the `[size, size]` map by a Gaussian, in place; beyond the edge nothing shines in.
pub fn blur(map: &mut [f32], size: usize, sigma: f64) {
    let kernel = gaussian(sigma);
    let mut rows = vec![0.0f32; map.len()];
    let radius = kernel.len() / 2;
    let mut padded = vec![0.0f32; size + 2 * radius];
    for (source, target) in map.chunks_exact(size).zip(rows.chunks_exact_mut(size)) {
        padded[radius..radius + size].copy_from_slice(source);
        for (tap, &weight) in kernel.iter().enumerate() {
            accumulate(target, &padded[tap..tap + size], weight);
        }
    }
    map.fill(0.0);
    for (row, target) in map.chunks_exact_mut(size).enumerate() {
        for (tap, &weight) in kernel.iter().enumerate() {
            let Some(from) = (row + tap).checked_sub(radius).filter(|&from| from < size) else { continue };
            accumulate(target, &rows[from * size..(from + 1) * size], weight);
        }
    }
}

fn accumulate(target: &mut [f32], source: &[f32], weight: f32) {
    for (t, s) in target.iter_mut().zip(source) {
        *t += weight * s;
    }
}

/// A normalised Gaussian kernel out to four sigma.
fn gaussian(sigma: f64) -> Vec<f32> {
    let radius = (4.0 * sigma).ceil() as i32;
    let weight = |at: i32| (-0.5 * (f64::from(at) / sigma).powi(2)).exp();
    let total: f64 = (-radius..=radius).map(weight).sum();
    (-radius..=radius).map(|at| (weight(at) / total) as f32).collect()
}

/// Scale of a Moffat profile with exponent 3.
fn moffat_alpha(fwhm: f64) -> f64 {
    fwhm / (2.0 * (2f64.cbrt() - 1.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_psf_keeps_the_flux() {
        for psf in [Psf::Moffat { fwhm: 2.8 }, Psf::Donut { outer: 6.0, inner: 2.4, edge: 0.8 }] {
            let mut map = vec![0.0; 101 * 101];
            add_point(&mut map, 101, (50.3, 49.8), 1e6, &psf);
            let total: f32 = map.iter().sum();
            assert!((total / 1e6 - 1.0).abs() < 0.03, "{psf:?}: {total}");
        }
    }

    #[test]
    fn blur_keeps_the_flux() {
        let mut map = vec![0.0; 64 * 64];
        map[32 * 64 + 32] = 1000.0;
        blur(&mut map, 64, 1.5);
        assert!((map.iter().sum::<f32>() - 1000.0).abs() < 0.1);
        assert!((map[32 * 64 + 32] - 1000.0 / (2.0 * std::f32::consts::PI * 2.25)).abs() < 1.0);
    }
}
