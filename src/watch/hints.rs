//! inotify as a source of hints. Its handler never blocks and never touches the disk: it is the thread that reads the events.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tracing::warn;

/// Hints kept; when they are not fetched in time, everything is looked at instead.
const MOST_HINTS: usize = 4096;

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// At a file that is complete as far as its writer is concerned, or at a new folder.
    Look(PathBuf),
    /// At a file whose metadata have changed; its writer may or may not be at work.
    Changed(PathBuf),
    /// At a name that is new: somebody has begun to write, or has linked a file there.
    Created(PathBuf),
    /// At a file that somebody is writing.
    Writing(PathBuf),
    /// Everywhere.
    Everything,
}

/// The hints of one inbox; none ever come in poll mode, or where the kernel grants no watch.
pub struct Hints {
    _watcher: Option<RecommendedWatcher>,
    receiver: Receiver<Hint>,
    missed: Arc<AtomicBool>,
    // Keeps the channel open where there is no watcher.
    _sender: Sender<Hint>,
}

impl Hints {
    /// No hints: the timed rescan alone.
    pub fn none() -> Self {
        let (sender, receiver) = bounded(MOST_HINTS);
        Self { _watcher: None, receiver, missed: Arc::default(), _sender: sender }
    }

    /// Watches a folder. Where that fails the timed rescan has to do, and a warning says so.
    pub fn watch(root: &Path) -> Self {
        let mut hints = Self::none();
        let (sender, missed) = (hints._sender.clone(), hints.missed.clone());
        let handler = move |event: notify::Result<Event>| {
            for hint in translate(event) {
                if sender.try_send(hint).is_err() {
                    missed.store(true, Ordering::Release);
                }
            }
        };
        let config = notify::Config::default().with_follow_symlinks(false);
        let start = || -> notify::Result<RecommendedWatcher> {
            let mut watcher = RecommendedWatcher::new(handler, config)?;
            watcher.watch(root, RecursiveMode::Recursive)?;
            Ok(watcher)
        };
        match start() {
            Ok(watcher) => hints._watcher = Some(watcher),
            Err(error) => warn!(inbox = %root.display(), %error, "no notifications, the timed rescan has to do"),
        }
        hints
    }

    /// The next hint, or `None` when none comes in time.
    pub fn next(&self, timeout: Duration) -> Option<Hint> {
        if self.missed.swap(false, Ordering::AcqRel) {
            while self.receiver.try_recv().is_ok() {}
            return Some(Hint::Everything);
        }
        self.receiver.recv_timeout(timeout).ok()
    }
}

/// What an event hints at. Our own reads are events too; they hint at nothing.
fn translate(event: notify::Result<Event>) -> Vec<Hint> {
    let event = match event {
        Ok(event) if event.need_rescan() => return vec![Hint::Everything],
        Ok(event) => event,
        // The watcher cannot watch all it should (too many folders, a folder gone): look for ourselves.
        Err(_) => return vec![Hint::Everything],
    };
    let hint: fn(PathBuf) -> Hint = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Hint::Look,
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Access(_) | EventKind::Remove(_) => {
            return vec![];
        }
        EventKind::Modify(ModifyKind::Metadata(_)) => Hint::Changed,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Create(CreateKind::Folder) => Hint::Look,
        EventKind::Create(_) => Hint::Created,
        EventKind::Modify(_) => Hint::Writing,
        EventKind::Any | EventKind::Other => return vec![Hint::Everything],
    };
    event.paths.into_iter().map(hint).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overflow_and_errors_mean_everything() {
        let overflow = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(translate(Ok(overflow)), [Hint::Everything]);
        assert_eq!(translate(Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))), [Hint::Everything]);
    }

    #[test]
    fn reading_and_removing_hint_at_nothing() {
        for kind in [
            EventKind::Access(AccessKind::Open(AccessMode::Any)),
            EventKind::Access(AccessKind::Close(AccessMode::Read)),
            EventKind::Remove(notify::event::RemoveKind::File),
        ] {
            assert!(translate(Ok(Event::new(kind).add_path("a".into()))).is_empty());
        }
    }
}
