//! Finds files in an inbox: the directory is the queue, the ledger says what is done, an event is only a hint to look again.
//!
//! Regular files count, of any name and depth; hidden ones (a leading dot anywhere below the inbox) and names ending in `.part`,
//! `.partial` or `.tmp` do not, so that a writer can rename into place. Symbolic links below the inbox are not followed.

mod archive;
mod check;
mod hints;
mod known;
mod place;
mod rules;
mod walk;

use std::collections::HashMap;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::info;

use crate::pipeline::{Watch, WatchMode};

pub use archive::{Outcome, Scored};
pub use check::check_inbox;
pub use hints::{Hint, Hints};
pub use known::Known;
use place::{Place, is_remote};
pub use rules::UNFINISHED;
use rules::{Rules, is_ignored};
use walk::Walk;

/// Files kept in mind between found and settled; more are found by a later scan, so that memory stays bounded.
const MOST_PENDING: usize = 16_384;

/// What tells one version of a file from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Time of last modification, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Inode number.
    pub inode: u64,
}

impl Stat {
    /// As much of it as the reports keep; a ledger that was made of them knows no more.
    pub fn as_reported(self) -> Self {
        Self { mtime_ns: self.mtime_ns.div_euclid(1000) * 1000, inode: 0, ..self }
    }
}

impl From<&std::fs::Metadata> for Stat {
    fn from(meta: &std::fs::Metadata) -> Self {
        Self { size: meta.len(), mtime_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(), inode: meta.ino() }
    }
}

/// A complete file nobody has looked at yet.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its name, relative to the inbox.
    pub name: PathBuf,
    /// What it was when it had settled.
    pub stat: Stat,
}

/// A file waiting to settle.
#[derive(Debug)]
struct Pending {
    stat: Stat,
    /// When it was last seen to change.
    since: Instant,
    /// Whether a writer is known to hold it open.
    open: bool,
}

/// What is known of a file's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Unknown,
    Writes,
    HasClosed,
}

/// One inbox.
#[derive(Debug)]
pub struct Inbox {
    root: PathBuf,
    rules: Rules,
    known: Known,
    pending: HashMap<PathBuf, Pending>,
    overfull: bool,
    place: Option<Place>,
    lost: Option<io::Error>,
    /// Finished files that were met again, where somebody wants to know.
    finished: Option<Vec<(Found, bool)>>,
}

/// Is called whenever the inbox's filesystem has answered; false where nobody wants to know more.
pub type Step<'a> = &'a dyn Fn() -> bool;

impl Inbox {
    /// An inbox whose `known` files are done; [`Self::open`] comes next.
    pub fn new(root: PathBuf, watch: &Watch, known: Known) -> Self {
        let (rules, pending) = (Rules::new(watch), HashMap::new());
        Self { root, rules, known, pending, overfull: false, place: None, lost: None, finished: None }
    }

    /// Remembers what stands at `root`, the inbox's canonical path; see [`check_inbox`].
    ///
    /// # Errors
    /// There is no folder, or its filesystem is not mounted any more.
    pub fn open(&mut self, root: PathBuf, mode: WatchMode) -> io::Result<()> {
        self.place = Some(self.place.map_or_else(|| Place::of(&root), |place| place.again(&root))?);
        let remote = mode == WatchMode::Auto && is_remote(&root);
        if remote {
            info!(inbox = %root.display(), "what other machines write is found by the rescan alone: watch.mode = \"poll\" says so");
        }
        self.rules.trust_mtime = mode == WatchMode::Auto && !remote;
        self.rules.listen();
        (self.root, self.lost) = (root, None);
        Ok(())
    }

