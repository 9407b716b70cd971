//! Whether the inboxes can be watched, asked without waiting for one that does not answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::bounded;
use rustix::fs::{Access, access};
use tracing::warn;

use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::watch::check_inbox;

/// Time an inbox has to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The inbox of a pipeline, canonical, and fit to be watched.
///
/// # Errors
/// [`Kind::Settings`] where the pipeline names none; those of [`check_inbox`].
pub fn inbox_of(pipeline: &Pipeline, state: &Path) -> Result<PathBuf> {
    check_inbox(named(pipeline)?, state)
}

/// Checks the inboxes of all pipelines, and the folders their files are moved to. An inbox that cannot be reached now does not keep
/// the others from being watched; with `all` it does.
///
/// # Errors
/// [`Kind::Settings`] where a pipeline names none, or one that must not be watched; [`Kind::Io`] where none can be reached.
pub fn check_inboxes(pipelines: &[&Pipeline], state: &Path, all: bool) -> Result<()> {
    let mut reached = false;
    let mut inboxes = Vec::new();
    let mut lost: Vec<(String, Failure)> = Vec::new();
    for pipeline in pipelines {
        match ask(named(pipeline)?, state) {
            Ok(inbox) => {
                reached = true;
                inboxes.push(inbox);
            }
            Err(failure) if failure.kind == Kind::Io => {
                inboxes.push(named(pipeline)?.to_path_buf());
                lost.push((pipeline.name.clone(), failure));
            }
            Err(failure) => return Err(failure),
        }
    }
    if (all || !reached)
        && let Some((_, failure)) = lost.pop()
    {
        return Err(failure);
    }
    for (pipeline, error) in lost {
        warn!(pipeline, error = error.message, "the inbox cannot be reached, it is tried again");
    }
    pipelines.iter().flat_map(|pipeline| pipeline.spec.after.archives()).try_for_each(|archive| {
        let (folder, state, inboxes) = (archive.clone(), state.to_path_buf(), inboxes.clone());
        within(archive, move || check_archive(&folder, &state, &inboxes))
    })
}

fn named(pipeline: &Pipeline) -> Result<&Path> {
    pipeline.spec.inbox.as_deref().ok_or_else(|| {
        Failure::new(Kind::Settings, format!("{}: no inbox", pipeline.path.display()))
            .hint("add `inbox = \"DIR\"` at the top of the pipeline file, or give --inbox DIR")
    })
}

fn ask(inbox: &Path, state: &Path) -> Result<PathBuf> {
    let (folder, state) = (inbox.to_path_buf(), state.to_path_buf());
    within(inbox, move || check_inbox(&folder, &state))
}

/// Asks about a folder in a thread of its own, which is left alone where the folder does not answer.
fn within<T: Send + 'static>(folder: &Path, ask: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (sender, answer) = bounded(1);
    std::thread::spawn(move || sender.send(ask()));
    answer.recv_timeout(ANSWER).unwrap_or_else(|_| {
        let message = format!("{} does not answer", folder.display());
        Err(Failure::new(Kind::Io, message).hint("see whether its filesystem is mounted and its server runs"))
    })
}

/// Checks that files can be moved to a folder.
fn check_archive(archive: &Path, state: &Path, inboxes: &[PathBuf]) -> Result<()> {
    let io = |error: std::io::Error| {
        Failure::io(archive, error)
            .hint("make the folder, and let the user that runs anomalyd write there; under systemd see ReadWritePaths=")
    };
    let folder = archive.canonicalize().map_err(io)?;
    access(&folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| io(error.into()))?;
    std::fs::read_dir(&folder).map_err(io)?;
    let state = state.canonicalize().unwrap_or_else(|_| state.to_path_buf());
    let own = ["reports", "staging", "work"].map(|own| state.join(own));
    match inboxes.iter().chain(&own).find(|forbidden| folder.starts_with(forbidden)) {
        None => Ok(()),
        Some(forbidden) => {
            let message = format!("[after] moves files to {}, which lies in {}", folder.display(), forbidden.display());
            Err(Failure::new(Kind::Settings, message).hint("name a folder outside of every inbox and of the reports"))
        }
    }
}
