//! A new classifier against the current one, on labelled frames that taught neither.
//!
//! As with models, a difference that the frames' own scatter explains is none, nor is one too small to matter: the same data with
//! another seed must pass.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Classifier;
use super::card::{self, Card};
use super::fit::{Job, part};
use super::set::Labelled;
use crate::error::Result;
use crate::model::Device;
use crate::stats::classes::{largest, softmax};
use crate::stats::paired;
use crate::store::{Event, Paired};

/// Held-out frames below which nothing can be told.
const FEWEST: usize = 20;
/// Standard errors that count as chance.
const ERRORS: f64 = 2.0;
/// A difference of accuracies that does not matter.
const SMALL: f64 = 0.01;

/// The current classifier, before another is made, and the frames to hold both against each other on.
pub struct Rival {
    classifier: Classifier,
    /// `[N, C, S, S]`, in the model's units.
    tiles: Vec<f32>,
    kinds: Vec<String>,
}

/// What became of a classifier.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// What happened.
    pub event: Event,
    /// Why.
    pub reason: String,
    /// How it compared; `None` where there was nothing to hold it against.
    pub comparison: Option<Comparison>,
}

/// A candidate and the current classifier on the same frames.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The current one.
    pub current: String,
    /// Held-out frames of kinds that both know.
    pub frames: usize,
    /// Shares that are right; `None` for fewer than two frames.
    pub accuracy: Option<Paired>,
    /// Kinds that the current one knows and the candidate does not.
    pub forgotten: Vec<String>,
    /// Kinds that the candidate knows and the current one does not.
    pub added: Vec<String>,
}

impl Rival {
    /// The current classifier of the job's pipeline, and those of the labelled frames that fit neither its weights nor those that the job
    /// will. `None` where there is no classifier that loads.
    ///
    /// # Errors
    /// Those of reading groups.
    pub fn find(job: &Job, labelled: &Labelled, device: Device) -> Result<Option<Self>> {
        let classifier = match Classifier::load(job.models, job.pipeline, device) {
            Ok(Some(classifier)) => classifier,
            Ok(None) => return Ok(None),
            Err(failure) => {
                let error = failure.message;
                tracing::warn!(
                    error,
                    "the current classifier does not load, so there is nothing to hold another against"
                );
                return Ok(None);
            }
        };
        let mut held: BTreeSet<usize> = (0..labelled.frames.len()).collect();
        for shares in [job.fitting.split, classifier.card.fitting.split] {
            for taught in part(labelled, shares, job.pipeline)?.train {
                held.remove(&taught);
            }
        }
        let size = job.pipeline.spec.input.size;
        let tiles = held.iter().flat_map(|&at| labelled.tile(at, size)).collect();
        let kinds = held.iter().map(|&at| labelled.kinds[at].clone()).collect();
        Ok(Some(Self { classifier, tiles, kinds }))
    }

    /// Holds a candidate against it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn compare(&self, candidate: &Classifier) -> Result<Comparison> {
        let (new, old) = (&candidate.card.classes, &self.classifier.card.classes);
        let known = |kind: &String| new.contains(kind) && old.contains(kind);
        let beyond =
            |of: &[String], known: &[String]| of.iter().filter(|kind| !known.contains(kind)).cloned().collect();
        let (right, of_current) = (self.right(candidate)?, self.right(&self.classifier)?);
        let of_both = |right: Vec<f64>| -> Vec<f64> {
            right.into_iter().zip(&self.kinds).filter(|(_, kind)| known(kind)).map(|(right, _)| right).collect()
        };
        let (right, of_current) = (of_both(right), of_both(of_current));
        let accuracy = paired::means(&right, &of_current).map(|difference| {
            let tolerance = ERRORS * difference.standard_error + SMALL;
            Paired {
                candidate: difference.of,
                current: difference.against,
                standard_error: difference.standard_error,
                tolerance,
                worse: difference.against - difference.of > tolerance,
            }
        });
        Ok(Comparison {
            current: self.classifier.card.version.clone(),
            frames: right.len(),
            accuracy,
            forgotten: beyond(old, new),
            added: beyond(new, old),
        })
    }

    /// 1 for each frame whose most probable kind is right, else 0.
    fn right(&self, classifier: &Classifier) -> Result<Vec<f64>> {
        let classes = &classifier.card.classes;
        let logits = classifier.logits(&self.tiles)?;
        let rows = logits.chunks_exact(classes.len()).zip(&self.kinds);
        Ok(rows.map(|(row, kind)| f64::from(u8::from(classes[largest(&softmax(row, 1.0)).0] == *kind))).collect())
    }
}

