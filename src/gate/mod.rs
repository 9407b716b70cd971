//! The gate: a candidate against the current version, on normal frames that neither was trained on, and on anomalies.
//!
//! ```text
//! data of the current version ─┐ calibration side  ┌→ own ────┬→ -ELBO, false alarms
//! data of the candidate ───────┴ of both splits ───┴→ others ─┘  half of them, anomalies put in ─┬→ AUROC, recall
//!                                                    by origin    known anomalies ───────────────┘
//! ```
//! Anomalies that people labelled are shown to both versions, and judge neither: nearly all of them were labelled because the current
//! version flagged them, so it finds them by construction.
//!
//! Each origin is judged alone: what a candidate gains on new frames makes up for nothing that it loses on the current version's
//! own, and the threshold of the current version says whether new frames are of the kind it was calibrated on. A tenth of anomalies
//! among them, black frames and a wrong instrument are not; nor is an instrument that was changed on purpose, which is why a person
//! may promote what the gate refuses.
//!
//! A difference that the frames' own scatter explains is none. Nor is one too small to matter, however many frames show it: the
//! same pipeline with another seed must pass. `figures.rs` has the table of what is allowed.

mod figures;
mod held;
mod look;
mod scenes;

use std::collections::BTreeMap;

use crate::error::Result;
use crate::pipeline::{Pipeline, Spec};
use crate::score::Scorer;
use crate::stats::fisher::exceeds_by_chance;
use crate::stats::two_sample::kolmogorov_smirnov;
use crate::store::{Anomalies, FalseAlarms, Other, Paired, Verdict};
use crate::train::data::Sample;

use figures::{at_least, flags_more};
pub use held::{Group, Held, side_of_both};
use look::{Seen, look};
use scenes::{Scenes, SeenScenes, hurt};

/// Frames of an origin, and known anomalies, below which nothing can be told.
pub const FEWEST: usize = 20;
/// Frames that did not give the candidate's threshold from which its false alarms are judged by them alone.
const FRESH: usize = 30;

/// What chance does as seldom counts as no chance.
const SELDOM: f64 = 0.01;

/// Distance of the distributions of two sets of scores from which one is of other frames, whatever the threshold says: black frames
/// may well be under it.
const FAR: f64 = 0.25;

/// Anomalous frames, by kind.
pub type Kinds = BTreeMap<String, Vec<Sample>>;

/// Known anomalies.
#[derive(Debug, Default)]
pub struct Known {
    /// Given: they judge.
    pub given: Kinds,
    /// People labelled them, as a rule because the current version flagged them: they are counted, and do not judge.
    pub labelled: Kinds,
    /// How many that were given are left out, since they are sealed for test.
    pub sealed: usize,
}

/// Holds a candidate against the current version. Where fewer than [`FEWEST`] anomalies are given, anomalies are put into held-out
/// frames.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn judge(
    (candidate, current): (&mut Scorer, &mut Scorer),
    held: &Held,
    known: &Known,
    pipeline: &Pipeline,
) -> Result<Verdict> {
    let (alpha, name) = (candidate.calibration().asked.alpha, current.identity().model_version.clone());
    let (calibration, threshold) = (current.calibration().scores().to_vec(), current.calibration().threshold());
    let above = calibration.iter().filter(|&&score| score > threshold).count();
    let count = known.given.values().map(Vec::len).sum::<usize>();
    let mut bench = Bench { both: [candidate, current], spec: &pipeline.spec, known: None };
    if count >= FEWEST {
        bench.known = Some(Scenes::known(&known.given).look(&mut bench.both, bench.spec)?);
    }
    let labelled = bench.labelled(&known.labelled)?;
    let own = bench.compare(&held.own)?;
    let mut others = Vec::new();
    for group in held.others.iter().filter(|group| group.frames.len() >= FEWEST) {
        let vouched = group.vouched;
        others.push(other(bench.compare(&group.frames)?, (&group.origin, vouched), (&calibration, above, alpha)));
    }
    let verdict = Verdict {
        current: name,
        frames: held.count(),
        frames_of_current: held.own.len(),
        negative_elbo: own.negative_elbo,
        auroc: own.auroc,
        recall: own.recall,
        false_alarms: false_alarms(held, &own.normal, alpha),
        anomalies: if bench.known.is_some() { Anomalies::Given } else { Anomalies::Injected },
        kinds: own.kinds,
        others,
        not_judged: Vec::new(),
    };
    let mut not_judged = not_judged(&verdict, held, count);
    not_judged.extend(labelled);
    if known.sealed > 0 {
        not_judged.push(format!("{} known anomalies: they are sealed for test", known.sealed));
    }
    Ok(Verdict { not_judged, ..verdict })
}

/// Both versions, and what they make of the known anomalies.
struct Bench<'a> {
    both: [&'a mut Scorer; 2],
    spec: &'a Spec,
    known: Option<SeenScenes>,
}

/// Frames of one origin under both versions.
struct Compared {
    normal: [Vec<Seen>; 2],
    negative_elbo: Option<Paired>,
    auroc: Option<Paired>,
    recall: Option<Paired>,
    kinds: BTreeMap<String, [f64; 2]>,
}

