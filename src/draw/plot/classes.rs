//! The confusion matrix of several classes, for a terminal and as SVG.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Area, FONT, colour, failed, framed, headed, heading_width, label, svg};
use crate::draw::colour::{BLUE, INK, MUTED, VERMILION};
use crate::error::Result;
use crate::stats::classes::ClassConfusion;

/// Side of a cell, px.
const CELL: i32 = 64;
/// Left of the cells: names of the classes.
const NAMES: i32 = 190;
/// Above the cells: names, turned.
const TOP: i32 = 150;
/// Right of the cells: recall. Below: precision.
const FIGURES: i32 = 110;

/// The matrix as lines of text: a row a true class, its items, its recall, the class's precision.
pub fn classes_text(matrix: &ClassConfusion) -> String {
    let shares = matrix.normalised();
    let mut text = String::from("frames\n");
    text.push_str(&rows(matrix, 4, |row, column| match matrix.counts[row][column] {
        0 => ".".to_string(),
        count => count.to_string(),
    }));
    text.push_str("share of the row, %\n");
    text.push_str(&rows(matrix, 5, |row, column| match matrix.counts[row][column] {
        0 => ".".to_string(),
        _ => format!("{:.1}", 100.0 * shares[row][column]),
    }));
    text.push_str(&format!("accuracy {} of {}\n", percent(matrix.accuracy()), matrix.total()));
    text
}

/// One line a class, `cell` says what stands in a row and column; columns are at least `narrow` characters wide.
fn rows(matrix: &ClassConfusion, narrow: usize, cell: impl Fn(usize, usize) -> String) -> String {
    let wide = matrix.classes.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(5);
    let number = matrix.counts.iter().flatten().max().map_or(1, |most| most.to_string().len()).max(narrow);
    // A number stands over each column where the names would not fit.
    let short = matrix.classes.iter().all(|name| name.chars().count() <= number);
    let column = number + 1;
    let head = |at: usize| if short { matrix.classes[at].clone() } else { format!("[{}]", at + 1) };
    let mut text = format!("{:wide$}    ", "truth");
    (0..matrix.classes.len()).for_each(|at| text.push_str(&format!("{:>column$}", head(at))));
    text.push_str("    recall precision\n");
    for (at, name) in matrix.classes.iter().enumerate() {
        let mark = if short { String::new() } else { format!("[{}]", at + 1) };
        text.push_str(&format!("{name:wide$}{mark:>4}"));
        (0..matrix.classes.len()).for_each(|of| text.push_str(&format!("{:>column$}", cell(at, of))));
        text.push_str(&format!("{:>10}{:>10}\n", percent(matrix.recall(at)), percent(matrix.precision(at))));
    }
    text
}

/// The matrix as a picture: counts and their shares of the row, which give the colour, with recall, precision and accuracy.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the plot cannot be drawn.
pub fn classes_svg(title: &str, matrix: &ClassConfusion) -> Result<String> {
    let side = CELL * matrix.classes.len() as i32;
    let accuracy = format!("accuracy {} of {}", percent(matrix.accuracy()), matrix.total());
    let note = format!("frames by truth (rows) and answer (columns), with their share of the row; {accuracy}");
    let (width, height) = ((NAMES + side + FIGURES) as u32, (62 + TOP + side + FIGURES - 40) as u32);
    svg(width.max(heading_width(title, &note)), height, |area| {
        let rest = headed(area, title, &note)?;
        for (at, name) in matrix.classes.iter().enumerate() {
            let middle = CELL * at as i32 + CELL / 2;
            let turned = (FONT, 16).into_font().transform(FontTransform::Rotate270).color(&colour(INK));
            rest.draw_text(name, &turned.pos(Pos::new(HPos::Left, VPos::Center)), (NAMES + middle, TOP - 10))
                .map_err(failed)?;
            let right = label(16).pos(Pos::new(HPos::Right, VPos::Center));
            rest.draw_text(name, &right, (NAMES - 10, TOP + middle)).map_err(failed)?;
            figure(&rest, &percent(matrix.recall(at)), (NAMES + side + 48, TOP + middle))?;
            figure(&rest, &percent(matrix.precision(at)), (NAMES + middle, TOP + side + 22))?;
        }
        figure(&rest, "recall", (NAMES + side + 48, TOP - 16))?;
        figure(&rest, "precision", (NAMES - 46, TOP + side + 22))?;
        cells(&rest, matrix)
    })
}

fn cells(area: &Area<'_>, matrix: &ClassConfusion) -> Result<()> {
    let middle = Pos::new(HPos::Center, VPos::Center);
    for (row, (counts, shares)) in matrix.counts.iter().zip(matrix.normalised()).enumerate() {
        for (column, (&count, share)) in counts.iter().zip(shares).enumerate() {
            let place = (NAMES + CELL * column as i32, TOP + CELL * row as i32);
            let cell = area.clone().shrink(place, (CELL as u32 - 2, CELL as u32 - 2));
            let hue = colour(if row == column { BLUE } else { VERMILION });
            // A single wrong one must be seen beside hundreds of right ones.
            let strength = if count == 0 { 0.02 } else { 0.12 + 0.72 * share };
            cell.fill(&hue.mix(strength)).map_err(failed)?;
            framed(&cell)?;
            if count > 0 {
                let ink = if strength > 0.5 { WHITE } else { colour(INK) };
                let style = (FONT, 18).into_font().color(&ink).pos(middle);
                cell.draw_text(&count.to_string(), &style, (CELL / 2, CELL / 2 - 8)).map_err(failed)?;
                let style = (FONT, 12).into_font().color(&ink).pos(middle);
                cell.draw_text(&format!("{:.1} %", 100.0 * share), &style, (CELL / 2, CELL / 2 + 12))
                    .map_err(failed)?;
            }
        }
    }
    Ok(())
}

fn figure(area: &Area<'_>, text: &str, place: (i32, i32)) -> Result<()> {
    let style = (FONT, 14).into_font().color(&colour(MUTED)).pos(Pos::new(HPos::Center, VPos::Center));
    area.draw_text(text, &style, place).map_err(failed)
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_string(), |share| format!("{:.2} %", 100.0 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_names_and_figures_are_where_they_belong() {
        let names = ["hot_column".to_string(), "satellite_trail".to_string()];
        let matrix = ClassConfusion::count(&names, [(0, 0), (0, 0), (0, 1), (1, 1)]);
        let text = classes_text(&matrix);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with("hot_column"))
            .map(|line| line.split_whitespace().collect())
            .collect();
        let figures = ["66.67", "%", "100.00", "%"];
        assert_eq!(
            lines,
            [
                [&["hot_column", "[1]", "2", "1"], &figures[..]].concat(),
                [&["hot_column", "[1]", "66.7", "33.3"], &figures[..]].concat()
            ]
        );
        assert!(text.contains("accuracy 75.00 % of 4"), "{text}");
        let svg = classes_svg("telescope", &matrix).unwrap();
        assert!(svg.contains("satellite_trail") && svg.contains("66.67 %"));
        assert!(classes_text(&ClassConfusion::count(&names, [])).contains("accuracy - of 0"));
    }
}
