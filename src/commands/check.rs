//! `anomalyd check`: whether `watch` could start now, and what stands in its way.
//!
//! Everything is looked at, in the order in which `watch` would meet it, so that the first failure is the one that `watch` would
//! end with. Nothing is written and no lock is taken: it runs before the daemon (`ExecStartPre=`), and beside it.

mod state;

use std::net::TcpListener;

use crate::daemon::{self, Plan};
use crate::error::{Failure, Kind, Result};
use crate::frame_size::Sizes;
use crate::model::device;
use crate::observe::token::Token;
use crate::pipeline::Pipeline;
use crate::settings::Settings;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pipelines, by name or as paths of their files [default: all that have an inbox].
    #[arg(id = "checked", value_name = "PIPELINE")] // `pipelines` is the id of the global flag
    pipelines: Vec<String>,
}

/// What is found, one line each, in the order in which it is looked at.
#[derive(Debug, Default)]
struct Findings {
    lines: Vec<String>,
    /// What `watch` would end with: how many, and the first.
    failures: usize,
    first: Option<Kind>,
}

impl Findings {
    fn good(&mut self, text: impl AsRef<str>) {
        self.lines.push(format!("ok: {}", one_line(text.as_ref())));
    }

    /// What `watch` lives with, and its user should know.
    fn doubtful(&mut self, text: impl AsRef<str>, hint: &str) {
        self.lines.push(format!("warning: {} ({hint})", one_line(text.as_ref())));
    }

    fn bad(&mut self, failure: &Failure) {
        let hint = failure.hint.as_ref().map_or_else(String::new, |hint| format!(" ({})", one_line(hint)));
        self.lines.push(format!("error: {}{hint}", one_line(&failure.message)));
        self.failures += 1;
        self.first.get_or_insert(failure.kind);
    }

    /// The value, or `None` and a finding.
    fn take<T>(&mut self, outcome: Result<T>) -> Option<T> {
        outcome.inspect_err(|failure| self.bad(failure)).ok()
    }

    fn outcome(&self) -> Result<()> {
        let Some(kind) = self.first else { return Ok(()) };
        let things = if self.failures == 1 { "1 thing stands" } else { &format!("{} things stand", self.failures) };
        Err(Failure::new(kind, format!("{things} in the way of `watch`"))
            .hint("each is a line above that begins with `error:`"))
    }
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// Runs `check`.
///
/// # Errors
/// The kind of the first failure, which is the one that `watch` would end with.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let findings = look(args, settings);
    super::say(&findings.lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    findings.outcome()
}

fn look(args: &Args, settings: &Settings) -> Findings {
    let mut findings = Findings::default();
    let pipelines = pipelines(args, settings, &mut findings);
    inboxes(&pipelines, settings, &mut findings);
    if findings.take(device::pick(&settings.device)).is_some() {
        findings.good(format!("device {} can be used", settings.device));
    }
    for pipeline in pipelines {
        model(pipeline, settings, &mut findings);
    }
    state::look(settings, &mut findings);
    http(settings, &mut findings);
    findings
}

/// The pipelines that `watch` would watch, as far as they can be read.
fn pipelines(args: &Args, settings: &Settings, findings: &mut Findings) -> Vec<Pipeline> {
    let by_name = !args.pipelines.is_empty();
    let given = if by_name { Ok(args.pipelines.clone()) } else { super::pipeline_files(&settings.pipelines) };
    let Some(given) = findings.take(given) else { return Vec::new() };
    let loaded: Vec<Option<Pipeline>> =
        given.iter().map(|given| findings.take(Pipeline::load(given, &settings.pipelines))).collect();
    let all_read = loaded.iter().all(Option::is_some);
    let mut pipelines: Vec<Pipeline> = loaded.into_iter().flatten().collect();
    pipelines.retain(|pipeline| by_name || pipeline.spec.inbox.is_some());
    if pipelines.is_empty() && all_read {
        findings.bad(&super::watch::nothing_to_watch(&settings.pipelines));
    }
    pipelines
}

/// Inboxes and archives, first as `watch` asks, which goes on without an inbox that cannot be reached; then each by itself.
fn inboxes(pipelines: &[Pipeline], settings: &Settings, findings: &mut Findings) {
    if pipelines.is_empty() {
        return;
    }
    let all: Vec<&Pipeline> = pipelines.iter().collect();
    let fatal = daemon::check_inboxes(&all, &settings.state, false).err();
    fatal.iter().for_each(|failure| findings.bad(failure));
    for pipeline in pipelines {
        match daemon::check_inboxes(&[pipeline], &settings.state, true) {
            Err(failure) if fatal.is_none() => findings.doubtful(
                format!(
                    "pipeline {}: {}; it is tried again, and what can be done meanwhile goes on",
                    pipeline.name, failure.message
                ),
                failure.hint.as_deref().unwrap_or("bring it back"),
            ),
            Err(failure) if fatal.as_ref().is_some_and(|fatal| fatal.message != failure.message) => {
                findings.bad(&failure)
            }
            _ => {}
        }
    }
}

/// Loads a model as `watch` would, on the CPU: memory of a GPU that a running daemon has filled is not asked for.
fn model(pipeline: Pipeline, settings: &Settings, findings: &mut Findings) {
    let (name, alpha) = (pipeline.name.clone(), pipeline.spec.calibration.alpha);
    if let Some(plan) = findings.take(Plan::load(pipeline, &settings.models, "cpu")) {
        let version = &plan.judge.identity().model_version;
        let whole = format!("pipeline {name}: model {version} is whole, alpha {alpha} is certified");
        match plan.judge.sizes() {
            Some(sizes) => findings.good(format!("{whole} for frames of {sizes}")),
            None => {
                findings.good(whole);
                let unknown = format!("pipeline {name}: model {version}: {}", Sizes::UNKNOWN);
                findings.doubtful(unknown, &format!("train a new one: anomalyd retrain {name}"));
            }
        }
    }
}

/// The token, and whether the address is one of this machine's that may be listened on. Another port stands for the one that is
/// named: a running daemon has that, or a starting one is about to take it.
fn http(settings: &Settings, findings: &mut Findings) {
    let token = settings.http.token_file.as_deref().map(Token::read).transpose();
    let Some(address) = findings.take(token).and(settings.http.listen) else { return };
    match TcpListener::bind((address.ip(), 0)) {
        Ok(_) => findings.good(format!("http.listen {address} can be listened on")),
        Err(error) => {
            findings.bad(&Failure::new(Kind::Io, format!("http.listen {address} cannot be listened on: {error}")).hint(
                "name an address of this machine; under systemd the unit has no network without the drop-in http.conf",
            ))
        }
    }
}
