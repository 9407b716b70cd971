//! Verdicts against the truth: lines as they are committed, a table at the end, a contact sheet of what was flagged.

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use crate::commands::cells::{flag, number, p_text, string};
use crate::commands::show::{ANOMALY_MAP, INPUT, mask, picture, regions, stretch};
use crate::draw::colour::{GREEN, PURPLE, VERMILION};
use crate::draw::contour::{Marks, contour};
use crate::draw::sheet::{Heading, Tile, contact_sheet, thumbnail_as};
use crate::error::Result;
use crate::report::query::Reports;
use crate::stats::metrics::Confusion;

use super::samples::Sample;

/// What is known of each sample.
pub struct Board {
    state: PathBuf,
    /// By pipeline and name.
    entries: HashMap<(String, String), Entry>,
    /// Pipelines in the order they were given.
    pipelines: Vec<String>,
    colour: bool,
}

struct Entry {
    kind: Option<String>,
    verdict: Option<Verdict>,
    /// Why it could not be scored.
    rejected: Option<String>,
}

struct Verdict {
    flagged: bool,
    score: f64,
    frame_id: String,
}

impl Board {
    /// A board that waits for these samples' verdicts in the reports of `state`.
    pub fn new(state: &Path, samples: &[Sample]) -> Self {
        let mut pipelines: Vec<String> = Vec::new();
        let mut entries = HashMap::new();
        for sample in samples {
            if !pipelines.contains(&sample.pipeline) {
                pipelines.push(sample.pipeline.clone());
            }
            let key = (sample.pipeline.clone(), sample.name.clone());
            entries.insert(key, Entry { kind: sample.kind.clone(), verdict: None, rejected: None });
        }
        Self { state: state.to_path_buf(), entries, pipelines, colour: std::io::stdout().is_terminal() }
    }

    /// Reads the reports and prints the verdicts that are new.
    ///
    /// # Errors
    /// When the report tables cannot be read.
    pub fn look(&mut self) -> Result<()> {
        let mut reports = Reports::open(&self.state)?;
        if reports.has("scores") {
            self.look_at_scores(&mut reports)?;
        }
        if reports.has("rejected") {
            self.look_at_rejected(&mut reports)?;
        }
        Ok(())
    }

    fn look_at_scores(&mut self, reports: &mut Reports) -> Result<()> {
        let columns = "pipeline, source, frame_id, score, p_value, is_anomaly";
        let rows = reports.query(&format!("SELECT {columns} FROM scores ORDER BY scored_at"))?;
        for row in 0..rows.height() {
            let key = (string(&rows, "pipeline", row), string(&rows, "source", row));
            let colour = self.colour;
            let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.verdict.is_none()) else { continue };
            let flagged = flag(&rows, "is_anomaly", row);
            let score = number(&rows, "score", row).unwrap_or(f64::NAN);
            let p_value = p_text(number(&rows, "p_value", row));
            sayln!("{}", line(&key, flagged, &p_value, entry.kind.as_deref(), colour));
            entry.verdict = Some(Verdict { flagged, score, frame_id: string(&rows, "frame_id", row) });
        }
        Ok(())
    }

    fn look_at_rejected(&mut self, reports: &mut Reports) -> Result<()> {
        let rows = reports.query("SELECT pipeline, source, reason, detail FROM rejected ORDER BY received_at")?;
        for row in 0..rows.height() {
            let key = (string(&rows, "pipeline", row), string(&rows, "source", row));
            let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.rejected.is_none()) else { continue };
            let reason = format!("{}: {}", string(&rows, "reason", row), string(&rows, "detail", row));
            sayln!("{:<10} {:<22} REJECTED {reason}", key.0, key.1);
            entry.rejected = Some(reason);
        }
        Ok(())
    }

    /// Samples with neither a verdict nor a reason why there is none.
    pub fn waiting(&self) -> usize {
        self.entries.values().filter(|entry| entry.verdict.is_none() && entry.rejected.is_none()).count()
    }

    /// Whether every sample was judged or rejected.
    pub fn complete(&self) -> bool {
        self.waiting() == 0
    }

    /// The flagged frame with the highest score among those that are anomalous.
    pub fn strongest(&self) -> Option<&str> {
        let right = self.entries.values().filter(|entry| entry.kind.is_some());
        let flagged = right.filter_map(|entry| entry.verdict.as_ref().filter(|verdict| verdict.flagged));
        flagged.max_by(|a, b| a.score.total_cmp(&b.score)).map(|verdict| verdict.frame_id.as_str())
    }

    /// A table of what was flagged, against the truth.
    pub fn summary(&self) -> String {
        let mut text = String::from("instrument   frames  anomalous  flagged  missed  false alarms\n");
        for pipeline in &self.pipelines {
            let count = self.confusion(pipeline);
            let anomalous = count.true_positive + count.false_negative;
            let frames = anomalous + count.false_positive + count.true_negative;
            text.push_str(&format!(
                "{pipeline:<12} {frames:>6} {anomalous:>10} {:>8} {:>7} {:>13}\n",
                count.true_positive, count.false_negative, count.false_positive
            ));
        }
        let rejected = self.entries.values().filter(|entry| entry.rejected.is_some()).count();
        if rejected > 0 {
            text.push_str(&format!("rejected: {rejected}\n"));
        }
        for (kind, (missed, all)) in self.missed() {
            text.push_str(&format!("missed {missed} of {all} with {}\n", kind.replace('_', " ")));
        }
        text
    }

    fn confusion(&self, pipeline: &str) -> Confusion {
        let entries = self.entries.iter().filter(|((name, _), _)| name == pipeline).map(|(_, entry)| entry);
        Confusion::count(entries.filter_map(|entry| Some((entry.kind.is_some(), entry.verdict.as_ref()?.flagged))))
    }

    /// Kinds of which a frame was passed: how many were, of how many.
    fn missed(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut counts = BTreeMap::new();
        for entry in self.entries.values() {
            if let (Some(kind), Some(verdict)) = (entry.kind.as_deref(), &entry.verdict) {
                let (missed, all) = counts.entry(kind).or_insert((0, 0));
                *missed += usize::from(!verdict.flagged);
                *all += 1;
            }
        }
        counts.retain(|_, (missed, _)| *missed > 0);
        counts
    }
}

