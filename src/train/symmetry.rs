//! Whether a declared transformation is a symmetry of the data: it must leave the scores of normal frames as they are.
//!
//! A 6 upside down is a 9. Whoever declares that digits may be turned teaches the model a second digit, and frames that were
//! never seen among the normal ones; the scores of turned validation frames then tell.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::augment::Augmenter;
use super::data::Sample;
use crate::detector::Detector;
use crate::error::Result;
use crate::pipeline::Spec;
use crate::prepare::Prepared;
use crate::stats::two_sample::{KolmogorovSmirnov, kolmogorov_smirnov};

/// Most validation frames, and most of their tiles, that are transformed; fewest frames where they are large.
const MOST_FRAMES: usize = 512;
const MOST_TILES: usize = 1 << 14;
const FEWEST_FRAMES: usize = 20;
/// Frames examined at once: bounds their memory.
const FRAMES_AT_ONCE: usize = 32;
/// A transformation is no symmetry when chance changes the scores as much more seldom than this, all declared ones together.
const LEVEL: f64 = 0.01;

/// What a declared transformation does to the scores of validation frames.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Symmetry {
    /// Its key in `[training.augment]`.
    pub transformation: String,
    /// Validation frames compared.
    pub frames: usize,
    /// Scores of the transformed frames against those of the same frames untouched. What the two have in common makes
    /// chance differences smaller than the test allows for: `p_value` is an upper bound.
    #[serde(flatten)]
    pub test: KolmogorovSmirnov,
    /// Share of the untouched frames above the flagging threshold.
    pub flagged_before: f64,
    /// Share of the transformed ones.
    pub flagged_after: f64,
    /// The scores changed by more than chance explains.
    pub changes_scores: bool,
}

impl Symmetry {
    /// Whether it was declared as a symmetry, and is none. Noise and hidden rectangles are harm done on purpose.
    pub fn is_broken(&self) -> bool {
        self.changes_scores && !matches!(self.transformation.as_str(), "noise" | "mask")
    }
}

/// Compares the scores of validation frames before and after each declared transformation.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn examine(
    detector: &mut Detector,
    frames: &[Sample],
    validation: &[usize],
    spec: &Spec,
    threshold: f64,
) -> Result<Vec<Symmetry>> {
    let declared = spec.training.augment.declared();
    let chosen = choose(frames, validation);
    if declared.is_empty() || chosen.is_empty() {
        return Ok(Vec::new());
    }
    let flagged =
        |scores: &[f64]| scores.iter().filter(|&&score| score > threshold).count() as f64 / chosen.len() as f64;
    let before = scores(detector, &chosen, spec, &|frame, _| frame.clone())?;
    let mut symmetries = Vec::with_capacity(declared.len());
    for (name, augment) in &declared {
        let Some(augmenter) = Augmenter::examining(augment, spec) else { continue };
        let after = scores(detector, &chosen, spec, &|frame, number| augmenter.frame(frame, number))?;
        let Some(test) = kolmogorov_smirnov(&before, &after) else { continue };
        symmetries.push(Symmetry {
            transformation: (*name).to_string(),
            frames: chosen.len(),
            test,
            flagged_before: flagged(&before),
            flagged_after: flagged(&after),
            changes_scores: test.p_value < LEVEL / declared.len() as f64,
        });
    }
    Ok(symmetries)
}

/// Validation frames, evenly spread, as many as their tiles allow.
fn choose<'a>(frames: &'a [Sample], validation: &[usize]) -> Vec<&'a Prepared> {
    let tiles: usize = validation.iter().map(|&index| frames[index].prepared.tiles.len()).sum();
    let each = tiles.div_ceil(validation.len().max(1)).max(1);
    let count = (MOST_TILES / each).clamp(FEWEST_FRAMES, MOST_FRAMES);
    let count = count.min(validation.len());
    (0..count).map(|at| &frames[validation[at * validation.len() / count]].prepared).collect()
}

fn scores(
    detector: &mut Detector,
    frames: &[&Prepared],
    spec: &Spec,
    change: &(dyn Fn(&Prepared, u64) -> Prepared + Sync),
) -> Result<Vec<f64>> {
    let mut scores = Vec::with_capacity(frames.len());
    for (part, some) in frames.chunks(FRAMES_AT_ONCE).enumerate() {
        let number = |at: usize| (part * FRAMES_AT_ONCE + at) as u64;
        let changed: Vec<Prepared> = some.par_iter().enumerate().map(|(at, frame)| change(frame, number(at))).collect();
        let examined = detector.examine(&changed.iter().collect::<Vec<_>>())?;
        scores.extend(examined.iter().map(|frame| detector.fitted.tails.frame_score(&frame.tiles, &spec.score)));
    }
    Ok(scores)
}
