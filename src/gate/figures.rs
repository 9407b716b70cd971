//! Figures of two versions on the same frames, and when the one counts as worse.
//!
//! | Figure | Error of the difference | Worse beyond |
//! |---|---|---|
//! | `-ELBO` | of paired differences | 2 errors + 0.05 standard deviations of the frames' own |
//! | AUROC | DeLong, DeLong & Clarke-Pearson 1988 | 2 errors + 0.01 |
//! | recall at alpha | of paired differences, and of both thresholds by the bootstrap (Efron 1979) | 2 errors + 0.02 |
//! | false alarms | exact interval (Clopper & Pearson 1934) | its lower end, at 99 %, above alpha |
//! | of frames that a person called normal | the same, and McNemar's exact test (McNemar 1947) against the current version | p below 0.01 |
//! | new frames under the current version | Fisher's exact test against its calibration | p below 0.01, and more than alpha of them |
//! | | two-sample test of Kolmogorov and Smirnov on the scores | p below 0.01, and a distance above 0.25 |

use super::look::Seen;
use super::scenes::SeenScenes;
use crate::score::Scorer;
use crate::stats::metrics::clopper_pearson;
use crate::stats::paired::{self, Difference, Ranked, deviation};
use crate::stats::redraw::share_above_error;
use crate::store::Paired;

/// Standard errors that count as chance.
pub const ERRORS: f64 = 2.0;
/// Differences that do not matter: of `-ELBO` in standard deviations of the frames' own, of AUROC, of recall.
const SMALL_ELBO: f64 = 0.05;
const SMALL_AUROC: f64 = 0.01;
const SMALL_RECALL: f64 = 0.02;
/// Two-sided confidence of the interval of a false-alarm rate: 99 % for its lower end.
const CONFIDENCE: f64 = 0.98;

/// A figure, and whether the candidate is worse by more than what is allowed.
pub fn figure(difference: Difference, tolerance: f64, worse_by: f64) -> Paired {
    let Difference { of, against, standard_error } = difference;
    // What is no number is no better.
    let worse = worse_by.is_nan() || worse_by > tolerance;
    Paired { candidate: of, current: against, standard_error, tolerance, worse }
}

/// `-ELBO` of normal frames.
pub fn negative_elbo(normal: &[Vec<Seen>; 2]) -> Option<Paired> {
    let losses = |of: usize| normal[of].iter().map(|seen| seen.loss).collect::<Vec<f64>>();
    let (candidate, current) = (losses(0), losses(1));
    let difference = paired::means(&candidate, &current)?;
    let tolerance = ERRORS * difference.standard_error + SMALL_ELBO * deviation(&current);
    Some(figure(difference, tolerance, difference.of - difference.against))
}

/// Area under the ROC curve of scenes against the scores of normal frames.
pub fn auroc(normal: [&[f64]; 2], scenes: &SeenScenes) -> Option<Paired> {
    let scores = [scenes.scores(0), scenes.scores(1)];
    let ranked = |of: usize| Ranked { normal: normal[of], anomalous: &scores[of] };
    let difference = paired::areas(ranked(0), ranked(1))?;
    let tolerance = ERRORS * difference.standard_error + SMALL_AUROC;
    Some(figure(difference, tolerance, difference.against - difference.of))
}

/// Share of the anomalous frames above each version's certified threshold.
pub fn recall(both: &[&mut Scorer; 2], scenes: &SeenScenes) -> Option<Paired> {
    let mut difference = paired::means(&scenes.recalls(0), &scenes.recalls(1))?;
    let owed = |of: usize| {
        let calibration = both[of].calibration();
        let asked = (calibration.asked.alpha, calibration.asked.delta);
        share_above_error(calibration.scores(), asked, &scenes.scores(of).concat())
    };
    difference.standard_error = difference.standard_error.hypot(owed(0)).hypot(owed(1));
    let tolerance = ERRORS * difference.standard_error + SMALL_RECALL;
    Some(figure(difference, tolerance, difference.against - difference.of))
}

/// Whether the candidate flags more of the frames than the current version: McNemar's exact test (McNemar 1947, Psychometrika 12,
/// 153), one-sided, at 1 %. Among the frames that only one of them flags, it is the candidate in more than half.
pub fn flags_more(normal: &[Vec<Seen>; 2]) -> bool {
    let only = |of: usize| {
        let pairs = normal[of].iter().zip(&normal[1 - of]);
        pairs.filter(|(one, other)| one.flagged && !other.flagged).count()
    };
    let (candidate, current) = (only(0), only(1));
    at_least(candidate, candidate + current) > 0.5
}

/// What a rate is at least, seen `flagged` times in `frames`.
pub fn at_least(flagged: usize, frames: usize) -> f64 {
    clopper_pearson(flagged, frames.max(1), CONFIDENCE).0
}
