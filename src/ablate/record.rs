//! What trainings came to: runs, their spread over the seeds, and what an option does to each figure.

use serde::{Deserialize, Serialize};

use super::variants::{Choice, Variant};

/// What one training came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// Validation loss of the kept epoch at the variant's own beta, nats a tile.
    pub validation_loss: f64,
    /// Its reconstruction term alone, nats a tile.
    pub validation_nll: f64,
    /// Validation loss minus that of training tiles judged the same way, nats a tile.
    pub gap: Option<f64>,
    /// Area under the ROC curve, calibration frames against anomalous ones; `None` without any of those.
    pub auroc: Option<f64>,
    /// Norm of the first layers' gradient over that of the last layers'.
    pub gradient_ratio: Option<f64>,
    /// Share of the weights that are exactly zero.
    pub sparsity: f64,
    /// Latent units whose mean varies over the validation tiles.
    pub active_units: usize,
    /// Weights and biases.
    pub parameters: usize,
    /// Tiles trained a second, mean of the epochs.
    pub images_per_s: f64,
}

/// A variant and what its trainings came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which option, at which value.
    #[serde(flatten)]
    pub variant: Variant,
    /// One a seed, as far as they were run.
    pub runs: Vec<Run>,
    /// Why there are none, or fewer than asked for: the pipeline does not allow the value, or it does not train.
    pub refused: Option<String>,
}

/// A figure of a run, as tables and plots have it.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// The heading of its column.
    pub name: &'static str,
    /// Its value; `None` where the run lacks it.
    pub of: fn(&Run) -> Option<f64>,
    /// Decimals.
    pub digits: usize,
}

/// Loss that training minimises.
pub const LOSS: Figure = Figure { name: "loss", of: |run| Some(run.validation_loss), digits: 2 };
/// Reconstruction alone.
pub const RECONSTRUCTION: Figure = Figure { name: "reconstruction", of: |run| Some(run.validation_nll), digits: 2 };
/// Validation minus train.
pub const GAP: Figure = Figure { name: "gap", of: |run| run.gap, digits: 2 };
/// Area under the ROC curve.
pub const AUROC: Figure = Figure { name: "AUROC", of: |run| run.auroc, digits: 3 };
/// Gradients at the ends of the network.
pub const GRADIENTS: Figure = Figure { name: "first/last gradient", of: |run| run.gradient_ratio, digits: 3 };
/// Weights that are exactly zero.
pub const ZEROS: Figure = Figure { name: "zeros, %", of: |run| Some(100.0 * run.sparsity), digits: 1 };
/// Latent units that carry something.
pub const UNITS: Figure = Figure { name: "active units", of: |run| Some(run.active_units as f64), digits: 1 };

/// Mean and sample standard deviation over the seeds; no deviation for a single one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, `n - 1` in the denominator.
    pub deviation: Option<f64>,
}

impl Spread {
    /// Of some values; `None` of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { mean, deviation: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()) })
    }

    /// `mean±deviation`, at most `digits` decimals, fewer of large means.
    pub fn text(self, digits: usize) -> String {
        let digits = match self.mean.abs() {
            ..1e3 => digits,
            ..1e5 => digits.min(1),
            _ => 0,
        };
        match self.deviation {
            None => format!("{:.digits$}", self.mean),
            Some(deviation) => format!("{:.digits$}±{deviation:.digits$}", self.mean),
        }
    }

    /// The same of a difference, with its sign.
    pub fn signed(self, digits: usize) -> String {
        let sign = if self.mean >= 0.0 { "+" } else { "" };
        format!("{sign}{}", self.text(digits))
    }
}

impl Row {
    /// A figure over the runs; `None` where a run lacks it, or there are no runs.
    pub fn spread(&self, figure: &Figure) -> Option<Spread> {
        Spread::of(&self.runs.iter().map(figure.of).collect::<Option<Vec<_>>>()?)
    }

    /// Whether a figure means the same as under the pipeline's own value: a loss at another beta, or without a KL term, does not.
    pub fn means(&self, figure: &Figure) -> bool {
        let other_loss = !self.variant.own && matches!(self.variant.option, Choice::Beta | Choice::Kind);
        !(other_loss && [LOSS.name, GAP.name].contains(&figure.name))
    }

