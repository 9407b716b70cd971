//! What an ablation shows: one table, as text or for a page, and one plot.

use clap::ValueEnum;

use super::record::{AUROC, Figure, GAP, GRADIENTS, LOSS, RECONSTRUCTION, Row, Spread, UNITS, ZEROS};
use super::variants::Variant;
use crate::draw::plot::{Dot, DotPanel, dots_svg};
use crate::error::Result;

/// What the figures mean, for below a table.
pub const NOTES: [&str; 3] = [
    "* as in the pipeline; mean±standard deviation over the seeds; effect: the change against *, seed by seed",
    "validation losses, nats a tile, each at its own beta: where that or the kind differs, compare reconstruction and AUROC",
    "gap: validation minus train; first/last gradient: norm in the first layers over the last's, small where it vanishes",
];

/// A value's line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The option and its value, marked where it is the pipeline's own.
    pub name: String,
    /// Under each heading but the first.
    pub cells: Vec<String>,
    /// Why runs are missing.
    pub note: Option<String>,
}

/// The headings, and a line a value.
pub fn lines(rows: &[Row]) -> (Vec<&'static str>, Vec<Line>) {
    let with_areas = rows.iter().any(|row| row.spread(&AUROC).is_some());
    let mut headings = vec!["option", "runs", LOSS.name, "effect", RECONSTRUCTION.name, GAP.name];
    if with_areas {
        headings.extend([AUROC.name, "effect"]);
    }
    headings.extend([GRADIENTS.name, ZEROS.name, UNITS.name, "parameters", "images/s"]);
    (headings, rows.iter().map(|row| line(row, row.own(rows), with_areas)).collect())
}

fn line(row: &Row, own: Option<&Row>, with_areas: bool) -> Line {
    let cell = |figure: &Figure| row.spread(figure).map_or("-".into(), |spread| spread.text(figure.digits));
    let effect = |figure: &Figure| {
        let effect = own.and_then(|own| row.effect(own, figure));
        effect.map_or("-".into(), |spread| spread.signed(figure.digits))
    };
    let mut cells = vec![row.runs.len().to_string(), cell(&LOSS), effect(&LOSS), cell(&RECONSTRUCTION), cell(&GAP)];
    if with_areas {
        cells.extend([cell(&AUROC), effect(&AUROC)]);
    }
    let speed = Spread::of(&row.runs.iter().map(|run| run.images_per_s).collect::<Vec<_>>());
    cells.extend([
        cell(&GRADIENTS),
        cell(&ZEROS),
        cell(&UNITS),
        row.runs.first().map_or("-".into(), |run| run.parameters.to_string()),
        speed.map_or("-".into(), |speed| format!("{:.0}", speed.mean)),
    ]);
    Line {
        name: format!("{}{}", name(&row.variant), if row.variant.own { " *" } else { "" }),
        cells,
        note: row.refused.clone(),
    }
}

/// The option as `--options` takes it, with its value.
pub fn name(variant: &Variant) -> String {
    let option = variant.option.to_possible_value();
    format!("{} {}", option.as_ref().map_or("", |option| option.get_name()), variant.value)
}

