//! What the service manager hears: ready, status, watchdog.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::{error, info, warn};

use super::condition::{Condition, Hindrance};
use super::progress::Progress;
use crate::observe::board::Board;

/// How long a stage may stand still where no service manager says.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells the service manager; nothing happens where there is none.
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "cannot notify the service manager");
    }
}

/// Tells the service manager that the stages move or have nothing to do; silence when one of them is stuck.
pub struct Pulse {
    watchdog: bool,
    board: Arc<Board>,
    stuck: Vec<&'static str>,
    status: String,
}

impl Pulse {
    pub fn new(board: Arc<Board>) -> Self {
        let watchdog = sd_notify::watchdog_enabled().is_some();
        Self { watchdog, board, stuck: Vec::new(), status: String::new() }
    }

    /// To be called once a second or so.
    pub fn beat(&mut self) {
        self.board.make_round();
        let stuck = self.board.stuck();
        if self.watchdog && stuck.is_empty() {
            notify(&[NotifyState::Watchdog]);
        }
        self.say(stuck);
        let text = status(&self.board.progress, &self.board.condition, &self.stuck);
        if text != self.status {
            notify(&[NotifyState::Status(&text)]);
            self.status = text;
        }
    }

    fn say(&mut self, stuck: Vec<&'static str>) {
        if stuck == self.stuck {
            return;
        }
        if stuck.is_empty() {
            info!(stages = self.stuck.join(", "), "the stages move again");
        } else {
            let depths = self.board.depths().into_iter().map(|(name, depth)| format!("{name} {depth}"));
            let (files, queues) = (self.board.progress.under_way(), depths.collect::<Vec<_>>().join(", "));
            error!(stages = stuck.join(", "), watchdog = self.watchdog, files, queues, "a stage does not move");
        }
        self.stuck = stuck;
    }
}

/// How long a stage may stand still: half of the time after which the service manager would end the process.
pub fn patience() -> Duration {
    sd_notify::watchdog_enabled().map_or(PATIENCE, |watchdog| watchdog / 2)
}

/// The counts so far, and before them why the service is not ready, where it is not, and what else is wrong.
fn status(progress: &Progress, condition: &Condition, stuck: &[&str]) -> String {
    let summary = progress.summary(Duration::from_secs(1));
    let counts = format!(
        "{} under way, {} scored, {} flagged, {} rejected",
        summary.unfinished, summary.scored, summary.flagged, summary.rejected
    );
    let (hinder, others): (Vec<_>, Vec<_>) = condition.list().into_iter().partition(|held| held.reason.hinders());
    let text = |held: &Hindrance| format!("{} ({})", held.reason, held.detail);
    let reasons = stuck.iter().map(|stage| format!("{stage} is stuck")).chain(hinder.iter().map(text));
    let said = [("not ready", reasons.collect::<Vec<_>>()), ("to be mended", others.iter().map(text).collect())];
    let said = said.iter().filter(|(_, reasons)| !reasons.is_empty());
    said.map(|(what, reasons)| format!("{what}: {}; ", reasons.join(", "))).chain([counts]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::condition::Reason;
    use super::*;

    #[test]
    fn the_status_says_what_hinders_before_it_counts() {
        let (progress, condition) = (Progress::default(), Condition::default());
        progress.add(&progress.scored, 3);
        assert_eq!(status(&progress, &condition, &[]), "0 under way, 3 scored, 0 flagged, 0 rejected");
        condition.set(Reason::ReloadFailed, "no such key");
        let text = status(&progress, &condition, &[]);
        assert!(text.starts_with("to be mended: reload_failed (no such key); 0 under way"), "{text}");
        condition.set(Reason::DiskFull, "3 bytes free");
        let text = status(&progress, &condition, &["score"]);
        let hindered =
            "not ready: score is stuck, disk_full (3 bytes free); to be mended: reload_failed (no such key); 0";
        assert!(text.starts_with(hindered), "{text}");
    }
}