impl Comparison {
    /// What happens to the candidate, and why.
    fn judge(&self) -> (Event, String) {
        let Self { current, frames, accuracy, forgotten, .. } = self;
        if !forgotten.is_empty() {
            return (Event::Refused, format!("it does not know {}, which {current} names", forgotten.join(", ")));
        }
        match accuracy {
            Some(figures) if *frames >= FEWEST => {
                let Paired { candidate, current: of_current, standard_error, tolerance, worse } = figures;
                let said = format!(
                    "accuracy {candidate:.4} against {of_current:.4} of {current} on {frames} held-out frames (difference {:+.4} +- \
                     {standard_error:.4}, allowed {tolerance:.4})",
                    candidate - of_current
                );
                (if *worse { Event::Refused } else { Event::Promoted }, said)
            }
            _ => {
                let said =
                    format!("{frames} held-out frames of kinds that {current} knows, {FEWEST} are needed to compare");
                (Event::Waits, said)
            }
        }
    }
}

/// Makes a classifier the current one where it is as good as the one before, or where it is wanted nevertheless; keeps it with the reason
/// where not.
///
/// # Errors
/// [`crate::error::Kind::Io`]; those of [`Rival::compare`].
pub fn settle(job: &Job, card: &Card, rival: Option<Rival>, device: Device, force: bool) -> Result<Outcome> {
    let name = &job.pipeline.name;
    let comparison = match rival {
        None => None,
        Some(rival) => {
            let candidate = Classifier::load_version(job.models, job.pipeline, &card.version, device)?;
            Some(rival.compare(&candidate)?)
        }
    };
    let (event, reason) = match &comparison {
        None => (Event::Promoted, "the first classifier that fits".to_string()),
        Some(comparison) => comparison.judge(),
    };
    let (event, reason) = match event {
        Event::Promoted => (event, reason),
        _ if force => (Event::Promoted, format!("wanted nevertheless: {reason}")),
        _ => (event, reason),
    };
    let shelf = card::shelf(job.models, name)?;
    if event == Event::Promoted {
        shelf.promote(&card.version, event, &reason, None)?;
    } else {
        shelf.record(&card.version, event, &reason, None)?;
    }
    Ok(Outcome { event, reason, comparison })
}

impl Outcome {
    /// For people: what became of the classifier, and what follows.
    pub fn text(&self, pipeline: &str, version: &str) -> String {
        let follows = match self.event {
            Event::Promoted => "a running service takes it within seconds".to_string(),
            _ => format!("use it nevertheless: anomalyd classify promote {pipeline} {version} --reason WHY"),
        };
        format!("{:<12} {version}: {}\n             {follows}\n", self.event.as_str(), self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(frames: usize, candidate: f64, forgotten: &[&str]) -> Comparison {
        let worse = 0.9 - candidate > 0.03;
        let accuracy = Paired { candidate, current: 0.9, standard_error: 0.01, tolerance: 0.03, worse };
        let forgotten = forgotten.iter().map(ToString::to_string).collect();
        Comparison { current: "0001-a".into(), frames, accuracy: Some(accuracy), forgotten, added: Vec::new() }
    }

    #[test]
    fn worse_ones_and_those_that_forget_are_refused_and_too_few_frames_decide_nothing() {
        for (given, event, word) in [
            (comparison(100, 0.88, &[]), Event::Promoted, "0.8800 against 0.9000 of 0001-a on 100"),
            (comparison(100, 0.8, &[]), Event::Refused, "-0.1000 +- 0.0100, allowed 0.0300"),
            (comparison(100, 0.95, &["trail"]), Event::Refused, "does not know trail, which 0001-a names"),
            (comparison(19, 0.95, &[]), Event::Waits, "19 held-out frames of kinds that 0001-a knows, 20"),
        ] {
            let (found, reason) = given.judge();
            assert!(found == event && reason.contains(word), "{found:?} {reason}");
        }
    }
}
