//! Answers among several classes: the confusion matrix, and how far a probability may be believed.

use serde::{Deserialize, Serialize};

/// Steps of the golden-section search; each shortens the interval to 0.618 of it.
const SEARCH_STEPS: usize = 60;
/// Largest temperature looked for: beyond it every class is as probable as the others.
const HOTTEST: f64 = 100.0;

/// Counts of answers against the truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassConfusion {
    /// Names, in the order of rows and columns.
    pub classes: Vec<String>,
    /// `counts[truth][answer]`.
    pub counts: Vec<Vec<usize>>,
}

impl ClassConfusion {
    /// Counts (truth, answer) pairs; a pair outside of the classes counts nowhere.
    pub fn count(classes: &[String], pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![vec![0; classes.len()]; classes.len()];
        for (truth, answer) in pairs {
            if let Some(count) = counts.get_mut(truth).and_then(|row| row.get_mut(answer)) {
                *count += 1;
            }
        }
        Self { classes: classes.to_vec(), counts }
    }

    /// Items of a class.
    pub fn of_class(&self, class: usize) -> usize {
        self.counts[class].iter().sum()
    }

    /// All items.
    pub fn total(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// Share of all items that is right; `None` without any.
    pub fn accuracy(&self) -> Option<f64> {
        ratio((0..self.classes.len()).map(|class| self.counts[class][class]).sum(), self.total())
    }

    /// Share of a class that is answered so; `None` without any.
    pub fn recall(&self, class: usize) -> Option<f64> {
        ratio(self.counts[class][class], self.of_class(class))
    }

    /// Share of the answers of a class that are right; `None` without any.
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.counts[class][class], self.counts.iter().map(|row| row[class]).sum())
    }

    /// The matrix with each row divided by its sum; a row without items is zero.
    pub fn normalised(&self) -> Vec<Vec<f64>> {
        let share = |row: &Vec<usize>| {
            let all = row.iter().sum::<usize>().max(1) as f64;
            row.iter().map(|&count| count as f64 / all).collect()
        };
        self.counts.iter().map(share).collect()
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Probabilities of the classes: the softmax of the logits over a temperature.
pub fn softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&z| (f64::from(z - largest) / temperature).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The place and the value of the largest; the first of equal ones.
pub fn largest(values: &[f64]) -> (usize, f64) {
    let start = (0, f64::NEG_INFINITY);
    values.iter().enumerate().fold(start, |best, (at, &value)| if value > best.1 { (at, value) } else { best })
}

/// Mean of minus the logarithm of the probability given to the truth, nats; logits are `[N, classes]`.
pub fn cross_entropy(logits: &[f32], truths: &[u32], temperature: f64) -> f64 {
    let classes = logits.len() / truths.len().max(1);
    let one = |(row, &truth): (&[f32], &u32)| {
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&z| (f64::from(z - largest) / temperature).exp()).sum();
        sum.ln() - f64::from(row[truth as usize] - largest) / temperature
    };
    logits.chunks_exact(classes.max(1)).zip(truths).map(one).sum::<f64>() / truths.len().max(1) as f64
}

/// The temperature of at least 1 at which the softmax explains the truths best (Guo, Pleiss, Sun & Weinberger 2017,
/// arXiv:1706.04599, section 4.2). Below 1 it would be surer than it was trained to be: few items that are all right
/// would ask for that without end.
pub fn temperature(logits: &[f32], truths: &[u32]) -> f64 {
    // The loss is convex in one over the temperature, hence has one minimum in its logarithm as well.
    let loss = |at: f64| cross_entropy(logits, truths, at.exp());
    let golden = 0.5 * (5f64.sqrt() - 1.0);
    let (mut low, mut high) = (0.0, HOTTEST.ln());
    for _ in 0..SEARCH_STEPS {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if loss(left) <= loss(right) { high = right } else { low = left }
    }
    let found = (0.5 * (low + high)).exp();
    if loss(0.0) <= loss(found.ln()) { 1.0 } else { found }
}

/// Expected calibration error (Guo et al. 2017, eq. 3): mean difference between probability and share of right answers, over
/// bins of the probability, weighted by their items. Pairs are (probability of the answer, whether it is right).
pub fn calibration_error(answers: &[(f64, bool)], bins: usize) -> f64 {
    let mut sums = vec![0.0; bins.max(1)];
    for &(probability, right) in answers {
        let bin = ((probability * bins as f64) as usize).min(sums.len() - 1);
        sums[bin] += probability - f64::from(u8::from(right));
    }
    sums.iter().map(|sum| sum.abs()).sum::<f64>() / answers.len().max(1) as f64
}

