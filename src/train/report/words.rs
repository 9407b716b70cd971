//! The tables and sentences of a report.

use super::Report;
use super::html::Html;
use super::seen::Seen;
use crate::pipeline::Training;
use crate::train::diagnosis::{Finding, diagnose};
use crate::train::seal::Sealed;
use crate::train::symmetry::Symmetry;

/// Pipeline, version, and how it was made.
pub fn header(html: &mut Html, report: &Report) {
    let manifest = report.manifest;
    html.element("header", &[], |html| {
        html.words("h1", &[], &format!("{}: version {}", report.name, manifest.version));
        html.words("p", &[("class", "muted")], &report.spec.description);
        let parts = &manifest.data;
        let model = &report.spec.model;
        let kind = format!("{:?}", model.kind).to_lowercase();
        let data = format!(
            "{} frames ({} train, {} validation, {} calibration), {} rejected",
            parts.frames, parts.train, parts.validation, parts.calibration, parts.rejected
        );
        facts(
            html,
            &[
                ("made", format!("{} by {}", manifest.created_at.format("%Y-%m-%d %H:%M:%S UTC"), manifest.software)),
                ("command", manifest.command.clone()),
                ("device, seed", format!("{}, {}", manifest.device, manifest.seed)),
                ("model", format!("{kind}, beta {}, {} parameters", model.beta, manifest.parameters)),
                ("data", data),
                ("digest of the data", manifest.data.digest.clone()),
                ("digest of the pipeline", blake3::hash(manifest.pipeline.as_bytes()).to_hex().to_string()),
                ("digest of the weights", manifest.digests.weights().to_string()),
            ],
        );
    });
}

/// A table of names and values; empty values are left out.
fn facts(html: &mut Html, rows: &[(&str, String)]) {
    html.element("table", &[("class", "facts")], |html| {
        for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
            html.element("tr", &[], |html| {
                html.words("th", &[], name);
                html.words("td", &[], value);
            });
        }
    });
}

/// Says that something is not here, and why.
pub fn missing(html: &mut Html, why: &str) {
    html.words("p", &[("class", "muted")], why);
}

/// What the course of the training says; made anew for versions that did not record it.
pub fn findings(html: &mut Html, report: &Report) {
    let history = &report.manifest.history;
    let found: Vec<Finding> =
        if history.diagnosis.is_empty() { diagnose(history, report.spec) } else { history.diagnosis.clone() };
    html.element("ul", &[("class", "said")], |html| {
        for finding in &found {
            let class = if finding.is_warning() { "warning" } else { "fine" };
            html.words("li", &[("class", class)], &finding.words);
        }
        for symmetry in report.manifest.symmetries.iter().filter(|symmetry| symmetry.is_broken()) {
            let words = format!(
                "{} is declared as a symmetry, and is none: it changes the scores of validation frames",
                symmetry.transformation
            );
            html.words("li", &[("class", "warning")], &words);
        }
    });
    if history.layers.is_empty() {
        missing(html, "This version recorded neither gradients by layer nor what each latent unit carries.");
    }
}

/// Validation frames against the threshold.
pub fn validation(html: &mut Html, seen: Option<&Seen>, threshold: f64) {
    match seen {
        Some(seen) => {
            let above = seen.scores.iter().filter(|&&score| score > threshold).count();
            let words = format!(
                "{above} of {} validation frames lie above the threshold. The score was fitted on them: this promises nothing.",
                seen.scores.len()
            );
            html.words("p", &[("class", "muted")], &words);
        }
        None => missing(html, "Scores of the validation frames are not kept with a version."),
    }
}

/// What held the weights down, and what varied the tiles.
pub fn regularisation(html: &mut Html, report: &Report) {
    let Training { weight_decay, l1, patience, .. } = report.spec.training;
    let zero = format!("{:.2} %", 100.0 * report.manifest.sparsity);
    facts(
        html,
        &[
            ("weight decay (L2)", weight_decay.to_string()),
            ("L1", l1.to_string()),
            ("weights exactly zero", zero),
            ("patience", format!("{patience} epochs")),
            ("augmentation", report.spec.training.augment.words()),
        ],
    );
    if !report.manifest.symmetries.is_empty() {
        symmetries(html, &report.manifest.symmetries);
    }
}

fn symmetries(html: &mut Html, symmetries: &[Symmetry]) {
    html.element("table", &[], |html| {
        row(html, "th", &["transformation", "distance of scores", "p", "flagged before", "after", "a symmetry"]);
        for symmetry in symmetries {
            let cells = [
                symmetry.transformation.clone(),
                format!("{:.3}", symmetry.test.distance),
                format!("{:.2e}", symmetry.test.p_value),
                format!("{:.1} %", 100.0 * symmetry.flagged_before),
                format!("{:.1} %", 100.0 * symmetry.flagged_after),
                if symmetry.is_broken() { "no" } else { "yes" }.to_string(),
            ];
            row(html, "td", &cells.each_ref().map(String::as_str));
        }
    });
}

fn row(html: &mut Html, cell: &'static str, cells: &[&str]) {
    html.element("tr", &[], |html| cells.iter().for_each(|text| html.words(cell, &[], text)));
}

/// Where the data came from, what was seen of the test split, what became of the version, and the pipeline file.
pub fn origin(html: &mut Html, report: &Report) {
    let data = &report.manifest.data;
    let groups = data.groups.as_ref().map_or(String::new(), |groups| {
        format!("{} train, {} validation, {} calibration", groups.train, groups.validation, groups.calibration)
    });
    facts(html, &[("given", data.given.join("\n")), ("groups", groups), ("test split", test(data.test.as_ref()))]);
    if let Some(sealed) = &data.test {
        openings(html, sealed);
    }
    for entry in report.events {
        let at = entry.at.format("%Y-%m-%d %H:%M:%S UTC");
        html.words("p", &[], &format!("{at}: {}. {}", entry.event.as_str(), entry.reason));
    }
    if report.events.is_empty() {
        missing(
            html,
            "No verdict of the gate, promotion or rollback when this was written; `anomalyd report` writes it anew.",
        );
    }
    html.element("details", &[], |html| {
        html.words("summary", &[], "The pipeline file");
        html.words("pre", &[], &report.manifest.pipeline);
    });
}

fn test(sealed: Option<&Sealed>) -> String {
    match sealed {
        None => "none was given".into(),
        Some(sealed) => {
            let times = sealed.openings.len();
            let opened = match times {
                0 => "not opened".to_string(),
                1 => "opened once".to_string(),
                _ => format!("opened {times} times"),
            };
            format!(
                "{} normal and {} anomalous frames, digest {}; {opened}",
                sealed.normal, sealed.anomalous, sealed.digest
            )
        }
    }
}

/// Each look at the test split, and what was seen.
fn openings(html: &mut Html, sealed: &Sealed) {
    let share = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.3}"));
    html.element("table", &[], |html| {
        if !sealed.openings.is_empty() {
            row(html, "th", &["opened", "AUROC", "average precision", "recall at alpha", "false alarms"]);
        }
        for opening in &sealed.openings {
            let figures = opening.figures;
            let cells = [
                opening.to_string(),
                share(figures.and_then(|figures| figures.auroc)),
                share(figures.and_then(|figures| figures.average_precision)),
                share(figures.and_then(|figures| figures.recall_at_alpha)),
                share(figures.and_then(|figures| figures.false_alarm_rate)),
            ];
            row(html, "td", &cells.each_ref().map(String::as_str));
        }
    });
}
