//! The tables and sentences of a report.

use super::Report;
use super::gate;
use super::html::Html;
use super::seen::Seen;
use crate::pipeline::Training;
use crate::train::diagnosis::{Finding, diagnose};
use crate::train::history::{End, History};
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
                ("state", gate::state(report.events)),
                ("device, seed", format!("{}, {}", manifest.device, manifest.seed)),
                ("model", format!("{kind}, beta {}, {} parameters", model.beta, manifest.parameters)),
                ("kept epoch", kept_epoch(&manifest.history)),
                ("data", data),
                ("digest of the data", manifest.data.digest.clone()),
                ("digest of the pipeline", blake3::hash(manifest.pipeline.as_bytes()).to_hex().to_string()),
                ("digest of the weights", manifest.digests.weights().to_string()),
            ],
        );
    });
}

/// Which epoch's weights these are, and why no later one was run.
fn kept_epoch(history: &History) -> String {
    let end = match history.end {
        End::Epochs => "all were run",
        End::EarlyStop => "validation stopped improving",
        End::Interrupted => "interrupted",
    };
    format!("{} of {}, {end}", history.best, history.epochs.len())
}

/// A table of names and values; empty values are left out.
pub fn facts(html: &mut Html, rows: &[(&str, String)]) {
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
        for words in report.manifest.warnings() {
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
            let above = seen.frames.iter().filter(|frame| frame.score > threshold).count();
            let words = format!(
                "{above} of {} validation frames lie above the threshold. The score was fitted on them: this promises nothing.",
                seen.frames.len()
            );
            html.words("p", &[("class", "muted")], &words);
        }
        None => missing(html, "This version keeps no scores of its validation frames."),
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

/// A row of cells.
pub fn row(html: &mut Html, cell: &'static str, cells: &[&str]) {
    html.element("tr", &[], |html| cells.iter().for_each(|text| html.words(cell, &[], text)));
}

/// Where the data came from, and the pipeline file.
pub fn origin(html: &mut Html, report: &Report) {
    let data = &report.manifest.data;
    let groups = data.groups.as_ref().map_or(String::new(), |groups| {
        format!("{} train, {} validation, {} calibration", groups.train, groups.validation, groups.calibration)
    });
    facts(html, &[("given", data.given.join("\n")), ("groups", groups)]);
    html.element("details", &[], |html| {
        html.words("summary", &[], "The pipeline file");
        html.words("pre", &[], &report.manifest.pipeline);
    });
}