/// The table for a terminal, in two parts so that it fits: what each value does to the figures, and what it makes of the network.
pub fn text(rows: &[Row]) -> String {
    let (headings, lines) = lines(rows);
    let first = lines.iter().map(|line| line.name.len()).max().unwrap_or(0).max(headings[0].len());
    let network = headings.iter().position(|heading| *heading == GRADIENTS.name).unwrap_or(headings.len());
    let mut text = String::new();
    for (columns, told) in [(1..network, true), (network..headings.len(), false)] {
        let cells = |line: &Line| line.cells[columns.start - 1..columns.end - 1].to_vec();
        let width = |at: usize| {
            let cells = lines.iter().map(|line| line.cells[at - 1].chars().count());
            cells.chain([headings[at].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = columns.clone().map(width).collect();
        let row = |name: &str, cells: Vec<String>| {
            let start = format!("{name:<first$}");
            widths.iter().zip(cells).fold(start, |text, (width, cell)| format!("{text}  {cell:>width$}")) + "\n"
        };
        text += &row(headings[0], headings[columns.clone()].iter().map(ToString::to_string).collect());
        for line in &lines {
            let has_run = line.cells[0] != "0";
            let why = match &line.note {
                Some(why) if has_run => Some(format!("{:<first$}  ended early: {why}\n", "")),
                Some(why) => Some(format!("{:<first$}  not possible: {why}\n", line.name)),
                None => (!has_run).then(|| format!("{:<first$}  not run\n", line.name)),
            };
            if has_run {
                text += &row(&line.name, cells(line));
            }
            text.extend(why.filter(|_| told));
        }
        text.push('\n');
    }
    NOTES.iter().fold(text, |text, note| text + note + "\n")
}

/// Means with their deviations, a row a value and a panel a figure.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the plot cannot be drawn.
pub fn plot(pipeline: &str, rows: &[Row]) -> Result<String> {
    let drawn: Vec<&Row> = rows.iter().filter(|row| !row.runs.is_empty()).collect();
    let dot =
        |row: &&Row| Dot { name: name(&row.variant), group: row.variant.option as usize, filled: row.variant.own };
    let dots: Vec<Dot> = drawn.iter().map(dot).collect();
    let own = drawn.iter().find(|row| row.variant.own);
    let panel = |axis: &str, figure: &Figure| {
        let shown = |row: &&&Row| row.means(figure);
        let value = |row: &&Row| {
            let spread = Some(row).filter(shown).and_then(|row| row.spread(figure))?;
            Some((spread.mean, spread.deviation.unwrap_or(0.0)))
        };
        let mark = own.and_then(|own| own.spread(figure)).map(|spread| spread.mean);
        DotPanel { axis: axis.into(), values: drawn.iter().map(value).collect(), mark }
    };
    let panels = [
        panel("validation loss, nats a tile", &LOSS),
        panel("reconstruction alone, nats a tile", &RECONSTRUCTION),
        panel("gap to train, nats a tile", &GAP),
        panel("area under the ROC curve", &AUROC),
        panel("first/last gradient", &GRADIENTS),
    ];
    let panels: Vec<DotPanel> = panels.into_iter().filter(|panel| panel.values.iter().any(Option::is_some)).collect();
    let note = "mean over seeds, bars: standard deviation; filled, and the dashed line: as in the pipeline; no loss where \
                beta or kind make it another figure";
    dots_svg(&format!("{pipeline}: what each option is worth"), note, &dots, &panels)
}

#[cfg(test)]
mod tests {
    use super::super::record::Run;
    use super::super::record::tests::{row, run};
    use super::super::variants::Choice;
    use super::*;

    fn rows(auroc: Option<f64>) -> Vec<Row> {
        let mut rows = vec![
            row(Choice::Norm, "none", false, vec![run(1, 12.0, auroc), run(2, 14.0, auroc)]),
            row(Choice::Norm, "group", true, vec![run(1, 10.0, auroc), run(2, 11.0, auroc)]),
            row(Choice::Upsample, "nearest", false, vec![]),
            row(Choice::Beta, "4", false, vec![run(1, 90.0, auroc)]),
        ];
        rows[2].refused = Some("a dense model doubles no side".into());
        rows[3].refused = Some("seed 2: the loss is no number any more".into());
        rows
    }

    #[test]
    fn the_table_says_what_each_value_changes_and_why_one_is_missing() {
        let text = text(&rows(Some(0.9)));
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_string();
        assert!(line("norm none").contains("13.00±1.41  +2.50±0.71"), "{text}");
        assert!(line("norm group *").contains("10.50±0.71"), "{text}");
        assert!(line("upsample nearest").ends_with("not possible: a dense model doubles no side"), "{text}");
        assert!(line("beta 4").contains("90.00") && text.contains("ended early: seed 2"), "{text}");
        assert!(text.contains("AUROC"));
        // Once among the figures and once among what is made of the network, its reasons not.
        let count = |words: &str| text.matches(words).count();
        assert_eq!((count("norm group *"), count("not possible"), count("ended early")), (2, 1, 1), "{text}");
        let (headings, lines) = lines(&rows(None));
        assert!(!headings.contains(&"AUROC") && lines.iter().all(|line| line.cells.len() + 1 == headings.len()));
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let run = |seed: u64| {
            let large =
                Run { active_units: 1024, parameters: 12_345_678, images_per_s: 123_456.0, ..run(seed, 0.0, None) };
            let loss = -12345.67 - 345.6 * seed as f64;
            Run {
                validation_loss: loss,
                validation_nll: loss,
                gap: Some(345.67 * seed as f64),
                auroc: Some(0.9),
                ..large
            }
        };
        let runs: Vec<Run> = (0..3).map(run).collect();
        let worse = runs
            .iter()
            .map(|run| Run { validation_loss: run.validation_loss + 99.0 * (run.seed * run.seed) as f64, ..*run });
        let rows = [
            row(Choice::Upsample, "transposed", false, worse.collect()),
            row(Choice::Upsample, "pixel_shuffle", true, runs),
        ];
        let text = text(&rows);
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }

    #[test]
    fn the_plot_has_a_dot_where_a_figure_means_the_same() {
        let plot = plot("digits", &rows(None)).unwrap();
        assert!(plot.contains("norm none") && plot.contains("beta 4") && !plot.contains("upsample"));
        // Two circles a dot: of three rows loss and gap leave beta out, reconstruction and gradients have all; no AUROC.
        assert_eq!(plot.matches("<circle").count(), 2 * (2 + 3 + 2 + 3));
    }
}
