//! The sealed test split, and every look at it.

use super::html::Html;
use super::words::{facts, missing, row};
use crate::train::seal::{Opening, Sealed};

/// What was sealed, how often it was opened, and what was seen.
pub fn openings(html: &mut Html, sealed: Option<&Sealed>) {
    let Some(sealed) = sealed else {
        return missing(
            html,
            "None: give training.split a fourth share, or train with --test, to have frames that nobody has chosen by.",
        );
    };
    let kinds: Vec<String> = sealed.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let opened = match sealed.looks().len() {
        0 => "never: `anomalyd evaluate --test` does it, once".to_string(),
        1 => "once".to_string(),
        times => format!("{times} times: only the first figures are those of a test"),
    };
    facts(
        html,
        &[
            ("frames", format!("{} normal, {} anomalous", sealed.normal, sealed.anomalous)),
            ("anomalies by kind", kinds.join(", ")),
            ("digest", sealed.digest.clone()),
            ("opened", opened),
        ],
    );
    if !sealed.looks().is_empty() {
        html.element("table", &[], |html| table(html, sealed));
    }
}

fn table(html: &mut Html, sealed: &Sealed) {
    let share = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.3}"));
    row(html, "th", &["opened", "reason", "AUROC", "average precision", "recall at alpha", "false alarms"]);
    for opening in sealed.looks() {
        let figures = opening.figures;
        let cells = [
            opening.at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            reason(&opening),
            share(figures.and_then(|figures| figures.auroc)),
            share(figures.and_then(|figures| figures.average_precision)),
            share(figures.and_then(|figures| figures.recall_at_alpha)),
            share(figures.and_then(|figures| figures.false_alarm_rate)),
        ];
        row(html, "td", &cells.each_ref().map(String::as_str));
    }
}

/// Why it was opened, and with which version where that was an earlier one.
fn reason(opening: &Opening) -> String {
    let why = opening.why.clone().unwrap_or("the first time".into());
    opening.version.as_ref().map_or(why.clone(), |version| format!("{why}, with version {version}"))
}
