//! The figures of a report that are drawn from numbers.

use super::Report;
use super::chart::{Axis, Chart};
use super::html::{Attributes, Html};
use super::seen::Seen;
use crate::calibrate::Calibration;
use crate::frame_size::Sizes;
use crate::train::history::{Epoch, History};
use crate::train::judge::ACTIVE_VARIANCE;

pub const BLUE: &str = "var(--blue)";
pub const VERMILION: &str = "var(--vermilion)";
const GREEN: &str = "var(--green)";
const PURPLE: &str = "var(--purple)";
/// Bins of a histogram.
const BINS: usize = 50;

/// A figure with a title, what it shows, and what `draw` draws.
pub fn figure(html: &mut Html, title: &str, says: &str, draw: impl FnOnce(&mut Html)) {
    html.element("figure", &[], |html| {
        html.element("figcaption", &[], |html| {
            html.words("b", &[], title);
            html.text(says);
        });
        draw(html);
    });
}

/// What the colours mean.
pub(super) fn legend(html: &mut Html, entries: &[(String, &str)]) {
    html.element("ul", &[("class", "legend")], |html| {
        for (colour, name) in entries {
            html.element("li", &[], |html| {
                let style: Attributes = &[("style", &format!("background:{colour}"))];
                html.element("i", style, |_| ());
                html.text(name);
            });
        }
    });
}

pub fn stroke(colour: &str) -> String {
    format!("stroke:{colour}")
}

pub fn epochs(history: &History) -> Axis {
    Axis::between(1.0, history.epochs.len() as f64)
}

pub fn over(history: &History, value: impl Fn(&Epoch) -> f64) -> impl Iterator<Item = (f64, f64)> {
    history.epochs.iter().map(move |epoch| (epoch.epoch as f64, value(epoch)))
}

/// Epochs that decide the height of a chart: without the first, which starts far from anywhere, where there are enough.
fn telling(history: &History) -> &[Epoch] {
    if history.epochs.len() > 4 { &history.epochs[1..] } else { &history.epochs }
}

/// Losses of train and validation over the epochs.
pub fn losses(html: &mut Html, report: &Report) {
    let (history, beta) = (&report.manifest.history, report.spec.model.beta);
    let running = |epoch: &Epoch| epoch.running_loss(beta);
    let judged = |epoch: &Epoch| epoch.train_loss(beta).unwrap_or(f64::NAN);
    let validation = |epoch: &Epoch| epoch.validation_loss(beta);
    let y = Axis::of(telling(history).iter().flat_map(|epoch| [running(epoch), judged(epoch), validation(epoch)]));
    let chart = Chart { x: epochs(history), y, x_name: "epoch", y_name: "loss [nats a tile]" };
    let labels = if report.manifest.data.classes.is_some() { ", and what labels add" } else { "" };
    let says = format!("Reconstruction + beta x KL{labels}. The dashed line marks the epoch whose weights were kept.");
    figure(html, "Loss", &says, |html| {
        chart.draw(html, |html| {
            chart.line(html, over(history, running), &format!("{};stroke-dasharray:2 3", stroke(BLUE)));
            chart.line(html, over(history, judged), &stroke(BLUE));
            chart.line(html, over(history, validation), &stroke(VERMILION));
            chart.upright(html, history.best as f64);
        });
        let mut entries = vec![(BLUE.into(), "train while it is fitted (dotted: latent drawn, augmented)")];
        if history.epochs.iter().any(|epoch| epoch.train_judged.is_some()) {
            entries.push((BLUE.into(), "train judged as validation is"));
        }
        entries.push((VERMILION.into(), "validation"));
        legend(html, &entries);
    });
}

/// KL of validation over the epochs.
pub fn divergence(html: &mut Html, report: &Report) {
    let history = &report.manifest.history;
    let y = Axis::of(history.epochs.iter().map(|epoch| epoch.validation_kl).chain([0.0]));
    let chart = Chart { x: epochs(history), y, x_name: "epoch", y_name: "KL [nats a tile]" };
    let units: Vec<String> = history.epochs.iter().map(|epoch| epoch.active_units.to_string()).collect();
    let says = format!("What the latent carries about a validation tile. Active units by epoch: {}.", units.join(" "));
    figure(html, "KL", &says, |html| {
        chart.draw(html, |html| {
            chart.line(html, over(history, |epoch| epoch.validation_kl), &stroke(PURPLE));
            chart.upright(html, history.best as f64);
        });
    });
}

