//! What the course of a fit says, in plain words. Every threshold is a named constant.

use serde::{Deserialize, Serialize};

use super::fit::{End, Epoch, History};
use crate::pipeline::Spec;

/// Over-trained: after the kept epoch validation rises by more than this share of all it had fallen, while train falls.
pub const OVER_TRAINED_RISE: f64 = 0.02;
/// Under-trained: the last quarter of the epochs brought more than this share of all that validation fell.
pub const UNDER_TRAINED_FALL: f64 = 0.10;
/// The gap between validation and train is wide beyond this many standard errors ...
pub const WIDE_GAP_ERRORS: f64 = 3.0;
/// ... where it is more than this share of all that validation fell.
pub const WIDE_GAP_SHARE: f64 = 0.05;
/// Posterior collapse: less than this share of the latent units is active.
pub const COLLAPSED_SHARE: f64 = 0.10;
/// Vanishing gradients: over most epochs the first layers' norm is below this share of the last layers'.
pub const VANISHING_RATIO: f64 = 1e-3;
/// Layers at either end of the network whose gradients are compared, their largest.
const ENDS: usize = 2;
/// Exploding: a step's gradient was this many times the typical epoch's mean.
pub const EXPLODING_FACTOR: f64 = 100.0;
/// Clipping sets the step where more than this share of the steps after the first epoch were clipped.
pub const CLIPPED_SHARE: f64 = 0.5;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Validation has stopped falling.
    Converged,
    /// Validation rises while train falls.
    OverTrained,
    /// Validation was still falling at the end.
    UnderTrained,
    /// The user stopped it.
    Interrupted,
    /// Validation frames are explained much worse than training frames.
    WideGap,
    /// The latent carries next to nothing.
    PosteriorCollapse,
    /// The first layers learn next to nothing.
    VanishingGradients,
    /// A step's gradient was huge, or no number.
    ExplodingGradients,
    /// Most steps were clipped.
    ClippedSteps,
}

/// One thing that the course of a fit says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub sign: Sign,
    /// In words, with the numbers and what to do.
    pub words: String,
}

impl Finding {
    /// Whether it asks for something to be done.
    pub fn is_warning(&self) -> bool {
        !matches!(self.sign, Sign::Converged | Sign::Interrupted)
    }
}

/// Validation loss minus that of training tiles judged the same way, at the kept epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gap {
    /// Nats a tile.
    pub nats: f64,
    /// In standard errors of the difference.
    pub errors: f64,
}

impl Gap {
    /// In words: `validation loss 0.512 nats a tile above that of train, 3.1 standard errors`.
    pub fn text(self) -> String {
        let side = if self.nats < 0.0 { "below" } else { "above" };
        let (nats, errors) = (self.nats.abs(), self.errors.abs());
        format!("validation loss {nats:.3} nats a tile {side} that of train, {errors:.1} standard errors")
    }
}

/// The gap at the kept epoch; `None` in histories that did not record it.
pub fn gap(history: &History, beta: f32) -> Option<Gap> {
    let kept = history.kept()?;
    let train = kept.train_judged?;
    let nats = kept.validation_loss(beta) - kept.train_loss(beta)?;
    let error = kept.validation_error.hypot(train.error);
    Some(Gap { nats, errors: if error > 0.0 { nats / error } else { 0.0 } })
}

/// All that the history says: how it ended first, then what is wrong.
pub fn diagnose(history: &History, spec: &Spec) -> Vec<Finding> {
    let beta = spec.model.beta;
    let ended = course(history, beta);
    let wrong = [
        wide_gap(history, beta),
        collapse(history, spec.model.is_variational()),
        vanishing(history),
        exploding(history),
        clipped(history, spec.training.clip_norm),
    ];
    ended.into_iter().chain(wrong.into_iter().flatten()).collect()
}

fn finding(sign: Sign, words: String) -> Option<Finding> {
    Some(Finding { sign, words })
}

/// All that validation fell: from the second epoch, since the first is mostly the start's, where there are enough.
fn fallen(epochs: &[Epoch], kept: &Epoch, beta: f32) -> f64 {
    let from = if epochs.len() > 4 { 1 } else { 0 };
    epochs.get(from).map_or(0.0, |epoch| epoch.validation_loss(beta) - kept.validation_loss(beta)).max(0.0)
}

/// Converged, over-trained, under-trained or interrupted.
fn course(history: &History, beta: f32) -> Option<Finding> {
    let (epochs, kept) = (&history.epochs, history.kept()?);
    let last = epochs.last()?;
    let all = fallen(epochs, kept, beta);
    let train = |epoch: &Epoch| epoch.train_loss(beta).unwrap_or_else(|| epoch.running_loss(beta));
    let (rise, learned) = (last.validation_loss(beta) - kept.validation_loss(beta), train(kept) - train(last));
    if rise > OVER_TRAINED_RISE * all && learned > 0.0 && last.epoch > kept.epoch {
        return finding(
            Sign::OverTrained,
            format!(
                "over-trained after epoch {}: validation rises by {rise:.3} nats a tile while train falls by {learned:.3}. \
                 The weights kept are those of epoch {}; more normal frames, augmentation or weight decay would carry it \
                 further",
                kept.epoch, kept.epoch
            ),
        );
    }
    if history.end == End::Interrupted {
        return finding(Sign::Interrupted, format!("interrupted after {} epochs", epochs.len()));
    }
    let quarter = epochs.len().div_ceil(4);
    let recent = epochs.len().checked_sub(1 + quarter).map(|from| epochs[from].validation_loss(beta));
    let falling = recent.map_or(f64::INFINITY, |from| from - last.validation_loss(beta));
    if history.end == End::Epochs && falling > UNDER_TRAINED_FALL * all {
        let brought = match recent {
            None => "one epoch says nothing about where it leads".to_string(),
            Some(_) => format!(
                "the last {quarter} of {} epochs still brought {falling:.3} of the {all:.3} nats a tile",
                epochs.len()
            ),
        };
        let words = format!("under-trained: {brought}. Raise training.epochs");
        return finding(Sign::UnderTrained, words);
    }
    let why = match history.end {
        End::EarlyStop => format!("no better epoch in the {} after it", last.epoch - kept.epoch),
        _ => format!("the last {quarter} epochs brought {:.3} nats a tile", falling.max(0.0)),
    };
    finding(Sign::Converged, format!("converged: epoch {} is the best of {}, {why}", kept.epoch, epochs.len()))
}

