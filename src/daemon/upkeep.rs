//! The thread that keeps the report tree small: at the start and then hourly, closed days are compacted and old ones dropped.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::Utc;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use super::space::Space;
use super::threads::Ended;
use crate::disk::is_given_up;
use crate::error::{Failure, Kind, Result};
use crate::ledger::Ledger;
use crate::report::compact::days::Choice;
use crate::report::compact::upkeep::{self, Chore, Outcome, plan};
use crate::report::gate::Gate;
use crate::report::writer::Store;
use crate::settings::Settings;

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(3600);
/// How long a day is waited for that is read all the time; then the next round tries again.
const PATIENCE: Duration = Duration::from_secs(600);
/// The scoring comes first.
const NICE: i32 = 10;

/// The thread; it ends when this is dropped.
pub struct Upkeep {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    /// Starts it, where the settings want anything of it.
    ///
    /// # Errors
    /// [`Kind::Internal`] where no thread can be started.
    pub fn start(
        settings: &Settings,
        gate: &Gate,
        events: &UnboundedSender<Ended>,
        space: &Arc<Space>,
    ) -> Result<Self> {
        let (stop, stopped) = bounded(0);
        if !settings.compaction.automatic && !settings.retention.is_on() {
            return Ok(Self { stop: None, thread: None });
        }
        if let Some(message) = settings.retention.warning() {
            warn!("{message}");
        }
        let (settings, gate, events, space) = (settings.clone(), gate.clone(), events.clone(), space.clone());
        let work = move || {
            let guarded = std::panic::AssertUnwindSafe(|| rounds(&settings, &gate, &space, &stopped));
            let outcome = std::panic::catch_unwind(guarded)
                .unwrap_or_else(|_| Err(Failure::new(Kind::Internal, "the upkeep of the reports panicked")));
            // A stop found it waiting for a full disk: the next start settles what it had prepared.
            let outcome = outcome.or_else(|failure| if is_given_up(&failure) { Ok(()) } else { Err(failure) });
            let _ = events.send(Ended { stage: "upkeep", outcome });
        };
        let thread = std::thread::Builder::new()
            .name("upkeep".into())
            .spawn(work)
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot start a thread: {error}")))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Upkeep {
    /// Nothing is touched any more once the lock of the state folder is let go.
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn rounds(settings: &Settings, gate: &Gate, space: &Arc<Space>, stopped: &Receiver<()>) -> Result<()> {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        debug!(%error, "the upkeep of the reports runs at the priority of the service");
    }
    let stop = || stopped.try_recv() == Err(TryRecvError::Disconnected);
    let mut upkeep = upkeep::Upkeep {
        ledger: Ledger::open_with(&settings.state, space.clone())?,
        store: Store::open_with(&settings.state, space.clone())?,
        gate: gate.clone(),
        quiet: Duration::from_secs(settings.compaction.quiet_s),
        patience: PATIENCE,
        min_free: settings.min_free,
        stop: &stop,
        waiting: &|day| debug!(folder = %day.folder.display(), "waiting until nobody reads the day"),
    };
    loop {
        match chores(settings) {
            Ok(chores) => upkeep.work(&chores, &mut tell)?,
            Err(error) => warn!(%error, "cannot look through the reports"),
        }
        if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
            return Ok(());
        }
    }
}

fn chores(settings: &Settings) -> Result<Vec<Chore>> {
    let rules = Some(&settings.compaction).filter(|rules| rules.automatic);
    let reports: &Path = &settings.state.join("reports");
    plan(reports, &Choice::default(), rules, &settings.retention, Utc::now().date_naive())
}

fn tell(chore: &Chore, outcome: &Outcome) {
    let (table, pipeline, date) = (chore.day.table.name(), &chore.day.pipeline, chore.day.date_text());
    match outcome {
        Outcome::Compacted { parts, became, bytes, became_bytes } => {
            info!(table, %pipeline, date, parts, became, bytes, became_bytes, "compacted a day");
        }
        Outcome::Dropped { parts, bytes } => {
            info!(table, %pipeline, date, parts, bytes, "dropped a day, as retention says")
        }
        Outcome::PutOff { reason } if chore.drop => {
            warn!(table, %pipeline, date, reason, "a day that is to be dropped still stands, trying again in an hour");
        }
        Outcome::PutOff { reason } => {
            warn!(table, %pipeline, date, reason, "a day is not compacted yet, trying again in an hour");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Room;
    use crate::report::compact::Compaction;
    use crate::report::compact::test_house::House;
    use crate::report::schema::Table;
    use std::time::Instant;

    /// A disk with enough space.
    fn space() -> Arc<Space> {
        Space::new(0, Box::new(|| Ok(Room { free: 1, all: 1, inodes: true })), Arc::default(), Arc::default()).unwrap()
    }

    #[test]
    fn a_running_service_compacts_closed_days_and_ends_when_it_is_told() {
        let house = House::new();
        for batch in ["1", "2", "3"] {
            house.commit(Table::Scores, "2026-01-03", batch, 10);
        }
        let compaction = Compaction { quiet_s: 0, ..Compaction::default() };
        let settings = Settings { state: house.state().to_path_buf(), compaction, ..Settings::default() };
        let (events, mut ended) = tokio::sync::mpsc::unbounded_channel();
        let upkeep = Upkeep::start(&settings, &Gate::default(), &events, &space()).unwrap();
        let begun = Instant::now();
        while house.parts("2026-01-03").len() > 1 {
            assert!(begun.elapsed() < Duration::from_secs(60), "not compacted");
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(upkeep);
        assert!(ended.try_recv().unwrap().outcome.is_ok());
        assert_eq!(house.rows().len(), 30);
        assert!(house.staging().is_empty() && house.ledger().prepared().unwrap().is_empty());
    }

    #[test]
    fn a_service_that_is_not_asked_for_it_does_nothing() {
        let house = House::new();
        let compaction = Compaction { automatic: false, ..Compaction::default() };
        let settings = Settings { state: house.state().to_path_buf(), compaction, ..Settings::default() };
        let (events, mut ended) = tokio::sync::mpsc::unbounded_channel();
        drop(Upkeep::start(&settings, &Gate::default(), &events, &space()).unwrap());
        assert!(ended.try_recv().is_err());
    }
}
