//! Shot noise and read noise.

use rand::Rng;
use rand_distr::{Distribution, Poisson, StandardNormal};

/// Expected counts above which a Poisson variable is drawn from its Cornish-Fisher expansion.
const EXPANSION_FROM: f32 = 100.0;

/// A Poisson variable of this mean.
///
/// From a mean of 100 on by the Cornish-Fisher expansion `mean + sqrt(mean) z + (z^2 - 1) / 6` (Abramowitz & Stegun 26.2.49),
/// which keeps mean, variance and skewness; it is ten times as fast as rejection, and a frame is all such pixels.
pub fn poisson(rng: &mut impl Rng, mean: f32) -> f32 {
    if mean >= EXPANSION_FROM {
        let z: f32 = StandardNormal.sample(rng);
        return (mean + mean.sqrt() * z + (z * z - 1.0) / 6.0).round().max(0.0);
    }
    // A mean of zero or less has no distribution: nothing arrives.
    Poisson::new(mean).map_or(0.0, |law| law.sample(rng))
}

/// Reads a CCD out: shot noise, read noise (electrons RMS), digitised at gain 1, clipped at `saturation`.
pub fn read_out(rng: &mut impl Rng, expected: &[f32], read_noise: f32, saturation: u16) -> Vec<u16> {
    let full = f32::from(saturation);
    expected
        .iter()
        .map(|&mean| {
            if mean >= full {
                return saturation;
            }
            let read: f32 = StandardNormal.sample(rng);
            (poisson(rng, mean) + read_noise * read).round().clamp(0.0, full) as u16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn variance_is_poisson_plus_read_noise() {
        const N: usize = 200_000;
        for mean in [20.0f32, 90.0, 110.0, 200.0, 5000.0] {
            let pixels = read_out(&mut ChaCha8Rng::seed_from_u64(1), &vec![mean; N], 5.0, 60_000);
            let values: Vec<f64> = pixels.iter().map(|&p| f64::from(p)).collect();
            let average = values.iter().sum::<f64>() / N as f64;
            let variance = values.iter().map(|v| (v - average).powi(2)).sum::<f64>() / N as f64;
            // Rounding adds 1/12; five standard errors of a mean and of a variance.
            let expected = f64::from(mean) + 25.0 + 1.0 / 12.0;
            assert!((average - f64::from(mean)).abs() < 5.0 * (expected / N as f64).sqrt(), "{mean}: mean {average}");
            assert!((variance / expected - 1.0).abs() < 5.0 * (2.0 / N as f64).sqrt(), "{mean}: variance {variance}");
        }
    }

    #[test]
    fn a_dark_pixel_reads_nothing() {
        assert_eq!(poisson(&mut ChaCha8Rng::seed_from_u64(1), 0.0), 0.0);
        assert_eq!(read_out(&mut ChaCha8Rng::seed_from_u64(1), &[1e6], 5.0, 60_000), [60_000]);
    }
}
