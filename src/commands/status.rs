//! `anomalyd status`: what the running daemon says of itself, else what ledger and inboxes say.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::drift::{Monitor, Standing};
use crate::error::{Failure, Kind, Result};
use crate::ledger::{Counts, Lock, Reader};
use crate::observe::board::{Line, Status};
use crate::observe::socket;
use crate::pipeline::Watch;
use crate::settings::Settings;
use crate::watch::{Known, count_waiting};

/// How long the daemon may take for its answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a look into the inboxes may take, where no daemon can be asked.
const INBOX_PATIENCE: Duration = Duration::from_secs(10);

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is printed.
struct Shown {
    /// Whether a process works on the state folder.
    running: bool,
    /// What the daemon says of itself.
    daemon: Option<Status>,
    /// What could not be found out, and why.
    notes: Vec<String>,
    /// By pipeline: those of the daemon, and all others that have a file or are in the ledger.
    pipelines: BTreeMap<String, Line>,
}

/// Runs `status`; with or without a daemon at work.
///
/// # Errors
/// [`Kind::Io`] where the ledger cannot be read.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let shown = gather(settings)?;
    let text = if args.json { json(&shown)? + "\n" } else { text::of(&shown) };
    super::say(&text)
}

fn gather(settings: &Settings) -> Result<Shown> {
    let running = Lock::is_held(&settings.state);
    let mut notes = Vec::new();
    let daemon = if running { ask(&settings.state, &mut notes) } else { None };
    let mut pipelines = daemon.as_ref().map(|daemon| daemon.pipelines.clone()).unwrap_or_default();
    others(settings, daemon.is_some(), &mut pipelines, &mut notes)?;
    Ok(Shown { running, daemon, notes, pipelines })
}

/// What the daemon says of itself; a note where it says nothing.
fn ask(state: &Path, notes: &mut Vec<String>) -> Option<Status> {
    let answer = socket::ask(state, "/status", PATIENCE).and_then(|(code, body)| match code {
        200 => serde_json::from_str(&body).map_err(|error| std::io::Error::new(ErrorKind::InvalidData, error)),
        _ => Err(std::io::Error::other(format!("code {code}"))),
    });
    match answer {
        Ok(status) => Some(status),
        Err(error) => {
            let place = state.join(socket::NAME);
            notes.push(format!(
                "the process cannot be asked ({}: {error}); the counts are the ledger's",
                place.display()
            ));
            None
        }
    }
}

/// Adds the pipelines that the daemon does not speak of: those that have a file, and those the ledger has heard of.
fn others(
    settings: &Settings,
    answered: bool,
    lines: &mut BTreeMap<String, Line>,
    notes: &mut Vec<String>,
) -> Result<()> {
    // A pipeline folder that cannot be read hides no counts: the ledger knows the names too.
    let pipelines = super::pipelines(&settings.pipelines).unwrap_or_else(|failure| {
        // A daemon that answers says itself what it makes of the files.
        if !answered {
            notes.push(format!("not all pipelines can be shown: {}", failure.message));
        }
        Vec::new()
    });
    let reader = settings.state.join("ledger.sqlite").exists().then(|| Reader::open(&settings.state)).transpose()?;
    let mut names: BTreeSet<String> = pipelines.iter().map(|pipeline| pipeline.name.clone()).collect();
    names.extend(reader.as_ref().map_or_else(|| Ok(Vec::new()), Reader::pipelines)?);
    names.retain(|name| !lines.contains_key(name));
    let mut inboxes = Vec::new();
    for name in &names {
        let (known, counts) = match &reader {
            Some(reader) => (known(reader, name)?, reader.counts(name)?),
            None => (Known::default(), Counts::default()),
        };
        let spec = pipelines.iter().find(|pipeline| pipeline.name == *name).map(|pipeline| &pipeline.spec);
        let drift = match (&reader, spec) {
            (Some(reader), Some(spec)) => drift(reader, name, spec.calibration.delta)?,
            _ => None,
        };
        lines.insert(name.clone(), Line { drift, ..line(counts) });
        let inbox = spec.and_then(|spec| Some((spec.inbox.clone()?, spec.watch.clone())));
        inboxes.extend(inbox.map(|(inbox, watch)| (name.clone(), inbox, watch, known)));
    }
    count(inboxes, waiting, INBOX_PATIENCE, lines, notes);
    Ok(())
}

