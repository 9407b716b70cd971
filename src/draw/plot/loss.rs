//! Loss curves: what training did, epoch by epoch.

use plotters::prelude::*;

use super::legend::{Entry, Mark, legend};
use super::{Area, colour, failed, headed, mesh, span, svg, tick};
use crate::draw::colour::{BLUE, GREEN, MUTED, PURPLE, Rgb, VERMILION};
use crate::error::Result;

/// One epoch, nats an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EpochPoint {
    /// From 1.
    pub epoch: usize,
    /// `nll + beta * kl` on the training split.
    pub train_loss: f64,
    /// The same on the validation split.
    pub validation_loss: f64,
    /// KL divergence of the posterior from the prior, validation split.
    pub kl: f64,
    /// Reconstruction loss, validation split.
    pub nll: f64,
}

/// One curve of a panel.
struct Curve {
    name: &'static str,
    colour: Rgb,
    of: fn(&EpochPoint) -> f64,
}

/// Loss and reconstruction above, KL below, the best validation epoch marked. A panel whose values are all positive and
/// span more than a factor of 20 has a logarithmic axis.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the plot cannot be drawn.
pub fn loss_svg(title: &str, epochs: &[EpochPoint]) -> Result<String> {
    let best = epochs
        .iter()
        .filter(|point| point.validation_loss.is_finite())
        .min_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss));
    let note = match best {
        Some(point) => {
            format!("best validation loss {} nats an image, epoch {}", tick(point.validation_loss), point.epoch)
        }
        None => "no epoch was finished".to_string(),
    };
    svg(900, 740, |area| {
        let rest = headed(area, title, &note)?;
        let (upper, lower) = rest.split_vertically(420);
        let loss = [
            Curve { name: "train", colour: BLUE, of: |point| point.train_loss },
            Curve { name: "validation", colour: VERMILION, of: |point| point.validation_loss },
            Curve { name: "reconstruction (validation)", colour: GREEN, of: |point| point.nll },
        ];
        let marked = best.map(|point| point.epoch);
        curves(&upper, "loss [nats an image]", &loss, epochs, marked)?;
        let kl = [Curve { name: "KL (validation)", colour: PURPLE, of: |point| point.kl }];
        curves(&lower, "KL [nats an image]", &kl, epochs, marked)
    })
}

fn curves(area: &Area<'_>, unit: &str, curves: &[Curve], epochs: &[EpochPoint], best: Option<usize>) -> Result<()> {
    let all = || epochs.iter().flat_map(|point| curves.iter().map(|curve| (curve.of)(point))).filter(|v| v.is_finite());
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let logarithmic = low > 0.0 && high > 20.0 * low;
    let place = |value: f64| if logarithmic { value.log10() } else { value };
    let (bottom, top) = span(all().map(place));
    let last = epochs.iter().map(|point| point.epoch).max().unwrap_or(1).max(2) as f64;
    let entries: Vec<Entry> = curves.iter().map(|curve| Entry::new(curve.name, curve.colour, Mark::Line)).collect();
    let mut chart = ChartBuilder::on(&legend(area, &entries)?)
        .margin(14)
        .margin_right(28)
        .x_label_area_size(46)
        .y_label_area_size(78)
        .build_cartesian_2d(1.0..last, bottom..top)
        .map_err(failed)?;
    let on_axis = |y: &f64| if logarithmic { tick(10f64.powf(*y)) } else { tick(*y) };
    mesh!(chart, "epoch", unit, &|x: &f64| tick(*x), &on_axis);
    if let Some(best) = best {
        let line = [(best as f64, bottom), (best as f64, top)];
        let dashed = DashedLineSeries::new(line, 4, 4, colour(MUTED).stroke_width(1));
        chart.draw_series(dashed).map_err(failed)?;
    }
    for curve in curves {
        let pen = colour(curve.colour).stroke_width(2);
        let values = || epochs.iter().filter(|point| (curve.of)(point).is_finite());
        let points = values().map(|point| (point.epoch as f64, place((curve.of)(point))));
        chart.draw_series(LineSeries::new(points, pen).point_size(2)).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_and_the_best_epoch_are_named() {
        let point = |epoch: usize| {
            let loss = 100.0 + 500.0 / epoch as f64;
            EpochPoint { epoch, train_loss: loss, validation_loss: loss + 3.0, kl: epoch as f64, nll: loss - 9.0 }
        };
        let epochs: Vec<_> = (1..=12).map(point).collect();
        let text = loss_svg("digits", &epochs).unwrap();
        for word in ["digits", "train", "validation", "KL [nats an image]", "epoch 12"] {
            assert!(text.contains(word), "{word}");
        }
    }

    #[test]
    fn no_epoch_and_broken_values_still_draw() {
        let broken = EpochPoint { epoch: 1, train_loss: f64::NAN, validation_loss: f64::NAN, kl: 0.0, nll: -4.0 };
        assert!(loss_svg("t", &[]).is_ok());
        assert!(loss_svg("t", &[broken]).is_ok());
    }
}
