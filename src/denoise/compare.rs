//! How near the input, the model's reconstruction and the denoiser's image come to frames without noise.

use serde::Serialize;

use super::{Denoiser, Pairs};
use crate::detector::Detector;
use crate::draw::Values;
use crate::draw::colour::{BLUE, GREEN, ORANGE, PURPLE, Rgb};
use crate::draw::sheet::{Heading, Tile, contact_sheet, thumbnail_as};
use crate::draw::stretch::Stretch;
use crate::error::{Failure, Kind, Result};
use crate::prepare::Prepared;
use crate::stats::fidelity::{psnr, ssim};
use crate::train::data::Sample;

/// Frames on the contact sheet.
const SHOWN: usize = 6;
/// Side of the part of a frame that the sheet shows.
const CROP: usize = 96;

/// How near one kind of image comes to the truth, over all frames.
#[derive(Debug, Clone, Serialize)]
pub struct Fidelity {
    /// `input`, the model's kind, or `unet`.
    pub image: String,
    /// Peak signal-to-noise ratio, dB: mean over the frames, and standard deviation.
    pub psnr: [f64; 2],
    /// Structural similarity: mean over the frames, and standard deviation.
    pub ssim: [f64; 2],
}

/// What was found.
#[derive(Debug)]
pub struct Comparison {
    /// One a kind of image, the input first.
    pub figures: Vec<Fidelity>,
    /// Noisy, each output, clean: a PNG.
    pub sheet: Vec<u8>,
}

/// Denoises every frame in every way there is. Figures are taken in the model's units, where the range is the clean frame's
/// own, and are means over its channels.
///
/// # Errors
/// [`Kind::Data`] for frames smaller than the window of SSIM; [`Kind::Internal`] when a device fails.
pub fn compare(
    (detector, denoiser): (&mut Detector, Option<&Denoiser>),
    model: &str,
    frames: &[Sample],
    pairs: &Pairs,
) -> Result<Comparison> {
    let mut names = vec!["input", model];
    names.extend(denoiser.map(|_| "unet"));
    let mut values: Vec<[Vec<f64>; 2]> = vec![Default::default(); names.len()];
    let mut tiles = Vec::new();
    let step = frames.len().div_ceil(SHOWN).max(1);
    for (place, (sample, clean)) in frames.iter().zip(&pairs.0).enumerate() {
        let frame = &sample.prepared;
        let mut images = vec![frame.pixels.clone(), detector.denoise(frame)?];
        images.extend(denoiser.map(|denoiser| denoiser.apply(frame)).transpose()?);
        for (image, values) in images.iter().zip(&mut values) {
            let [psnr, ssim] = figures(image, clean)?;
            values[0].push(psnr);
            values[1].push(ssim);
        }
        if place.is_multiple_of(step) {
            row(&mut tiles, &names, &images, clean, &values);
        }
    }
    let figures = names.iter().zip(&values).map(|(name, [psnr, ssim])| Fidelity {
        image: (*name).to_string(),
        psnr: moments(psnr),
        ssim: moments(ssim),
    });
    let figures: Vec<Fidelity> = figures.collect();
    let columns = names.len() + 1;
    Ok(Comparison {
        sheet: contact_sheet(&heading(&names, frames.len(), tiles.len() / columns), &tiles, columns),
        figures,
    })
}

fn figures(image: &[f32], clean: &Prepared) -> Result<[f64; 2]> {
    let truth = &clean.pixels;
    let (low, high) = truth.iter().fold((f32::MAX, f32::MIN), |(low, high), &value| (low.min(value), high.max(value)));
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
    Ok([psnr(image, truth, range), similar.iter().sum::<f64>() / similar.len() as f64])
}

/// The pictures of one frame, all stretched as its clean one.
fn row(tiles: &mut Vec<Tile>, names: &[&str], images: &[Vec<f32>], clean: &Prepared, values: &[[Vec<f64>; 2]]) {
    let colours: [Rgb; 3] = [BLUE, ORANGE, PURPLE];
    let truth = crop(&clean.pixels, clean);
    let stretch = Stretch::of(&truth);
    let side = |length: usize| length.min(CROP);
    let picture = |pixels: &[f32]| {
        let (width, height) = (side(clean.width), side(clean.height));
        thumbnail_as(Values { width, height, channels: clean.channels, pixels }, &stretch, &[])
    };
    for (((name, image), values), border) in names.iter().zip(images).zip(values).zip(colours) {
        let [psnr, ssim] = [0, 1].map(|which| values[which].last().copied().unwrap_or(f64::NAN));
        let caption = vec![(*name).to_string(), format!("{psnr:.2} dB  SSIM {ssim:.4}")];
        tiles.push(Tile { image: picture(&crop(image, clean)), caption, border });
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

fn heading(names: &[&str], frames: usize, shown: usize) -> Heading {
    Heading {
        title: format!("Denoising: {}, clean", names.join(", ")),
        lines: vec![
            format!("{shown} of {frames} frames, at most {CROP}x{CROP} pixels of their middle"),
            "each row stretched by its clean frame's percentiles, in the model's units".into(),
        ],
        legend: Vec::new(),
    }
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> [f64; 2] {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    [mean, variance.sqrt()]
}