    /// What the value changes about a figure against the pipeline's `own`, seed by seed: what the seeds share falls out.
    /// `None` for the pipeline's own value, and where the figure means something else than there.
    pub fn effect(&self, own: &Row, figure: &Figure) -> Option<Spread> {
        if self.variant.own || !self.means(figure) {
            return None;
        }
        let against = |run: &Run| own.runs.iter().find(|other| other.seed == run.seed);
        let pairs = self.runs.iter().filter_map(|run| Some((run, against(run)?)));
        let differences = pairs.map(|(run, other)| Some((figure.of)(run)? - (figure.of)(other)?));
        Spread::of(&differences.collect::<Option<Vec<_>>>()?)
    }

    /// Adds the seeds that an `earlier` run of the same value came to and this one did not; of less than `seeds`, why.
    pub fn complete(&mut self, earlier: Row, seeds: u64) {
        let others = earlier.runs.into_iter().filter(|run| self.runs.iter().all(|own| own.seed != run.seed));
        let others: Vec<Run> = others.collect();
        self.runs.extend(others);
        self.runs.sort_by_key(|run| run.seed);
        if self.refused.is_none() && (self.runs.len() as u64) < seeds {
            self.refused = earlier.refused;
        }
    }

    /// The row of the pipeline's own value of the same option.
    pub fn own<'a>(&self, rows: &'a [Row]) -> Option<&'a Row> {
        rows.iter().find(|row| row.variant.own && row.variant.option == self.variant.option)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A training with one loss and area.
    pub fn run(seed: u64, loss: f64, auroc: Option<f64>) -> Run {
        Run {
            seed,
            validation_loss: loss,
            validation_nll: loss,
            gap: Some(0.5),
            auroc,
            gradient_ratio: Some(0.25),
            sparsity: 0.1,
            active_units: 7,
            parameters: 10,
            images_per_s: 1.0,
        }
    }

    /// A row of runs.
    pub fn row(option: Choice, value: &str, own: bool, runs: Vec<Run>) -> Row {
        Row { variant: Variant { option, value: value.into(), own }, runs, refused: None }
    }

    #[test]
    fn a_spread_is_of_the_sample_and_of_nothing_for_one_run() {
        let mut row = row(Choice::Norm, "none", true, vec![run(1, 1.0, None)]);
        assert_eq!(row.spread(&LOSS), Some(Spread { mean: 1.0, deviation: None }));
        row.runs.push(run(2, 3.0, Some(0.9)));
        let both = Spread { mean: 2.0, deviation: Some(2f64.sqrt()) };
        assert_eq!(row.spread(&LOSS), Some(both));
        assert_eq!((both.text(1).as_str(), both.signed(0).as_str()), ("2.0±1.4", "+2±1"));
        assert_eq!(Spread { mean: -1436.24, deviation: Some(12.0) }.text(2), "-1436.2±12.0");
        assert_eq!(row.spread(&AUROC), None);
    }

    #[test]
    fn an_effect_is_that_of_the_same_seeds() {
        let own = row(Choice::Norm, "none", true, vec![run(1, 10.0, Some(0.5)), run(2, 20.0, Some(0.7))]);
        let other = row(Choice::Norm, "group", false, vec![run(2, 18.0, Some(0.8)), run(1, 8.0, Some(0.6))]);
        let effect = other.effect(&own, &LOSS).unwrap();
        assert_eq!((effect.mean, effect.deviation), (-2.0, Some(0.0)), "seeds differ by far more");
        assert!((other.effect(&own, &AUROC).unwrap().mean - 0.1).abs() < 1e-12);
        assert_eq!(own.effect(&own, &LOSS), None);
        let beta = Row { variant: Variant { option: Choice::Beta, ..other.variant.clone() }, ..other };
        assert_eq!(beta.effect(&own, &LOSS), None, "a loss at another beta is another figure");
        assert!(beta.effect(&own, &AUROC).is_some());
    }
}
