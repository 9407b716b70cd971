//! How near a kind of image comes to frames without noise.

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind, Result};
use crate::prepare::Prepared;
use crate::stats::fidelity::{psnr, ssim};

/// How near one kind of image comes to the truth, over some frames: means over the frames, and standard deviations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// `input`, `median`, `gaussian`, the model's kind, or `unet`.
    pub image: String,
    /// Peak signal-to-noise ratio, dB.
    pub psnr: [f64; 2],
    /// Structural similarity.
    pub ssim: [f64; 2],
    /// What the sky is too bright by, in units of its noise; none where the sky has no noise.
    pub sky: Option<[f64; 2]>,
}

/// The same of one frame.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// See [`Fidelity::psnr`].
    pub psnr: f64,
    /// See [`Fidelity::ssim`].
    pub ssim: f64,
    /// See [`Fidelity::sky`].
    pub sky: Option<f64>,
}

impl Figures {
    /// Of an image `[C, H, W]` of the frame `input`, whose twin without noise is `clean`. PSNR and SSIM are taken in the model's
    /// units, where the range is the clean frame's own, SSIM as the mean over its channels.
    ///
    /// # Errors
    /// [`Kind::Data`] for frames smaller than the window of SSIM.
    pub fn of(image: &[f32], input: &Prepared, clean: &Prepared) -> Result<Self> {
        let truth = &clean.pixels;
        let (low, high) =
            truth.iter().fold((f32::MAX, f32::MIN), |(low, high), &value| (low.min(value), high.max(value)));
        let range = if high > low { f64::from(high - low) } else { 1.0 };
        let plane = clean.width * clean.height;
        // SSIM compares means as intensities: of values around 0 it would compare signs.
        let above = |values: &[f32]| values.iter().map(|value| value - low).collect::<Vec<f32>>();
        let (above_image, above_truth) = (above(image), above(truth));
        let similar = above_image.chunks_exact(plane).zip(above_truth.chunks_exact(plane)).map(|(image, truth)| {
            ssim(image, truth, clean.width, range).ok_or_else(|| {
                let size = format!("{}x{}", clean.width, clean.height);
                Failure::new(Kind::Data, format!("frames of {size} pixels: SSIM needs at least 11x11"))
            })
        });
        let similar = similar.collect::<Result<Vec<f64>>>()?;
        let ssim = similar.iter().sum::<f64>() / similar.len() as f64;
        Ok(Self { psnr: psnr(image, truth, range), ssim, sky: sky(image, input, clean) })
    }
}

/// Mean difference of image and truth over the darker half of the clean frame, over the deviation of the input there; in
/// physical units.
fn sky(image: &[f32], input: &Prepared, clean: &Prepared) -> Option<f64> {
    let mut sorted = clean.pixels.clone();
    let middle = sorted.len().checked_sub(1)? / 2;
    let median = *sorted.select_nth_unstable_by(middle, f32::total_cmp).1;
    let physical = |value: f32| f64::from(clean.scaling.unscale(value));
    let (mut count, mut bias, mut noise) = (0.0, 0.0, 0.0);
    for ((&truth, &image), &input) in clean.pixels.iter().zip(image).zip(&input.pixels) {
        if truth <= median {
            count += 1.0;
            bias += physical(image) - physical(truth);
            noise += (physical(input) - physical(truth)).powi(2);
        }
    }
    (noise > 0.0).then(|| bias / count / (noise / count).sqrt())
}

impl Fidelity {
    /// Over the frames with these figures.
    pub fn over(image: &str, frames: &[Figures]) -> Self {
        let of = |figure: fn(&Figures) -> f64| moments(&frames.iter().map(figure).collect::<Vec<f64>>());
        let skies: Vec<f64> = frames.iter().filter_map(|frame| frame.sky).collect();
        Self {
            image: image.to_string(),
            psnr: of(|frame| frame.psnr),
            ssim: of(|frame| frame.ssim),
            sky: (!skies.is_empty()).then(|| moments(&skies)),
        }
    }

    /// Name, PSNR, SSIM and sky as a table has them; see [`HEAD`].
    pub fn cells(&self) -> [String; 4] {
        let ([psnr, psnr_spread], [ssim, ssim_spread]) = (self.psnr, self.ssim);
        let sky = self.sky.map_or("-".to_string(), |[sky, spread]| format!("{sky:+.3} +- {spread:.3}"));
        let psnr = format!("{psnr:.2} +- {psnr_spread:.2}");
        [self.image.clone(), psnr, format!("{ssim:.4} +- {ssim_spread:.4}"), sky]
    }
}

/// What stands above [`Fidelity::cells`].
pub const HEAD: [&str; 4] = ["image", "PSNR, dB", "SSIM", "sky too bright by, sigma"];

/// The figures as lines of text, under [`HEAD`].
pub fn table(figures: &[Fidelity]) -> Vec<String> {
    let rows = std::iter::once(HEAD.map(String::from)).chain(figures.iter().map(Fidelity::cells));
    rows.map(|[image, psnr, ssim, sky]| format!("{image:<9} {psnr:>15} {ssim:>18} {sky:>26}")).collect()
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> [f64; 2] {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    [mean, variance.sqrt()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Scaling;

    const SIDE: usize = 16;
    const SCALING: Scaling = Scaling::Asinh { black: 200.0, scale: 15.0 };

    fn frame(value: impl Fn(usize) -> f32) -> Prepared {
        Prepared {
            width: SIDE,
            height: SIDE,
            channels: 1,
            pixels: (0..SIDE * SIDE).map(|at| SCALING.scale(value(at))).collect(),
            tiles: vec![(0, 0)],
            in_file: [SIDE; 2],
            scaling: SCALING,
        }
    }

    #[test]
    fn a_dark_sky_is_seen_and_a_dark_star_is_not() {
        let star = |at: usize| if at >= 160 { 900.0 } else { 0.0 };
        let clean = frame(|at| 200.0 + star(at));
        let input = frame(|at| 200.0 + star(at) + if at % 2 == 0 { 15.0 } else { -15.0 });
        let dark = frame(|at| 197.0 + 0.5 * star(at));
        let found = Figures::of(&dark.pixels, &input, &clean).unwrap();
        assert!((found.sky.unwrap() + 0.2).abs() < 1e-4, "{found:?}");
        assert!(Figures::of(&input.pixels, &input, &clean).unwrap().sky.unwrap().abs() < 1e-4);
        assert_eq!(Figures::of(&dark.pixels, &clean, &clean).unwrap().sky, None);
    }

    #[test]
    fn a_table_has_a_line_a_kind() {
        let frames = [(20.0, 0.5, Some(-0.1)), (22.0, 0.7, None)].map(|(psnr, ssim, sky)| Figures { psnr, ssim, sky });
        let lines = table(&[Fidelity::over("unet", &frames), Fidelity::over("ae", &frames[1..])]);
        assert!(lines[1].starts_with("unet") && lines[1].contains("21.00 +- 1.41"), "{lines:?}");
        assert!(lines[1].contains("0.6000 +- 0.1414") && lines[1].ends_with("-0.100 +- 0.000"), "{lines:?}");
        assert!(lines[2].ends_with(" -") && lines.iter().all(|line| line.len() == lines[0].len()), "{lines:?}");
    }
}
