//! The input, what is done without learning, the model's reconstruction and the denoiser's image, held against frames without
//! noise.

use serde::{Deserialize, Serialize};

use super::fidelity::{Fidelity, Figures};
use super::{Denoiser, classical};
use crate::detector::Detector;
use crate::draw::Values;
use crate::draw::colour::{BLUE, GREEN, ORANGE, PURPLE, Rgb, SKY};
use crate::draw::sheet::{Heading, Tile, contact_sheet, thumbnail_as};
use crate::draw::stretch::Stretch;
use crate::error::Result;
use crate::pipeline::ModelKind;
use crate::prepare::Prepared;

/// The word for the denoiser's image.
const UNET: &str = "unet";
/// How many kinds of image stand before the model's.
const UNLEARNT: usize = 3;
/// Frames on the contact sheet.
const SHOWN: usize = 6;
/// Side of the part of a frame that the sheet shows.
const CROP: usize = 96;

/// A frame with noise and its twin without.
#[derive(Debug, Clone, Copy)]
pub struct Twin<'a> {
    /// As it came.
    pub noisy: &'a Prepared,
    /// The truth.
    pub clean: &'a Prepared,
}

/// What a version's manifest says of how it denoises; there where clean twins were given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Denoising {
    /// Validation frames that were compared.
    pub frames: usize,
    /// One a kind of image, the input first.
    pub figures: Vec<Fidelity>,
}

impl Denoising {
    /// What the U-Net has where the model's reconstruction comes nearer to clean frames.
    pub fn worse(&self) -> Option<String> {
        self.behind(&self.figures.get(UNLEARNT..)?.iter().collect::<Vec<_>>())
    }

    /// The same where the input comes nearer, or what is done without learning.
    pub fn outdone(&self) -> Option<String> {
        self.behind(&self.figures.iter().take(UNLEARNT).collect::<Vec<_>>())
    }

    fn behind(&self, others: &[&Fidelity]) -> Option<String> {
        let unet = self.figures.last().filter(|figure| figure.image == UNET)?.psnr[0];
        let best = others.iter().max_by(|a, b| a.psnr[0].total_cmp(&b.psnr[0]))?;
        (unet < best.psnr[0]).then(|| {
            format!("a PSNR of {unet:.2} dB in validation frames, where {} has {:.2} dB", best.image, best.psnr[0])
        })
    }
}

/// What was found.
#[derive(Debug)]
pub struct Comparison {
    /// One a kind of image, the input first.
    pub figures: Vec<Fidelity>,
    /// Noisy, each output, clean: a PNG.
    pub sheet: Vec<u8>,
}

/// A kind of image: its name, and its colour on the sheet.
type Way = (&'static str, Rgb);

/// Denoises every frame in every way there is.
///
/// # Errors
/// [`crate::error::Kind::Data`] for frames smaller than the window of SSIM; [`crate::error::Kind::Internal`] when a device
/// fails.
pub fn compare(
    (detector, denoiser): (&mut Detector, Option<&Denoiser>),
    kind: ModelKind,
    twins: &[Twin],
) -> Result<Comparison> {
    let model = match kind {
        ModelKind::Dense => "dense",
        ModelKind::Ae => "ae",
        ModelKind::Vae => "vae",
    };
    let mut ways: Vec<Way> = vec![("input", BLUE), ("median", SKY), ("gaussian", SKY), (model, ORANGE)];
    ways.extend(denoiser.map(|_| (UNET, PURPLE)));
    let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); ways.len()];
    let mut tiles = Vec::new();
    let step = twins.len().div_ceil(SHOWN).max(1);
    for (place, twin) in twins.iter().enumerate() {
        let frame = twin.noisy;
        let size = (frame.width, frame.height);
        let mut images = vec![
            frame.pixels.clone(),
            classical::median(&frame.pixels, size),
            classical::gaussian(&frame.pixels, size),
            detector.denoise(frame)?,
        ];
        images.extend(denoiser.map(|denoiser| denoiser.apply(frame)).transpose()?);
        let found = images.iter().map(|image| Figures::of(image, frame, twin.clean)).collect::<Result<Vec<_>>>()?;
        if place.is_multiple_of(step) {
            row(&mut tiles, &ways, &images, twin.clean, &found);
        }
        figures.iter_mut().zip(found).for_each(|(figures, found)| figures.push(found));
    }
    let columns = ways.len() + 1;
    Ok(Comparison {
        sheet: contact_sheet(&heading(&ways, twins.len(), tiles.len() / columns), &tiles, columns),
        figures: ways.iter().zip(&figures).map(|((name, _), figures)| Fidelity::over(name, figures)).collect(),
    })
}

