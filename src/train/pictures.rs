//! What a training shows: loss curves, and reconstructions beside their inputs.

use std::path::Path;

use super::augment::Augmenter;
use super::data::Sample;
use super::fit::History;
use super::fit::{TileRef, evenly};
use crate::denoise::Denoiser;
use crate::denoise::compare::{self, Denoising, Twin};
use crate::detector::Detector;
use crate::draw::Values;
use crate::draw::colour::{BLUE, GREEN};
use crate::draw::filters::{self, seen};
use crate::draw::plot::{EpochPoint, loss_svg};
use crate::draw::sheet::{Heading, Tile, contact_sheet, thumbnail};
use crate::error::{Failure, Result};
use crate::pipeline::{Input, ModelKind, Spec};
use crate::prepare::Prepared;

/// Pairs on the contact sheet.
const PAIRS: usize = 15;
/// Tiles a transformation is shown on.
const AUGMENTED: usize = 3;
/// Tiles whose filter channels are shown.
const FILTERED: usize = 3;

/// Writes `loss.svg`.
///
/// # Errors
/// [`crate::error::Kind::Io`] naming the file.
pub fn draw_history(folder: &Path, name: &str, history: &History, beta: f32) -> Result<()> {
    let points: Vec<EpochPoint> = history
        .epochs
        .iter()
        .map(|epoch| EpochPoint {
            epoch: epoch.epoch,
            train_loss: epoch.running_loss(beta),
            validation_loss: epoch.validation_loss(beta),
            kl: epoch.validation_kl,
            nll: epoch.validation_nll,
        })
        .collect();
    write(&folder.join("loss.svg"), loss_svg(name, &points)?.as_bytes())
}

/// Writes `reconstructions.png`: validation tiles beside what the model makes of them, drawn evenly from all.
///
/// # Errors
/// [`crate::error::Kind::Io`] naming the file.
pub fn draw_reconstructions(
    folder: &Path,
    name: &str,
    detector: &mut Detector,
    frames: &[Sample],
    chosen: &[usize],
) -> Result<()> {
    let step = chosen.len().div_ceil(PAIRS).max(1);
    let mut tiles = Vec::new();
    for (count, &index) in chosen.iter().step_by(step).enumerate() {
        let sample = &frames[index];
        let one = one_tile(&sample.prepared, count);
        detector.reconstruct(&one, &mut |corner, x_hat, _| {
            let mut input = vec![0.0; x_hat.len()];
            one.copy_tile(corner, side_of(x_hat.len(), one.channels), &mut input);
            let source = sample.source.file_name().unwrap_or_default().to_string_lossy();
            for (pixels, caption, border) in
                [(&input[..], format!("{source} #{}", sample.index), BLUE), (x_hat, "reconstruction".into(), GREEN)]
            {
                let side = side_of(pixels.len(), one.channels);
                let values = Values { width: side, height: side, channels: one.channels, pixels };
                tiles.push(Tile { image: thumbnail(values), caption: vec![caption], border });
            }
        })?;
    }
    let heading = Heading {
        title: format!("{name}: validation inputs and reconstructions"),
        lines: vec![
            "latent at its mean; each picture stretched linearly between its own percentiles, in the model's units"
                .into(),
        ],
        legend: vec![(BLUE, "input".into()), (GREEN, "reconstruction".into())],
    };
    write(&folder.join("reconstructions.png"), &contact_sheet(&heading, &tiles, 6))
}

/// Writes `denoising.png`: frames as each way of denoising leaves them, beside their clean twins; and says how near they come.
///
/// # Errors
/// Those of [`compare::compare`]; [`crate::error::Kind::Io`] naming the file.
pub fn draw_denoising(
    folder: &Path,
    ways: (&mut Detector, Option<&Denoiser>),
    kind: ModelKind,
    twins: &[Twin],
) -> Result<Denoising> {
    let found = compare::compare(ways, kind, twins)?;
    write(&folder.join("denoising.png"), &found.sheet)?;
    Ok(Denoising { frames: twins.len(), figures: found.figures })
}

/// Writes `augmentation.png`: for each declared transformation a row of training tiles, the first of each pair untouched.
/// Nothing where none is declared.
///
/// # Errors
/// [`crate::error::Kind::Io`] naming the file.
pub fn draw_augmentation(folder: &Path, name: &str, frames: &[Sample], train: &[TileRef], spec: &Spec) -> Result<()> {
    let (size, channels) = (spec.input.size, spec.input.channels);
    let mut tiles = Vec::new();
    for (key, augment) in spec.training.augment.declared() {
        let Some(augmenter) = Augmenter::examining(&augment, spec) else { continue };
        for (number, tile) in evenly(train, AUGMENTED).iter().take(AUGMENTED).enumerate() {
            let frame = &frames[tile.sample].prepared;
            let corner = frame.tiles[tile.tile];
            let (mut before, mut after) = (vec![0.0; channels * size * size], vec![0.0; channels * size * size]);
            frame.copy_tile(corner, size, &mut before);
            augmenter.tile(frame, corner, number as u64, &mut after);
            for (pixels, caption, border) in [(before, "as it is", BLUE), (after, key, GREEN)] {
                let values = Values { width: size, height: size, channels, pixels: &pixels };
                tiles.push(Tile { image: thumbnail(values), caption: vec![caption.into()], border });
            }
        }
    }
    if tiles.is_empty() {
        return Ok(());
    }
    let heading = Heading {
        title: format!("{name}: training tiles as they might as well have been taken"),
        lines: vec![
            "each declared transformation alone; each picture stretched linearly between its own percentiles".into(),
        ],
        legend: vec![(BLUE, "as it is".into()), (GREEN, "transformed".into())],
    };
    write(&folder.join("augmentation.png"), &contact_sheet(&heading, &tiles, 2 * AUGMENTED))
}

/// Writes `filters.png`: training tiles, and what the encoder sees beside each. Nothing where it sees the tile alone.
///
/// # Errors
/// [`crate::error::Kind::Io`] naming the file.
pub fn draw_filters(folder: &Path, name: &str, frames: &[Sample], train: &[TileRef], spec: &Spec) -> Result<()> {
    let Input { size, channels, filters, .. } = &spec.input;
    if filters.is_empty() {
        return Ok(());
    }
    let mut tiles = Vec::new();
    for tile in evenly(train, FILTERED).iter().take(FILTERED) {
        let Sample { prepared, source, index, .. } = &frames[tile.sample];
        let mut pixels = vec![0.0; channels * size * size];
        prepared.copy_tile(prepared.tiles[tile.tile], *size, &mut pixels);
        let source = source.file_name().unwrap_or_default().to_string_lossy();
        let values = Values { width: *size, height: *size, channels: *channels, pixels: &pixels };
        tiles.extend(seen(values, vec![format!("{source} #{index}")], filters));
    }
    write(&folder.join("filters.png"), &filters::sheet(format!("{name}: what the encoder sees"), &tiles, filters))
}

/// The frame with a single tile of it left to do: another one each time, so that a sheet of large frames shows variety.
fn one_tile(prepared: &Prepared, count: usize) -> Prepared {
    let corner = prepared.tiles[(count * 7) % prepared.tiles.len()];
    Prepared { tiles: vec![corner], ..prepared.clone() }
}

fn side_of(len: usize, channels: usize) -> usize {
    (len / channels).isqrt()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Failure::io(path, error))
}