/// Validation minus train over the epochs, where both were judged the same way.
pub fn gap(html: &mut Html, report: &Report, says: &str) {
    let (history, beta) = (&report.manifest.history, report.spec.model.beta);
    let gap = |epoch: &Epoch| epoch.train_loss(beta).map_or(f64::NAN, |train| epoch.validation_loss(beta) - train);
    let error = |epoch: &Epoch| epoch.train_judged.map_or(0.0, |train| epoch.validation_error.hypot(train.error));
    let ends = history.epochs.iter().flat_map(|epoch| [gap(epoch) - error(epoch), gap(epoch) + error(epoch), 0.0]);
    let chart = Chart { x: epochs(history), y: Axis::of(ends), x_name: "epoch", y_name: "gap [nats a tile]" };
    figure(html, "Gap between validation and train", says, |html| {
        chart.draw(html, |html| {
            chart.level(html, 0.0);
            let faint = format!("{};stroke-dasharray:1 3", stroke(GREEN));
            chart.line(html, over(history, |epoch| gap(epoch) - error(epoch)), &faint);
            chart.line(html, over(history, |epoch| gap(epoch) + error(epoch)), &faint);
            chart.line(html, over(history, gap), &stroke(GREEN));
            chart.upright(html, history.best as f64);
        });
        legend(html, &[(GREEN.into(), "gap, and one standard error either way (dotted)")]);
    });
}

/// The norm of each layer's gradient over the epochs.
pub fn gradients(html: &mut Html, report: &Report) {
    let history = &report.manifest.history;
    let of = |layer: usize| move |epoch: &Epoch| epoch.layer_gradients.get(layer).copied().unwrap_or(f64::NAN);
    let all = history.epochs.iter().flat_map(|epoch| epoch.layer_gradients.iter().copied());
    let chart = Chart { x: epochs(history), y: Axis::decades(all), x_name: "epoch", y_name: "norm of the gradient" };
    let says =
        "Of each layer's weights in the last step of an epoch, before clipping, from the first layer to the last.";
    figure(html, "Gradients by layer", says, |html| {
        let colour = |layer: usize| mixed(layer as f64 / (history.layers.len().max(2) - 1) as f64);
        chart.draw(html, |html| {
            for layer in 0..history.layers.len() {
                let above_zero = |epoch: &Epoch| Some(of(layer)(epoch)).filter(|&norm| norm > 0.0).unwrap_or(f64::NAN);
                chart.line(html, over(history, above_zero), &stroke(&colour(layer)));
            }
        });
        let names = history.layers.iter().enumerate().map(|(layer, name)| (colour(layer), name.as_str()));
        legend(html, &names.collect::<Vec<_>>());
    });
}

/// The norm of the whole gradient over the epochs, and where it is clipped.
pub fn gradient(html: &mut Html, report: &Report) {
    let history = &report.manifest.history;
    let clip = f64::from(report.spec.training.clip_norm);
    let both = |epoch: &Epoch| [epoch.gradient_norm, epoch.largest_gradient];
    let y = Axis::decades(history.epochs.iter().flat_map(both).chain([clip]));
    let chart = Chart { x: epochs(history), y, x_name: "epoch", y_name: "norm of the gradient" };
    let says = format!("Of all weights, before clipping. The dashed line is training.clip_norm = {clip}.");
    figure(html, "Gradient", &says, |html| {
        chart.draw(html, |html| {
            let largest = |epoch: &Epoch| Some(epoch.largest_gradient).filter(|&norm| norm > 0.0).unwrap_or(f64::NAN);
            chart.line(html, over(history, |epoch| epoch.gradient_norm), &stroke(BLUE));
            chart.line(html, over(history, largest), &stroke(VERMILION));
            chart.level(html, clip);
        });
        let mut entries = vec![(BLUE.into(), "mean of the epoch")];
        if history.epochs.iter().any(|epoch| epoch.largest_gradient > 0.0) {
            entries.push((VERMILION.into(), "largest step"));
        }
        legend(html, &entries);
    });
}

