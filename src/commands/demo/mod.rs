//! `anomalyd demo`: the real service on temporary inboxes, fed with samples of known truth at a visible pace.

mod samples;
mod service;
mod verdicts;

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use self::samples::Sample;
use self::service::Service;
use self::verdicts::Board;
use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// The instruments shown.
const PIPELINES: [&str; 2] = ["telescope", "detector"];
/// Dropping the samples takes at most this long.
const DROPPING: Duration = Duration::from_secs(28);
/// At least this long between two of them.
const PACE: Duration = Duration::from_millis(300);
/// How long to wait for the next verdict once all samples are there.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often the report tables are looked at.
const LOOK: Duration = Duration::from_millis(700);

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder for the inboxes, the reports and the contact sheet; kept [default: a new one below the temporary folder].
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Samples of known truth.
    #[arg(long, value_name = "DIR", default_value = "samples")]
    pub samples: PathBuf,
}

/// Runs `demo`.
///
/// # Errors
/// [`Kind::Data`] without samples, [`Kind::Model`] without shipped models, [`Kind::Internal`] when the service fails.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let started = Instant::now();
    let samples = samples::load(&args.samples, &PIPELINES)?;
    let root = folder(args)?;
    let mut service = Service::start(&root, settings, &PIPELINES)?;
    let anomalous = samples.iter().filter(|sample| sample.kind.is_some()).count();
    sayln!("anomalyd watches {}", root.join("inbox").display());
    sayln!("{} samples arrive, {anomalous} of them anomalous; the service does not know which\n", samples.len());
    let mut board = Board::new(&root.join("state"), &samples);
    feed(&samples, &root, &mut service, &mut board)?;
    service.stop()?;
    board.look()?;
    finish(&board, &root, settings, started)
}

/// Drops the samples one by one and prints verdicts as they are committed.
fn feed(samples: &[Sample], root: &Path, service: &mut Service, board: &mut Board) -> Result<()> {
    let pace = (DROPPING / samples.len().max(1) as u32).min(PACE);
    let mut looked = Instant::now();
    for sample in samples {
        let dropped = Instant::now();
        sample.drop_into(root)?;
        if looked.elapsed() > LOOK {
            board.look()?;
            looked = Instant::now();
        }
        service.check()?;
        sleep(pace.saturating_sub(dropped.elapsed()));
    }
    let (mut waiting, mut since) = (board.waiting(), Instant::now());
    while !board.complete() && since.elapsed() < PATIENCE {
        service.check()?;
        board.look()?;
        if board.waiting() != waiting {
            (waiting, since) = (board.waiting(), Instant::now());
        }
        sleep(LOOK / 3);
    }
    Ok(())
}

fn finish(board: &Board, root: &Path, settings: &Settings, started: Instant) -> Result<()> {
    let state = root.join("state");
    sayln!("\n{}", board.summary());
    let sheet = root.join("flagged.png");
    let picture = verdicts::sheet(&state, board, &settings.pipelines)?;
    std::fs::write(&sheet, picture).map_err(|error| Failure::io(&sheet, error))?;
    sayln!("contact sheet   {}", sheet.display());
    sayln!("Parquet         {}", state.join("reports").display());
    sayln!("\ntry next:");
    let program = std::env::args().next().unwrap_or_else(|| "anomalyd".into());
    let with = format!("{program} --state {}", state.display());
    sayln!("  {with} query \"SELECT pipeline, source, p_value, score FROM anomalies ORDER BY score DESC LIMIT 10\"");
    if let Some(frame) = board.strongest() {
        sayln!("  {with} show {frame}");
    }
    sayln!("\ntook {:.0} s", started.elapsed().as_secs_f64());
    if board.complete() {
        return Ok(());
    }
    let message = format!("{} samples got no verdict", board.waiting());
    Err(Failure::new(Kind::Internal, message)
        .hint(format!("the service's log is {}", root.join("watch.log").display())))
}

/// The folder everything goes to.
fn folder(args: &Args) -> Result<PathBuf> {
    let Some(folder) = &args.keep else {
        let made = tempfile::Builder::new().prefix("anomalyd-demo-").tempdir();
        return made.map(tempfile::TempDir::keep).map_err(|error| Failure::io(&std::env::temp_dir(), error));
    };
    if folder.join("state").exists() {
        let message = format!("{} holds an earlier demo", folder.display());
        return Err(Failure::new(Kind::Usage, message).hint("name a new folder, or remove this one"));
    }
    std::fs::create_dir_all(folder).map_err(|error| Failure::io(folder, error))?;
    folder.canonicalize().map_err(|error| Failure::io(folder, error))
}
