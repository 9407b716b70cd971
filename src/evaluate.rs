//! A model against labelled frames: ranking, recall and false alarms, combined and by component.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::components::Component;
use crate::error::Result;
use crate::frame_size::Sizes;
use crate::pipeline::Reduction;
use crate::prepare::Prepared;
use crate::score::Scorer;
use crate::stats::metrics::{Confusion, auroc, average_precision, clopper_pearson};
use crate::train::overlap::Overlap;
use crate::train::seal::{Opening, TestFigures};

/// Frames examined at once.
const FRAMES_AT_ONCE: usize = 64;
/// Confidence of the interval on the false-alarm rate.
const CONFIDENCE: f64 = 0.95;

/// The scores of one frame.
#[derive(Debug, Clone)]
pub struct Scores {
    /// Combined.
    pub combined: f64,
    /// Flagged at the certified threshold.
    pub flagged: bool,
    /// The frame is of another size than the calibration frames: the certificate does not hold for it.
    pub other_size: bool,
    /// `-ln p` of each component, reduced over the tiles; then of each component's mean over the tiles.
    pub components: BTreeMap<String, f64>,
}

/// What a score is worth.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// Area under the ROC curve: probability that an anomalous frame scores above a normal one.
    pub auroc: Option<f64>,
    /// Average precision.
    pub average_precision: Option<f64>,
}

/// The outcome of an evaluation.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation {
    /// Model version.
    pub model_version: String,
    /// Every look at the version's sealed test split, this one with them where it is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test_openings: Vec<Opening>,
    /// How many of the frames the version was made from; none where it did not record them.
    pub overlap: Option<Overlap>,
    /// Normal frames.
    pub normal: usize,
    /// Anomalous frames.
    pub anomalous: usize,
    /// Frames and files that could not be scored.
    pub rejected: usize,
    /// Frames of other sizes than those calibrated on: the certificate does not hold for them.
    pub other_sizes: usize,
    /// Sizes of the calibration frames; none where the version did not record them.
    pub calibrated_on: Option<Sizes>,
    /// Of the combined score.
    #[serde(flatten)]
    pub combined: Figures,
    /// Share of the anomalous frames flagged at the certified alpha.
    pub recall_at_alpha: Option<f64>,
    /// Share of the normal frames flagged.
    pub false_alarm_rate: Option<f64>,
    /// Clopper-Pearson interval of the false-alarm rate, 95 %.
    pub false_alarm_interval: [f64; 2],
    /// The certified false-alarm rate.
    pub alpha: f64,
    /// One minus the confidence of the certificate.
    pub delta: f64,
    /// The flagging threshold.
    pub threshold: f64,
    /// Counts.
    pub confusion: Confusion,
    /// By component alone; its mean and spread over a frame's tiles are `mean_<component>`, `spread_<component>`.
    pub components: BTreeMap<String, Figures>,
    /// By kind of anomaly, where the folders or labels name kinds.
    pub kinds: BTreeMap<String, Kind>,
}

impl Evaluation {
    /// What a sealed test split's record keeps of it.
    pub fn figures(&self) -> TestFigures {
        TestFigures {
            auroc: self.combined.auroc,
            average_precision: self.combined.average_precision,
            recall_at_alpha: self.recall_at_alpha,
            false_alarm_rate: self.false_alarm_rate,
        }
    }
}

/// One kind of anomaly.
#[derive(Debug, Clone, Serialize)]
pub struct Kind {
    /// Its frames.
    pub frames: usize,
    /// Against all normal frames.
    #[serde(flatten)]
    pub figures: Figures,
    /// Share flagged at the certified alpha.
    pub recall_at_alpha: f64,
    /// The component that ranks this kind best, and its area under the ROC curve.
    pub best_component: Option<(String, f64)>,
}