/// The lowest probability from which on answers are right as often as `wanted`; `None` where not even the surest are.
pub fn floor(answers: &[(f64, bool)], wanted: f64) -> Option<f64> {
    let mut sorted = answers.to_vec();
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut right, mut found) = (0, None);
    for (place, &(probability, is_right)) in sorted.iter().enumerate() {
        right += usize::from(is_right);
        // Of equal probabilities all pass or none.
        let last_of_equals = sorted.get(place + 1).is_none_or(|next| next.0 < probability);
        if last_of_equals && right as f64 >= wanted * (place + 1) as f64 {
            found = Some(probability);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::fixtures::{close, normals};

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|class| class.to_string()).collect()
    }

    #[test]
    fn counts_recall_precision_and_accuracy_are_those_done_by_hand() {
        let pairs = [(0, 0), (0, 1), (0, 0), (1, 1), (1, 1), (2, 2), (2, 2), (2, 0), (2, 2)];
        let matrix = ClassConfusion::count(&names(3), pairs);
        assert_eq!(matrix.counts, [[2, 1, 0], [0, 2, 0], [1, 0, 3]]);
        assert_eq!((matrix.total(), matrix.of_class(2)), (9, 4));
        close(matrix.accuracy().unwrap(), 0.7777777777777778, 1e-14);
        for (class, recall, precision) in [(0, 2.0 / 3.0, 2.0 / 3.0), (1, 1.0, 2.0 / 3.0), (2, 0.75, 1.0)] {
            close(matrix.recall(class).unwrap(), recall, 1e-14);
            close(matrix.precision(class).unwrap(), precision, 1e-14);
        }
        assert_eq!(matrix.normalised()[2], [0.25, 0.0, 0.75]);
    }

    #[test]
    fn a_class_without_items_has_no_figures() {
        let matrix = ClassConfusion::count(&names(2), [(0, 0), (5, 0)]);
        assert_eq!((matrix.recall(1), matrix.precision(1), matrix.total()), (None, None, 1));
        assert_eq!(matrix.normalised()[1], [0.0, 0.0]);
        assert_eq!(ClassConfusion::count(&[], []).accuracy(), None);
    }

    /// Logits whose softmax is the law the truths are drawn from.
    fn honest(count: usize) -> (Vec<f32>, Vec<u32>) {
        let draws = normals(4 * count, 7);
        let logits: Vec<f32> = draws[..3 * count].iter().map(|&z| 1.5 * z as f32).collect();
        let place = |at: usize| 0.5 * (1.0 + (draws[3 * count + at] / 2.0).tanh());
        // The fourth normal, ranked among its like, is uniform.
        let mut ranks: Vec<usize> = (0..count).collect();
        ranks.sort_by(|&a, &b| place(a).total_cmp(&place(b)));
        let mut truths = vec![0; count];
        for (rank, &at) in ranks.iter().enumerate() {
            let (mut left, uniform) = (0.0, (rank as f64 + 0.5) / count as f64);
            let passed = softmax(&logits[3 * at..3 * at + 3], 1.0).into_iter().take_while(|p| {
                left += p;
                left < uniform
            });
            truths[at] = passed.count().min(2) as u32;
        }
        (logits, truths)
    }

    #[test]
    fn what_was_made_too_sure_is_cooled_to_what_it_was() {
        let (logits, truths) = honest(6000);
        let answers = |logits: &[f32], temperature: f64| -> Vec<(f64, bool)> {
            let rows = logits.chunks_exact(3).zip(&truths);
            rows.map(|(row, &truth)| {
                let (at, p) = largest(&softmax(row, temperature));
                (p, at == truth as usize)
            })
            .collect()
        };
        assert!((temperature(&logits, &truths) - 1.0).abs() < 0.1);
        let sure: Vec<f32> = logits.iter().map(|z| 3.0 * z).collect();
        let found = temperature(&sure, &truths);
        assert!((found - 3.0).abs() < 0.3, "{found}");
        let (before, after) =
            (calibration_error(&answers(&sure, 1.0), 15), calibration_error(&answers(&sure, found), 15));
        assert!(before > 0.1 && after < 0.03, "{before} {after}");
    }

    #[test]
    fn who_is_right_throughout_is_made_no_surer() {
        assert_eq!(temperature(&[2.0, 0.0, 0.0, 1.0], &[0, 1]), 1.0);
        close(cross_entropy(&[2.0, 0.0], &[0], 1.0), 0.1269280110429726, 1e-12); // ln(1 + e^-2)
    }

    #[test]
    fn the_floor_is_where_answers_become_right_often_enough() {
        let answers = [(0.4, false), (0.5, false), (0.6, true), (0.7, true), (0.8, false), (0.9, true), (0.99, true)];
        assert_eq!(floor(&answers, 1.0), Some(0.9));
        assert_eq!(floor(&answers, 0.8), Some(0.6));
        assert_eq!(floor(&answers, 0.5), Some(0.4));
        assert_eq!(floor(&[(0.9, false), (0.8, true)], 0.9), None);
        assert_eq!(floor(&[(0.9, true), (0.9, false)], 0.9), None);
    }
}
