//! What a segmenter learns: tiles with something anomalous in them, each kind as often, and as many without.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Segmenter;
use super::masked::{Masked, Parts};
use crate::error::Result;
use crate::model::FeedForward;
use crate::model::device::Device;
use crate::model::masks::MaskLoss;
use crate::model::unet::beside;
use crate::pipeline::{self, Spec};
use crate::segment::BATCH;
use crate::stats::pixels::{PixelTally, best_threshold};
use crate::train::chain::{self as loops, Batch, Event, Goal, History, Judgement, Lesson, Plan};
use crate::train::fit::{TileRef, evenly, tiles_of};

/// Most validation tiles an epoch is judged by.
const JUDGED: usize = 1024;
/// The threshold, should validation not have an anomalous pixel.
const EVEN: f32 = 0.5;

/// Fits a segmenter to masked frames; the threshold is that of the highest Dice coefficient on validation,
/// the mean over the kinds.
///
/// # Errors
/// See [`loops::fit`].
pub fn fit(
    (spec, segmenter): (&Spec, &pipeline::Segmenter),
    (set, parts): (&Masked, &Parts),
    device: Device,
    (stop, on): (&AtomicBool, &mut dyn FnMut(Event)),
) -> Result<(Segmenter, History)> {
    let lesson = Tiles::new((spec, segmenter), (set, parts));
    let plan = Plan::of(&segmenter.unet(spec), &spec.training);
    let mut network = FeedForward::new(beside(spec, &segmenter.unet(spec), 1)?, plan.seed, device)?;
    let history = loops::fit(&mut network, &plan, &lesson, stop, on)?;
    let mut fitted = Segmenter { network, size: spec.input.size, threshold: EVEN };
    let mut kinds: BTreeMap<&str, PixelTally> = BTreeMap::new();
    for &index in &parts.validation {
        let tally = kinds.entry(&set.kinds[index]).or_default();
        tally.add(&fitted.apply(&set.frames[index].prepared)?, &set.masks[index]);
    }
    fitted.threshold = best_threshold(kinds.values()).unwrap_or(EVEN);
    Ok((fitted, history))
}

struct Tiles<'a> {
    set: &'a Masked,
    size: usize,
    law: MaskLoss,
    /// Tiles with an anomalous pixel, by kind: the kinds take turns, so that one which fills frames does not crowd out the others.
    touched: Vec<Vec<TileRef>>,
    /// Tiles without.
    untouched: Vec<TileRef>,
    judged: Vec<TileRef>,
}

impl<'a> Tiles<'a> {
    fn new((spec, segmenter): (&Spec, &pipeline::Segmenter), (set, parts): (&'a Masked, &Parts)) -> Self {
        let law = MaskLoss { positive_weight: segmenter.positive_weight, dice: segmenter.dice };
        let size = spec.input.size;
        let mut tiles = Self { set, size, law, touched: Vec::new(), untouched: Vec::new(), judged: Vec::new() };
        (tiles.touched, tiles.untouched) = tiles.part(&parts.train);
        let (touched, untouched) = tiles.part(&parts.validation);
        let half = JUDGED / 2;
        tiles.judged = evenly(&untouched, half);
        touched.iter().for_each(|kind| tiles.judged.extend(evenly(kind, half.div_ceil(touched.len()))));
        tiles
    }

    /// Tiles with something in them, by kind, and those without.
    fn part(&self, frames: &[usize]) -> (Vec<Vec<TileRef>>, Vec<TileRef>) {
        let mut room = vec![0.0; self.size * self.size];
        let (touched, untouched): (Vec<TileRef>, Vec<TileRef>) =
            tiles_of(&self.set.frames, frames).into_iter().partition(|tile| {
                self.copy_mask(tile, &mut room);
                room.contains(&1.0)
            });
        let mut kinds: BTreeMap<&str, Vec<TileRef>> = BTreeMap::new();
        touched.into_iter().for_each(|tile| kinds.entry(&self.set.kinds[tile.sample]).or_default().push(tile));
        (kinds.into_values().collect(), untouched)
    }

    /// One of them with something in it and one without by turns, drawn anew each time.
    fn draw(&self, item: usize, random: &mut ChaCha8Rng) -> TileRef {
        let kind = &self.touched[item / 2 % self.touched.len()];
        let tiles = if item.is_multiple_of(2) || self.untouched.is_empty() { kind } else { &self.untouched };
        tiles[random.random_range(0..tiles.len())]
    }

    fn copy_mask(&self, tile: &TileRef, out: &mut [f32]) {
        let (frame, mask) = (&self.set.frames[tile.sample].prepared, &self.set.masks[tile.sample]);
        let (x, y) = frame.tiles[tile.tile];
        for (row, line) in out.chunks_exact_mut(self.size).enumerate() {
            let start = (y + row) * frame.width + x;
            line.iter_mut().zip(&mask[start..]).for_each(|(out, &inside)| *out = f32::from(u8::from(inside)));
        }
    }

    /// Tiles and their masks, `[N, C, S, S]` and `[N, 1, S, S]`.
    fn both(&self, tiles: &[TileRef]) -> [Vec<f32>; 2] {
        let plane = self.size * self.size;
        let channels = self.set.frames.first().map_or(1, |frame| frame.prepared.channels);
        let (mut x, mut masks) = (vec![0.0; tiles.len() * channels * plane], vec![0.0; tiles.len() * plane]);
        let rooms = x.chunks_exact_mut(channels * plane).zip(masks.chunks_exact_mut(plane));
        for (tile, (x, mask)) in tiles.iter().zip(rooms) {
            let frame = &self.set.frames[tile.sample].prepared;
            frame.copy_tile(frame.tiles[tile.tile], self.size, x);
            self.copy_mask(tile, mask);
        }
        [x, masks]
    }
}

impl Lesson for Tiles<'_> {
    fn count(&self) -> usize {
        2 * self.touched.iter().map(Vec::len).sum::<usize>()
    }

    fn batch(&self, items: &[usize], random: &mut ChaCha8Rng) -> Batch<'_> {
        let tiles: Vec<TileRef> = items.iter().map(|&item| self.draw(item, random)).collect();
        let [x, masks] = self.both(&tiles);
        Batch { x, goal: Goal::Masks(masks, self.law) }
    }

    fn judge(&self, network: &FeedForward) -> Result<Judgement> {
        let (plane, mut loss) = (self.size * self.size, 0.0);
        for tiles in self.judged.chunks(BATCH) {
            let [x, masks] = self.both(tiles);
            let output = network.forward(&x)?;
            let images = masks.chunks_exact(plane).zip(output.chunks_exact(plane));
            loss += images.map(|(mask, logits)| self.law.value(mask, logits)).sum::<f64>();
        }
        Ok(Judgement { loss: loss / self.judged.len().max(1) as f64, accuracy: None })
    }
}