/// The pictures of one frame, all stretched as its clean one.
fn row(tiles: &mut Vec<Tile>, ways: &[Way], images: &[Vec<f32>], clean: &Prepared, figures: &[Figures]) {
    let truth = crop(&clean.pixels, clean);
    let stretch = Stretch::linear(&truth);
    let side = |length: usize| length.min(CROP);
    let picture = |pixels: &[f32]| {
        let (width, height) = (side(clean.width), side(clean.height));
        thumbnail_as(Values { width, height, channels: clean.channels, pixels }, &stretch, &[])
    };
    for (((name, border), image), Figures { psnr, ssim, .. }) in ways.iter().zip(images).zip(figures) {
        let caption = vec![(*name).to_string(), format!("{psnr:.2} dB  SSIM {ssim:.4}")];
        tiles.push(Tile { image: picture(&crop(image, clean)), caption, border: *border });
    }
    tiles.push(Tile { image: picture(&truth), caption: vec!["clean".into()], border: GREEN });
}

/// The middle of a frame.
fn crop(pixels: &[f32], frame: &Prepared) -> Vec<f32> {
    let (width, height) = (frame.width.min(CROP), frame.height.min(CROP));
    let (left, top) = ((frame.width - width) / 2, (frame.height - height) / 2);
    let line = |row: usize| (row / height * frame.height + top + row % height) * frame.width + left;
    (0..frame.channels * height).flat_map(|row| pixels[line(row)..line(row) + width].iter().copied()).collect()
}

fn heading(ways: &[Way], frames: usize, shown: usize) -> Heading {
    let names: Vec<&str> = ways.iter().map(|(name, _)| *name).collect();
    Heading {
        title: format!("Denoising: {}, clean", names.join(", ")),
        lines: vec![
            format!("{shown} of {frames} frames, at most {CROP}x{CROP} pixels of their middle"),
            format!("median of 3x3 pixels, Gaussian of {} pixel", classical::SIGMA),
            "each row stretched linearly between its clean frame's percentiles, in the model's units".into(),
        ],
        legend: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denoiser_is_held_against_the_model_and_against_what_needs_no_learning() {
        let said = |psnr: &[f64]| {
            let names = ["input", "median", "gaussian", "vae", UNET];
            let figure = |(name, &psnr): (&&str, &f64)| Fidelity {
                image: (*name).into(),
                psnr: [psnr, 1.0],
                ssim: [0.5, 0.1],
                sky: None,
            };
            let denoising = Denoising { frames: 9, figures: names.iter().zip(psnr).map(figure).collect() };
            (denoising.worse(), denoising.outdone())
        };
        assert_eq!(said(&[16.0, 22.0, 26.0, 30.0, 37.0]), (None, None));
        assert_eq!(said(&[16.0, 22.0, 26.0, 30.0]), (None, None), "no U-Net");
        let (worse, outdone) = said(&[56.0, 40.0, 41.0, 39.0, 50.0]);
        assert!(
            worse.is_none() && outdone.as_ref().is_some_and(|said| said.contains("input has 56.00")),
            "{outdone:?}"
        );
        let (worse, outdone) = said(&[16.0, 22.0, 26.0, 30.0, 28.0]);
        assert!(outdone.is_none() && worse.as_ref().is_some_and(|said| said.contains("28.00")), "{worse:?}");
    }
}
