//! The gate: a candidate against the current version, on normal frames that neither was trained on, and on anomalies.
//!
//! ```text
//! data of both ─calibration side of both splits→ Held ─┬→ -ELBO, false alarms
//!                                                      └→ half of them, anomalies put in ─┬→ AUROC, recall
//!                                                         anomalies that were given ──────┘
//! ```
//! A difference that the frames' own scatter explains is none. Nor is one too small to matter, however many frames show it:
//! the same pipeline with another seed must pass.

mod held;
mod look;

use std::collections::BTreeMap;

use crate::error::Result;
use crate::pipeline::Pipeline;
use crate::score::Scorer;
use crate::simulate::inject::{Injected, Range, inject};
use crate::stats::metrics::clopper_pearson;
use crate::stats::paired::{self, Difference, Ranked, deviation};
use crate::store::{Anomalies, FalseAlarms, Paired, Verdict};
use crate::train::data::Sample;

pub use held::{Held, side_of_both};
use look::{Seen, look};

/// Standard errors that count as chance.
const ERRORS: f64 = 2.0;
/// Differences that do not matter: of `-ELBO` in standard deviations of the frames' own, of AUROC, of recall.
const SMALL_ELBO: f64 = 0.05;
const SMALL_AUROC: f64 = 0.01;
const SMALL_RECALL: f64 = 0.1;
/// Frames that did not give the candidate's threshold from which its false alarms are judged by them alone.
const FRESH: usize = 30;
/// Two-sided confidence of the interval of the false-alarm rate: 99 % for its lower end.
const CONFIDENCE: f64 = 0.98;

/// Anomalous frames, by kind.
pub type Kinds = BTreeMap<String, Vec<Sample>>;

/// Holds a candidate against the current version. `given` are anomalies; without any, they are put into held-out frames.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn judge(
    (candidate, current): (&mut Scorer, &mut Scorer),
    held: &Held,
    given: Option<&Kinds>,
    pipeline: &Pipeline,
) -> Result<Verdict> {
    let (spec, alpha) = (&pipeline.spec, candidate.calibration().asked.alpha);
    let frames: Vec<_> = held.frames.iter().map(|frame| &frame.sample.prepared).collect();
    let mut both = [candidate, current];
    let normal = [look(both[0], &frames, spec)?, look(both[1], &frames, spec)?];
    let loss = |seen: &[Seen]| seen.iter().map(|seen| seen.loss).collect::<Vec<f64>>();
    let losses = [loss(&normal[0]), loss(&normal[1])];
    let negative_elbo = paired::means(&losses[0], &losses[1]).map(|difference| {
        let tolerance = ERRORS * difference.standard_error + SMALL_ELBO * deviation(&losses[1]);
        figure(difference, tolerance, difference.of - difference.against)
    });
    let (anomalies, scenes, judged) = match given {
        Some(kinds) => (Anomalies::Given, given_scenes(kinds), vec![true; frames.len()]),
        None => {
            let hurt: Vec<bool> = held.frames.iter().map(|frame| frame.sample.digest.as_bytes()[24] % 2 == 1).collect();
            (
                Anomalies::Injected,
                injected_scenes(held, &hurt, spec.input.clip),
                hurt.iter().map(|hurt| !hurt).collect(),
            )
        }
    };
    let mut seen = Vec::new();
    for scorer in &mut both {
        seen.push(look_at_scenes(scorer, &scenes, spec)?);
    }
    let rest = |of: usize| -> Vec<f64> {
        normal[of].iter().zip(&judged).filter(|(_, judged)| **judged).map(|(seen, _)| seen.score).collect()
    };
    let rest = [rest(0), rest(1)];
    let scores = |of: usize| -> Vec<Vec<f64>> {
        seen[of].iter().map(|scene| scene.iter().map(|(_, seen)| seen.score).collect()).collect()
    };
    let scores = [scores(0), scores(1)];
    let ranked = |of: usize| Ranked { normal: &rest[of], anomalous: &scores[of] };
    let auroc = paired::areas(ranked(0), ranked(1)).map(|difference| {
        let tolerance = ERRORS * difference.standard_error + SMALL_AUROC;
        figure(difference, tolerance, difference.against - difference.of)
    });
    let recalls = [recalls(&seen[0]), recalls(&seen[1])];
    let recall = paired::means(&recalls[0], &recalls[1]).map(|difference| {
        let tolerance = ERRORS * difference.standard_error + SMALL_RECALL;
        figure(difference, tolerance, difference.against - difference.of)
    });
    Ok(Verdict {
        current: both[1].identity().model_version.clone(),
        frames: frames.len(),
        frames_of_current: held.frames.iter().filter(|frame| frame.of_current).count(),
        negative_elbo,
        auroc,
        recall,
        false_alarms: false_alarms(held, [&normal[0], &normal[1]], alpha),
        anomalies,
        kinds: by_kind([&seen[0], &seen[1]], [&rest[0], &rest[1]]),
    })
}

