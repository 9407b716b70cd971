//! The shares of labelled frames, and what a network learns from them.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::card::Part;
use super::lens::Lens;
use super::set::{Labelled, Left};
use crate::error::{Failure, Kind, Result};
use crate::model::FeedForward;
use crate::stats::classes::{cross_entropy, largest, softmax};
use crate::train::augment::Augmenter;
use crate::train::chain::{Batch, Goal, Judgement, Lesson};

/// Frames of a kind below which hardly anything is learnt of it.
const FEW_TAUGHT: usize = 20;
/// The same for judging it.
const FEW_JUDGED: usize = 5;

/// A window is moved by up to this part of its side.
const REACH: usize = 16;

/// Frames of one share, as the network sees them.
#[derive(Debug)]
pub struct Share {
    /// How many, and which.
    pub part: Part,
    /// Their tiles, `[N, C, S, S]`.
    pub x: Vec<f32>,
    /// Their places among the classes.
    pub truths: Vec<u32>,
}

impl Share {
    /// Takes the frames with these numbers, in the model's units.
    pub fn take(labelled: &Labelled, indices: &[usize], classes: &[String], size: usize) -> Self {
        let mut digest = blake3::Hasher::new();
        for &at in indices {
            digest.update(labelled.frames[at].digest.as_bytes());
        }
        let place = |kind: &String| classes.iter().position(|class| class == kind).unwrap_or_default() as u32;
        Self {
            part: Part { frames: indices.len(), digest: digest.finalize().to_hex().to_string() },
            x: indices.iter().flat_map(|&at| labelled.tile(at, size)).collect(),
            truths: indices.iter().map(|&at| place(&labelled.kinds[at])).collect(),
        }
    }

    /// The names of its truths.
    pub fn kinds<'a>(&self, classes: &'a [String]) -> Vec<&'a str> {
        self.truths.iter().map(|&truth| classes[truth as usize].as_str()).collect()
    }

    /// Frames of each class.
    fn counts(&self, classes: usize) -> Vec<usize> {
        let mut counts = vec![0; classes];
        self.truths.iter().for_each(|&truth| counts[truth as usize] += 1);
        counts
    }
}

/// Refuses, before any work, kinds that cannot be learnt or judged, and warns of those that hardly can.
///
/// # Errors
/// [`Kind::Data`] naming the kind and what it lacks.
pub fn check(classes: &[String], left: &Left, train: &Share, validation: &Share) -> Result<()> {
    if classes.len() < 2 {
        let message = format!("one kind only, {}: there is nothing to tell apart ({left})", classes.join(", "));
        return Err(Failure::new(Kind::Data, message).hint("give frames of more kinds"));
    }
    for (share, name, few) in [(train, "train", FEW_TAUGHT), (validation, "validation", FEW_JUDGED)] {
        for (kind, frames) in classes.iter().zip(share.counts(classes.len())) {
            if frames == 0 {
                return Err(Failure::new(Kind::Data, format!("no {name} frame is of the kind {kind:?} ({left})"))
                    .hint("give more frames of it, or another --split"));
            }
            if frames < few {
                tracing::warn!(kind, frames, "hardly any {name} frames of this kind: {few} or more tell something");
            }
        }
    }
    Ok(())
}

/// What a classifier learns.
pub struct Course<'a> {
    train: &'a Share,
    validation: &'a Share,
    image: usize,
    moved: Option<Moved<'a>>,
}

/// The frames learnt from, for batches that show them as they might as well have been taken.
pub struct Moved<'a> {
    /// What is done to them; a window in a larger frame is moved besides, by whole pixels: it might have lain there.
    pub augmenter: Option<Augmenter>,
    /// Where they are.
    pub labelled: &'a Labelled,
    /// Which of them fit the weights, in the order of the share.
    pub indices: &'a [usize],
    /// What the network sees them through.
    pub lens: &'a Lens,
    /// Pixels a side.
    pub size: usize,
}

impl Moved<'_> {
    /// Items of a batch, each with a draw of its own, `[N, C, S, S]`.
    fn batch(&self, items: &[usize], image: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
        let first: u64 = random.random();
        let corners: Vec<_> = items.iter().map(|&item| self.corner(self.indices[item], random)).collect();
        let mut x = vec![0.0; items.len() * image];
        x.par_chunks_exact_mut(image).zip(items).enumerate().for_each(|(at, (out, &item))| {
            let (prepared, corner) = (&self.labelled.frames[self.indices[item]].prepared, corners[at]);
            match &self.augmenter {
                Some(augmenter) => augmenter.tile(prepared, corner, first.wrapping_add(at as u64), out),
                None => prepared.copy_tile(corner, self.size, out),
            }
        });
        self.lens.apply(&mut x, self.size);
        x
    }

    /// Where the window of a frame might as well lie.
    fn corner(&self, frame: usize, random: &mut ChaCha8Rng) -> (usize, usize) {
        let (prepared, (x, y)) = (&self.labelled.frames[frame].prepared, self.labelled.corners[frame]);
        let mut near = |start: usize, length: usize| {
            let reach = self.size / REACH;
            random.random_range(start.saturating_sub(reach)..=(start + reach).min(length - self.size))
        };
        (near(x, prepared.width), near(y, prepared.height))
    }
}

impl<'a> Course<'a> {
    /// From one share, judged by the other; both seen through the lens already, images of `image` values.
    pub fn new(train: &'a Share, validation: &'a Share, image: usize, moved: Option<Moved<'a>>) -> Self {
        Self { train, validation, image, moved }
    }
}

impl Lesson for Course<'_> {
    fn count(&self) -> usize {
        self.train.truths.len()
    }

    fn batch(&self, items: &[usize], random: &mut ChaCha8Rng) -> Batch<'_> {
        let image = |&at: &usize| &self.train.x[at * self.image..(at + 1) * self.image];
        let x = match &self.moved {
            Some(moved) => moved.batch(items, self.image, random),
            None => items.iter().flat_map(image).copied().collect(),
        };
        Batch { x, goal: Goal::Classes(items.iter().map(|&at| self.train.truths[at]).collect()) }
    }

    fn judge(&self, network: &FeedForward) -> Result<Judgement> {
        let logits = network.forward(&self.validation.x)?;
        let truths = &self.validation.truths;
        let rows = logits.chunks_exact(logits.len() / truths.len().max(1));
        let right = rows.zip(truths).filter(|(row, truth)| largest(&softmax(row, 1.0)).0 == **truth as usize).count();
        let accuracy = Some(right as f64 / truths.len().max(1) as f64);
        Ok(Judgement { loss: cross_entropy(&logits, truths, 1.0), accuracy })
    }
}
