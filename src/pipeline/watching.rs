//! How an inbox is watched: when its files are looked for, when one counts as complete, and what becomes of it after scoring.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How the inbox is watched.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// Notifications plus a timed rescan, or the rescan alone (NFS, SMB).
    pub mode: WatchMode,
    /// Milliseconds a file must stay unchanged.
    pub settle_ms: u64,
    /// Seconds between rescans; a rescan that takes long makes the pause after it longer.
    pub rescan_s: u64,
    /// Seconds since its last change before a file is read.
    pub min_age_s: u64,
    /// A file is complete when `<name><marker>` stands beside it, and not before. Markers are no images.
    pub done_marker: Option<String>,
    /// A file that an earlier version of the model has judged is judged again by every new one.
    pub rejudge: bool,
}

impl Default for Watch {
    fn default() -> Self {
        Self { mode: WatchMode::Auto, settle_ms: 500, rescan_s: 30, min_age_s: 0, done_marker: None, rejudge: false }
    }
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchMode {
    /// inotify as a hint, and a timed rescan.
    Auto,
    /// The timed rescan alone.
    Poll,
}

/// What becomes of a file once its rows are committed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct After {
    /// Of one that was scored, or whose content had been scored.
    pub scored: Action,
    /// Of one that was rejected.
    pub rejected: Action,
}

/// What is done to a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    #[default]
    Leave,
    /// It is deleted.
    Delete,
    /// It is moved below this folder, with the folders it lies in. Nothing there is overwritten.
    Move(PathBuf),
}

impl After {
    /// The action for a file.
    pub fn of(&self, rejected: bool) -> &Action {
        if rejected { &self.rejected } else { &self.scored }
    }

    /// The key of the action for a file, as messages name it.
    pub fn key(rejected: bool) -> &'static str {
        if rejected { "[after] rejected" } else { "[after] scored" }
    }

    /// The folders that files are moved to, with the key that names each.
    pub fn archives(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        [false, true].into_iter().filter_map(|rejected| match self.of(rejected) {
            Action::Move(folder) => Some((Self::key(rejected), folder)),
            Action::Leave | Action::Delete => None,
        })
    }
}
