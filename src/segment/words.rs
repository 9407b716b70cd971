//! The figures of a segmenter as lines of text.

use super::{Figures, Record};

/// A table: a row a kind, the segmenter beside the residual at the same share of false pixels.
pub fn table(record: &Record) -> String {
    let mut text = format!(
        "{:<18} {:>6} {:>10}   {:^29}   {:^29}\n{:<18} {:>6} {:>10}",
        "held-out frames", "", "", "U-Net", "residual", "kind", "frames", "pixels"
    );
    for _ in 0..2 {
        text.push_str(&format!("   {:>8} {:>9} {:>10}", "IoU", "Dice", "AUPRC"));
    }
    text.push('\n');
    for Figures { kind, frames, pixels, segmenter, residual } in &record.figures {
        text.push_str(&format!("{kind:<18} {frames:>6} {pixels:>10}"));
        for quality in [segmenter, residual] {
            let [iou, dice, area] = [quality.iou, quality.dice, quality.average_precision].map(number);
            text.push_str(&format!("   {iou:>8} {dice:>9} {area:>10}"));
        }
        text.push('\n');
    }
    text
}

/// A figure, or that there is none.
pub fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.3}"))
}

/// What it was made from, and at which threshold it marks.
pub fn origin(record: &Record) -> String {
    let [train, validation, held] = record.frames;
    let from = match &record.carried_from {
        Some(version) => format!("taken over from {version}"),
        None => format!("kept epoch {} of {}", record.history.best, record.history.epochs.len()),
    };
    format!(
        "{} parameters, learnt from {train} masked frames ({validation} validation, {held} held out), {from}",
        record.parameters
    )
}

/// Threshold and false pixels.
pub fn threshold(record: &Record) -> String {
    format!(
        "marks pixels from probability {:.3} on: {:.2e} of the held-out frames' normal pixels",
        record.threshold, record.false_pixels
    )
}
