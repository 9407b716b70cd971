//! What became of a version: verdicts of the gate, promotions and rollbacks.

use super::html::Html;
use super::words::{missing, row};
use crate::store::{Anomalies, Entry, FalseAlarms, Other, Paired, Verdict};

/// Each thing that happened, the oldest first.
pub fn events(html: &mut Html, events: &[Entry]) {
    if events.is_empty() {
        missing(html, "No verdict of the gate, promotion or rollback when this was written.");
    }
    for entry in events {
        let before = entry.before.as_ref().map_or(String::new(), |before| format!(", current until then: {before}"));
        let at = entry.at.format("%Y-%m-%d %H:%M:%S UTC");
        html.element("p", &[], |html| {
            html.words("b", &[], entry.event.as_str());
            html.text(&format!(" on {at}{before}. {}", entry.reason));
        });
        if let Some(verdict) = &entry.verdict {
            figures(html, verdict);
        }
    }
}

/// One line for the head of the page.
pub fn state(events: &[Entry]) -> String {
    let last = events.last();
    last.map_or(String::new(), |entry| {
        format!("{} on {}", entry.event.as_str(), entry.at.format("%Y-%m-%d %H:%M:%S UTC"))
    })
}

fn figures(html: &mut Html, verdict: &Verdict) {
    let anomalies = match verdict.anomalies {
        Anomalies::Given => "given anomalies",
        Anomalies::Injected => "anomalies put into held-out frames",
    };
    let words = format!(
        "The gate held it against {} on {} held-out frames that neither was trained on, {} of them of that one's own data, which the first figures are \
         of; {anomalies}.",
        verdict.current, verdict.frames, verdict.frames_of_current
    );
    html.words("p", &[("class", "muted")], &words);
    html.element("table", &[], |html| {
        row(html, "th", &["figure", "this version", &verdict.current, "difference", "allowed", ""]);
        each(html, [verdict.negative_elbo, verdict.auroc, verdict.recall], verdict.false_alarms);
        if verdict.kinds.len() > 1 {
            for (kind, [own, other]) in &verdict.kinds {
                let difference = format!("{:+.4}", own - other);
                row(
                    html,
                    "td",
                    &[&format!("AUROC, {kind}"), &format!("{own:.4}"), &format!("{other:.4}"), &difference, "", ""],
                );
            }
        }
        for other in &verdict.others {
            row(html, "th", &[&format!("on frames of {}", other.origin), "", "", "", "", unlike(other)]);
            each(html, [other.negative_elbo, other.auroc, other.recall], other.false_alarms);
        }
    });
    for words in &verdict.not_judged {
        missing(html, &format!("Not judged: {words}."));
    }
}

fn unlike(other: &Other) -> &'static str {
    if other.unlike { "not like those it was calibrated on" } else { "" }
}

/// The figures of one origin: `-ELBO`, AUROC, recall, false alarms.
fn each(html: &mut Html, figures: [Option<Paired>; 3], alarms: FalseAlarms) {
    let names = [("-ELBO, nats a frame", 2), ("AUROC", 4), ("share of the anomalies flagged", 3)];
    for ((name, digits), figure) in names.into_iter().zip(figures) {
        figure.iter().for_each(|figure| paired(html, name, figure, digits));
    }
    false_alarms(html, alarms);
}

fn paired(html: &mut Html, name: &str, figure: &Paired, digits: usize) {
    let Paired { candidate, current, standard_error, tolerance, worse } = *figure;
    let difference = format!("{:+.digits$} ± {standard_error:.digits$}", candidate - current);
    let (own, other) = (format!("{candidate:.digits$}"), format!("{current:.digits$}"));
    let said = if worse { "worse" } else { "as good, or better" };
    row(html, "td", &[name, &own, &other, &difference, &format!("{tolerance:.digits$}"), said]);
}

fn false_alarms(html: &mut Html, alarms: FalseAlarms) {
    let FalseAlarms { frames, gave_threshold, candidate, current, alpha, .. } = alarms;
    let of = if gave_threshold { " that gave the threshold" } else { "" };
    let (own, other) = (candidate.to_string(), current.to_string());
    let name = format!("false alarms in {frames} frames{of}");
    let difference = format!("{:+}", candidate as i64 - current as i64);
    row(html, "td", &[&name, &own, &other, &difference, &format!("alpha {alpha}"), &alarms.certified()]);
}
