//! The loss of a segmentation: every pixel is anomalous or not, and few are.

/// Loss of logits against a mask, summed over an image's pixels.
///
/// Cross-entropy with a weight on the pixels of the mask (as in Ronneberger, Fischer & Brox 2015, arXiv:1505.04597, eq. 1), and a
/// share of the soft Dice loss of the whole image (Milletari, Navab & Ahmadi 2016, arXiv:1606.04797, section 3). With the
/// probabilities `p` of the logits and the mask `g`,
///
/// ```text
/// loss = sum_i -(weight g_i ln p_i + (1 - g_i) ln(1 - p_i))  +  dice N (1 - (2 sum p g + 1) / (sum p^2 + sum g^2 + 1))
/// ```
///
/// The ones keep an image without a mask from a quotient of nothing by nothing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskLoss {
    /// What a pixel of the mask counts beside one outside.
    pub positive_weight: f32,
    /// What the Dice loss counts, a pixel.
    pub dice: f32,
}

impl MaskLoss {
    /// Loss of one image, nats.
    pub fn value(&self, mask: &[f32], logits: &[f32]) -> f64 {
        let pixels = mask.iter().zip(logits).map(|(&g, &z)| self.cross_entropy(g, z));
        pixels.sum::<f64>() + self.outer(mask.len()) * (1.0 - Overlap::of(mask, logits).dice())
    }

    /// The same; its gradient times `scale` goes to `slope`.
    pub(super) fn gradient(&self, mask: &[f32], logits: &[f32], slope: &mut [f32], scale: f32) -> f64 {
        let overlap = Overlap::of(mask, logits);
        let (outer, below) = (self.outer(mask.len()), overlap.squares + 1.0);
        let (twice, dice) = ((2.0 / below) as f32, overlap.dice() as f32);
        let mut loss = outer * (1.0 - f64::from(dice));
        for ((slope, &g), &z) in slope.iter_mut().zip(mask).zip(logits) {
            loss += self.cross_entropy(g, z);
            let p = sigmoid(z);
            let entropy = (1.0 - g) * p - self.positive_weight * g * (1.0 - p);
            let dice = twice * (g - dice * p) * p * (1.0 - p);
            *slope = scale * (entropy - outer as f32 * dice);
        }
        loss
    }

    fn outer(&self, pixels: usize) -> f64 {
        f64::from(self.dice) * pixels as f64
    }

    fn cross_entropy(&self, g: f32, z: f32) -> f64 {
        let tail = (-z.abs()).exp().ln_1p();
        f64::from(self.positive_weight * g * ((-z).max(0.0) + tail) + (1.0 - g) * (z.max(0.0) + tail))
    }
}

/// Probability of a logit.
pub fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

/// What mask and probabilities have in common.
struct Overlap {
    both: f64,
    squares: f64,
}

impl Overlap {
    fn of(mask: &[f32], logits: &[f32]) -> Self {
        let mut sums = Self { both: 0.0, squares: 0.0 };
        for (&g, &z) in mask.iter().zip(logits) {
            let (g, p) = (f64::from(g), f64::from(sigmoid(z)));
            sums.both += p * g;
            sums.squares += p * p + g * g;
        }
        sums
    }

    fn dice(&self) -> f64 {
        (2.0 * self.both + 1.0) / (self.squares + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSS: MaskLoss = MaskLoss { positive_weight: 3.0, dice: 0.5 };

    #[test]
    fn the_loss_is_that_of_the_formula() {
        // p = 0.5, 0.75, 0.2 by hand: sum p g = 0.95, sum p^2 + g^2 = 0.25 + 0.5625 + 0.04 + 2.
        let logits = [0.0, 3f32.ln(), 0.25f32.ln()];
        let entropy = -0.5f64.ln() - 3.0 * (0.75f64.ln() + 0.2f64.ln());
        let wanted = entropy + 0.5 * 3.0 * (1.0 - 2.9 / 3.8525);
        assert!((LOSS.value(&[0.0, 1.0, 1.0], &logits) - wanted).abs() < 1e-5);
        assert!(LOSS.value(&[0.0; 3], &[-40.0; 3]).abs() < 1e-9, "nothing, where nothing is");
    }

    #[test]
    fn the_gradient_is_the_slope() {
        let mask = [1.0, 0.0, 0.0, 1.0, 0.0];
        let logits = [0.3, -1.2, 2.0, -0.7, -4.0];
        let mut slope = [0.0; 5];
        let loss = LOSS.gradient(&mask, &logits, &mut slope, 2.0);
        assert!((loss - LOSS.value(&mask, &logits)).abs() < 1e-6);
        for at in 0..5 {
            let moved = |by: f32| {
                let mut logits = logits;
                logits[at] += by;
                LOSS.value(&mask, &logits)
            };
            let measured = 2.0 * (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((measured - f64::from(slope[at])).abs() < 2e-3, "{at}: {measured} is not {}", slope[at]);
        }
    }
}
