//! What each option of the pipeline is worth, where an ablation was run: beside what it was run on.

use super::Report;
use super::figures::figure;
use super::html::{Html, svg_address};
use super::words::{facts, missing, row};
use crate::ablate::{Ablation, table};
use crate::error::Result;

/// The ablation of a page: its plot, and how it differs from what the version was made from.
pub struct Shown<'a> {
    ablation: &'a Ablation,
    differences: Vec<String>,
    plot: String,
}

impl<'a> Shown<'a> {
    /// Of a report; `None` where none was run.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the plot cannot be drawn.
    pub fn of(report: &Report<'a>) -> Result<Option<Self>> {
        let Some(ablation) = report.ablation else { return Ok(None) };
        let differences = ablation.basis.differences(report.manifest, report.spec);
        let differences = differences.unwrap_or_else(|failure| vec![failure.message]);
        let plot = table::plot(report.name, &ablation.rows)?;
        Ok(Some(Self { ablation, differences, plot }))
    }
}

/// The section.
pub fn section(html: &mut Html, name: &str, shown: Option<&Shown>) {
    let Some(Shown { ablation, differences, plot }) = shown else {
        return missing(
            html,
            &format!("None was run: anomalyd ablate {name} --data DIR... trains each option on and off."),
        );
    };
    let basis = &ablation.basis;
    html.element("ul", &[("class", "said")], |html| {
        if differences.is_empty() {
            let words = "Run on the frames and the pipeline that this version was made from.";
            html.words("li", &[("class", "fine")], words);
        } else {
            let words = format!("Not run on what this version was made from: {}.", differences.join("; "));
            html.words("li", &[("class", "warning")], &words);
        }
    });
    let anomalous = basis
        .anomalous_data
        .as_ref()
        .map_or(String::new(), |digest| format!("{} frames, digest {digest}", basis.anomalous));
    facts(
        html,
        &[
            ("run", format!("{} by {}", ablation.made_at.format("%Y-%m-%d %H:%M:%S UTC"), ablation.software)),
            ("command", ablation.command.clone()),
            ("frames", format!("{} normal, digest {}", basis.frames, basis.data)),
            ("anomalies", anomalous),
            ("digest of the pipeline", basis.pipeline_digest()),
            ("trainings", format!("{} seeds of at most {} epochs", basis.seeds, basis.training.epochs)),
        ],
    );
    html.element("div", &[("class", "scroll")], |html| rows(html, ablation));
    for note in table::NOTES {
        html.words("p", &[("class", "muted")], note);
    }
    figure(html, "What each option is worth", "Means over the seeds, with their standard deviation.", |html| {
        let address = svg_address(plot);
        html.element("div", &[("class", "scroll")], |html| {
            html.leaf("img", &[("alt", "dots with error bars, a row a value"), ("src", &address)]);
        });
    });
}

fn rows(html: &mut Html, ablation: &Ablation) {
    let (headings, lines) = table::lines(&ablation.rows);
    html.element("table", &[("class", "numbers")], |html| {
        row(html, "th", &headings);
        for line in &lines {
            let cells = std::iter::once(line.name.as_str()).chain(line.cells.iter().map(String::as_str));
            row(html, "td", &cells.collect::<Vec<_>>());
            if let Some(note) = &line.note {
                let span = line.cells.len().to_string();
                html.element("tr", &[], |html| {
                    html.element("td", &[], |_| ());
                    html.words("td", &[("colspan", &span), ("class", "muted")], note);
                });
            }
        }
    });
}
