//! The chores of a report tree, one day after the other: what retention lets go is dropped, what is in many parts is merged.

use std::time::{Duration, Instant};

use chrono::NaiveDate;
use serde::Serialize;
use tracing::warn;

use super::days::{Choice, Day, before};
use super::quiet::Quiet;
use super::swap::Built;
use super::{Compaction, Halt};
use crate::error::{Failure, Result};
use crate::ledger::Ledger;
use crate::report::gate::{Gate, Held};
use crate::report::retention::Retention;
use crate::report::writer::{Part, Store};

/// Days that are watched for readers at once: while one is merged, the others have their time of quiet.
const WATCHED: usize = 32;
/// Pause between two looks for readers, and between two tries at the gate.
const PACE: Duration = Duration::from_millis(20);
/// How long the gate is tried: a writer that waits for space on a full disk holds it.
const GATE_PATIENCE: Duration = Duration::from_secs(30);

/// What is to be done about a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chore {
    /// The day.
    pub day: Day,
    /// Retention lets it go; else its parts are merged.
    pub drop: bool,
}

/// What has been done about a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// Its parts were merged.
    Compacted {
        /// Parts before.
        parts: usize,
        /// Parts after.
        became: usize,
        /// Bytes before.
        bytes: u64,
        /// Bytes after.
        became_bytes: u64,
    },
    /// It was dropped.
    Dropped {
        /// Its parts.
        parts: usize,
        /// Its bytes.
        bytes: u64,
    },
    /// It is as it was; a later try may succeed.
    PutOff {
        /// Why.
        reason: String,
    },
}

/// What there is to do about closed days, oldest first.
///
/// # Errors
/// [`crate::error::Kind::Io`] for a folder that cannot be listed.
pub fn plan(
    reports: &std::path::Path,
    choice: &Choice,
    rules: Option<&Compaction>,
    retention: &Retention,
    today: NaiveDate,
) -> Result<Vec<Chore>> {
    let days = before(reports, today)?;
    let dropped = retention.dropped(reports, &days, today)?;
    let chore = |(day, drop): (Day, bool)| {
        let many = rules.is_some_and(|rules| day.loose().len() >= rules.min_parts);
        (choice.takes(&day) && (drop || many)).then_some(Chore { day, drop })
    };
    Ok(days.into_iter().zip(dropped).filter_map(chore).collect())
}

/// What the chores are done with.
pub struct Upkeep<'a> {
    /// The ledger, by a connection of its own.
    pub ledger: Ledger,
    /// The reports.
    pub store: Store,
    /// Keeps batches from being published while a folder is swapped.
    pub gate: Gate,
    /// For how long nobody may have read a day.
    pub quiet: Duration,
    /// How long that is waited for.
    pub patience: Duration,
    /// Bytes of free space that are left to others.
    pub min_free: u64,
    /// Whether to stop.
    pub stop: &'a dyn Fn() -> bool,
    /// Hears that readers are waited for.
    pub waiting: &'a dyn Fn(&Day),
}

