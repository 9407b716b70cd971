//! Compaction: a closed day of many small parts becomes one of few large ones.
//!
//! ```text
//! reports/…/date=D  ─hard links→ merge ─> staging/…   complete, synced
//!                                            │ nobody has read D for a while; ledger: prepared
//!                                            ├─ renameat2(EXCHANGE), both folders synced
//!                                            │ ledger: committed
//!                                            └─ the old folder, now in staging, is deleted
//! ```
//! Every listing of the day is wholly old or wholly new: never both, never torn. A reader that listed before the swap and opens
//! after it finds nothing under the old names; that is why the swap waits until the folder has been quiet.

mod columns;
pub mod days;
pub mod merge;
mod pending;
pub mod quiet;
mod swap;
#[cfg(test)]
pub(crate) mod test_house;
pub mod upkeep;

use std::fmt;
use std::path::Path;

use serde::Deserialize;

use crate::disk::Trouble;
use crate::error::{Failure, Kind};

/// Settings of compaction.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compaction {
    /// The running service compacts by itself: at its start and then hourly.
    pub automatic: bool,
    /// Seconds for which nobody may have read a day before its folder is swapped.
    pub quiet_s: u64,
    /// A day of fewer small parts is left as it is; at least 2.
    pub min_parts: usize,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { automatic: true, quiet_s: 30, min_parts: 2 }
    }
}

impl Compaction {
    /// Numbers that cannot be worked with.
    ///
    /// # Errors
    /// [`Kind::Settings`] naming the key.
    pub fn check(&self) -> Result<(), Failure> {
        if self.min_parts >= 2 {
            return Ok(());
        }
        let message = format!("settings: compaction.min_parts = {}, but it must be at least 2", self.min_parts);
        Err(Failure::new(Kind::Settings, message).hint("compaction.automatic = false turns compaction off"))
    }
}

/// Why a day is not done.
#[derive(Debug)]
pub enum Halt {
    /// Not now: the reason. Nothing has changed, and a later try may succeed.
    Later(String),
    /// Somebody asked to stop.
    Stopped,
    /// The disk or the ledger failed; nothing goes on after that.
    Failed(Failure),
}

impl Halt {
    /// A failure after which everything is as it was.
    fn put_off(failure: Failure) -> Self {
        Self::Later(failure.message)
    }

    fn later(path: &Path, error: &dyn fmt::Display) -> Self {
        Self::Later(format!("{}: {error}", path.display()))
    }

    /// A trouble with what is only in staging: on a full disk it is thrown away, and a later try makes it anew.
    fn in_staging(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full(failure) => Self::put_off(failure),
            other => Self::Failed(other.into()),
        }
    }
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
