//! Finds files in an inbox: the directory is the queue, the ledger says what is done, an event is only a hint to look again.
//!
//! Regular files count, of any name and depth; hidden ones (a leading dot anywhere below the inbox) and names ending in `.part`,
//! `.partial` or `.tmp` do not, so that a writer can rename into place. Symbolic links below the inbox are not followed.

mod hints;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use walkdir::{DirEntry, WalkDir};

use crate::error::{Failure, Kind, Result};
use crate::pipeline::{Watch, WatchMode};

pub use hints::{Hint, Hints};

/// Files kept in mind between found and settled; more are found by a later scan, so that memory stays bounded.
const MOST_PENDING: usize = 16_384;
/// A file that is being written by somebody may rest this many settle times before it counts as complete.
const OPEN_PATIENCE: u32 = 10;
/// Endings of names that are not finished.
const UNFINISHED: [&str; 3] = [".part", ".partial", ".tmp"];

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

impl From<&std::fs::Metadata> for Stat {
    fn from(meta: &std::fs::Metadata) -> Self {
        Self { size: meta.len(), mtime_ns: meta.mtime() * 1_000_000_000 + meta.mtime_nsec(), inode: meta.ino() }
    }
}

/// Files that need no second look, 16 bytes each: a hash of the name, and one of what the file was.
#[derive(Debug, Default)]
pub struct Known(HashMap<u64, u64>);

impl Known {
    /// Remembers a version of a file.
    pub fn insert(&mut self, name: &[u8], stat: Stat) {
        self.0.insert(hash(name), hash(stat));
    }

    /// Whether this version of the file is known.
    pub fn contains(&self, name: &[u8], stat: Stat) -> bool {
        self.0.get(&hash(name)) == Some(&hash(stat))
    }

    /// Forgets a file, so that it is looked at again.
    pub fn forget(&mut self, name: &[u8]) {
        self.0.remove(&hash(name));
    }
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
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
    since: Instant,
    open: bool,
}

/// One inbox.
#[derive(Debug)]
pub struct Inbox {
    root: PathBuf,
    settle: Duration,
    trust_mtime: bool,
    known: Known,
    pending: HashMap<PathBuf, Pending>,
    overfull: bool,
}

