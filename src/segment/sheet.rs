//! Held-out frames with their truth, what the segmenter marks and what the residual does: `segmentation.png`.

use std::collections::HashMap;

use super::masked::Masked;
use crate::draw::Values;
use crate::draw::colour::{BLUE, GREEN, ORANGE, VERMILION};
use crate::draw::contour::{Marks, contour};
use crate::draw::panel::heated;
use crate::draw::sheet::{Heading, Tile, contact_sheet, thumbnail};
use crate::prepare::Prepared;
use crate::segment::Mark;

/// Frames of each kind that are shown, beside each other.
const EACH: usize = 2;
/// Side of the part of a frame that is shown, pixels.
const CROP: usize = 128;
/// Side of a picture, pixels.
const SIDE: usize = 256;

/// The frames to be shown, with their maps as soon as these are there.
pub struct Shown<'a> {
    set: &'a Masked,
    /// By kind.
    chosen: Vec<usize>,
    maps: HashMap<usize, [Vec<f32>; 2]>,
}

impl<'a> Shown<'a> {
    /// The first frames of each kind.
    pub fn new(set: &'a Masked, held: &[usize]) -> Self {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let mut chosen: Vec<usize> = held.to_vec();
        chosen.retain(|&index| {
            let count = counts.entry(&set.kinds[index]).or_default();
            *count += 1;
            *count <= EACH
        });
        chosen.sort_by_key(|&index| &set.kinds[index]);
        Self { set, chosen, maps: HashMap::new() }
    }

    /// The segmenter's map and the residual of a frame.
    pub fn take(&mut self, index: usize, map: Vec<f32>, residual: Vec<f32>) {
        if self.chosen.contains(&index) {
            self.maps.insert(index, [map, residual]);
        }
    }
}

/// A part of a frame.
#[derive(Clone, Copy)]
struct Part {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

/// The contact sheet, at the thresholds of both maps.
pub fn sheet(shown: &Shown, thresholds: [f32; 2]) -> Vec<u8> {
    let mut tiles = Vec::new();
    for index in &shown.chosen {
        if let Some(maps) = shown.maps.get(index) {
            row(&mut tiles, shown.set, *index, maps, thresholds);
        }
    }
    let heading = Heading {
        title: "Held-out frames: truth, the segmenter's mask, the residual's at the same share of false pixels".into(),
        lines: vec![
            format!("at most {CROP}x{CROP} pixels around the anomaly; frames linearly between their own percentiles, in the model's units"),
            "the probability of an anomaly from 0 to 1; the smoothed residual in units of the noise, black to white 0 to 10".into(),
        ],
        legend: vec![
            (GREEN, "truth".into()),
            (VERMILION, "marked by the segmenter".into()),
            (ORANGE, "by the residual".into()),
        ],
    };
    contact_sheet(&heading, &tiles, EACH * 4)
}

fn row(tiles: &mut Vec<Tile>, set: &Masked, index: usize, maps: &[Vec<f32>; 2], thresholds: [f32; 2]) {
    let (frame, truth) = (&set.frames[index], &set.masks[index]);
    let part = around(&frame.prepared, truth);
    let width = frame.prepared.width;
    let seen = cut(&frame.prepared.pixels, (width, frame.prepared.height), part);
    let values = Values { width: part.width, height: part.height, channels: frame.prepared.channels, pixels: &seen };
    let truth = cut_mask(truth, width, part);
    let mut whole = thumbnail(values);
    contour(&mut whole, Marks { width: part.width, inside: &truth }, GREEN);
    let name = frame.source.file_name().unwrap_or_default().to_string_lossy().into_owned();
    tiles.push(Tile { image: thumbnail(values), caption: vec![name, set.kinds[index].clone()], border: BLUE });
    let pixels = format!("{} pixels in the frame", set.masks[index].iter().filter(|inside| **inside).count());
    tiles.push(Tile { image: whole, caption: vec!["truth".into(), pixels], border: GREEN });
    let kinds = [("segmenter", 1.0, VERMILION), ("residual", 10.0, ORANGE)];
    for (((name, highest, colour), map), threshold) in kinds.into_iter().zip(maps).zip(thresholds) {
        let there = cut(map, (width, frame.prepared.height), part);
        let mut image = heated(Values::grey(part.width, part.height, &there), SIDE, highest);
        let inside: Vec<bool> = there.iter().map(|&value| value >= threshold).collect();
        contour(&mut image, Marks { width: part.width, inside: &inside }, colour);
        let area = Mark::of(map, width, threshold).area;
        let caption = vec![name.into(), format!("{area} pixels above {threshold:.3}")];
        tiles.push(Tile { image, caption, border: colour });
    }
}

/// The part around the anomalous pixel nearest to their centre, or the middle.
fn around(frame: &Prepared, mask: &[bool]) -> Part {
    let places: Vec<[f64; 2]> = (0..mask.len())
        .filter(|&at| mask[at])
        .map(|at| [(at % frame.width) as f64, (at / frame.width) as f64])
        .collect();
    let centre = [0, 1].map(|axis| places.iter().map(|place| place[axis]).sum::<f64>() / places.len().max(1) as f64);
    let far = |place: &[f64; 2]| (place[0] - centre[0]).powi(2) + (place[1] - centre[1]).powi(2);
    let middle = [frame.width as f64 / 2.0, frame.height as f64 / 2.0];
    let [x, y] = places.iter().copied().min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or(middle);
    let (width, height) = (frame.width.min(CROP), frame.height.min(CROP));
    let start = |at: f64, side: usize, length: usize| (at as usize).saturating_sub(side / 2).min(length - side);
    Part { x: start(x, width, frame.width), y: start(y, height, frame.height), width, height }
}

/// A part of `[channels, height, width]`.
fn cut(pixels: &[f32], (width, height): (usize, usize), part: Part) -> Vec<f32> {
    let planes = pixels.chunks_exact(width * height);
    planes.flat_map(|plane| lines(plane, width, part).flatten().copied().collect::<Vec<_>>()).collect()
}

fn cut_mask(mask: &[bool], width: usize, part: Part) -> Vec<bool> {
    lines(mask, width, part).flatten().copied().collect()
}

fn lines<T>(plane: &[T], width: usize, part: Part) -> impl Iterator<Item = &[T]> {
    plane.chunks_exact(width).skip(part.y).take(part.height).map(move |line| &line[part.x..part.x + part.width])
}
