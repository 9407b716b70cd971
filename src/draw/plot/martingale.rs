//! What betting on a change has won, frame by frame.

use plotters::prelude::*;

use super::legend::{Entry, Mark, legend};
use super::{colour, failed, headed, label, mesh, span, svg, tick};
use crate::draw::colour::{BLUE, INK, MUTED, VERMILION};
use crate::error::Result;

/// Two martingales after a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stake {
    /// Frames so far.
    pub frame: u64,
    /// log10 of the martingale on scores.
    pub scores: f64,
    /// log10 of the martingale on raw statistics.
    pub raw: f64,
}

/// Both martingales over the frames, the bound (log10) that neither passes but for a change, and what happened after which frame.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the plot cannot be drawn.
pub fn martingale_svg(
    title: &str,
    note: &str,
    stakes: &[Stake],
    bound: f64,
    events: &[(u64, String)],
) -> Result<String> {
    let curves = [
        ("scores", BLUE, stakes.iter().map(|stake| stake.scores).collect::<Vec<f64>>()),
        ("raw statistics", VERMILION, stakes.iter().map(|stake| stake.raw).collect()),
    ];
    let mut entries: Vec<Entry> = curves.iter().map(|(name, rgb, _)| Entry::new(*name, *rgb, Mark::Line)).collect();
    entries.push(Entry::new("certificates are void from here up", INK, Mark::Dashes));
    svg(900, 540, |area| {
        let rest = legend(&headed(area, title, note)?, &entries)?;
        let values = stakes.iter().flat_map(|stake| [stake.scores, stake.raw]);
        let (bottom, top) = span(values.chain([0.0, bound]));
        let last = stakes.last().map_or(1, |stake| stake.frame).max(1) as f64;
        let mut chart = ChartBuilder::on(&rest)
            .margin(14)
            .margin_right(28)
            .x_label_area_size(46)
            .y_label_area_size(78)
            .build_cartesian_2d(0.0..last, bottom..top)
            .map_err(failed)?;
        let power = |y: &f64| format!("10^{}", tick(*y));
        mesh!(chart, "frames", "evidence of drift", &|x: &f64| tick(*x), &power);
        let limit = DashedLineSeries::new([(0.0, bound), (last, bound)], 6, 4, colour(INK).stroke_width(1));
        chart.draw_series(limit).map_err(failed)?;
        for (at, what) in events {
            let (x, mark) = (*at as f64, colour(MUTED));
            let line = DashedLineSeries::new([(x, bottom), (x, top)], 3, 4, mark.stroke_width(1));
            chart.draw_series(line).map_err(failed)?;
            let words = Text::new(what.clone(), (x + last * 0.004, top - (top - bottom) * 0.01), label(13));
            chart.draw_series([words]).map_err(failed)?;
        }
        for (_, rgb, values) in curves {
            let points = stakes.iter().map(|stake| stake.frame as f64).zip(values);
            chart.draw_series(LineSeries::new(points, colour(rgb).stroke_width(2))).map_err(failed)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_bound_and_events_are_named() {
        let stake = |frame: u64| Stake { frame, scores: frame as f64 * 0.02 - 1.0, raw: -0.5 };
        let stakes: Vec<_> = (1..=200).map(stake).collect();
        let text = martingale_svg("digits", "raised", &stakes, 1.6, &[(120, "raised".into())]).unwrap();
        for word in ["digits", "scores", "raw statistics", "certificates are void", "evidence of drift"] {
            assert!(text.contains(word), "{word}");
        }
        assert!(martingale_svg("t", "", &[], 1.6, &[]).is_ok());
    }
}
