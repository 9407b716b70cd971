//! Whether the inboxes can be watched, asked without waiting for one that does not answer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::bounded;
use rustix::fs::{Access, access};
use tracing::warn;

use crate::error::{Failure, Kind, Result};
use crate::pipeline::{After, Pipeline};
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
/// the others from being watched, and an archive keeps nobody from being scored; with `all` they do.
///
/// # Errors
/// [`Kind::Settings`] where a pipeline names none, or one that must not be watched, or files would be taken away from another one or
/// moved to where they are found again; [`Kind::Io`] where none can be reached.
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
                let inbox = named(pipeline)?;
                inboxes.push(std::path::absolute(inbox).unwrap_or_else(|_| inbox.to_path_buf()));
                lost.push((pipeline.name.clone(), failure));
            }
            Err(failure) => return Err(failure),
        }
    }
    check_apart(pipelines, &inboxes)?;
    if (all || !reached)
        && let Some((_, failure)) = lost.pop()
    {
        return Err(failure);
    }
    for (pipeline, error) in lost {
        warn!(pipeline, error = error.message, "the inbox cannot be reached, it is tried again");
    }
    pipelines.iter().try_for_each(|pipeline| check_archives(pipeline, state, &inboxes, all))
}

/// Checks the folders that a pipeline's files are moved to.
fn check_archives(pipeline: &Pipeline, state: &Path, inboxes: &[PathBuf], all: bool) -> Result<()> {
    pipeline.spec.after.archives().try_for_each(|(key, archive)| {
        let named = |failure: Failure| {
            let message = format!("{}: {key} moves files to {}", pipeline.path.display(), failure.message);
            Failure { message, ..failure }
        };
        // As it is named; where it is, it says only when it can be reached.
        check_outside(&std::path::absolute(archive).unwrap_or_else(|_| archive.clone()), state, inboxes)
            .map_err(named)?;
        let (folder, state, inboxes) = (archive.clone(), state.to_path_buf(), inboxes.to_vec());
        match within(archive, move || check_archive(&folder, &state, &inboxes)).map_err(named) {
            Err(failure) if failure.kind == Kind::Io && !all => {
                let (pipeline, error, hint) = (&pipeline.name, failure.message, failure.hint);
                warn!(pipeline, error, hint, "[after] cannot be done, it is tried again; scoring goes on");
                Ok(())
            }
            checked => checked,
        }
    })
}

/// Checks that no pipeline takes files away before another one has read them; `inboxes` are theirs.
fn check_apart(pipelines: &[&Pipeline], inboxes: &[PathBuf]) -> Result<()> {
    let all: Vec<_> = pipelines.iter().zip(inboxes).collect();
    for (index, (one, inbox)) in all.iter().enumerate() {
        for (other, second) in &all[index + 1..] {
            let leaves = [one, other].iter().all(|pipeline| pipeline.spec.after == After::default());
            if !leaves && (inbox.starts_with(second) || second.starts_with(inbox)) {
                let (inbox, second) = (inbox.display(), second.display());
                let message = format!(
                    "the inboxes of {} and {}, {inbox} and {second}, share files, which [after] takes away before both have read them",
                    one.name, other.name
                );
                return Err(Failure::new(Kind::Settings, message)
                    .hint("give each pipeline an inbox of its own, or remove [after] from both pipeline files"));
            }
        }
    }
    Ok(())
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
    let folder = reach_archive(archive).map_err(|error| {
        Failure::io(archive, error)
            .hint("make the folder, and let the user that runs anomalyd write there; under systemd see ReadWritePaths=")
    })?;
    check_outside(&folder, state, inboxes)
}

/// Where an archive is.
///
/// # Errors
/// It is not there, or cannot be read and written.
pub fn reach_archive(archive: &Path) -> std::io::Result<PathBuf> {
    let folder = archive.canonicalize()?;
    access(&folder, Access::WRITE_OK | Access::EXEC_OK)?;
    std::fs::read_dir(&folder)?;
    Ok(folder)
}

/// Checks that what is moved to a folder is not found again.
fn check_outside(folder: &Path, state: &Path, inboxes: &[PathBuf]) -> Result<()> {
    let state = state.canonicalize().unwrap_or_else(|_| state.to_path_buf());
    let own = ["reports", "staging", "work"].map(|own| state.join(own));
    let refuse = |message: String| {
        Err(Failure::new(Kind::Settings, message)
            .hint("name a folder outside of every inbox and of the reports, with no inbox in it"))
    };
    if let Some(forbidden) = inboxes.iter().chain(&own).find(|forbidden| folder.starts_with(forbidden)) {
        return refuse(format!("{}, which lies in {}", folder.display(), forbidden.display()));
    }
    // What is moved keeps its path, and may so come to lie in an inbox.
    if let Some(inbox) = inboxes.iter().find(|inbox| inbox.starts_with(folder)) {
        return refuse(format!("{}, which contains the inbox {}", folder.display(), inbox.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(name: &str, inbox: &Path, after: &str) -> Pipeline {
        let digits = include_str!("../../pipelines/digits.toml");
        let text = format!("inbox = {inbox:?}\n{digits}\n{after}");
        Pipeline::parse(name, Path::new(name), text).unwrap()
    }

    fn refused(pipelines: &[Pipeline], state: &Path) -> Option<String> {
        let checked = check_inboxes(&pipelines.iter().collect::<Vec<_>>(), state, true);
        checked.err().map(|failure| {
            assert_eq!(failure.kind, Kind::Settings, "{}", failure.message);
            failure.message
        })
    }

    #[test]
    fn nobody_takes_files_away_from_another_pipeline() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("in/deep")).unwrap();
        std::fs::create_dir_all(at("in2")).unwrap();
        std::os::unix::fs::symlink(at("in"), at("alias")).unwrap();
        let deletes = "[after]\nrejected = \"delete\"";
        for (first, second, shared) in [
            ("in", "in", true),
            ("in", "alias", true),
            ("in/deep", "in", true),
            ("alias", "in/deep", true),
            ("in", "in2", false),
        ] {
            for (one, other) in [(deletes, ""), ("", deletes), ("", "")] {
                let pipelines = [pipeline("a", &at(first), one), pipeline("b", &at(second), other)];
                let refused = refused(&pipelines, &at("state"));
                let wanted = shared && (one, other) != ("", "");
                assert_eq!(refused.is_some(), wanted, "{first} {second} {one} {other}: {refused:?}");
            }
        }
    }

    #[test]
    fn nothing_is_moved_to_where_it_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("data/in/old")).unwrap();
        std::fs::create_dir_all(at("data/archive")).unwrap();
        for (archive, fit) in [("data", false), ("data/in", false), ("data/in/old", false), ("data/archive", true)] {
            let after = format!("[after]\nscored = {{ move = {:?} }}", at(archive));
            let refused = refused(&[pipeline("a", &at("data/in"), &after)], &at("state"));
            assert_eq!(refused.is_none(), fit, "{archive}: {refused:?}");
            let named = format!("a: [after] scored moves files to {}", at(archive).display());
            assert!(refused.is_none_or(|message| message.starts_with(&named)));
        }
    }
}