fn wide_gap(history: &History, beta: f32) -> Option<Finding> {
    let gap = gap(history, beta)?;
    let all = fallen(&history.epochs, history.kept()?, beta);
    if gap.errors <= WIDE_GAP_ERRORS || gap.nats <= WIDE_GAP_SHARE * all {
        return None;
    }
    let words = format!(
        "wide gap: {}. The model knows its training frames by heart: more normal frames, augmentation, weight decay or a smaller \
         model",
        gap.text()
    );
    finding(Sign::WideGap, words)
}

fn collapse(history: &History, is_variational: bool) -> Option<Finding> {
    let active = history.kept()?.active_units;
    // Versions that did not record the latent say only whether anything is active.
    let units = history.latent.variance.len().max(1);
    if !is_variational || active as f64 >= COLLAPSED_SHARE * units as f64 {
        return None;
    }
    let of = if history.latent.variance.is_empty() { String::new() } else { format!(" of {units}") };
    let words = format!(
        "posterior collapse: {active}{of} latent units are active, the others carry nothing; lower model.beta, raise \
         training.warmup_epochs, ask for fewer units, or check that input.scaling leaves something to see"
    );
    finding(Sign::PosteriorCollapse, words)
}

/// Norm of the first and of the last layers, the largest of each end.
fn ends(gradients: &[f64]) -> Option<(f64, f64)> {
    let largest = |norms: &[f64]| norms.iter().copied().fold(0.0, f64::max);
    let (first, last) = (gradients.get(..ENDS)?, gradients.len().checked_sub(ENDS)?);
    Some((largest(first), largest(&gradients[last..])))
}

/// Norm of the first layers' gradient over that of the last layers', the median of the epochs; `None` in histories that did not
/// record it.
pub fn gradient_ratio(history: &History) -> Option<f64> {
    let ends = history.epochs.iter().filter_map(|epoch| ends(&epoch.layer_gradients));
    median(&mut ends.filter(|ends| ends.1 > 0.0).map(|(first, last)| first / last).collect::<Vec<_>>())
}

fn vanishing(history: &History) -> Option<Finding> {
    let ratio = gradient_ratio(history)?;
    if ratio >= VANISHING_RATIO {
        return None;
    }
    let words = format!(
        "vanishing gradients: the first layers' norm is {ratio:.1e} of the last layers' in the typical epoch, so they hardly \
         learn; use normalisation (model.norm), fewer stages, or a lower model.beta where the posterior has collapsed"
    );
    finding(Sign::VanishingGradients, words)
}

fn exploding(history: &History) -> Option<Finding> {
    let lost: usize = history.epochs.iter().map(|epoch| epoch.lost_steps).sum();
    if lost > 0 {
        let words =
            format!("exploding gradients: in {lost} steps the gradient was no number; lower training.learning_rate");
        return finding(Sign::ExplodingGradients, words);
    }
    let typical = median(&mut history.epochs.iter().map(|epoch| epoch.gradient_norm).collect::<Vec<_>>())?;
    // The first epoch starts far from anywhere.
    let later = history.epochs.iter().skip(1);
    let worst = later.max_by(|a, b| a.largest_gradient.total_cmp(&b.largest_gradient))?;
    if worst.largest_gradient <= EXPLODING_FACTOR * typical {
        return None;
    }
    let words = format!(
        "exploding gradients: a step of epoch {} had a norm of {:.3e}, {:.0} times the typical epoch's mean; lower \
         training.learning_rate or training.clip_norm",
        worst.epoch,
        worst.largest_gradient,
        worst.largest_gradient / typical
    );
    finding(Sign::ExplodingGradients, words)
}

fn clipped(history: &History, clip_norm: f32) -> Option<Finding> {
    let later = history.epochs.get(1..).filter(|later| !later.is_empty())?;
    let share = later.iter().map(|epoch| epoch.clipped).sum::<f64>() / later.len() as f64;
    if share <= CLIPPED_SHARE {
        return None;
    }
    let words = format!(
        "clipped steps: {:.0} % of the steps after the first epoch were clipped to training.clip_norm = {clip_norm}: it, not \
         the gradient, sets their length; raise it, or lower training.learning_rate",
        100.0 * share
    );
    finding(Sign::ClippedSteps, words)
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
#[path = "diagnosis_tests.rs"]
mod tests;
