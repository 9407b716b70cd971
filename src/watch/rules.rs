//! When a file counts, and when it is complete.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::pending::Pending;
use super::stat::Stat;
use crate::pipeline::{Watch, WatchMode};

/// A file that a writer holds open is not read before it is closed, which inotify tells. Only what has not changed for a day is:
/// what is cut by its name alone (`truncate(2)`), or made of an empty file (`link(2)`), is never closed.
const OPEN_PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// A file that waits so much longer than it has to is worth a word.
const LONG: Duration = Duration::from_secs(600);
/// How far times of files may lie behind the clock: filesystems have coarse ones.
const COARSE: Duration = Duration::from_secs(2);
/// Endings of names that are not finished.
pub const UNFINISHED: [&str; 3] = [".part", ".partial", ".tmp"];

/// When a file of an inbox is complete.
#[derive(Debug)]
pub struct Rules {
    /// Time it must stay unchanged.
    pub settle: Duration,
    /// Whether the clock of modification times is this machine's, and its writers are heard.
    pub trust_mtime: bool,
    /// Since when they are, nanoseconds since 1970. Of what was changed before, its times are all there is.
    heard_since: i64,
    min_age: Duration,
    rescan: Duration,
    marker: Option<Vec<u8>>,
}

impl Rules {
    /// The rules of a pipeline.
    pub fn new(watch: &Watch) -> Self {
        Self {
            settle: Duration::from_millis(watch.settle_ms),
            trust_mtime: watch.mode == WatchMode::Auto,
            heard_since: i64::MAX,
            min_age: Duration::from_secs(watch.min_age_s),
            rescan: Duration::from_secs(watch.rescan_s),
            marker: watch.done_marker.as_ref().map(|marker| marker.as_bytes().to_vec()),
        }
    }

    /// From now on writers are heard, where they are at all.
    pub fn listen(&mut self) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        self.heard_since = i64::try_from(now.saturating_sub(COARSE).as_nanos()).unwrap_or(i64::MAX);
    }

    /// The file to look at where something of this name has been met: itself, or the one it is the marker of; `None` for a file
    /// whose marker has not come yet.
    pub fn candidate(&self, path: &Path) -> Option<PathBuf> {
        let marked = self.marked_by(path);
        marked.or_else(|| self.is_marked(path).then(|| path.to_path_buf()))
    }

    /// The same in a walk through a folder, which meets the markers too: there a file without one costs nothing.
    pub fn candidate_of_walk(&self, path: &Path) -> Option<PathBuf> {
        if self.marker.is_none() { Some(path.to_path_buf()) } else { self.marked_by(path) }
    }

    fn marked_by(&self, path: &Path) -> Option<PathBuf> {
        let name = path.as_os_str().as_bytes().strip_suffix(&self.marker.as_ref()?[..])?;
        (!name.ends_with(b"/")).then(|| PathBuf::from(OsStr::from_bytes(name)))
    }

    /// Whether the marker, where one is asked for, stands beside the file.
    pub fn is_marked(&self, path: &Path) -> bool {
        self.marker_of(path).is_none_or(|marker| std::fs::symlink_metadata(marker).is_ok_and(|meta| meta.is_file()))
    }

    /// The marker of a file, where one is asked for.
    pub fn marker_of(&self, path: &Path) -> Option<PathBuf> {
        let marker = self.marker.as_ref()?;
        let bytes = [path.as_os_str().as_bytes(), marker].concat();
        Some(PathBuf::from(OsStr::from_bytes(&bytes)))
    }

    /// Whether a file is too young to be worth waiting for: a later rescan finds it again.
    pub fn is_far_too_young(&self, stat: Stat) -> bool {
        self.trust_mtime && age(stat).is_some_and(|age| age + self.rescan < self.min_age)
    }

    /// Time after which a file that waits is worth a word.
    pub fn patience(&self) -> Duration {
        self.settle.max(self.min_age) + LONG
    }

    /// Whether a file whose last change is `pending.since` ago is complete.
    pub fn is_complete(&self, pending: &Pending, now: Instant) -> bool {
        let rested = now.duration_since(pending.since);
        // The modification time of what is being written says nothing about the next write.
        let age = age(pending.stat).filter(|_| self.trust_mtime && !pending.open).unwrap_or_default().max(rested);
        let patience = if pending.open { self.settle.max(OPEN_PATIENCE) } else { self.settle };
        // Where this process was held up, what it will hear of a change may lie behind the change: it gets the time to hear it.
        let changed = pending.stat.mtime_ns.max(pending.stat.ctime_ns);
        let calm = if changed < self.heard_since { age } else { rested };
        calm >= patience && age >= self.min_age
    }
}

/// Whether a name, or a folder on the way to it, is hidden or unfinished.
pub fn is_ignored(name: &Path) -> bool {
    name.iter().any(|part| {
        let part = part.as_bytes();
        part.starts_with(b".") || UNFINISHED.iter().any(|ending| part.ends_with(ending.as_bytes()))
    })
}

/// Time since the last modification; `None` for one in the future.
fn age(stat: Stat) -> Option<Duration> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok()?;
    now.checked_sub(Duration::from_nanos(u64::try_from(stat.mtime_ns).unwrap_or(0)))
}
