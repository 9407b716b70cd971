//! Files between found and settled: what each was when it was last looked at, and what is known of its writer.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::warn;

use super::rules::Rules;
use super::stat::Stat;

/// Files kept in mind between found and settled; more are found by a later scan, so that memory stays bounded.
pub const MOST_PENDING: usize = 16_384;

/// A file waiting to settle.
#[derive(Debug)]
pub struct Pending {
    /// What it was when it was last looked at.
    pub stat: Stat,
    /// When it was last seen to change.
    pub since: Instant,
    /// Whether a writer is known to hold it open.
    pub open: bool,
    /// When it was found.
    found: Instant,
    /// Whether it was said that it waits for long.
    said: bool,
}

impl Pending {
    /// A file that is found now.
    pub fn new(stat: Stat, now: Instant, open: bool) -> Self {
        Self { stat, since: now, open, found: now, said: false }
    }
}

/// What is known of a file's writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Nothing.
    Unknown,
    /// It is at work.
    Writes,
    /// It has closed the file.
    HasClosed,
}

/// Files that wait for longer than files should, as their writers do not close them or go on writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// How many.
    pub files: usize,
    /// The one that waits longest.
    pub name: PathBuf,
    /// When that was found.
    pub since: Instant,
}

/// The files that wait.
#[derive(Debug, Default)]
pub struct Waiting {
    files: HashMap<PathBuf, Pending>,
    overfull: bool,
}

impl Waiting {
    /// How many.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// How many of them are to be read soon: of the others it was said that they wait for long.
    pub fn expected(&self) -> usize {
        self.files.values().filter(|pending| !pending.said).count()
    }

    /// Whether there are more files than are kept in mind.
    pub fn is_overfull(&self) -> bool {
        self.overfull
    }

    /// A scan begins, which finds what had no room before.
    pub fn begin_scan(&mut self) {
        self.overfull = false;
    }

    /// Closes may have been missed; who still writes is heard again before the file has rested.
    pub fn forget_writers(&mut self) {
        for pending in self.files.values_mut().filter(|pending| pending.open) {
            (pending.open, pending.since) = (false, Instant::now());
        }
    }

    /// Notes a file that has been met.
    pub fn note(&mut self, name: &Path, stat: Stat, writer: Writer, rules: &Rules) {
        if let Some(pending) = self.files.get_mut(name) {
            if writer != Writer::Unknown {
                pending.open = writer == Writer::Writes;
            }
        } else if self.files.len() >= MOST_PENDING {
            self.overfull = true;
        } else if writer == Writer::Writes || !rules.is_far_too_young(stat) {
            let pending = Pending::new(stat, Instant::now(), writer == Writer::Writes);
            self.files.insert(name.to_path_buf(), pending);
        }
    }

    /// The names, those changed longest ago first.
    pub fn in_order(&self) -> Vec<PathBuf> {
        let mut order: Vec<_> = self.files.iter().map(|(name, pending)| (pending.stat.mtime_ns, name)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, name)| name.clone()).collect()
    }

    /// What a waiting file is, `stat`, where it is complete: then it waits no longer. Nor does one that is not there.
    pub fn settle(&mut self, name: &Path, stat: Option<Stat>, now: Instant, rules: &Rules) -> Option<Stat> {
        let (Some(stat), Some(pending)) = (stat, self.files.get_mut(name)) else {
            self.files.remove(name);
            return None;
        };
        if stat != pending.stat {
            (pending.stat, pending.since) = (stat, now);
        }
        let complete = rules.is_complete(pending, now);
        if complete {
            self.files.remove(name);
        }
        complete.then_some(stat)
    }

    /// The files that wait for longer than `patience`. Each is named once in the log.
    pub fn held(&mut self, patience: Duration) -> Option<Held> {
        let now = Instant::now();
        let mut held: Option<Held> = None;
        for (name, pending) in &mut self.files {
            if now.duration_since(pending.found) < patience {
                continue;
            }
            if !std::mem::replace(&mut pending.said, true) {
                let why = if pending.open { "its writer has not closed it" } else { "it goes on changing" };
                warn!(source = %name.display(), why, "a file of the inbox waits for long");
            }
            let files = held.as_ref().map_or(0, |held| held.files) + 1;
            let longest = held.filter(|held| held.since <= pending.found);
            let (name, since) = longest.map_or_else(|| (name.clone(), pending.found), |held| (held.name, held.since));
            held = Some(Held { files, name, since });
        }
        held
    }
}
