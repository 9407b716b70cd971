//! `anomalyd watch`.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use crate::daemon::{self, Intake, Orders, Plan};
use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::settings::Settings;

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Pipelines, by name or as paths of their files [default: all that have an inbox].
    #[arg(id = "watched", value_name = "PIPELINE")] // `pipelines` is the id of the global flag
    pub pipelines: Vec<String>,
    /// Drain the inboxes, then exit.
    #[arg(long)]
    pub once: bool,
    /// Watch this folder instead of the pipeline's inbox; for one pipeline.
    #[arg(long, value_name = "DIR")]
    pub inbox: Option<PathBuf>,
}

/// Runs `watch`.
///
/// # Errors
/// Those of [`daemon::run`] and [`Pipeline::load`]; [`Kind::Usage`] for `--inbox` with several pipelines.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let asked = Cell::new(false);
    let load = || load(args, settings, asked.replace(true));
    let orders = Orders { intake: Intake::Watch { once: args.once }, load: &load, view: None };
    let summary = daemon::run(settings, &orders)?;
    tracing::info!(
        scored = summary.scored,
        flagged = summary.flagged,
        rejected = summary.rejected,
        unfinished = summary.unfinished,
        "stopped"
    );
    Ok(())
}

/// Loads the pipelines and their models. The daemon asks the inboxes afterwards: where they were `asked` before, it alone does.
fn load(args: &Args, settings: &Settings, asked: bool) -> Result<Vec<Plan>> {
    let mut pipelines = if args.pipelines.is_empty() {
        with_inbox(&settings.pipelines, args.inbox.is_some())?
    } else {
        args.pipelines.iter().map(|given| Pipeline::load(given, &settings.pipelines)).collect::<Result<Vec<_>>>()?
    };
    if let Some(inbox) = &args.inbox {
        let [pipeline] = &mut pipelines[..] else {
            return Err(Failure::new(Kind::Usage, format!("--inbox is for one pipeline, not for {}", pipelines.len())));
        };
        pipeline.spec.inbox = Some(inbox.clone());
    }
    // At the start, before the models are loaded: what is wrong here is quickly mended. A reload is not to wait for dead inboxes
    // twice, since the watchdog waits too.
    if !asked {
        daemon::check_inboxes(&pipelines.iter().collect::<Vec<_>>(), &settings.state, args.once)?;
    }
    pipelines.into_iter().map(|pipeline| Plan::load(pipeline, &settings.models, &settings.device)).collect()
}

/// The pipelines of the folder that name an inbox, by name; all of them where an inbox is given.
fn with_inbox(folder: &Path, given: bool) -> Result<Vec<Pipeline>> {
    let pipelines: Vec<Pipeline> =
        super::pipelines(folder)?.into_iter().filter(|pipeline| given || pipeline.spec.inbox.is_some()).collect();
    if pipelines.is_empty() {
        return Err(nothing_to_watch(folder));
    }
    Ok(pipelines)
}

/// The failure of a folder in which no pipeline names an inbox.
pub(super) fn nothing_to_watch(folder: &Path) -> Failure {
    Failure::new(Kind::Settings, format!("no pipeline in {} has an inbox", folder.display()))
        .hint("name a pipeline and give --inbox DIR, or add `inbox = \"DIR\"` to its file")
}
