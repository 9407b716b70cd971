//! What happened to a pipeline's versions: `history.toml`, one entry after the other, never rewritten.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::HISTORY;
use super::verdict::Verdict;
use crate::error::{Failure, Kind, Result};

/// Everything that happened to the versions of one pipeline, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The first is the oldest.
    #[serde(default)]
    pub entries: Vec<Entry>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub event: Event,
    /// To which version.
    pub version: String,
    /// The version that was current before, where there was one.
    pub before: Option<String>,
    /// Why.
    pub reason: String,
    /// What the gate found, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// Kinds of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It became the current one.
    Promoted,
    /// It became the current one again.
    RolledBack,
    /// The gate kept it out.
    Refused,
    /// It waits for somebody to promote it.
    Waits,
    /// It was deleted.
    Pruned,
}

impl Event {
    /// The word in `history.toml` and in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled back",
            Self::Refused => "refused",
            Self::Waits => "waits",
            Self::Pruned => "pruned",
        }
    }
}

impl History {
    /// Reads the history of a pipeline's folder; empty where nothing was recorded yet.
    ///
    /// # Errors
    /// [`Kind::Model`] for a file that is no history, [`Kind::Io`].
    pub fn read(home: &Path) -> Result<Self> {
        let path = home.join(HISTORY);
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                Failure::new(Kind::Model, format!("{}: {error}", path.display()))
                    .hint("mend the file or move it away: the versions themselves do not depend on it")
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Failure::io(&path, error)),
        }
    }

    /// The text of the file.
    ///
    /// # Errors
    /// [`Kind::Internal`].
    pub(super) fn text(&self) -> Result<String> {
        toml::to_string_pretty(self)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the history: {error}")))
    }

    /// The version that was the last to become the current one.
    pub fn current(&self) -> Option<&str> {
        let came = |entry: &&Entry| matches!(entry.event, Event::Promoted | Event::RolledBack);
        self.entries.iter().rev().find(came).map(|entry| entry.version.as_str())
    }

    /// The version in use before the current one came, and so on: a promotion puts one on top, a rollback takes all down to
    /// its version. `current` is what is in use, whatever put it there.
    pub fn before(&self, current: &str) -> Option<String> {
        let mut stack: Vec<&str> = Vec::new();
        for entry in &self.entries {
            match entry.event {
                Event::Promoted => {
                    if stack.is_empty() {
                        stack.extend(entry.before.as_deref());
                    }
                    stack.push(&entry.version);
                }
                Event::RolledBack => match stack.iter().rposition(|&version| version == entry.version) {
                    Some(at) => stack.truncate(at + 1),
                    None => stack.push(&entry.version),
                },
                Event::Pruned => stack.retain(|&version| version != entry.version),
                Event::Refused | Event::Waits => {}
            }
        }
        stack.dedup();
        let below = match stack.iter().rposition(|&version| version == current) {
            Some(at) => at,
            // Somebody wrote `current` by hand: the last promoted one lies below it.
            None => stack.len(),
        };
        stack[..below].last().map(ToString::to_string)
    }

    /// The last thing that the gate or a person said about a version.
    pub fn last_of(&self, version: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.version == version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(events: &[(Event, &str, Option<&str>)]) -> History {
        let entry = |&(event, version, before): &(Event, &str, Option<&str>)| Entry {
            at: DateTime::UNIX_EPOCH,
            event,
            version: version.into(),
            before: before.map(Into::into),
            reason: "test".into(),
            verdict: None,
        };
        History { entries: events.iter().map(entry).collect() }
    }

    #[test]
    fn one_way_back_after_the_other() {
        use Event::{Promoted, Pruned, Refused, RolledBack};
        let three = [(Promoted, "2", Some("1")), (Refused, "3", Some("2")), (Promoted, "4", Some("2"))];
        let back = |events: &[_], current: &str| history(events).before(current);
        assert_eq!(back(&three, "4").as_deref(), Some("2"));
        assert_eq!(back(&three, "9").as_deref(), Some("4"), "written by hand");
        let once = [&three[..], &[(RolledBack, "2", Some("4"))]].concat();
        assert_eq!(back(&once, "2").as_deref(), Some("1"), "a second rollback goes further back");
        let twice = [&once[..], &[(RolledBack, "1", Some("2"))]].concat();
        assert_eq!(back(&twice, "1"), None);
        assert_eq!(back(&[&three[..], &[(Pruned, "2", None)]].concat(), "4").as_deref(), Some("1"));
        assert_eq!(back(&[], "1"), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let written = history(&[(Event::Promoted, "2", Some("1")), (Event::RolledBack, "1", None)]);
        assert_eq!(toml::from_str::<History>(&written.text().unwrap()).unwrap(), written);
    }
}
