//! How well a classifier does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::card::Answer;
use crate::stats::classes::{self, ClassConfusion, largest, softmax};

/// Bins of the calibration error, as in Guo et al. 2017.
const BINS: usize = 15;

/// Figures over some labelled frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Frames of known kinds.
    pub frames: usize,
    /// Share whose most probable kind is right.
    pub accuracy: f64,
    /// Mean of minus the logarithm of the probability of the truth, nats.
    pub loss: f64,
    /// Expected calibration error of the probabilities.
    pub calibration_error: f64,
    /// The same without the temperature.
    pub uncalibrated_error: f64,
    /// Share that is named at all: probability at least the floor.
    pub named: f64,
    /// Share of the named that is right.
    pub right_when_named: Option<f64>,
    /// By kind.
    pub kinds: BTreeMap<String, OfKind>,
    /// Frames of kinds the classifier was not taught, by kind: how many, and how many of them it named all the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub strangers: BTreeMap<String, [usize; 2]>,
    /// Counts of the most probable kind against the truth.
    pub confusion: ClassConfusion,
    /// The same, each row divided by its sum.
    pub normalised: Vec<Vec<f64>>,
}

/// Figures of one kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OfKind {
    /// Its frames.
    pub frames: usize,
    /// Share of them answered so.
    pub recall: Option<f64>,
    /// Share of such answers that are right.
    pub precision: Option<f64>,
    /// Share of them that is named at all.
    pub named: f64,
    /// Share of the named that is right.
    pub right_when_named: Option<f64>,
}

/// What is said of one frame.
struct Said {
    truth: usize,
    answer: usize,
    probability: f64,
}

/// Figures of logits `[N, classes]` against the names of the truths.
pub fn figures(classes: &[String], logits: &[f32], kinds: &[&str], answer: &Answer) -> Figures {
    let (mut known, mut truths, mut said, mut strangers) = (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
    for (row, kind) in logits.chunks_exact(classes.len().max(1)).zip(kinds) {
        let (best, probability) = largest(&softmax(row, answer.temperature));
        match classes.iter().position(|class| class == kind) {
            Some(truth) => {
                known.extend_from_slice(row);
                truths.push(truth as u32);
                said.push(Said { truth, answer: best, probability });
            }
            None => {
                let count = strangers.entry((*kind).to_string()).or_insert([0, 0]);
                count[0] += 1;
                count[1] += usize::from(probability >= answer.floor);
            }
        }
    }
    let confusion = ClassConfusion::count(classes, said.iter().map(|said| (said.truth, said.answer)));
    let error = |temperature: f64| {
        let rows = known.chunks_exact(classes.len().max(1)).zip(&truths);
        let pairs = rows.map(|(row, &truth)| {
            let (at, probability) = largest(&softmax(row, temperature));
            (probability, at == truth as usize)
        });
        classes::calibration_error(&pairs.collect::<Vec<_>>(), BINS)
    };
    let (named, right_when_named) = named(&said.iter().collect::<Vec<_>>(), answer.floor);
    Figures {
        frames: said.len(),
        accuracy: confusion.accuracy().unwrap_or(0.0),
        loss: classes::cross_entropy(&known, &truths, answer.temperature),
        calibration_error: error(answer.temperature),
        uncalibrated_error: error(1.0),
        named,
        right_when_named,
        kinds: classes
            .iter()
            .enumerate()
            .map(|(at, name)| (name.clone(), of_kind(&confusion, &said, at, answer)))
            .collect(),
        strangers,
        normalised: confusion.normalised(),
        confusion,
    }
}

fn of_kind(confusion: &ClassConfusion, said: &[Said], class: usize, answer: &Answer) -> OfKind {
    let own: Vec<&Said> = said.iter().filter(|said| said.truth == class).collect();
    let (named, right_when_named) = named(&own, answer.floor);
    OfKind {
        frames: own.len(),
        recall: confusion.recall(class),
        precision: confusion.precision(class),
        named,
        right_when_named,
    }
}

/// Share that is named, and share of those that is right.
fn named(said: &[&Said], floor: f64) -> (f64, Option<f64>) {
    let named: Vec<&&Said> = said.iter().filter(|said| said.probability >= floor).collect();
    let right = named.iter().filter(|said| said.truth == said.answer).count();
    let share = (!named.is_empty()).then(|| right as f64 / named.len() as f64);
    (named.len() as f64 / said.len().max(1) as f64, share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_unsure_is_not_named_and_strangers_are_counted_apart() {
        let classes = ["a".to_string(), "b".to_string()];
        let logits = [4.0, 0.0, 0.2, 0.0, 0.0, 4.0, 0.1, 0.0, 9.0, 0.0, 0.0, 0.1];
        let answer = Answer { temperature: 1.0, floor: 0.9, wanted: 0.95 };
        let found = figures(&classes, &logits, &["a", "a", "b", "b", "c", "c"], &answer);
        assert_eq!((found.frames, found.accuracy, found.named, found.right_when_named), (4, 0.75, 0.5, Some(1.0)));
        assert_eq!(found.confusion.counts, [[2, 0], [1, 1]]);
        assert_eq!(found.kinds["b"].right_when_named, Some(1.0));
        assert_eq!(found.kinds["b"].recall, Some(0.5));
        assert_eq!(found.strangers["c"], [2, 1]);
    }
}
