//! The confusion matrix, for a terminal and as SVG.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, FONT, colour, failed, framed, headed, label, svg};
use crate::draw::colour::{BLUE, INK, VERMILION};
use crate::error::Result;
use crate::stats::metrics::Confusion;

/// The matrix as lines of text, rows by truth.
pub fn confusion_text(counts: &Confusion) -> String {
    let rate = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{:.2} %", 100.0 * value));
    format!(
        "              flagged    passed\n\
         anomalous  {:>10}{:>10}   recall {}\n\
         normal     {:>10}{:>10}   false alarms {}\n",
        counts.true_positive,
        counts.false_negative,
        rate(counts.recall()),
        counts.false_positive,
        counts.true_negative,
        rate(counts.false_alarm_rate()),
    )
}

/// The matrix as a picture: counts and the share of each row, coloured by that share.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the plot cannot be drawn.
pub fn confusion_svg(title: &str, counts: &Confusion) -> Result<String> {
    svg(620, 480, |area| {
        let rest = headed(area, title, "frames by truth (rows) and verdict (columns); shares of each row")?;
        let rows = [
            ("anomalous", counts.true_positive, counts.false_negative, [true, false]),
            ("normal", counts.false_positive, counts.true_negative, [false, true]),
        ];
        let middle = Pos::new(HPos::Center, VPos::Center);
        for (column, name) in ["flagged", "passed"].into_iter().enumerate() {
            let place = (250 + 220 * column as i32, 20);
            rest.draw_text(name, &label(17).pos(middle), place).map_err(failed)?;
        }
        for (row, (name, flagged, passed, right)) in rows.into_iter().enumerate() {
            let y = 44 + 172 * row as i32;
            rest.draw_text(name, &label(17).pos(Pos::new(HPos::Right, VPos::Center)), (128, y + 80)).map_err(failed)?;
            for (column, count) in [flagged, passed].into_iter().enumerate() {
                let x = 146 + 220 * column as i32;
                cell(&rest, (x, y), count, share(count, flagged + passed), right[column])?;
            }
        }
        Ok(())
    })
}

/// One cell: blue where verdict and truth agree, vermilion where not, stronger with its share of the row.
fn cell(area: &Area<'_>, (x, y): (i32, i32), count: usize, share: Option<f64>, right: bool) -> Result<()> {
    let cell = area.clone().shrink((x, y), (212, 164));
    let strength = 0.08 + 0.72 * share.unwrap_or(0.0);
    cell.fill(&colour(if right { BLUE } else { VERMILION }).mix(strength)).map_err(failed)?;
    framed(&cell)?;
    let ink = if strength > 0.5 { WHITE } else { colour(INK) };
    let middle = Pos::new(HPos::Center, VPos::Center);
    let number = (FONT, 30).into_font().color(&ink).pos(middle);
    cell.draw_text(&count.to_string(), &number, (106, 68)).map_err(failed)?;
    let percent = share.map_or("-".to_string(), |share| format!("{:.1} %", 100.0 * share));
    cell.draw_text(&percent, &(FONT, 16).into_font().color(&ink).pos(middle), (106, 104)).map_err(failed)
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shares_are_where_they_belong() {
        let counts = Confusion::count([(true, true), (true, true), (true, false), (false, true), (false, false)]);
        let text = confusion_text(&counts);
        assert!(text.contains("recall 66.67 %") && text.contains("false alarms 50.00 %"));
        assert!(confusion_svg("digits", &counts).unwrap().contains("66.7 %"));
        assert!(confusion_text(&Confusion::default()).contains("recall -"));
    }
}
