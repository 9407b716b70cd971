//! `anomalyd compact`: the upkeep of the report tree on demand, while no service runs.

use std::time::Duration;

use chrono::Utc;
use serde::Serialize;

use crate::error::{Failure, Kind, Result};
use crate::interrupt;
use crate::ledger::{Ledger, Lock, settle};
use crate::report::compact::days::{Choice, Day};
use crate::report::compact::upkeep::{Chore, Outcome, Upkeep, plan};
use crate::report::gate::Gate;
use crate::report::schema::Table;
use crate::report::writer::Store;
use crate::settings::Settings;

/// Arguments of `compact`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this table.
    #[arg(long, value_name = "TABLE", value_parser = table)]
    pub table: Option<Table>,
    /// Only this pipeline.
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Longest wait for a day that others are reading.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub wait: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// What is printed of a day.
#[derive(Debug, Serialize)]
struct Line {
    table: &'static str,
    pipeline: String,
    date: String,
    #[serde(flatten)]
    fate: Fate,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Fate {
    Done(Outcome),
    Planned { outcome: &'static str, parts: usize, bytes: u64 },
}

/// Runs `compact`: closed days of many parts become days of few, and what retention lets go is dropped.
///
/// # Errors
/// [`Kind::Locked`] beside a running service; [`Kind::Io`] where a day was put off, or the disk or the ledger fails.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let choice = Choice { table: args.table, pipeline: args.pipeline.clone() };
    let (reports, today) = (settings.state.join("reports"), Utc::now().date_naive());
    let find = || plan(&reports, &choice, Some(&settings.compaction), &settings.retention, today);
    if args.dry_run || !reports.is_dir() {
        let lines: Vec<Line> = find()?.iter().map(planned).collect();
        return print(&lines, args);
    }
    let _lock = Lock::take(&settings.state).map_err(|failure| beside_a_service(failure, settings))?;
    let mut ledger = Ledger::open(&settings.state)?;
    let mut store = Store::open(&settings.state)?;
    settle(&mut ledger, &mut store)?;
    let (stopped, quiet) = (interrupt::flag()?, settings.compaction.quiet_s);
    let mut upkeep = Upkeep {
        ledger,
        store,
        gate: Gate::default(),
        quiet: Duration::from_secs(quiet),
        patience: Duration::from_secs(args.wait),
        min_free: settings.min_free,
        stop: &|| stopped.load(std::sync::atomic::Ordering::Relaxed),
        waiting: &|day| eprintln!("{}: waiting until nobody has read it for {quiet} s", name(day)),
    };
    let (chores, mut lines) = (find()?, Vec::new());
    upkeep.work(&chores, &mut |chore, outcome| lines.push(line(&chore.day, Fate::Done(outcome.clone()))))?;
    print(&lines, args)?;
    verdict(&lines, chores.len())
}

/// An error where not everything was done.
fn verdict(lines: &[Line], chores: usize) -> Result<()> {
    let put_off = lines.iter().filter(|line| matches!(line.fate, Fate::Done(Outcome::PutOff { .. }))).count();
    if put_off > 0 {
        return Err(Failure::new(Kind::Io, format!("{put_off} of {chores} days were put off"))
            .hint("they are as they were; run the command again later"));
    }
    if lines.len() < chores {
        return Err(Failure::new(Kind::Interrupted, format!("stopped after {} of {chores} days", lines.len())));
    }
    Ok(())
}

fn beside_a_service(failure: Failure, settings: &Settings) -> Failure {
    if failure.kind != Kind::Locked {
        return failure;
    }
    Failure::new(failure.kind, failure.message).hint(if settings.compaction.automatic {
        "a running service compacts by itself, at its start and then hourly; --dry-run shows what is left to do"
    } else {
        "stop the service first, or let it compact by itself: compaction.automatic = true"
    })
}

fn planned(chore: &Chore) -> Line {
    let outcome = if chore.drop { "would_drop" } else { "would_compact" };
    let parts = if chore.drop { chore.day.parts.len() } else { chore.day.loose().len() };
    line(&chore.day, Fate::Planned { outcome, parts, bytes: chore.day.bytes() })
}

fn line(day: &Day, fate: Fate) -> Line {
    Line { table: day.table.name(), pipeline: day.pipeline.clone(), date: day.date_text(), fate }
}

fn name(day: &Day) -> String {
    format!("{} {} {}", day.table.name(), day.pipeline, day.date_text())
}

fn print(lines: &[Line], args: &Args) -> Result<()> {
    if args.json {
        let text = serde_json::to_string_pretty(lines)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot print what was done: {error}")))?;
        sayln!("{text}");
        return Ok(());
    }
    if lines.is_empty() {
        sayln!("nothing to do");
    }
    for Line { table, pipeline, date, fate } in lines {
        sayln!("{table} {pipeline} {date}: {}", words(fate));
    }
    Ok(())
}

fn words(fate: &Fate) -> String {
    let mib = |bytes: &u64| format!("{:.1} MiB", *bytes as f64 / f64::from(1 << 20));
    match fate {
        Fate::Planned { outcome, parts, bytes } => {
            let verb = if *outcome == "would_drop" { "drop" } else { "merge" };
            format!("would {verb} {parts} parts of a day of {}", mib(bytes))
        }
        Fate::Done(Outcome::Compacted { parts, became, bytes, became_bytes }) => {
            format!("{parts} parts became {became}, {} became {}", mib(bytes), mib(became_bytes))
        }
        Fate::Done(Outcome::Dropped { parts, bytes }) => format!("dropped {parts} parts, {}", mib(bytes)),
        Fate::Done(Outcome::PutOff { reason }) => format!("put off: {reason}"),
    }
}

fn table(text: &str) -> Result<Table, String> {
    Table::from_name(text).ok_or_else(|| {
        let names: Vec<&str> = Table::ALL.into_iter().map(Table::name).collect();
        format!("the tables are {}", names.join(", "))
    })
}