    /// Checks that the inbox is still there.
    ///
    /// # Errors
    /// It is gone, another folder stands in its place, or it does not answer.
    pub fn check(&mut self) -> io::Result<()> {
        if let Some(error) = self.lost.take() {
            return Err(error);
        }
        self.place.map_or(Ok(()), |place| place.check(&self.root))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks at every file below the inbox.
    pub fn scan(&mut self, step: Step<'_>) {
        self.overfull = false;
        let root = self.root.clone();
        match Walk::new(&root) {
            Ok(walk) => self.scan_all(walk, step),
            Err(error) => self.lost = Some(error),
        }
    }

    /// Looks where a hint says.
    pub fn follow(&mut self, hint: &Hint, step: Step<'_>) {
        match hint {
            Hint::Look(path) => self.look(path, step, |_| Writer::HasClosed),
            // What is created with a size is a link to a file that may have been finished long ago.
            Hint::Created(path) => {
                self.look(path, step, |meta| if meta.len() == 0 { Writer::Writes } else { Writer::Unknown });
            }
            Hint::Changed(path) => self.look(path, step, |_| Writer::Unknown),
            Hint::Writing(path) => self.look(path, step, |_| Writer::Writes),
            Hint::Everything => {
                // Closes may have been missed; who still writes is heard again before the file has rested.
                for pending in self.pending.values_mut().filter(|pending| pending.open) {
                    (pending.open, pending.since) = (false, Instant::now());
                }
                self.scan(step);
            }
        }
    }

    /// The files that are complete, at most `most`, those changed longest ago first; they count as known from now on.
    pub fn settled(&mut self, most: usize, step: Step<'_>) -> Vec<Found> {
        let mut order: Vec<(i64, PathBuf)> =
            self.pending.iter().map(|(name, pending)| (pending.stat.mtime_ns, name.clone())).collect();
        order.sort_unstable();
        let (now, mut found) = (Instant::now(), Vec::new());
        for (_, name) in order {
            if found.len() >= most || !step() {
                break;
            }
            if let Some(stat) = self.settle(&name, now) {
                self.known.insert(name.as_os_str().as_bytes(), stat);
                found.push(Found { name, stat });
            }
        }
        if self.overfull && self.pending.len() < MOST_PENDING / 2 {
            self.scan(step);
        }
        found
    }

    /// What a waiting file is, where it is complete. What is gone waits no longer.
    fn settle(&mut self, name: &Path, now: Instant) -> Option<Stat> {
        let path = self.root.join(name);
        let stat = stat_of(&path).filter(|_| self.rules.is_marked(&path));
        let (Some(stat), Some(pending)) = (stat, self.pending.get_mut(name)) else {
            self.pending.remove(name);
            return None;
        };
        if stat != pending.stat {
            (pending.stat, pending.since) = (stat, now);
        }
        let complete = self.rules.is_complete(pending, now);
        if complete {
            self.pending.remove(name);
        }
        complete.then_some(stat)
    }

    /// Makes a file that changed while it was read be looked at again.
    pub fn again(&mut self, name: &Path) {
        self.known.forget(name.as_os_str().as_bytes());
        let path = self.root.join(name);
        self.look(&path, &|| true, |_| Writer::Unknown);
    }

    /// Makes a file that cannot be read be looked at again when its metadata have changed.
    pub fn forget_until_changed(&mut self, name: &Path) {
        if let Ok(meta) = std::fs::symlink_metadata(self.root.join(name)) {
            self.known.insert_unreadable(name.as_os_str().as_bytes(), &meta);
        }
    }

    /// From now on keeps the files that are met though their rows are committed: something is to be done with them.
    pub fn keep_finished(&mut self) {
        self.finished.get_or_insert_default();
    }

    /// Those kept, each with whether it was rejected; they count as under way until they are finished anew.
    pub fn finished(&mut self) -> Vec<(Found, bool)> {
        let finished = self.finished.as_mut().map(std::mem::take).unwrap_or_default();
        for (file, _) in &finished {
            self.known.insert(file.name.as_os_str().as_bytes(), file.stat);
        }
        finished
    }

    /// A file's rows are committed, and nothing has been done with it yet.
    pub fn finish(&mut self, name: &Path, stat: Stat, rejected: bool) {
        self.known.finish(name.as_os_str().as_bytes(), stat, rejected);
    }

    /// A file is no longer there.
    pub fn forget(&mut self, name: &Path) {
        self.known.forget(name.as_os_str().as_bytes());
    }

    /// Files found and not yet settled.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Whether there are more files than are kept in mind.
    pub fn is_overfull(&self) -> bool {
        self.overfull
    }

    /// Time between two looks at the waiting files.
    pub fn pace(&self) -> Duration {
        (self.rules.settle / 4).clamp(Duration::from_millis(10), Duration::from_millis(250))
    }

    fn look(&mut self, path: &Path, step: Step<'_>, writer: impl Fn(&Metadata) -> Writer) {
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => match Walk::new(path) {
                Ok(walk) => self.scan_all(walk, step),
                Err(error) => walk::report(path, &error),
            },
            Ok(meta) if meta.is_file() => {
                let Some(candidate) = self.rules.candidate(path) else { return };
                // A marker says nothing about the writer of its file.
                if candidate == path {
                    self.note(path, &meta, writer(&meta));
                } else if let Ok(meta) = std::fs::symlink_metadata(&candidate)
                    && meta.is_file()
                {
                    self.note(&candidate, &meta, Writer::Unknown);
                }
            }
            _ => {}
        }
    }