impl Upkeep<'_> {
    /// Does chores until they are done or somebody asks to stop; says of each how it ended.
    ///
    /// # Errors
    /// The ledger or the disk failed in the middle of a step: the next start settles it.
    pub fn work(&mut self, chores: &[Chore], note: &mut dyn FnMut(&Chore, &Outcome)) -> Result<()> {
        for some in chores.chunks(WATCHED) {
            let folders: Vec<_> = some.iter().map(|chore| chore.day.folder.as_path()).collect();
            let mut quiet = match Quiet::watch(&folders) {
                Ok(quiet) => quiet,
                Err(Failure { message, .. }) => {
                    some.iter().for_each(|chore| note(chore, &Outcome::PutOff { reason: message.clone() }));
                    continue;
                }
            };
            // What came between the plan and the watching is seen now, what comes later is seen by it.
            let days: Vec<_> = some.iter().map(|chore| chore.day.again()).collect();
            for (at, (chore, day)) in some.iter().zip(days).enumerate() {
                let done = day.map_err(Halt::put_off).and_then(|day| match chore.drop {
                    true => self.let_go(&day, &mut quiet, at),
                    false => self.merge(&day, &mut quiet, at),
                });
                match done {
                    Ok(outcome) => note(chore, &outcome),
                    Err(Halt::Later(reason)) => note(chore, &Outcome::PutOff { reason }),
                    Err(Halt::Stopped) => return Ok(()),
                    Err(Halt::Failed(failure)) => return Err(failure),
                }
            }
        }
        Ok(())
    }

    fn merge(&mut self, day: &Day, quiet: &mut Quiet, at: usize) -> Result<Outcome, Halt> {
        let stop = self.stop;
        let built = Built::new(day, &self.store, self.min_free, &mut || {
            quiet.look().map_err(Halt::put_off)?;
            if stop() { Err(Halt::Stopped) } else { Ok(()) }
        })?;
        let batch = self.swap(day, &built, quiet, at)?;
        self.ledger.commit_replacement(batch)?;
        let outcome = Outcome::Compacted {
            parts: day.parts.len(),
            became: day.large().len() + built.new.len(),
            bytes: day.bytes(),
            became_bytes: day.large().iter().map(|part| part.bytes).sum::<u64>() + built.bytes,
        };
        if let Err(error) = built.clear() {
            warn!(%error, "cannot delete merged parts from staging, the next start will");
        }
        Ok(outcome)
    }

    /// Swaps as soon as nobody has read the day for long enough. Returns the number of the replacement, which is to be committed.
    fn swap(&mut self, day: &Day, built: &Built, quiet: &mut Quiet, at: usize) -> Result<i64, Halt> {
        let begun = Instant::now();
        loop {
            self.wait(day, quiet, at, begun)?;
            // What was merged takes up space until it is swapped or thrown away: on a full disk it is thrown away.
            let prepared = self.ledger.at_once(|ledger| ledger.prepare_replacement(&built.old, &built.new));
            let batch = prepared.map_err(Halt::put_off)?;
            match self.exchange(built, quiet, at) {
                Ok(true) => return Ok(batch),
                // Nobody knows what stands there: the next start does.
                Err(Halt::Failed(failure)) => return Err(Halt::Failed(failure)),
                not_yet => {
                    self.ledger.abandon(batch)?;
                    not_yet?;
                }
            }
        }
    }

    /// Swaps now, if the day is quiet still; at that moment no batch is on its way into it.
    fn exchange(&self, built: &Built, quiet: &mut Quiet, at: usize) -> Result<bool, Halt> {
        let _held = enter(&self.gate, self.stop)?;
        quiet.look().map_err(Halt::put_off)?;
        if quiet.is_changed(at) || quiet.since(at) < self.quiet {
            return Ok(false);
        }
        built.exchange(&self.store).map(|()| true)
    }

    fn let_go(&mut self, day: &Day, quiet: &mut Quiet, at: usize) -> Result<Outcome, Halt> {
        if let Some(stray) = &day.stray {
            return Err(Halt::Later(format!("{} is no part of the reports", stray.display())));
        }
        match self.wait(day, quiet, at, Instant::now()) {
            // The space is wanted; one that reads all the time must not stand in the way for ever.
            Err(Halt::Later(reason)) if !quiet.is_changed(at) => {
                warn!(table = day.table.name(), pipeline = %day.pipeline, date = %day.date, reason, "dropping a day while it is read");
            }
            other => other?,
        }
        let gate = self.gate.clone();
        let _held = enter(&gate, self.stop)?;
        quiet.look().map_err(Halt::put_off)?;
        if quiet.is_changed(at) {
            return Err(changed());
        }
        let parts: Vec<Part> = day.parts.iter().map(|part| day.part(&part.batch, 0)).collect();
        self.ledger.retire_parts(&parts).map_err(Halt::put_off)?;
        self.store.remove(&parts)?;
        Ok(Outcome::Dropped { parts: parts.len(), bytes: day.bytes() })
    }

    /// Waits until nobody has read the day for long enough.
    fn wait(&self, day: &Day, quiet: &mut Quiet, at: usize, begun: Instant) -> Result<(), Halt> {
        let mut told = false;
        loop {
            quiet.look().map_err(Halt::put_off)?;
            if quiet.is_changed(at) {
                return Err(changed());
            }
            if quiet.since(at) >= self.quiet {
                return Ok(());
            }
            if (self.stop)() {
                return Err(Halt::Stopped);
            }
            if begun.elapsed() >= self.patience.max(self.quiet) {
                let [waited, quiet] = [begun.elapsed(), self.quiet].map(|time| time.as_secs());
                return Err(Halt::Later(format!("it was never left unread for {quiet} s in {waited} s")));
            }
            if !std::mem::replace(&mut told, true) {
                (self.waiting)(day);
            }
            std::thread::sleep(PACE);
        }
    }
}

fn enter<'a>(gate: &'a Gate, stop: &dyn Fn() -> bool) -> Result<Held<'a>, Halt> {
    let begun = Instant::now();
    loop {
        if let Some(held) = gate.try_enter() {
            return Ok(held);
        }
        if stop() {
            return Err(Halt::Stopped);
        }
        if begun.elapsed() >= GATE_PATIENCE {
            return Err(Halt::Later("batches are being published all the time".into()));
        }
        std::thread::sleep(PACE / 10);
    }
}

fn changed() -> Halt {
    Halt::Later("a part came or went meanwhile".into())
}

#[cfg(test)]
#[path = "upkeep_tests.rs"]
mod tests;
