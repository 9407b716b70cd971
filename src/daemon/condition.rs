//! Why the service is not ready: a set of named reasons, shared by everybody who can hinder it. It is ready where there is none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};

/// A reason not to be ready; its text is a stable word.
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
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::DiskFull => f.write_str("disk_full"),
            Self::InboxUnreachable(pipeline) => write!(f, "inbox_unreachable:{pipeline}"),
            Self::Draining => f.write_str("draining"),
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
        let detail = detail.into();
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

    /// The reasons that hold; none where the service is ready.
    pub fn list(&self) -> Vec<Hindrance> {
        self.lock().values().cloned().collect()
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
}
