//! The shares of labelled frames, and what a network learns from them.

use rand_chacha::ChaCha8Rng;

use super::card::Part;
use super::lens::Lens;
use super::set::Labelled;
use crate::error::{Failure, Kind, Result};
use crate::model::FeedForward;
use crate::stats::classes::{cross_entropy, largest, softmax};
use crate::train::chain::{Batch, Goal, Judgement, Lesson};

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

/// Refuses, before any work, kinds that cannot be learnt or judged.
///
/// # Errors
/// [`Kind::Data`] naming the kind and what it lacks.
pub fn check(classes: &[String], train: &Share, validation: &Share) -> Result<()> {
    let wrong = |what: String| Err(Failure::new(Kind::Data, what));
    if classes.len() < 2 {
        return wrong(format!("one kind only, {}: there is nothing to tell apart", classes.join(", ")));
    }
    for (share, name) in [(train, "train"), (validation, "validation")] {
        let counts = share.counts(classes.len());
        if let Some((class, _)) = classes.iter().zip(counts).find(|(_, count)| *count == 0) {
            return Err(Failure::new(Kind::Data, format!("no {name} frame is of the kind {class:?}"))
                .hint("give more frames of it, or another --split"));
        }
    }
    Ok(())
}

/// What a classifier learns.
pub struct Course<'a> {
    train: &'a Share,
    validation: &'a Share,
    image: usize,
}

impl<'a> Course<'a> {
    /// From one share, judged by the other; both seen through the lens, images of `image` values.
    pub fn new(train: &'a mut Share, validation: &'a mut Share, lens: &Lens, size: usize) -> Self {
        lens.apply(&mut train.x, size);
        lens.apply(&mut validation.x, size);
        Self { train, validation, image: size * size * lens.offset.len() }
    }
}

impl Lesson for Course<'_> {
    fn count(&self) -> usize {
        self.train.truths.len()
    }

    fn batch(&self, items: &[usize], _: &mut ChaCha8Rng) -> Batch<'_> {
        let image = |&at: &usize| &self.train.x[at * self.image..(at + 1) * self.image];
        Batch {
            x: items.iter().flat_map(image).copied().collect(),
            goal: Goal::Classes(items.iter().map(|&at| self.train.truths[at]).collect()),
        }
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
