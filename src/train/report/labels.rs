//! What labels did to a training: how often the class is named right.

use super::Report;
use super::chart::{Axis, Chart};
use super::figures::{BLUE, VERMILION, epochs, figure, legend, over, stroke};
use super::html::Html;
use crate::train::history::Epoch;

/// Share of the tiles whose class the head names, of train and validation, over the epochs.
pub fn accuracy(html: &mut Html, report: &Report) {
    let history = &report.manifest.history;
    let validation = |epoch: &Epoch| epoch.validation_head.map_or(f64::NAN, |head| head.accuracy);
    let train = |epoch: &Epoch| epoch.train_judged.and_then(|loss| loss.head).map_or(f64::NAN, |head| head.accuracy);
    let Some(kept) = history.kept().and_then(|epoch| epoch.validation_head) else { return };
    let y = Axis::of(history.epochs.iter().flat_map(|epoch| [train(epoch), validation(epoch)]));
    let chart = Chart { x: epochs(history), y, x_name: "epoch", y_name: "accuracy" };
    let says = format!(
        "Share of the tiles whose class is named from the latent mean. At the kept epoch {:.2} % of the validation tiles, with a \
         cross-entropy of {:.3} nats; {:.0} % of them have a label.",
        100.0 * kept.accuracy,
        kept.cross_entropy,
        100.0 * kept.known
    );
    figure(html, "Accuracy", &says, |html| {
        chart.draw(html, |html| {
            chart.line(html, over(history, train), &stroke(BLUE));
            chart.line(html, over(history, validation), &stroke(VERMILION));
            chart.upright(html, history.best as f64);
        });
        legend(html, &[(BLUE.into(), "train judged as validation is"), (VERMILION.into(), "validation")]);
    });
}