impl Inbox {
    /// An inbox whose `known` files are done. `root` is an existing folder, see [`check_inbox`].
    pub fn new(root: PathBuf, watch: &Watch, known: Known) -> Self {
        let settle = Duration::from_millis(watch.settle_ms);
        let trust_mtime = watch.mode == WatchMode::Auto;
        Self { root, settle, trust_mtime, known, pending: HashMap::new(), overfull: false }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks at every file below the inbox.
    pub fn scan(&mut self) {
        self.overfull = false;
        let root = self.root.clone();
        self.scan_below(&root);
    }

    /// Looks where a hint says.
    pub fn follow(&mut self, hint: &Hint) {
        match hint {
            Hint::Look(path) => match std::fs::symlink_metadata(path) {
                Ok(meta) if meta.is_dir() => self.scan_below(&path.clone()),
                Ok(meta) if meta.is_file() => self.note(path, &meta, false),
                _ => {}
            },
            Hint::Writing(path) => {
                if let Ok(meta) = std::fs::symlink_metadata(path)
                    && meta.is_file()
                {
                    self.note(path, &meta, true);
                }
            }
            Hint::Everything => self.scan(),
        }
    }

    /// The files that have settled, at most `most`; they count as known from now on.
    pub fn settled(&mut self, most: usize) -> Vec<Found> {
        let (now, mut found, mut gone) = (Instant::now(), Vec::new(), Vec::new());
        for (name, pending) in &mut self.pending {
            if found.len() >= most {
                break;
            }
            let Some(stat) = stat_of(&self.root.join(name)) else {
                gone.push(name.clone());
                continue;
            };
            if stat != pending.stat {
                (pending.stat, pending.since) = (stat, now);
            }
            let patience = if pending.open { self.settle * OPEN_PATIENCE } else { self.settle };
            let old = self.trust_mtime && !pending.open && age(stat) >= self.settle;
            if old || now.duration_since(pending.since) >= patience {
                found.push(Found { name: name.clone(), stat });
            }
        }
        for name in gone.iter().chain(found.iter().map(|file| &file.name)) {
            self.pending.remove(name);
        }
        for file in &found {
            self.known.insert(file.name.as_os_str().as_bytes(), file.stat);
        }
        if self.overfull && self.pending.len() < MOST_PENDING / 2 {
            self.scan();
        }
        found
    }

    /// Makes a file that changed while it was read be looked at again.
    pub fn again(&mut self, name: &Path) {
        self.known.forget(name.as_os_str().as_bytes());
        let path = self.root.join(name);
        self.follow(&Hint::Look(path));
    }

    /// Files found and not yet settled.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Time between two looks at the waiting files.
    pub fn pace(&self) -> Duration {
        (self.settle / 4).clamp(Duration::from_millis(10), Duration::from_millis(250))
    }

    fn scan_below(&mut self, folder: &Path) {
        for (path, meta) in files_below(folder) {
            if self.overfull {
                return;
            }
            self.note(&path, &meta, false);
        }
    }

    fn note(&mut self, path: &Path, meta: &std::fs::Metadata, open: bool) {
        let Ok(name) = path.strip_prefix(&self.root) else { return };
        let stat = Stat::from(meta);
        if is_ignored(name) || self.known.contains(name.as_os_str().as_bytes(), stat) {
            return;
        }
        let waiting = self.pending.len();
        match self.pending.get_mut(name) {
            Some(pending) => pending.open = open,
            None if waiting >= MOST_PENDING => self.overfull = true,
            None => {
                self.pending.insert(name.to_path_buf(), Pending { stat, since: Instant::now(), open });
            }
        }
    }
}

/// The regular files below a folder that count, in the order of their names. A folder that vanishes meanwhile is no error.
pub fn files_below(folder: &Path) -> impl Iterator<Item = (PathBuf, std::fs::Metadata)> {
    let counts = |entry: &DirEntry| entry.depth() == 0 || !is_ignored(Path::new(entry.file_name()));
    WalkDir::new(folder).follow_links(false).sort_by_file_name().into_iter().filter_entry(counts).filter_map(|entry| {
        let entry = entry.inspect_err(report).ok()?;
        let meta = entry.file_type().is_file().then(|| entry.metadata().ok()).flatten()?;
        Some((entry.into_path(), meta))
    })
}

/// A folder that cannot be entered hides files; one that has just gone does not.
fn report(error: &walkdir::Error) {
    if error.io_error().is_none_or(|error| error.kind() != std::io::ErrorKind::NotFound) {
        tracing::warn!(%error, "cannot look into a folder");
    }
}

/// What a regular file is now; `None` where there is none.
pub fn stat_of(path: &Path) -> Option<Stat> {
    std::fs::symlink_metadata(path).ok().filter(|meta| meta.is_file()).map(|meta| Stat::from(&meta))
}

/// Checks that an inbox can be watched, and returns it canonical.
///
/// # Errors
/// [`Kind::Io`] where it is missing or cannot be read; [`Kind::Settings`] where it contains the state folder or lies in it.
pub fn check_inbox(inbox: &Path, state: &Path) -> Result<PathBuf> {
    let root = inbox.canonicalize().map_err(|error| {
        Failure::new(Kind::Io, format!("inbox {}: {error}", inbox.display()))
            .hint("make the folder, or correct `inbox`")
    })?;
    if !root.is_dir() {
        return Err(Failure::new(Kind::Io, format!("inbox {} is not a folder", root.display())));
    }
    std::fs::read_dir(&root).map_err(|error| {
        Failure::new(Kind::Io, format!("inbox {} cannot be read: {error}", root.display()))
            .hint("give the user that runs anomalyd the right to read and enter it")
    })?;
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_path_buf());
    let state = state.canonicalize().unwrap_or(state);
    if state.starts_with(&root) || root.starts_with(&state) {
        let message = format!("inbox {} and state folder {} contain one another", root.display(), state.display());
        return Err(
            Failure::new(Kind::Settings, message).hint("keep the reports outside of the folder that is watched")
        );
    }
    Ok(root)
}

fn is_ignored(name: &Path) -> bool {
    name.iter().any(|part| {
        let part = part.as_bytes();
        part.starts_with(b".") || UNFINISHED.iter().any(|ending| part.ends_with(ending.as_bytes()))
    })
}

fn age(stat: Stat) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_nanos(u64::try_from(stat.mtime_ns).unwrap_or(0)))
}

#[cfg(test)]
#[path = "watch/tests.rs"]
mod tests;
