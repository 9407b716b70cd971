//! `anomalyd status`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::DateTime;
use serde::Serialize;

use crate::error::{Failure, Kind, Result};
use crate::ledger::{Counts, Lock, Reader};
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::watch::{Known, count_waiting};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Status {
    /// Whether a process works on the state folder.
    running: bool,
    /// By pipeline.
    pipelines: BTreeMap<String, Line>,
}

/// What is printed of a pipeline.
#[derive(Debug, Default, Serialize)]
struct Line {
    /// Files in the inbox that have not ended; `None` without an inbox that can be read.
    waiting: Option<u64>,
    #[serde(flatten)]
    counts: Counts,
}

/// Runs `status`; with or without a daemon at work.
///
/// # Errors
/// [`Kind::Io`] where the ledger cannot be read.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let status = gather(settings)?;
    if args.json {
        let text = serde_json::to_string_pretty(&status)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot print the status: {error}")))?;
        println!("{text}");
        return Ok(());
    }
    println!("{}", if status.running { "running" } else { "not running" });
    println!(
        "{:<16}{:>9}{:>10}{:>9}{:>10}{:>10}  model",
        "pipeline", "waiting", "scored", "flagged", "rejected", "images/s"
    );
    for (name, Line { waiting, counts }) in &status.pipelines {
        let waiting = waiting.map_or_else(|| "-".into(), |count| count.to_string());
        let model = counts.model_version.as_deref().unwrap_or("-");
        let Counts { scored, flagged, rejected, rate, .. } = counts;
        println!("{name:<16}{waiting:>9}{scored:>10}{flagged:>9}{rejected:>10}{rate:>10.1}  {model}");
        if let Some((at, message)) = &counts.last_error {
            let at = DateTime::from_timestamp_millis(*at)
                .map_or_else(String::new, |time| time.format("%F %T UTC").to_string());
            println!("  last error {at}: {message}");
        }
    }
    Ok(())
}

fn gather(settings: &Settings) -> Result<Status> {
    // A pipeline folder that cannot be read hides no counts: the ledger knows the names too.
    let pipelines = super::pipelines(&settings.pipelines).unwrap_or_default();
    if !settings.state.join("ledger.sqlite").exists() {
        let line = |pipeline: Pipeline| {
            let waiting = waiting(&Known::default(), &pipeline);
            (pipeline.name, Line { waiting, counts: Counts::default() })
        };
        return Ok(Status { running: false, pipelines: pipelines.into_iter().map(line).collect() });
    }
    let reader = Reader::open(&settings.state)?;
    let mut lines = BTreeMap::new();
    for pipeline in &pipelines {
        lines.insert(
            pipeline.name.clone(),
            Line {
                waiting: waiting(&known(&reader, &pipeline.name)?, pipeline),
                counts: reader.counts(&pipeline.name)?,
            },
        );
    }
    for name in reader.pipelines()? {
        if let Entry::Vacant(place) = lines.entry(name) {
            let counts = reader.counts(place.key())?;
            place.insert(Line { waiting: None, counts });
        }
    }
    Ok(Status { running: Lock::is_held(&settings.state), pipelines: lines })
}

/// The files that ended under the model that scored last.
fn known(reader: &Reader, pipeline: &str) -> Result<Known> {
    reader.last_identity(pipeline)?.map_or_else(|| Ok(Known::default()), |(identity, _)| reader.known(identity))
}

/// Files in the inbox that are not known; `None` where there is no inbox.
fn waiting(known: &Known, pipeline: &Pipeline) -> Option<u64> {
    let inbox = pipeline.spec.inbox.as_deref().filter(|inbox| inbox.is_dir())?;
    Some(count_waiting(inbox, &pipeline.spec.watch, known))
}