impl Bench<'_> {
    /// How many of the anomalies that people labelled both find, in words; nothing where there are none.
    fn labelled(&mut self, kinds: &Kinds) -> Result<Option<String>> {
        let seen = Scenes::known(kinds).look(&mut self.both, self.spec)?;
        let [candidate, current] = [seen.recalls(0), seen.recalls(1)].map(|found| found.iter().sum::<f64>());
        let (count, name) = (seen.scores(0).len(), &self.both[1].identity().model_version);
        Ok((count > 0).then(|| {
            format!(
                "the {count} anomalies that people labelled, of which the candidate flags {candidate} and {name} {current}: they \
                 were looked at because a version flagged them"
            )
        }))
    }

    fn compare(&mut self, samples: &[Sample]) -> Result<Compared> {
        let frames: Vec<_> = samples.iter().map(|sample| &sample.prepared).collect();
        let [candidate, current] = &mut self.both;
        let normal = [look(candidate, &frames, self.spec)?, look(current, &frames, self.spec)?];
        let injected;
        let scenes = match &self.known {
            Some(known) => known,
            None => {
                injected = Scenes::injected(samples, self.spec.input.clip).look(&mut self.both, self.spec)?;
                &injected
            }
        };
        let scores = |of: usize| -> Vec<f64> {
            let stands = |sample: &Sample| self.known.is_some() || !hurt(sample);
            normal[of].iter().zip(samples).filter(|(_, sample)| stands(sample)).map(|(seen, _)| seen.score).collect()
        };
        let scores = [scores(0), scores(1)];
        let scores = scores.each_ref().map(Vec::as_slice);
        Ok(Compared {
            negative_elbo: figures::negative_elbo(&normal),
            auroc: figures::auroc(scores, scenes),
            recall: figures::recall(&self.both, scenes),
            kinds: scenes.by_kind(scores),
            normal,
        })
    }
}

/// False alarms on the current version's own frames: by those that did not give the candidate's threshold, where there are enough.
fn false_alarms(held: &Held, normal: &[Vec<Seen>; 2], alpha: f64) -> FalseAlarms {
    let fresh = held.fresh.iter().filter(|fresh| **fresh).count();
    let gave_threshold = fresh < FRESH;
    let count = |of: usize, is: fn(&Seen) -> bool| {
        normal[of].iter().zip(&held.fresh).filter(|(seen, fresh)| is(seen) && (gave_threshold || **fresh)).count()
    };
    let frames = if gave_threshold { held.own.len() } else { fresh };
    let [candidate, current] = [0, 1].map(|of| count(of, |seen| seen.flagged));
    let other_sizes = [0, 1].map(|of| count(of, |seen| seen.other_size));
    let at_least = at_least(candidate, frames);
    let outside = at_least > alpha;
    FalseAlarms { frames, gave_threshold, candidate, current, alpha, at_least, other_sizes, outside }
}

/// The verdict on frames that the current version was not made from. Were they like those that it was calibrated on, it would score
/// both alike: few above the threshold, and about as many anywhere.
fn other(
    compared: Compared,
    (origin, vouched): (&str, bool),
    (calibration, above, alpha): (&[f64], usize, f64),
) -> Other {
    let calibrated = [above, calibration.len()];
    let count = |of: usize, is: fn(&Seen) -> bool| compared.normal[of].iter().filter(|seen| is(seen)).count();
    let [candidate, current] = [0, 1].map(|of| count(of, |seen| seen.flagged));
    let other_sizes = [0, 1].map(|of| count(of, |seen| seen.other_size));
    let frames = compared.normal[0].len();
    let at_least = at_least(candidate, frames);
    let p_value = exceeds_by_chance((current, frames), (calibrated[0], calibrated[1]));
    let scores: Vec<f64> = compared.normal[1].iter().map(|seen| seen.score).collect();
    let (distance, chance) =
        kolmogorov_smirnov(&scores, calibration).map_or((0.0, 1.0), |ks| (ks.distance, ks.p_value));
    let odd = p_value < SELDOM && current as f64 > alpha * frames as f64;
    // People are asked about what the current version flagged: their normal frames are the ones that it takes for anomalies, and
    // alpha of all frames says nothing of them. Against the current version, on the same frames, it is told all the same.
    let outside = at_least > alpha && (!vouched || flags_more(&compared.normal));
    let unlike = odd || chance < SELDOM && distance > FAR;
    Other {
        origin: origin.to_string(),
        vouched,
        negative_elbo: compared.negative_elbo,
        auroc: compared.auroc,
        // What flags normal frames finds anomalies for nothing.
        recall: compared.recall.filter(|_| !unlike),
        false_alarms: FalseAlarms {
            frames,
            gave_threshold: true,
            candidate,
            current,
            alpha,
            at_least,
            other_sizes,
            outside,
        },
        calibrated,
        p_value,
        distance,
        unlike,
    }
}

/// What the verdict cannot say, in words.
fn not_judged(verdict: &Verdict, held: &Held, known: usize) -> Vec<String> {
    let mut words = Vec::new();
    let (current, own) = (&verdict.current, held.own.len());
    if own < FEWEST {
        words.push(format!(
            "of the data of {current} only {own} held-out frames were found: whether the candidate still knows them"
        ));
    } else if verdict.false_alarms.gave_threshold {
        words.push(format!(
            "false alarms on the data of {current}: its held-out frames gave the candidate's threshold, so that the rate is low anyway"
        ));
    }
    if (1..FEWEST).contains(&known) {
        words.push(format!(
            "recall of the {known} known anomalies: {FEWEST} are needed, so anomalies were put into frames"
        ));
    }
    for Group { origin, frames, .. } in held.others.iter().filter(|group| group.frames.len() < FEWEST) {
        words.push(format!("{origin}: {} held-out frames, {FEWEST} are needed", frames.len()));
    }
    for other in verdict.others.iter().filter(|other| other.unlike) {
        let Other { origin, .. } = other;
        words.push(format!("recall on {origin}: {current} flags too many of its normal frames"));
    }
    words
}

#[cfg(test)]
mod tests;
