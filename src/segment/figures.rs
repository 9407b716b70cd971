//! What a segmenter finds in held-out frames, beside the model's residual at the same share of false pixels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::masked::{Masked, Parts};
use super::sheet::{Shown, sheet};
use super::{Record, Segmenter};
use crate::detector::Detector;
use crate::error::Result;
use crate::stats::pixels::PixelTally;

/// The word for all kinds together.
pub const ALL: &str = "all";

/// How well the pixels of one kind of anomaly are found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Figures {
    /// `all`, or the kind.
    pub kind: String,
    /// Frames.
    pub frames: usize,
    /// Anomalous pixels in them.
    pub pixels: u64,
    /// Of the segmenter, at its threshold.
    pub segmenter: Quality,
    /// Of the smoothed residual, at the threshold of the same share of false pixels in all held-out frames.
    pub residual: Quality,
}

/// Of the pixels of all frames together. None where nothing was marked and nothing was to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Intersection over union.
    pub iou: Option<f64>,
    /// Dice coefficient.
    pub dice: Option<f64>,
    /// Share of the anomalous pixels that are marked.
    pub recall: Option<f64>,
    /// Average precision over the pixels, whatever the threshold.
    pub average_precision: Option<f64>,
}

/// Pixels by the segmenter's odds and by the residual.
#[derive(Default)]
struct Tallies {
    frames: usize,
    odds: PixelTally,
    residual: PixelTally,
}

/// Puts the figures of held-out frames into the record. Returns a contact sheet as PNG.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when a device fails.
pub fn measure(
    (segmenter, detector): (&Segmenter, &mut Detector),
    (set, parts): (&Masked, &Parts),
    record: &mut Record,
) -> Result<Vec<u8>> {
    let mut kinds: BTreeMap<&str, Tallies> = BTreeMap::new();
    let mut shown = Shown::new(set, &parts.held);
    for &index in &parts.held {
        let (frame, mask) = (&set.frames[index].prepared, &set.masks[index]);
        let (map, residual) = (segmenter.apply(frame)?, detector.residual_map(frame)?);
        let tallies = kinds.entry(&set.kinds[index]).or_default();
        tallies.frames += 1;
        tallies.odds.add(&map.iter().map(|&p| odds(p)).collect::<Vec<_>>(), mask);
        tallies.residual.add(&residual, mask);
        shown.take(index, map, residual);
    }
    let mut all = Tallies::default();
    for tallies in kinds.values() {
        all.frames += tallies.frames;
        all.odds.merge(&tallies.odds);
        all.residual.merge(&tallies.residual);
    }
    let threshold = odds(segmenter.threshold);
    let [_, outside] = all.odds.pixels();
    record.false_pixels = all.odds.marked(threshold).wrong as f64 / outside.max(1) as f64;
    let thresholds = [threshold, all.residual.threshold_of_false_rate(record.false_pixels)];
    let rows = std::iter::once((ALL, &all)).chain(kinds.iter().map(|(kind, tallies)| (*kind, tallies)));
    record.figures = rows.map(|(kind, tallies)| figures(kind, tallies, thresholds)).collect();
    record.worse = worse(&record.figures);
    Ok(sheet(&shown, [segmenter.threshold, thresholds[1]]))
}

/// What is to be said where the residual has the higher average precision, the mean over the kinds of anomaly.
fn worse(figures: &[Figures]) -> Option<String> {
    let kinds = figures.iter().filter(|figures| figures.kind != ALL);
    let both: Vec<[f64; 2]> =
        kinds.filter_map(|kind| Some([kind.segmenter.average_precision?, kind.residual.average_precision?])).collect();
    let [unet, residual] = [0, 1].map(|of| both.iter().map(|pair| pair[of]).sum::<f64>() / both.len() as f64);
    (unet < residual).then(|| {
        format!(
            "an AUPRC of {unet:.3} in held-out frames, the mean over the kinds, where the residual has {residual:.3}"
        )
    })
}

/// So that a probability near 1 is told from one still nearer.
fn odds(p: f32) -> f32 {
    p / (1.0 - p).max(f32::MIN_POSITIVE)
}

fn figures(kind: &str, tallies: &Tallies, [odds, residual]: [f32; 2]) -> Figures {
    Figures {
        kind: kind.to_string(),
        frames: tallies.frames,
        pixels: tallies.odds.pixels()[0],
        segmenter: quality(&tallies.odds, odds),
        residual: quality(&tallies.residual, residual),
    }
}

fn quality(tally: &PixelTally, threshold: f32) -> Quality {
    let marked = tally.marked(threshold);
    Quality {
        iou: marked.iou(),
        dice: marked.dice(),
        recall: marked.recall(),
        average_precision: tally.average_precision(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segmenter_is_worse_where_the_kinds_are_found_better_in_the_residual() {
        let figures = |kind: &str, both: [Option<f64>; 2]| {
            let [segmenter, residual] =
                both.map(|average_precision| Quality { average_precision, ..Quality::default() });
            Figures { kind: kind.into(), frames: 1, pixels: 1, segmenter, residual }
        };
        let normal = figures("normal", [None, None]);
        let trail = figures("trail", [Some(0.9), Some(0.4)]);
        let all = figures(ALL, [Some(0.9), Some(0.4)]);
        assert_eq!(worse(&[all.clone(), normal.clone()]), None, "nothing to judge by");
        assert_eq!(worse(&[all.clone(), normal.clone(), trail.clone()]), None);
        // Many pixels of one kind do not make up for another that is not found.
        let said = worse(&[all, normal, trail, figures("hot pixel", [Some(0.1), Some(0.8)])]).unwrap();
        assert!(said.contains("0.500") && said.contains("0.600"), "{said}");
    }
}