/// Scores frames with every component, for ablation.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn score(scorer: &mut Scorer, frames: &[&Prepared], score_spec: &crate::pipeline::Score) -> Result<Vec<Scores>> {
    let threshold = scorer.calibration().threshold();
    scorer.detector().want_all();
    let mut scores = Vec::with_capacity(frames.len());
    for some in frames.chunks(FRAMES_AT_ONCE) {
        let examined = scorer.detector().examine(some)?;
        let other_sizes: Vec<bool> = some.iter().map(|frame| scorer.other_size(frame).is_some()).collect();
        let tails = &scorer.detector().fitted.tails;
        for (frame, other_size) in examined.into_iter().zip(other_sizes) {
            let combined = tails.frame_score(&frame.tiles, score_spec);
            let mut components = BTreeMap::new();
            for component in Component::ALL {
                let each = frame.tiles.iter().map(|tile| tails.component_score(tile, component)).collect();
                let name = component.name();
                components.insert(name.to_string(), crate::calibrate::reduce(each, score_spec.reduction));
                if frame.tiles.len() > 1 || score_spec.reduction != Reduction::Max {
                    components.insert(format!("mean_{name}"), tails.mean_score(&frame.tiles, component));
                    components.insert(format!("spread_{name}"), tails.spread_score(&frame.tiles, component));
                }
            }
            scores.push(Scores { combined, flagged: combined > threshold, other_size, components });
        }
    }
    Ok(scores)
}

/// Figures of scored frames: `anomalous` by kind.
pub fn evaluate(
    scorer: &Scorer,
    normal: &[Scores],
    anomalous: &BTreeMap<String, Vec<Scores>>,
    rejected: usize,
) -> Evaluation {
    let all: Vec<&Scores> = anomalous.values().flatten().collect();
    let confusion = Confusion::count(
        normal.iter().map(|scores| (false, scores.flagged)).chain(all.iter().map(|scores| (true, scores.flagged))),
    );
    let alarms = normal.iter().filter(|scores| scores.flagged).count();
    let (low, high) = clopper_pearson(alarms, normal.len().max(1), CONFIDENCE);
    let names: Vec<&String> =
        normal.first().or(all.first().copied()).map_or(Vec::new(), |s| s.components.keys().collect());
    let column = |frames: &[&Scores], name: &str| -> Vec<f64> { frames.iter().map(|s| s.components[name]).collect() };
    let normal_refs: Vec<&Scores> = normal.iter().collect();
    let components: BTreeMap<String, Figures> =
        names.iter().map(|&name| (name.clone(), figures(&column(&normal_refs, name), &column(&all, name)))).collect();
    let combined = |frames: &[&Scores]| -> Vec<f64> { frames.iter().map(|scores| scores.combined).collect() };
    let kinds = anomalous.iter().map(|(kind, frames)| {
        let frames: Vec<&Scores> = frames.iter().collect();
        let ranked = names
            .iter()
            .filter_map(|&name| Some((name.clone(), auroc(&column(&normal_refs, name), &column(&frames, name))?)));
        let best_component = ranked.max_by(|a, b| a.1.total_cmp(&b.1));
        let flagged = frames.iter().filter(|scores| scores.flagged).count();
        let kind_figures = Kind {
            frames: frames.len(),
            figures: figures(&combined(&normal_refs), &combined(&frames)),
            recall_at_alpha: flagged as f64 / frames.len().max(1) as f64,
            best_component,
        };
        (kind.clone(), kind_figures)
    });
    Evaluation {
        model_version: scorer.identity().model_version.clone(),
        test_openings: Vec::new(),
        overlap: None,
        normal: normal.len(),
        anomalous: all.len(),
        rejected,
        other_sizes: normal.iter().chain(all.iter().copied()).filter(|scores| scores.other_size).count(),
        calibrated_on: scorer.sizes(),
        combined: figures(&combined(&normal_refs), &combined(&all)),
        recall_at_alpha: confusion.recall(),
        false_alarm_rate: confusion.false_alarm_rate(),
        false_alarm_interval: [low, high],
        alpha: scorer.calibration().asked.alpha,
        delta: scorer.calibration().asked.delta,
        threshold: scorer.calibration().threshold(),
        confusion,
        components,
        kinds: kinds.collect(),
    }
}

fn figures(normal: &[f64], anomalous: &[f64]) -> Figures {
    Figures { auroc: auroc(normal, anomalous), average_precision: average_precision(normal, anomalous) }
}
