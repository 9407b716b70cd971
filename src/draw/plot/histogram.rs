//! Histograms of scores: normal and anomalous frames, and the certified threshold between them.

use plotters::prelude::*;

use super::axis::Axis;
use super::legend::{Entry, Mark, legend};
use super::{colour, failed, headed, mesh, span, svg, tick};
use crate::draw::colour::{BLUE, INK, VERMILION};
use crate::error::Result;

const BINS: usize = 60;

/// Frames a bin on a logarithmic axis, so that the few beyond the threshold are seen; scores that are not finite are left
/// out and counted in the note.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the plot cannot be drawn.
pub fn score_histogram_svg(title: &str, normal: &[f64], anomalous: &[f64], threshold: f64) -> Result<String> {
    let (low, high) = span(normal.iter().chain(anomalous).copied().chain([threshold]));
    let above = |scores: &[f64]| scores.iter().filter(|score| **score > threshold).count();
    let lost = normal.iter().chain(anomalous).filter(|score| !score.is_finite()).count();
    let mut note = format!(
        "above the threshold {}: {} of {} normal, {} of {} anomalous",
        tick(threshold),
        above(normal),
        normal.len(),
        above(anomalous),
        anomalous.len()
    );
    if lost > 0 {
        note.push_str(&format!("; {lost} not finite, not drawn"));
    }
    let series = [("normal", BLUE, bins(normal, low, high)), ("anomalous", VERMILION, bins(anomalous, low, high))];
    let tallest = series.iter().flat_map(|(_, _, counts)| counts).copied().max().unwrap_or(1).max(1);
    let mut entries: Vec<Entry> = series.iter().map(|(name, rgb, _)| Entry::new(*name, *rgb, Mark::Area)).collect();
    entries.push(Entry::new("threshold", INK, Mark::Dashes));
    svg(900, 580, |area| {
        let rest = legend(&headed(area, title, &note)?, &entries)?;
        let top = (tallest as f64 * 2.0).log10().max(1.0);
        let mut chart = ChartBuilder::on(&rest)
            .margin(14)
            .margin_right(28)
            .x_label_area_size(46)
            .y_label_area_size(70)
            .build_cartesian_2d(low..high, Axis::of_exponents(FLOOR..top))
            .map_err(failed)?;
        let count = |y: &f64| tick(10f64.powf(*y));
        mesh!(chart, "combined score [nats]", "frames a bin (logarithmic)", &|x: &f64| tick(*x), &count);
        for (_, rgb, counts) in &series {
            let steps = outline(counts, low, high);
            let pen = colour(*rgb).stroke_width(2);
            let area = AreaSeries::new(steps.clone(), FLOOR, colour(*rgb).mix(0.25));
            chart.draw_series(area).map_err(failed)?;
            chart.draw_series(LineSeries::new(steps, pen)).map_err(failed)?;
        }
        let line = [(threshold, FLOOR), (threshold, top)];
        let pen = colour(INK).stroke_width(2);
        chart.draw_series(DashedLineSeries::new(line, 6, 4, pen)).map_err(failed)?;
        Ok(())
    })
}

/// log10 of the count that an empty bin is drawn at: below one frame.
const FLOOR: f64 = -0.3;

fn bins(scores: &[f64], low: f64, high: f64) -> Vec<usize> {
    let mut counts = vec![0; BINS];
    for score in scores.iter().filter(|score| score.is_finite()) {
        let place = (score - low) / (high - low) * BINS as f64;
        counts[(place as usize).min(BINS - 1)] += 1;
    }
    counts
}

/// The histogram as a line of steps.
fn outline(counts: &[usize], low: f64, high: f64) -> Vec<(f64, f64)> {
    let width = (high - low) / counts.len() as f64;
    let height = |count: usize| if count == 0 { FLOOR } else { (count as f64).log10() };
    let steps = counts.iter().enumerate().flat_map(|(place, count)| {
        let left = low + place as f64 * width;
        [(left, height(*count)), (left + width, height(*count))]
    });
    std::iter::once((low, FLOOR)).chain(steps).chain([(high, FLOOR)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_score_falls_into_a_bin() {
        let scores = [0.0, 0.5, 1.0, 1.0, f64::NAN];
        assert_eq!(bins(&scores, 0.0, 1.0).iter().sum::<usize>(), 4);
        assert_eq!(bins(&scores, 0.0, 1.0)[BINS - 1], 2);
    }

    #[test]
    fn the_note_counts_both_sides_of_the_threshold() {
        let text = score_histogram_svg("detector", &[1.0, 2.0, 9.0], &[8.0, 1.0, f64::INFINITY], 5.0).unwrap();
        assert!(text.contains("1 of 3 normal, 2 of 3 anomalous; 1 not finite"));
        assert!(score_histogram_svg("nothing", &[], &[], 1.0).is_ok());
    }
}
