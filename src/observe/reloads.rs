//! Whether the configuration that runs is the one on disk: how the reloads went.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use crate::daemon::{Condition, Reason};
use crate::error::Failure;

/// How the reloads of a run went.
#[derive(Debug)]
pub struct Reloads {
    condition: Arc<Condition>,
    now: Mutex<Configuration>,
}

/// Pipelines and models as they run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// When they were read.
    pub loaded_at: DateTime<Utc>,
    /// Why those on disk were refused since, where they were.
    pub refused: Option<String>,
    /// When a reload was last asked for.
    pub reload_at: Option<DateTime<Utc>>,
    /// Reloads that changed over to what is on disk.
    pub reloads_succeeded: u64,
    /// Reloads that did not.
    pub reloads_failed: u64,
}

impl Reloads {
    /// None yet.
    pub fn new(condition: Arc<Condition>) -> Self {
        let fresh = Configuration {
            loaded_at: Utc::now().trunc_subsecs(3),
            refused: None,
            reload_at: None,
            reloads_succeeded: 0,
            reloads_failed: 0,
        };
        Self { condition, now: Mutex::new(fresh) }
    }

    /// What is on disk runs now.
    pub fn succeed(&self) {
        let mut now = self.lock();
        let at = Utc::now().trunc_subsecs(3);
        (now.loaded_at, now.reload_at, now.refused) = (at, Some(at), None);
        now.reloads_succeeded += 1;
        self.condition.clear(&Reason::ReloadFailed);
    }

    /// What is on disk was refused; said until a reload succeeds.
    pub fn fail(&self, failure: &Failure) {
        let mut now = self.lock();
        now.reload_at = Some(Utc::now().trunc_subsecs(3));
        now.reloads_failed += 1;
        let hint = failure.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        let why = format!("{}{hint}", failure.message);
        let loaded = now.loaded_at.format("%F %T UTC");
        let detail = format!("{why}; what was loaded at {loaded} goes on: mend what is on disk and reload again");
        self.condition.set(Reason::ReloadFailed, detail);
        now.refused = Some(why);
    }

    /// What runs.
    pub fn configuration(&self) -> Configuration {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Configuration> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_refused_configuration_is_said_until_one_is_taken() {
        let condition = Arc::<Condition>::default();
        let reloads = Reloads::new(condition.clone());
        let loaded = reloads.configuration().loaded_at;
        reloads.fail(&Failure::new(Kind::Settings, "digits.toml:3: no such key").hint("see the manual"));
        reloads.fail(&Failure::new(Kind::Model, "no model"));
        let held = condition.list();
        assert_eq!(held[0].reason, Reason::ReloadFailed);
        assert!(held[0].detail.starts_with("no model; what was loaded at 2"), "{held:?}");
        assert!(condition.hindrances().is_empty(), "what runs is fit");
        let now = reloads.configuration();
        assert_eq!((now.loaded_at, now.refused.as_deref(), now.reloads_failed), (loaded, Some("no model"), 2));
        reloads.succeed();
        assert!(condition.list().is_empty());
        let now = reloads.configuration();
        assert_eq!((now.refused, now.reloads_succeeded, Some(now.loaded_at)), (None, 1, now.reload_at));
    }
}
