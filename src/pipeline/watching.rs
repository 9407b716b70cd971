//! How an inbox is watched: when its files are looked for, and when one counts as complete.

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
}

impl Default for Watch {
    fn default() -> Self {
        Self { mode: WatchMode::Auto, settle_ms: 500, rescan_s: 30, min_age_s: 0, done_marker: None }
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
