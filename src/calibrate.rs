//! From components to a p-value: tails fitted on validation, then a frozen score ranked among calibration frames.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::components::Component;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::{self, Combine, Reduction};
use crate::reference::Components;
use crate::stats::conformal::{self, Certificate};
use crate::stats::gpd::GpdTail;
use crate::stats::tail::{Sides, Tail};

/// The tails of normal tiles and frames, and with them the score: everything that is frozen before calibration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tails {
    /// Of each component over validation tiles.
    tile: BTreeMap<Component, Tail>,
    /// Of each component's mean over a frame's tiles, over validation frames.
    mean: BTreeMap<Component, Tail>,
    /// Of each component's standard deviation over a frame's tiles, over validation frames.
    spread: BTreeMap<Component, Tail>,
    /// Of the combined tile score, over validation tiles.
    tile_score: Tail,
    /// Of the reduced tile score, over validation frames; only where frame components stand beside it.
    reduced: Option<Tail>,
}

impl Tails {
    /// Before the fit: every value is normal.
    pub fn unfitted() -> Self {
        let tile_score = Tail::fit(&[], Sides::Upper);
        Self { tile: BTreeMap::new(), mean: BTreeMap::new(), spread: BTreeMap::new(), tile_score, reduced: None }
    }

    /// Fits to the tiles of each validation frame.
    pub fn fit(frames: &[Vec<Components>], score: &pipeline::Score) -> Self {
        let fit_each = |values: &dyn Fn(usize) -> Vec<f64>, sides: &dyn Fn(Component) -> Sides| {
            Component::ALL
                .iter()
                .enumerate()
                .map(|(at, &component)| (component, Tail::fit(&values(at), sides(component))))
                .collect()
        };
        let tile = fit_each(&|at| frames.iter().flatten().map(|tile| tile[at]).collect(), &sides);
        let mean = fit_each(&|at| frames.iter().map(|tiles| moments(tiles, at).0).collect(), &|_| Sides::Two);
        let spread = fit_each(&|at| frames.iter().map(|tiles| moments(tiles, at).1).collect(), &|_| Sides::Two);
        let mut tails = Self { tile, mean, spread, ..Self::unfitted() };
        let tile_scores: Vec<f64> = frames.iter().flatten().map(|tile| tails.tile_score(tile, score)).collect();
        tails.tile_score = Tail::fit(&tile_scores, Sides::Upper);
        if !(score.frame_means.is_empty() && score.frame_spreads.is_empty()) {
            let reduced: Vec<f64> = frames.iter().map(|tiles| tails.reduced_score(tiles, score)).collect();
            tails.reduced = Some(Tail::fit(&reduced, Sides::Upper));
        }
        tails
    }

    /// `-ln p` of one component of a tile.
    pub fn component_score(&self, tile: &Components, component: Component) -> f64 {
        self.tile.get(&component).map_or(0.0, |tail| tail.minus_log_p(tile[component as usize]))
    }

    /// `-ln p` of one component's mean over a frame's tiles, two-sided.
    pub fn mean_score(&self, tiles: &[Components], component: Component) -> f64 {
        self.mean.get(&component).map_or(0.0, |tail| tail.minus_log_p(moments(tiles, component as usize).0))
    }

    /// `-ln p` of one component's standard deviation over a frame's tiles, two-sided.
    pub fn spread_score(&self, tiles: &[Components], component: Component) -> f64 {
        self.spread.get(&component).map_or(0.0, |tail| tail.minus_log_p(moments(tiles, component as usize).1))
    }

    /// Combined score of a tile.
    pub fn tile_score(&self, tile: &Components, score: &pipeline::Score) -> f64 {
        let weight = |component| score.weights.get(&component).copied().unwrap_or(1.0);
        combine(score.combine, score.components.iter().map(|&c| weight(c) * self.component_score(tile, c)))
    }

    /// How much a tile stands out in whatever the score goes by: the largest `-ln p` of its components, those among them whose mean or
    /// spread over the frame counts.
    pub fn evidence(&self, tile: &Components, score: &pipeline::Score) -> f64 {
        let weight = |component: &Component| score.weights.get(component).copied().unwrap_or(1.0);
        let each =
            score.wanted().into_iter().map(|component| weight(&component) * self.component_score(tile, component));
        each.fold(0.0, f64::max)
    }

    /// Share of normal tiles with a combined score at least this high.
    pub fn tile_tail(&self, score: f64) -> f64 {
        (-self.tile_score.minus_log_p(score)).exp()
    }