/// A figure, and whether the candidate is worse by more than what is allowed.
fn figure(difference: Difference, tolerance: f64, worse_by: f64) -> Paired {
    let Difference { of, against, standard_error } = difference;
    // What is no number is no better.
    let worse = worse_by.is_nan() || worse_by > tolerance;
    Paired { candidate: of, current: against, standard_error, tolerance, worse }
}

/// Anomalous frames of one scene, each with its kind.
type Scene = Vec<(String, crate::prepare::Prepared)>;

fn given_scenes(kinds: &Kinds) -> Vec<Scene> {
    let one = |kind: &String, sample: &Sample| vec![(kind.clone(), sample.prepared.clone())];
    kinds.iter().flat_map(|(kind, samples)| samples.iter().map(move |sample| one(kind, sample))).collect()
}

/// Of every frame to be hurt one copy a kind.
fn injected_scenes(held: &Held, hurt: &[bool], clip: bool) -> Vec<Scene> {
    let range = Range::of(&held.frames.iter().map(|frame| &frame.sample.prepared).collect::<Vec<_>>(), clip);
    let scene = |sample: &Sample| -> Scene {
        let mut head = [0; 8];
        head.copy_from_slice(&sample.digest.as_bytes()[16..24]);
        let seed = u64::from_be_bytes(head);
        let copy = |kind: Injected| (kind.as_str().to_string(), inject(&sample.prepared, kind, range, seed));
        Injected::ALL.into_iter().map(copy).collect()
    };
    held.frames.iter().zip(hurt).filter(|(_, hurt)| **hurt).map(|(frame, _)| scene(&frame.sample)).collect()
}

type SeenScene = Vec<(String, Seen)>;

fn look_at_scenes(scorer: &mut Scorer, scenes: &[Scene], spec: &crate::pipeline::Spec) -> Result<Vec<SeenScene>> {
    let frames: Vec<_> = scenes.iter().flatten().map(|(_, prepared)| prepared).collect();
    let mut seen = look(scorer, &frames, spec)?.into_iter();
    let named = |scene: &Scene| scene.iter().zip(&mut seen).map(|((kind, _), seen)| (kind.clone(), seen)).collect();
    Ok(scenes.iter().map(named).collect())
}

/// Share of each scene's frames that are flagged.
fn recalls(scenes: &[SeenScene]) -> Vec<f64> {
    let share =
        |scene: &SeenScene| scene.iter().filter(|(_, seen)| seen.flagged).count() as f64 / scene.len().max(1) as f64;
    scenes.iter().map(share).collect()
}

/// By those that did not give the candidate's threshold, where there are enough.
fn false_alarms(held: &Held, seen: [&[Seen]; 2], alpha: f64) -> FalseAlarms {
    let fresh = held.frames.iter().filter(|frame| frame.fresh).count();
    let gave_threshold = fresh < FRESH;
    let counts = |seen: &[Seen]| {
        seen.iter().zip(&held.frames).filter(|(seen, frame)| seen.flagged && (gave_threshold || frame.fresh)).count()
    };
    let frames = if gave_threshold { held.frames.len() } else { fresh };
    let [candidate, current] = seen.map(counts);
    let at_least = clopper_pearson(candidate, frames.max(1), CONFIDENCE).0;
    FalseAlarms { frames, gave_threshold, candidate, current, alpha, at_least, outside: at_least > alpha }
}

fn by_kind(seen: [&[SeenScene]; 2], normal: [&[f64]; 2]) -> BTreeMap<String, [f64; 2]> {
    let mut kinds: BTreeMap<String, [Vec<f64>; 2]> = BTreeMap::new();
    for (of, scenes) in seen.into_iter().enumerate() {
        for (kind, seen) in scenes.iter().flatten() {
            kinds.entry(kind.clone()).or_default()[of].push(seen.score);
        }
    }
    let area = |of: usize, scores: &[Vec<f64>; 2]| crate::stats::metrics::auroc(normal[of], &scores[of]);
    let both = |scores: [Vec<f64>; 2]| Some([area(0, &scores)?, area(1, &scores)?]);
    kinds.into_iter().filter_map(|(kind, scores)| Some((kind, both(scores)?))).collect()
}

#[cfg(test)]
mod tests;