    fn scan_all(&mut self, walk: Walk, step: Step<'_>) {
        for (path, meta) in walk {
            if self.overfull || !step() {
                return;
            }
            match self.rules.candidate_of_walk(&path) {
                Some(candidate) if candidate == path => self.note(&path, &meta, Writer::Unknown),
                Some(_) => self.look(&path, step, |_| Writer::Unknown),
                None => {}
            }
        }
    }

    fn note(&mut self, path: &Path, meta: &Metadata, writer: Writer) {
        let Ok(name) = path.strip_prefix(&self.root) else { return };
        let stat = Stat::from(meta);
        let bytes = name.as_os_str().as_bytes();
        if let Some(finished) = self.finished.as_mut().filter(|finished| finished.len() < MOST_PENDING)
            && let Some(rejected) = self.known.finished(bytes, stat)
        {
            finished.push((Found { name: name.to_path_buf(), stat }, rejected));
            return;
        }
        if is_ignored(name) || self.known.contains(bytes, stat) || self.known.is_unreadable(bytes, meta) {
            return;
        }
        if let Some(pending) = self.pending.get_mut(name) {
            if writer != Writer::Unknown {
                pending.open = writer == Writer::Writes;
            }
        } else if self.pending.len() >= MOST_PENDING {
            self.overfull = true;
        } else if !self.rules.is_far_too_young(stat) {
            let pending = Pending { stat, since: Instant::now(), open: writer == Writer::Writes };
            self.pending.insert(name.to_path_buf(), pending);
        }
    }
}

/// The regular files below a folder that count, links not followed. A folder that cannot be read is logged, one that has gone is not.
pub fn files_below(folder: &Path) -> impl Iterator<Item = (PathBuf, Metadata)> + use<> {
    Walk::new(folder).unwrap_or_else(|error| {
        walk::report(folder, &error);
        Walk::default()
    })
}

/// Files of an inbox that are not known, complete or not; files that wait for their marker do not count.
pub fn count_waiting(inbox: &Path, watch: &Watch, known: &Known) -> u64 {
    let rules = Rules::new(watch);
    let is_new = |path: PathBuf| {
        let name = path.strip_prefix(inbox).unwrap_or(&path);
        stat_of(&path).is_some_and(|stat| !known.contains(name.as_os_str().as_bytes(), stat))
    };
    files_below(inbox)
        .filter_map(|(path, _)| rules.candidate_of_walk(&path))
        .filter(|path| is_new(path.clone()))
        .count() as u64
}

/// What a regular file is now; `None` where there is none.
pub fn stat_of(path: &Path) -> Option<Stat> {
    std::fs::symlink_metadata(path).ok().filter(|meta| meta.is_file()).map(|meta| Stat::from(&meta))
}

#[cfg(test)]
#[path = "watch/tests.rs"]
mod tests;
