//! How near an image comes to the truth: peak signal-to-noise ratio and structural similarity.

/// Standard deviation of the Gaussian window of [`ssim`], pixels.
const SIGMA: f64 = 1.5;
/// The window reaches so far from its centre: 11 x 11 pixels.
const REACH: usize = 5;
/// Side of that window: [`ssim`] is of no smaller image.
pub const WINDOW: usize = 2 * REACH + 1;
/// Stabilise means and variances near 0, as shares of the range.
const K: [f64; 2] = [0.01, 0.03];

/// Peak signal-to-noise ratio in dB, `20 lg(range) - 10 lg(MSE)`; infinite for equal images.
///
/// `range` is the largest difference that two values of the image can have.
pub fn psnr(image: &[f32], truth: &[f32], range: f64) -> f64 {
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    let mean = image.iter().zip(truth).map(square).sum::<f64>() / truth.len().max(1) as f64;
    20.0 * range.log10() - 10.0 * mean.log10()
}

/// Mean structural similarity of two planes `[H, W]`, 1 for equal ones: 11 x 11 Gaussian window of sigma 1.5, K1 = 0.01,
/// K2 = 0.03, over the places where the window lies inside (Wang, Bovik, Sheikh & Simoncelli 2004,
/// doi:10.1109/TIP.2003.819861, eq. 13 to 17). None for a plane smaller than the window.
pub fn ssim(image: &[f32], truth: &[f32], width: usize, range: f64) -> Option<f64> {
    let height = truth.len().checked_div(width)?;
    if width < WINDOW || height < WINDOW || image.len() != truth.len() {
        return None;
    }
    let window = window();
    // A constant taken off both keeps the variances from cancelling where the level is high; the means get it back.
    let level = truth.iter().map(|&value| f64::from(value)).sum::<f64>() / truth.len() as f64;
    let plane = |of: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
        let values = image.iter().zip(truth).map(|(&a, &b)| of(f64::from(a) - level, f64::from(b) - level));
        blur(&values.collect::<Vec<f64>>(), width, &window)
    };
    let means = [plane(&|a, _| a), plane(&|_, b| b)];
    let products = [plane(&|a, _| a * a), plane(&|_, b| b * b), plane(&|a, b| a * b)];
    let [c1, c2] = K.map(|k| (k * range).powi(2));
    let one = |at: usize| {
        let (a, b) = (means[0][at], means[1][at]);
        let [aa, bb, ab] = [products[0][at] - a * a, products[1][at] - b * b, products[2][at] - a * b];
        let (a, b) = (a + level, b + level);
        (2.0 * a * b + c1) * (2.0 * ab + c2) / ((a * a + b * b + c1) * (aa + bb + c2))
    };
    Some((0..means[0].len()).map(one).sum::<f64>() / means[0].len() as f64)
}

/// Weights along one axis; they add up to 1.
fn window() -> [f64; WINDOW] {
    let raw: [f64; WINDOW] = std::array::from_fn(|at| (-0.5 * ((at as f64 - REACH as f64) / SIGMA).powi(2)).exp());
    let sum: f64 = raw.iter().sum();
    raw.map(|weight| weight / sum)
}

/// Weighted means over the window, where it lies inside the plane.
fn blur(plane: &[f64], width: usize, window: &[f64]) -> Vec<f64> {
    let mean = |values: &[f64]| values.iter().zip(window).map(|(value, weight)| value * weight).sum::<f64>();
    let rows: Vec<Vec<f64>> =
        plane.chunks_exact(width).map(|row| row.windows(window.len()).map(mean).collect()).collect();
    let column = |rows: &[Vec<f64>], x: usize| rows.iter().zip(window).map(|(row, weight)| row[x] * weight).sum();
    let across = width + 1 - window.len();
    rows.windows(window.len()).flat_map(|rows| (0..across).map(move |x| column(rows, x))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` and `b` of the reference values below: `b = (7 i + 13 j + i j) % 256`, `a = b + ((5 i + 3 j) % 21) - 10`.
    fn images(width: usize, height: usize) -> [Vec<f32>; 2] {
        let b: Vec<f32> = (0..width * height)
            .map(|k| ((7 * (k / width) + 13 * (k % width) + k / width * (k % width)) % 256) as f32)
            .collect();
        let a =
            b.iter().enumerate().map(|(k, b)| b + ((5 * (k / width) + 3 * (k % width)) % 21) as f32 - 10.0).collect();
        [a, b]
    }

    /// `skimage.metrics.peak_signal_noise_ratio(b, a, data_range=255)`; a hand's check: a constant difference of 16.
    #[test]
    fn psnr_is_scikit_images() {
        let [a, b] = images(24, 20);
        assert!((psnr(&a, &b, 255.0) - 32.506_387_908_863_04).abs() < 1e-9, "{}", psnr(&a, &b, 255.0));
        let shifted: Vec<f32> = b.iter().map(|b| b + 16.0).collect();
        assert!((psnr(&shifted, &b, 255.0) - 20.0 * (255.0f64 / 16.0).log10()).abs() < 1e-9);
        assert_eq!(psnr(&b, &b, 255.0), f64::INFINITY);
    }

    /// `skimage.metrics.structural_similarity(b, a, data_range=255, gaussian_weights=True, sigma=1.5,
    /// use_sample_covariance=False)`, all in float64: scikit-image leaves out the same border of 5 pixels.
    #[test]
    fn ssim_is_scikit_images() {
        let [a, b] = images(24, 20);
        let found = ssim(&a, &b, 24, 255.0).unwrap();
        assert!((found - 0.994_305_742_439_498_5).abs() < 1e-9, "{found}");
        assert_eq!(ssim(&b, &b, 24, 255.0), Some(1.0));
    }

    /// Two constant planes: eq. 13 leaves `(2 a b + c1) / (a^2 + b^2 + c1)`.
    #[test]
    fn ssim_of_flat_planes_is_that_of_their_means() {
        let (a, b, c1) = (100.0, 120.0, (0.01f64 * 255.0).powi(2));
        let found = ssim(&[100.0; 144], &[120.0; 144], 12, 255.0).unwrap();
        assert!((found - (2.0 * a * b + c1) / (a * a + b * b + c1)).abs() < 1e-12);
        assert_eq!(ssim(&[0.0; 100], &[0.0; 100], 10, 1.0), None);
    }
}
