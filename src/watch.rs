//! Finds files in an inbox: the directory is the queue, the ledger says what is done, an event is only a hint to look again.
//!
//! Regular files count, of any name and depth; hidden ones (a leading dot anywhere below the inbox) and names ending in `.part`,
//! `.partial` or `.tmp` do not, so that a writer can rename into place. Symbolic links below the inbox are not followed.

mod archive;
mod check;
mod hints;
mod inbox;
mod known;
mod pending;
mod place;
mod rules;
mod stat;
mod walk;

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::pipeline::Watch;

pub use archive::{Outcome, Scored};
pub use check::check_inbox;
pub use hints::{Hint, Hints};
pub use inbox::{Inbox, Step};
pub use known::Known;
pub use pending::Held;
pub use place::is_remote;
use rules::Rules;
pub use rules::UNFINISHED;
pub use stat::{Stat, stat_of};
use walk::Walk;

/// A complete file nobody has looked at yet.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its name, relative to the inbox.
    pub name: PathBuf,
    /// What it was when it had settled.
    pub stat: Stat,
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

#[cfg(test)]
mod tests;