    /// Combined score of a frame: the reduction of its tiles, and its frame components beside it.
    pub fn frame_score(&self, tiles: &[Components], score: &pipeline::Score) -> f64 {
        let reduced = self.reduced_score(tiles, score);
        match &self.reduced {
            None => reduced,
            Some(tail) => {
                let means = score.frame_means.iter().map(|&component| self.mean_score(tiles, component));
                let spreads = score.frame_spreads.iter().map(|&component| self.spread_score(tiles, component));
                let whole = means.chain(spreads).map(|term| score.frame_weight * term);
                combine(score.combine, std::iter::once(tail.minus_log_p(reduced)).chain(whole))
            }
        }
    }

    fn reduced_score(&self, tiles: &[Components], score: &pipeline::Score) -> f64 {
        reduce(tiles.iter().map(|tile| self.tile_score(tile, score)).collect(), score.reduction)
    }
}

/// Too simple an image is odd as well; a distance is odd only when it is large.
fn sides(component: Component) -> Sides {
    match component {
        Component::ReconstructionNll | Component::Brightness => Sides::Two,
        _ => Sides::Upper,
    }
}

/// Mean and standard deviation of a component over a frame's tiles.
fn moments(tiles: &[Components], at: usize) -> (f64, f64) {
    let count = tiles.len().max(1) as f64;
    let mean = tiles.iter().map(|tile| tile[at]).sum::<f64>() / count;
    let variance = tiles.iter().map(|tile| (tile[at] - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

fn combine(how: Combine, terms: impl Iterator<Item = f64>) -> f64 {
    match how {
        Combine::Sum => terms.sum(),
        Combine::Max => terms.fold(0.0, f64::max),
    }
}

/// Reduces the values of a frame's tiles to one.
pub fn reduce(mut values: Vec<f64>, how: Reduction) -> f64 {
    let count = match how {
        Reduction::Max => 1,
        Reduction::TopMean(count) => count,
    };
    values.sort_by(|a, b| b.total_cmp(a));
    values.truncate(count);
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The calibration frames' scores, and what they promise.
#[derive(Debug, Clone)]
pub struct Calibration {
    sorted: Vec<f64>,
    certificate: Certificate,
    beyond: Option<GpdTail>,
    /// What was asked for.
    pub asked: pipeline::Calibration,
}

impl Calibration {
    /// Ranks the scores of calibration frames.
    ///
    /// # Errors
    /// [`Kind::Data`] with the number needed, when there are too few for alpha and delta.
    pub fn new(mut scores: Vec<f64>, asked: pipeline::Calibration) -> Result<Self> {
        scores.sort_by(f64::total_cmp);
        let certificate =
            conformal::threshold(&scores, asked.alpha, asked.delta).map_err(|_| too_few(scores.len(), asked))?;
        Ok(Self { beyond: GpdTail::fit(&scores), certificate, sorted: scores, asked })
    }

    /// The flagging threshold: a frame is anomalous when its score is above it.
    pub fn threshold(&self) -> f64 {
        self.certificate.threshold
    }

    /// What the threshold promises.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Calibration frames.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The calibration frames' scores, ascending.
    pub fn scores(&self) -> &[f64] {
        &self.sorted
    }

    /// p-value of a score, and whether it lies beyond every calibration frame (then an extrapolated estimate).
    pub fn p_value(&self, score: f64) -> (f64, bool) {
        let ranked = conformal::p_value(&self.sorted, score);
        let beyond = self.sorted.last().is_some_and(|&largest| score > largest);
        match &self.beyond {
            Some(tail) if beyond => (tail.p(score).min(ranked), true),
            _ => (ranked, false),
        }
    }
}

/// Refuses a calibration too small for its alpha.
///
/// # Errors
/// [`Kind::Data`] with the number needed.
pub fn check_count(count: usize, asked: pipeline::Calibration) -> Result<()> {
    if count < conformal::smallest_n(asked.alpha, asked.delta) { Err(too_few(count, asked)) } else { Ok(()) }
}

fn too_few(count: usize, asked: pipeline::Calibration) -> Failure {
    let needed = conformal::smallest_n(asked.alpha, asked.delta);
    Failure::new(
        Kind::Data,
        format!(
            "{count} calibration frames cannot certify a false-alarm rate of {} with confidence {}: that takes {needed}",
            asked.alpha,
            1.0 - asked.delta
        ),
    )
    .hint("give more normal frames, a larger third share in training.split (train, validation, calibration), or a larger calibration.alpha")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions() {
        assert_eq!(reduce(vec![1.0, 5.0, 3.0], Reduction::Max), 5.0);
        assert_eq!(reduce(vec![1.0, 5.0, 3.0], Reduction::TopMean(2)), 4.0);
        assert_eq!(reduce(vec![2.0], Reduction::TopMean(4)), 2.0);
    }

    #[test]
    fn components_are_their_own_index() {
        assert!(Component::ALL.iter().enumerate().all(|(at, &component)| component as usize == at));
    }
}
