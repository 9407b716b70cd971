//! `anomalyd drift`: whether the frames of a pipeline still come as those its certificate was made from, since when not, and a
//! new start once a person has looked.

use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::say;
use crate::draw::plot::{Stake, martingale_svg};
use crate::drift::{Event, Monitor, Standing};
use crate::error::{Failure, Kind, Result};
use crate::ledger::{Ledger, Reader, Reset, check_owner};
use crate::pipeline::Pipeline;
use crate::settings::Settings;

/// Arguments of `drift`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    #[arg(required = true)]
    pub pipeline: Option<String>,
    /// Picture to write [default: `PIPELINE-drift.svg`].
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Print JSON; draws only where --out is given.
    #[arg(long)]
    pub json: bool,
    /// What to do instead.
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What to do instead of showing.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Start the watch over a pipeline anew, against the calibration of its model; a running service does it within a second.
    Reset {
        /// A pipeline's name, or the path of its TOML file.
        pipeline: String,
        /// Why; stands in the history.
        #[arg(long)]
        reason: String,
    },
}

/// The watch over a pipeline under one model.
struct Shown {
    model_version: String,
    standing: Standing,
    /// Asked for, and not done yet.
    reset: Option<Reset>,
    monitor: Monitor,
}

/// Runs `drift`.
///
/// # Errors
/// [`Kind::Settings`] for an unknown pipeline or a state folder of somebody else; [`Kind::Data`] where nothing has been watched yet;
/// [`Kind::Io`].
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    match (&args.action, &args.pipeline) {
        (Some(Action::Reset { pipeline, reason }), _) => reset(pipeline, reason, settings),
        (None, Some(pipeline)) => show(pipeline, args, settings),
        (None, None) => Err(Failure::new(Kind::Usage, "name a pipeline")),
    }
}

fn show(pipeline: &str, args: &Args, settings: &Settings) -> Result<()> {
    let pipeline = Pipeline::load(pipeline, &settings.pipelines)?;
    let shown = gather(&pipeline, settings)?;
    let Some(newest) = shown.last() else {
        return Err(Failure::new(Kind::Data, format!("pipeline {}: no frame has been watched yet", pipeline.name))
            .hint("`anomalyd watch` looks at each frame that it scores"));
    };
    if args.json {
        if let Some(path) = &args.out {
            draw(&pipeline.name, newest, path)?;
        }
        let models: Vec<Value> = shown.iter().map(object).collect();
        return say(&format!("{:#}\n", json!({"pipeline": pipeline.name, "models": models})));
    }
    let path = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-drift.svg", pipeline.name)));
    draw(&pipeline.name, newest, &path)?;
    say(&format!("{}{}\n", shown.iter().map(text).collect::<String>(), path.display()))
}

/// The watches over a pipeline, that of the newest model last.
fn gather(pipeline: &Pipeline, settings: &Settings) -> Result<Vec<Shown>> {
    let reader = Reader::open(&settings.state)?;
    let reset = reader.last_reset(&pipeline.name)?;
    let each = reader.drift(&pipeline.name)?.into_iter().map(|watched| {
        let monitor = Monitor::decode(&watched.state)?;
        let standing = monitor.standing(pipeline.spec.calibration.delta);
        let reset = reset.clone().filter(|reset| reset.number > monitor.last_reset());
        Ok(Shown { model_version: watched.model_version, standing, reset, monitor })
    });
    each.collect()
}

fn reset(pipeline: &str, reason: &str, settings: &Settings) -> Result<()> {
    let pipeline = Pipeline::load(pipeline, &settings.pipelines)?;
    if reason.trim().is_empty() {
        return Err(
            Failure::new(Kind::Usage, "--reason is empty").hint("say what you found, for whoever reads the history")
        );
    }
    let state = &settings.state;
    check_owner(state, &std::fs::metadata(state).map_err(|error| Failure::io(state, error))?)?;
    Ledger::open(state)?.ask_for_reset(&pipeline.name, reason.trim())?;
    say(&format!(
        "the watch over {} starts anew; rows say certificate_void = false from the next frame on\n",
        pipeline.name
    ))
}

fn draw(pipeline: &str, shown: &Shown, path: &std::path::Path) -> Result<()> {
    let history = shown.monitor.history();
    let points = history.points();
    let stakes: Vec<Stake> =
        points.iter().map(|point| Stake { frame: point.frame, scores: point.scores, raw: point.raw }).collect();
    let events: Vec<(u64, String)> = history.events().iter().map(|event| (event.frame, event.what.clone())).collect();
    let title = format!("{pipeline}, model {}: {}", shown.model_version, verdict(shown));
    let note = match (points.first(), points.last()) {
        (Some(first), Some(last)) => {
            format!("{} to {}, frames in the order of their verdicts", time(first.at), time(last.at))
        }
        _ => "no frame yet".into(),
    };
    let svg = martingale_svg(&title, &note, &stakes, shown.standing.bound_log10, &events)?;
    std::fs::write(path, svg).map_err(|error| Failure::io(path, error))
}

fn verdict(shown: &Shown) -> &'static str {
    match (&shown.reset, shown.standing.raised) {
        (Some(_), _) => "to start anew",
        (None, true) => "raised",
        (None, false) => "not raised",
    }
}

fn text(shown: &Shown) -> String {
    let Standing { frames, scores_log10, raw_log10, bound_log10, raised_at, detail, .. } = &shown.standing;
    let mut text = format!("model {}: {}\n", shown.model_version, verdict(shown));
    if let (Some(at), Some(detail)) = (raised_at.and_then(DateTime::from_timestamp_millis), detail) {
        text += &format!("  since {}: {detail}\n", time(at));
    }
    if let Some(reset) = &shown.reset {
        text += &format!("  a reset is asked for, done with the next frame: {}\n", reset.reason);
    }
    text += &format!("  frames          {frames}\n  scores          10^{scores_log10:.2}\n");
    text += &format!("  raw statistics  10^{raw_log10:.2}\n  raised from     10^{bound_log10:.2}\n");
    for Event { at, frame, what, detail } in shown.monitor.history().events() {
        text += &format!("  {} frame {frame}: {what}: {detail}\n", time(*at));
    }
    text
}

fn object(shown: &Shown) -> Value {
    let history = shown.monitor.history();
    let iso = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let events: Vec<Value> = history
        .events()
        .iter()
        .map(|event| json!({"at": iso(event.at), "frame": event.frame, "what": event.what, "detail": event.detail}))
        .collect();
    let path: Vec<Value> = history
        .points()
        .iter()
        .map(|point| json!({"frame": point.frame, "at": iso(point.at), "scores": point.scores, "raw": point.raw}))
        .collect();
    json!({
        "model_version": shown.model_version,
        "standing": shown.standing,
        "reset_asked_for": shown.reset.as_ref().map(|reset| reset.reason.clone()),
        "events": events,
        "path": path,
    })
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%F %T UTC").to_string()
}
