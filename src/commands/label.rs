//! `anomalyd label`: a person says what a frame is. Safe while the service runs, see [`crate::labels`].

use chrono::{SubsecRound, Utc};

use super::cells::{number, string};
use super::say;
use crate::error::{Failure, Kind, Result};
use crate::labels::{Label, Labels};
use crate::report::query::Reports;
use crate::settings::Settings;

/// Arguments of `label`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The frame's id as in the tables, or its beginning; without it, all labels are listed.
    #[arg(requires = "label")]
    frame_id: Option<String>,
    /// `normal`, or the kind of anomaly: a word of letters, digits, `-` and `_`.
    label: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `label`.
///
/// # Errors
/// [`Kind::Usage`] for an ambiguous id or a label that is no word, [`Kind::Data`] for an unknown id, [`Kind::Io`].
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let (Some(given), Some(word)) = (&args.frame_id, &args.label) else {
        return told(&Labels::open(&settings.state)?.all()?, args.json);
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if word.is_empty() || !word.bytes().all(is_word) {
        return Err(Failure::new(Kind::Usage, format!("{word:?} is no label"))
            .hint("`normal`, or a kind of anomaly: letters, digits, '-' and '_'"));
    }
    let label = Label { label: word.clone(), ..find(given, settings)? };
    Labels::open(&settings.state)?.put(&label)?;
    told(&[label], args.json)
}

/// The one scored frame whose id begins so, without a label yet.
fn find(given: &str, settings: &Settings) -> Result<Label> {
    let hint =
        "flagged frames: anomalyd query \"SELECT frame_id, source, p_value FROM anomalies ORDER BY p_value LIMIT 10\"";
    if given.is_empty() || !given.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::new(Kind::Usage, format!("{given:?} is no frame id")).hint(hint));
    }
    let rows = Reports::open(&settings.state)?.query(&format!(
        "SELECT DISTINCT frame_id, pipeline, file_digest, frame_index, source FROM scores
         WHERE STARTS_WITH(frame_id, '{given}') ORDER BY frame_id LIMIT 5"
    ))?;
    let ids: Vec<String> = (0..rows.height()).map(|row| string(&rows, "frame_id", row)).collect();
    match ids.first() {
        None => {
            let message = format!("no frame in {} has an id that begins with {given}", settings.state.display());
            Err(Failure::new(Kind::Data, message).hint(hint))
        }
        Some(first) if ids.iter().any(|id| id != first) => {
            let message = format!("several frames begin with {given}: {}", ids.join(", "));
            Err(Failure::new(Kind::Usage, message).hint("give more of the id"))
        }
        Some(first) => Ok(Label {
            pipeline: string(&rows, "pipeline", 0),
            file_digest: string(&rows, "file_digest", 0),
            frame_index: number(&rows, "frame_index", 0).unwrap_or_default() as u32,
            frame_id: first.clone(),
            source: string(&rows, "source", 0),
            label: String::new(),
            at: Utc::now().trunc_subsecs(3),
        }),
    }
}

fn told(labels: &[Label], json: bool) -> Result<()> {
    if json {
        let text = serde_json::to_string_pretty(labels)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the labels: {error}")))?;
        return say(&format!("{text}\n"));
    }
    let line = |label: &Label| {
        let Label { pipeline, frame_index, frame_id, source, label, at, .. } = label;
        format!("{frame_id}  {label:<16} {pipeline}  {source} frame {frame_index}  {}\n", at.format("%Y-%m-%d %H:%M"))
    };
    say(&labels.iter().map(line).collect::<String>())
}
