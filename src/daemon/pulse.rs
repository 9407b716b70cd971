//! What the service manager hears: ready, status, watchdog.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

use super::condition::Condition;
use super::progress::Progress;

/// Tells the service manager; nothing happens where there is none.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "cannot notify the service manager");
    }
}

/// Tells the service manager that something moves, or that there is nothing to do; silence when the stages are stuck.
pub struct Pulse {
    beats: u64,
    watchdog: bool,
    status: String,
}

impl Pulse {
    pub fn new() -> Self {
        Self { beats: 0, watchdog: sd_notify::watchdog_enabled().is_some(), status: String::new() }
    }

    pub fn beat(&mut self, progress: &Progress, condition: &Condition) {
        let beats = progress.beats.load(Ordering::Relaxed);
        let moved = std::mem::replace(&mut self.beats, beats) != beats;
        if self.watchdog && (moved || progress.under_way() == 0) {
            notify(&[NotifyState::Watchdog]);
        }
        let text = status(progress, condition);
        if text != self.status {
            notify(&[NotifyState::Status(&text)]);
            self.status = text;
        }
    }
}

/// The counts so far, and before them why the service is not ready, where it is not.
fn status(progress: &Progress, condition: &Condition) -> String {
    let summary = progress.summary(Duration::from_secs(1));
    let counts = format!(
        "{} under way, {} scored, {} flagged, {} rejected",
        summary.unfinished, summary.scored, summary.flagged, summary.rejected
    );
    let held: Vec<String> = condition.list().iter().map(|held| format!("{} ({})", held.reason, held.detail)).collect();
    if held.is_empty() { counts } else { format!("not ready: {}; {counts}", held.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::super::condition::Reason;
    use super::*;

    #[test]
    fn the_status_says_what_hinders_before_it_counts() {
        let (progress, condition) = (Progress::default(), Condition::default());
        progress.add(&progress.scored, 3);
        assert_eq!(status(&progress, &condition), "0 under way, 3 scored, 0 flagged, 0 rejected");
        condition.set(Reason::DiskFull, "3 bytes free");
        assert!(status(&progress, &condition).starts_with("not ready: disk_full (3 bytes free); 0 under way"));
    }
}
