//! What is done without learning: the yardsticks of a learnt denoiser.

/// Standard deviation of [`gaussian`], pixels.
pub const SIGMA: f32 = 1.0;
/// The Gaussian reaches so far.
const REACH: usize = 3;

/// Median of 3 x 3 pixels, planes `[C, H, W]` of this width and height; the edge goes on beyond the frame.
pub fn median(pixels: &[f32], (width, height): (usize, usize)) -> Vec<f32> {
    let value = |plane: &[f32], x: usize, y: usize| {
        let mut around: [f32; 9] = std::array::from_fn(|at| {
            let (x, y) = ((x + at % 3).clamp(1, width) - 1, (y + at / 3).clamp(1, height) - 1);
            plane[y * width + x]
        });
        *around.select_nth_unstable_by(4, f32::total_cmp).1
    };
    planes(pixels, width * height, |plane| (0..width * height).map(|at| value(plane, at % width, at / width)).collect())
}

/// Mean under a Gaussian of standard deviation [`SIGMA`]; as [`median`] otherwise.
pub fn gaussian(pixels: &[f32], (width, height): (usize, usize)) -> Vec<f32> {
    let raw: [f32; 2 * REACH + 1] =
        std::array::from_fn(|at| (-0.5 * ((at as f32 - REACH as f32) / SIGMA).powi(2)).exp());
    let sum: f32 = raw.iter().sum();
    let window = raw.map(|weight| weight / sum);
    let mean = |of: &dyn Fn(usize) -> f32| window.iter().enumerate().map(|(at, weight)| weight * of(at)).sum::<f32>();
    let inside = |place: usize, length: usize| place.clamp(REACH, length + REACH - 1) - REACH;
    planes(pixels, width * height, |plane| {
        let row = |at: usize| mean(&|step| plane[at / width * width + inside(at % width + step, width)]);
        let across: Vec<f32> = (0..width * height).map(row).collect();
        let column = |at: usize| mean(&|step| across[inside(at / width + step, height) * width + at % width]);
        (0..width * height).map(column).collect()
    })
}

fn planes(pixels: &[f32], plane: usize, filter: impl Fn(&[f32]) -> Vec<f32>) -> Vec<f32> {
    pixels.chunks_exact(plane.max(1)).flat_map(filter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.ndimage.median_filter(x, 3, mode="nearest")` with `x = (np.arange(12) * 5 % 12).reshape(3, 4)`.
    #[test]
    fn the_median_is_scipys() {
        let x: Vec<f32> = (0..12).map(|at| (at * 5 % 12) as f32).collect();
        assert_eq!(median(&x, (4, 3)), [1.0, 5.0, 5.0, 6.0, 4.0, 5.0, 6.0, 7.0, 4.0, 4.0, 7.0, 7.0]);
        assert_eq!(median(&[x.clone(), x.clone()].concat(), (4, 3))[12..], median(&x, (4, 3)));
    }

    /// A point spreads as `exp(-r^2 / 2)` does within 3 pixels of each axis; a constant stays, to the edge.
    #[test]
    fn the_gaussian_keeps_what_there_is() {
        let mut x = vec![0.0; 15 * 11];
        x[5 * 15 + 7] = 1.0;
        let y = gaussian(&x, (15, 11));
        assert!((y.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        assert!((y[5 * 15 + 8] / y[5 * 15 + 7] - (-0.5f32).exp()).abs() < 1e-5);
        assert!((y[7 * 15 + 7] / y[5 * 15 + 7] - (-2.0f32).exp()).abs() < 1e-5);
        assert_eq!(y[5 * 15 + 11], 0.0);
        assert!(gaussian(&[3.0; 6], (3, 2)).iter().all(|value| (value - 3.0).abs() < 1e-5));
    }
}
