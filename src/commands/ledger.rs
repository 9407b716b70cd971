//! `anomalyd ledger`: whether ledger and reports agree, and a new ledger from the reports.

use serde::Serialize;

use crate::error::{Failure, Kind, Result};
use crate::ledger::{Audit, Finding, Lock, check, rebuild};
use crate::report::names::source_name;
use crate::settings::Settings;

/// Findings that are printed for people; JSON has them all.
const SHOWN: usize = 100;

/// Arguments of `ledger`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with the ledger.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Compare ledger and reports; also while the service runs.
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a new ledger from the reports alone; the old one is kept beside it.
    Rebuild {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Runs `ledger`.
///
/// # Errors
/// [`Kind::Io`] where ledger and reports do not agree or cannot be read; [`Kind::Locked`] for a rebuild beside a running service.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    match args.action {
        Action::Check { json } => run_check(json, settings),
        Action::Rebuild { json } => run_rebuild(json, settings),
    }
}

fn run_check(json: bool, settings: &Settings) -> Result<()> {
    let audit = check(&settings.state)?;
    if json {
        print_json(&audit)?;
    } else {
        print_audit(&audit);
    }
    match audit.findings.len() {
        0 => Ok(()),
        1 => Err(Failure::new(Kind::Io, "ledger and reports do not agree: 1 finding").hint(advice(&audit.findings))),
        count => Err(Failure::new(Kind::Io, format!("ledger and reports do not agree: {count} findings"))
            .hint(advice(&audit.findings))),
    }
}

fn print_audit(audit: &Audit) {
    for finding in audit.findings.iter().take(SHOWN) {
        sayln!("{}", line(finding));
    }
    if let Some(more) = audit.findings.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        sayln!("… and {more} more, see --json");
    }
    let Audit { parts, rows, prepared, retired, doubled, .. } = audit;
    sayln!("{parts} parts with {rows} rows, {retired} parts let go by retention, {doubled} frames scored twice");
    if *prepared > 0 {
        sayln!("{prepared} batches are on their way, or are settled by the next start");
    }
}

fn line(finding: &Finding) -> String {
    match finding {
        Finding::Missing { part, rows } => format!("missing: {} ({rows} rows)", source_name(part)),
        Finding::Unknown { part } => format!("not in the ledger: {}", source_name(part)),
        Finding::Stray { file } => format!("no part of the reports: {}", source_name(file)),
        Finding::Unreadable { part, error } => format!("cannot be read: {}: {error}", source_name(part)),
        Finding::Rows { part, ledger, footer } => {
            format!("{}: {footer} rows, the ledger says {ledger}", source_name(part))
        }
        Finding::Twice { pipeline, frame_id, rows } => {
            format!("{pipeline}: frame {frame_id} has {rows} rows in scores")
        }
        Finding::Damaged { message } => format!("the ledger's file: {message}"),
    }
}

/// What to do, the first step first.
fn advice(findings: &[Finding]) -> String {
    let any = |wanted: fn(&Finding) -> bool| findings.iter().any(wanted);
    let mut steps = Vec::new();
    if any(|finding| matches!(finding, Finding::Unreadable { .. } | Finding::Stray { .. })) {
        steps.push("move what cannot be read, or is no part, out of the reports: it breaks their readers");
    }
    if any(|finding| matches!(finding, Finding::Twice { .. })) {
        steps.push("doubled rows are a bug, please report it; `SELECT DISTINCT ON (frame_id) *` reads past them");
    }
    if any(|finding| !matches!(finding, Finding::Stray { .. } | Finding::Twice { .. })) {
        steps.push(
            "bring missing parts back from a backup if there is one; then stop the service and run `anomalyd ledger rebuild`: \
             what has no row any more is scored again where its file still is",
        );
    }
    steps.join("; ")
}

fn run_rebuild(json: bool, settings: &Settings) -> Result<()> {
    let _lock = Lock::take(&settings.state)?;
    let rebuilt = rebuild(&settings.state)?;
    if json {
        return print_json(&rebuilt);
    }
    sayln!(
        "a new ledger of {} parts: {} contents with frames, {} names rejected, {} second names",
        rebuilt.parts,
        rebuilt.contents,
        rebuilt.rejected,
        rebuilt.duplicates
    );
    if rebuilt.holes > 0 {
        sayln!("{} contents lack rows before their last one; they are not scored again", rebuilt.holes);
    }
    sayln!("each file still in an inbox is read once more, and none of its frames that has a row is scored again");
    sayln!(
        "what retention has removed from the reports is not known any more: where its file is still there it is scored again"
    );
    match &rebuilt.kept {
        Some(kept) => sayln!("the old ledger is kept: {}", kept.display()),
        None => sayln!("there was no old ledger"),
    }
    Ok(())
}

fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot print JSON: {error}")))?;
    sayln!("{text}");
    Ok(())
}
