//! What the service manager hears: ready, status, watchdog.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

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
}

impl Pulse {
    pub fn new() -> Self {
        Self { beats: 0, watchdog: sd_notify::watchdog_enabled().is_some() }
    }

    pub fn beat(&mut self, progress: &Progress) {
        let beats = progress.beats.load(Ordering::Relaxed);
        let moved = std::mem::replace(&mut self.beats, beats) != beats;
        if self.watchdog && (moved || progress.under_way() == 0) {
            notify(&[NotifyState::Watchdog]);
        }
        if moved {
            let summary = progress.summary(Duration::from_secs(1));
            let text = format!(
                "{} waiting, {} scored, {} flagged, {} rejected",
                summary.unfinished, summary.scored, summary.flagged, summary.rejected
            );
            notify(&[NotifyState::Status(&text)]);
        }
    }
}