fn line(counts: Counts) -> Line {
    Line {
        scored: counts.scored,
        flagged: counts.flagged,
        rejected: counts.rejected,
        duplicates: counts.duplicates,
        model_version: counts.model_version,
        last_error: counts.last_error,
        ..Line::default()
    }
}

/// How the watch over a pipeline stood last; none where a new start is asked for.
fn drift(reader: &Reader, pipeline: &str, delta: f64) -> Result<Option<Standing>> {
    let Some(watched) = reader.drift(pipeline)?.pop() else { return Ok(None) };
    let monitor = Monitor::decode(&watched.state)?;
    let asked = reader.last_reset(pipeline)?.is_some_and(|reset| reset.number > monitor.last_reset());
    Ok((!asked).then(|| monitor.standing(delta)))
}

/// The files that ended under the model that scored last.
fn known(reader: &Reader, pipeline: &str) -> Result<Known> {
    reader.last_line(pipeline)?.map_or_else(|| Ok(Known::default()), |(line, _)| reader.known(line))
}

/// Counts what waits in inboxes, each on a thread of its own: one on a server that does not answer may hang for ever.
fn count(
    inboxes: Vec<(String, PathBuf, Watch, Known)>,
    waiting: fn(&Path, &Watch, &Known) -> Option<u64>,
    patience: Duration,
    lines: &mut BTreeMap<String, Line>,
    notes: &mut Vec<String>,
) {
    let deadline = Instant::now() + patience;
    let (sender, receiver) = mpsc::channel();
    let mut open: BTreeMap<String, PathBuf> = BTreeMap::new();
    for (name, inbox, watch, known) in inboxes {
        open.insert(name.clone(), inbox.clone());
        let sender = sender.clone();
        std::thread::spawn(move || sender.send((name, waiting(&inbox, &watch, &known))));
    }
    drop(sender);
    while let Ok((name, count)) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        open.remove(&name);
        lines.entry(name).or_default().waiting = count;
    }
    notes.extend(open.iter().map(|(name, inbox)| format!("{name}: the inbox {} does not answer", inbox.display())));
}

/// Files in the inbox that are not known; `None` where there is no inbox.
fn waiting(inbox: &Path, watch: &Watch, known: &Known) -> Option<u64> {
    inbox.is_dir().then(|| count_waiting(inbox, watch, known))
}

fn json(shown: &Shown) -> Result<String> {
    let fail = |error| Failure::new(Kind::Internal, format!("cannot print the status: {error}"));
    let mut object = match &shown.daemon {
        Some(daemon) => serde_json::to_value(daemon).map_err(fail)?,
        None => Value::Object(serde_json::Map::new()),
    };
    object["running"] = shown.running.into();
    object["source"] = if shown.daemon.is_some() { "daemon" } else { "ledger" }.into();
    object["notes"] = shown.notes.clone().into();
    object["pipelines"] = serde_json::to_value(&shown.pipelines).map_err(fail)?;
    serde_json::to_string_pretty(&object).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inbox_that_does_not_answer_is_said_and_others_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let watch = Watch { done_marker: Some(".done".into()), ..Watch::default() };
        for name in ["a.png", "a.png.done", "unfinished.png"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let hang = |inbox: &Path, watch: &Watch, known: &Known| {
            if inbox.ends_with("silent") {
                loop {
                    std::thread::park();
                }
            }
            waiting(inbox, watch, known)
        };
        let inbox = |name: &str, place: PathBuf| (name.to_string(), place, watch.clone(), Known::default());
        let inboxes = vec![
            inbox("here", folder.path().into()),
            inbox("gone", folder.path().join("gone")),
            inbox("nfs", folder.path().join("silent")),
        ];
        let (mut lines, mut notes) = (BTreeMap::new(), Vec::new());
        count(inboxes, hang, Duration::from_secs(5), &mut lines, &mut notes);
        assert_eq!((lines["here"].waiting, lines["gone"].waiting), (Some(1), None));
        assert!(notes.len() == 1 && notes[0].starts_with("nfs: the inbox"), "{notes:?}");
    }
}