/// What each latent unit carries, the one with most first.
pub fn latent(html: &mut Html, report: &Report) {
    let latent = &report.manifest.history.latent;
    let variational = !latent.kl.is_empty();
    let of = if variational { &latent.kl } else { &latent.variance };
    let mut units: Vec<(f64, bool)> = of
        .iter()
        .zip(&latent.variance)
        .map(|(&height, &variance)| (f64::from(height), f64::from(variance) > ACTIVE_VARIANCE))
        .collect();
    units.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (count, active) = (units.len(), latent.active());
    let y = Axis::between(0.0, units.first().map_or(1.0, |unit| unit.0) * 1.05);
    let y_name = if variational { "KL [nats]" } else { "variance of the mean" };
    let chart = Chart { x: Axis::between(0.5, count as f64 + 0.5), y, x_name: "latent unit, in order", y_name };
    let says = format!("{active} of {count} units are active: their mean varies over the validation tiles.");
    figure(html, "Latent usage", &says, |html| {
        chart.draw(html, |html| {
            for (at, &(height, active)) in units.iter().enumerate() {
                let colour = if active { BLUE } else { VERMILION };
                let (from, to) = (at as f64 + 0.55, at as f64 + 1.45);
                chart.bar(html, (from, to), height, &format!("fill:{colour}"));
            }
        });
        legend(html, &[(BLUE.into(), "active"), (VERMILION.into(), "not active")]);
    });
}

/// How the scores of normal frames are spread, and the threshold.
pub fn scores(html: &mut Html, calibration: &[f64], seen: Option<&Seen>, threshold: f64) {
    let seen = seen.map(Seen::scores).unwrap_or_default();
    let validation = seen.as_slice();
    let x = Axis::of(calibration.iter().chain(validation).copied().chain([threshold]));
    let (low, high) = calibration
        .iter()
        .chain(validation)
        .chain([&threshold])
        .filter(|score| score.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &score| (low.min(score), high.max(score)));
    let shares = [bins(calibration, low, high), bins(validation, low, high)];
    let most = shares.iter().flatten().copied().fold(0.0, f64::max);
    let y = Axis::between(0.0, 1.05 * most);
    let chart = Chart { x, y, x_name: "score of a frame", y_name: "share of the frames" };
    let says = "Normal frames alone. Whatever lies to the right of the dashed line, the threshold, is flagged.";
    figure(html, "Scores", says, |html| {
        chart.draw(html, |html| {
            let width = (high - low) / BINS as f64;
            let steps = |shares: &[f64]| -> Vec<(f64, f64)> {
                let each = |(at, &share): (usize, &f64)| {
                    let left = low + at as f64 * width;
                    [(left, share), (left + width, share)]
                };
                [(low, 0.0)].into_iter().chain(shares.iter().enumerate().flat_map(each)).chain([(high, 0.0)]).collect()
            };
            for (at, &share) in shares[0].iter().enumerate() {
                let left = low + at as f64 * width;
                chart.bar(html, (left, left + width), share, &format!("fill:{BLUE};fill-opacity:0.3"));
            }
            chart.line(html, steps(&shares[0]).into_iter(), &stroke(BLUE));
            if !validation.is_empty() {
                chart.line(html, steps(&shares[1]).into_iter(), &stroke(VERMILION));
            }
            chart.upright(html, threshold);
        });
        let mut entries = vec![(BLUE.into(), "calibration")];
        if !validation.is_empty() {
            entries.push((VERMILION.into(), "validation, which the score was fitted on"));
        }
        legend(html, &entries);
    });
}

/// Share of the finite values in each of [`BINS`] equal bins.
fn bins(values: &[f64], low: f64, high: f64) -> Vec<f64> {
    let mut shares = vec![0.0; BINS];
    let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    for value in &finite {
        let place = (value - low) / (high - low).max(f64::MIN_POSITIVE) * BINS as f64;
        shares[(place as usize).min(BINS - 1)] += 1.0 / finite.len() as f64;
    }
    shares
}

/// A colour between blue and vermilion of the page, by way of orange.
pub(super) fn mixed(share: f64) -> String {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let (from, to, part) = if share < 0.5 {
        ("var(--blue)", "var(--orange)", 2.0 * share)
    } else {
        ("var(--orange)", "var(--vermilion)", 2.0 * share - 1.0)
    };
    format!("color-mix(in oklab,{from},{to} {:.0}%)", 100.0 * part)
}

/// What the calibration promises, in words.
pub fn certificate(calibration: &Calibration, sizes: Option<Sizes>) -> String {
    let certificate = calibration.certificate();
    let sizes = sizes.map_or_else(String::new, |sizes| format!(", in frames of {sizes}"));
    format!(
        "With confidence {} %, at most {} % of the normal frames of this instrument are flagged. The threshold {:.4} leaves {} of \
         {} calibration frames above it; these frames have been used for nothing else. It holds for frames like them: the same \
         instrument in the same state{sizes}.",
        short(100.0 * (1.0 - certificate.delta)),
        short(100.0 * certificate.alpha),
        certificate.threshold,
        certificate.allowed,
        certificate.n
    )
}

/// At most four decimals.
fn short(value: f64) -> String {
    format!("{}", (value * 1e4).round() / 1e4)
}
