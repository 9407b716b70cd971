//! What is wrong with the service: a set of named reasons, shared by everybody who can hinder it. It is ready where none hinders it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

/// What is wrong; its text is a stable word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Models are being loaded and inboxes opened.
    Starting,
    /// The state filesystem has less free than `min_free`: nothing new is decoded.
    DiskFull,
    /// The inbox of this pipeline cannot be read, or does not answer.
    InboxUnreachable(String),
    /// Told to stop: what has been begun is finished, nothing new is begun.
    Draining,
    /// What is to be done with scored files of this pipeline cannot be done: they stay in the inbox.
    AfterFailing(String),
    /// The frames of this pipeline are not those its certificate was made from.
    Drift(String),
    /// The configuration on disk was refused: the one that was loaded before goes on.
    ReloadFailed,
}

impl Reason {
    /// The stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::DiskFull => "disk_full",
            Self::InboxUnreachable(_) => "inbox_unreachable",
            Self::Draining => "draining",
            Self::AfterFailing(_) => "after_failing",
            Self::Drift(_) => "drift",
            Self::ReloadFailed => "reload_failed",
        }
    }

    /// The pipeline, where it is about one.
    pub fn pipeline(&self) -> Option<&str> {
        match self {
            Self::InboxUnreachable(pipeline) | Self::AfterFailing(pipeline) | Self::Drift(pipeline) => Some(pipeline),
            Self::Starting | Self::DiskFull | Self::Draining | Self::ReloadFailed => None,
        }
    }

    /// What somebody can do about it, where the detail does not say.
    pub fn to_do(&self) -> Option<&'static str> {
        Some(match self {
            Self::DiskFull => "free space on the disk of the state folder; it goes on by itself, nothing is lost",
            Self::InboxUnreachable(_) => {
                "mount it or bring it back; it is tried every 30 s at least, the other pipelines go on"
            }
            Self::AfterFailing(_) => {
                "mount the folder, or let the user that runs anomalyd write there and in the inbox (under systemd \
                 ReadWritePaths=); it is tried at every rescan"
            }
            Self::Drift(_) => {
                "false-alarm rates are not certified until then: `anomalyd drift PIPELINE` shows since when; train a new \
                 model on frames of now, or mend the instrument and say so with `anomalyd drift reset PIPELINE --reason WHY`"
            }
            Self::Starting | Self::Draining | Self::ReloadFailed => return None,
        })
    }

    /// Whether images are not scored, or not all of them, while it holds. What does not hinder is to be mended all the same.
    pub fn hinders(&self) -> bool {
        !matches!(self, Self::AfterFailing(_) | Self::Drift(_) | Self::ReloadFailed)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pipeline() {
            Some(pipeline) => write!(f, "{}:{pipeline}", self.word()),
            None => f.write_str(self.word()),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A reason that holds now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hindrance {
    /// Which.
    pub reason: Reason,
    /// What somebody who is to mend it needs to know.
    pub detail: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// The reasons that hold now.
#[derive(Debug, Default)]
pub struct Condition(Mutex<BTreeMap<Reason, Hindrance>>);

impl Condition {
    /// Says that a reason holds. True where it did not hold before; else only the detail is new.
    pub fn set(&self, reason: Reason, detail: impl Into<String>) -> bool {
        // Names of files may hold anything, and details go to terminals and, a line each, to the service manager.
        let plain = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
        let detail: String = detail.into().chars().map(plain).collect();
        let mut reasons = self.lock();
        if let Some(held) = reasons.get_mut(&reason) {
            held.detail = detail;
            return false;
        }
        reasons.insert(reason.clone(), Hindrance { reason, detail, since: Utc::now() });
        true
    }

    /// Says that a reason holds no longer. True where it did hold.
    pub fn clear(&self, reason: &Reason) -> bool {
        self.lock().remove(reason).is_some()
    }

    /// The reasons that hold.
    pub fn list(&self) -> Vec<Hindrance> {
        self.lock().values().cloned().collect()
    }

    /// Those that hinder the service; it is ready where there are none.
    pub fn hindrances(&self) -> Vec<Hindrance> {
        self.lock().values().filter(|held| held.reason.hinders()).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Reason, Hindrance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_holds_from_the_first_set_to_the_clear() {
        let condition = Condition::default();
        assert!(condition.list().is_empty());
        let reason = Reason::InboxUnreachable("digits".into());
        assert!(condition.set(reason.clone(), "no such folder"));
        let since = condition.list()[0].since;
        assert!(!condition.set(reason.clone(), "stale handle"), "it holds already");
        assert!(condition.set(Reason::DiskFull, "3 bytes free"));
        let held = condition.list();
        assert_eq!((held[1].detail.as_str(), held[1].since), ("stale handle", since));
        assert!(condition.clear(&Reason::DiskFull) && !condition.clear(&Reason::DiskFull));
        let text = serde_json::to_value(condition.list()).unwrap();
        assert_eq!(text[0]["reason"], "inbox_unreachable:digits");
        assert!(condition.clear(&reason) && condition.list().is_empty());
    }

    #[test]
    fn what_does_not_hinder_is_said_and_the_service_is_ready() {
        let condition = Condition::default();
        condition.set(Reason::ReloadFailed, "digits.toml:3: no such key");
        condition.set(Reason::AfterFailing("digits".into()), "a\nWATCHDOG=trigger");
        assert!(condition.hindrances().is_empty());
        assert_eq!(condition.list()[0].detail, "a\u{fffd}WATCHDOG=trigger", "no name makes a line of its own");
        condition.set(Reason::DiskFull, "3 bytes free");
        assert_eq!(condition.hindrances().len(), 1);
    }
}