/// The contact sheet of every flagged frame: green borders where the truth agrees, vermilion for false alarms.
///
/// # Errors
/// When the report tables cannot be read.
pub fn sheet(state: &Path, board: &Board, pipelines: &Path) -> Result<Vec<u8>> {
    let mut reports = Reports::open(state)?;
    let mut tiles = Vec::new();
    let mut legend = vec![(GREEN, "anomalous by the truth".to_string()), (VERMILION, "false alarm".into())];
    if reports.has("anomalies") {
        let rows = reports.query("SELECT * FROM anomalies ORDER BY pipeline DESC, source")?;
        for row in 0..rows.height() {
            let key = (string(&rows, "pipeline", row), string(&rows, "source", row));
            let kind = board.entries.get(&key).and_then(|entry| entry.kind.as_deref());
            let seen = picture(&rows, row, INPUT)?;
            let p_value = p_text(number(&rows, "p_value", row));
            let mut image =
                thumbnail_as(seen.values(), &stretch(&rows, row, &seen, pipelines), &regions(&rows, row, pipelines));
            if let Some(inside) = mask(&rows, row, &picture(&rows, row, ANOMALY_MAP)?) {
                contour(&mut image, Marks { width: seen.width, inside: &inside }, PURPLE);
                legend.truncate(2);
                legend.push((PURPLE, "marked by a segmenter".into()));
            }
            tiles.push(Tile {
                image,
                caption: vec![key.1, format!("p {p_value}, truth: {}", kind.unwrap_or("normal").replace('_', " "))],
                border: if kind.is_some() { GREEN } else { VERMILION },
            });
        }
    }
    let frames = board.entries.len();
    let heading = Heading {
        title: "anomalyd: what it flagged".into(),
        lines: vec![format!("{} of {frames} sample frames; the tiles that stand out are outlined", tiles.len())],
        legend,
    };
    Ok(contact_sheet(&heading, &tiles, 0))
}

/// One verdict, as a line.
fn line((pipeline, name): &(String, String), flagged: bool, p_value: &str, kind: Option<&str>, colour: bool) -> String {
    let truth = kind.map_or("normal".to_string(), |kind| kind.replace('_', " "));
    let (mark, paint) = match (flagged, kind.is_some()) {
        (true, true) => ("found", "32"),
        (true, false) => ("FALSE ALARM", "31"),
        (false, true) => ("MISSED", "33"),
        (false, false) => ("", "2"),
    };
    let verdict = if flagged { "FLAGGED" } else { "normal" };
    let text = format!("{pipeline:<10} {name:<22} {verdict:<8} p {p_value:<8} truth: {truth:<17} {mark}");
    if colour { format!("\x1b[{paint}m{}\x1b[0m", text.trim_end()) } else { text.trim_end().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_verdict_truth_and_whether_they_agree() {
        let key = ("telescope".to_string(), "f.fits".to_string());
        assert!(line(&key, true, "0.01", Some("hot_column"), false).ends_with("truth: hot column        found"));
        assert!(line(&key, true, "0.01", None, false).ends_with("FALSE ALARM"));
        assert!(line(&key, false, "0.5", Some("defocus"), false).ends_with("MISSED"));
        assert!(line(&key, false, "0.5", None, true).starts_with("\x1b[2m"));
    }
}
