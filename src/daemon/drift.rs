//! The watch for drift beside the write stage: it sees each frame once, in the order of the rows, and is committed with them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tracing::{info, warn};

use super::condition::{Condition, Reason};
use super::lane::Lane;
use super::stages::FrameInfo;
use crate::drift::{Monitor, Setup};
use crate::error::Result;
use crate::frame_size::OtherSize;
use crate::ledger::Ledger;
use crate::observe::tally::Tally;
use crate::report::schema::Void;
use crate::score::Verdict;

/// The watches, by the number of the identity under which frames are scored.
pub struct Drift {
    watches: Mutex<HashMap<i64, Watch>>,
    condition: Arc<Condition>,
    /// Whether frames are looked at: files that somebody names are no sample of what the instrument does.
    looks: bool,
}

/// The watch over a pipeline under one model. Holds nothing of the lane: a model is let go when its last frame is.
struct Watch {
    pipeline: String,
    setup: Arc<Setup>,
    tally: Arc<Tally>,
    monitor: Monitor,
    changed: bool,
}

impl Drift {
    /// Watches that say in `condition` when they are raised. Frames are only looked at where an inbox is `watched`.
    pub fn new(condition: Arc<Condition>, watched: bool) -> Arc<Self> {
        Arc::new(Self { watches: Mutex::default(), condition, looks: watched })
    }

    /// Says how the watches over these lanes stand, and nothing more of those over others.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn follow(&self, ledger: &mut Ledger, lanes: &[Arc<Lane>]) -> Result<()> {
        for held in self.condition.list().iter().filter(|held| matches!(held.reason, Reason::Drift(_))) {
            self.condition.clear(&held.reason);
        }
        let mut watches = self.lock();
        for lane in lanes {
            let watch = watch_over(&mut watches, ledger, lane)?;
            // Settings may have changed with the pipeline file.
            watch.setup = lane.drift.clone();
            watch.say(&self.condition);
        }
        Ok(())
    }

    /// Looks at the next frame. Why its certificate is void, where it is: by what this frame shows, or one before. A frame of another
    /// size is not ranked: it says of itself that it is unlike the calibration frames, and nothing of those that are like them.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn see(
        &self,
        ledger: &mut Ledger,
        frame: &FrameInfo,
        verdict: &Verdict,
        at: DateTime<Utc>,
    ) -> Result<Option<Void>> {
        if let Some(other) = &verdict.other_size {
            frame.span.in_scope(
                || warn!(detail = %other, "no certificate for a frame of another size: {}", OtherSize::TO_DO),
            );
            return Ok(Some(Void::FrameSize));
        }
        let mut watches = self.lock();
        let watch = watch_over(&mut watches, ledger, &frame.file.lane)?;
        if self.looks {
            watch.changed = true;
            if let Some(detail) = watch.monitor.see(&watch.setup, verdict.score, &frame.raw, at) {
                warn!(pipeline = watch.pipeline, source = %frame.file.source, detail, "drift: certificates are void");
                watch.say(&self.condition);
            }
        }
        Ok(watch.monitor.is_raised().then_some(Void::Drift))
    }

    /// The states that have changed, by identity, to be committed with the rows.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`].
    pub fn changed(&self) -> Result<Vec<(i64, Vec<u8>)>> {
        let watches = self.lock();
        let changed = watches.iter().filter(|(_, watch)| watch.changed);
        changed.map(|(number, watch)| Ok((*number, watch.monitor.encode()?))).collect()
    }

    /// What has changed is committed: shows it, and forgets the watches of models that have no more frames.
    pub fn committed(&self) {
        let mut watches = self.lock();
        let changed = || watches.values().filter(|watch| watch.changed);
        changed().for_each(Watch::show);
        let active: Vec<String> = changed().map(|watch| watch.pipeline.clone()).collect();
        watches.retain(|_, watch| watch.changed || !active.contains(&watch.pipeline));
        watches.values_mut().for_each(|watch| watch.changed = false);
    }

    /// Does the resets that somebody asked for. They are in the ledger, and done again by a process that dies before the next
    /// commit.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn start_anew(&self, ledger: &mut Ledger) -> Result<()> {
        for watch in self.lock().values_mut().filter(|_| self.looks) {
            if watch.start_anew(ledger)? {
                watch.say(&self.condition);
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Watch>> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The watch over a lane; goes on where the ledger says that it stood.
fn watch_over<'a>(watches: &'a mut HashMap<i64, Watch>, ledger: &mut Ledger, lane: &Lane) -> Result<&'a mut Watch> {
    match watches.entry(lane.number) {
        Entry::Occupied(watch) => Ok(watch.into_mut()),
        Entry::Vacant(place) => Ok(place.insert(Watch::over(ledger, lane)?)),
    }
}

impl Watch {
    fn over(ledger: &mut Ledger, lane: &Lane) -> Result<Self> {
        let monitor = match ledger.drift(lane.number)? {
            Some(state) => Monitor::decode(&state)?,
            None => {
                let done = ledger.last_reset(&lane.name)?.map_or(0, |reset| reset.number);
                Monitor::new(&lane.drift, done)
            }
        };
        let (pipeline, setup, tally) = (lane.name.clone(), lane.drift.clone(), lane.tally.clone());
        let mut watch = Self { pipeline, setup, tally, monitor, changed: false };
        watch.start_anew(ledger)?;
        Ok(watch)
    }

    /// Starts anew where somebody asked for it since the last time; whether it did.
    fn start_anew(&mut self, ledger: &mut Ledger) -> Result<bool> {
        let Some(reset) = ledger.last_reset(&self.pipeline)?.filter(|it| it.number > self.monitor.last_reset()) else {
            return Ok(false);
        };
        let asked = DateTime::from_timestamp_millis(reset.at).unwrap_or_default();
        self.monitor.start_anew(&self.setup, reset.number, &reset.reason, asked);
        self.changed = true;
        info!(pipeline = self.pipeline, reason = plain(&reset.reason), "drift: the watch starts anew");
        Ok(true)
    }

    /// Says whether it is raised.
    fn say(&self, condition: &Condition) {
        let standing = self.monitor.standing(self.setup.delta);
        let reason = Reason::Drift(self.pipeline.clone());
        match standing.detail.as_ref() {
            Some(detail) => condition.set(reason, detail.as_str()),
            None => condition.clear(&reason),
        };
        self.tally.set_drift(standing);
    }

    fn show(&self) {
        self.tally.set_drift(self.monitor.standing(self.setup.delta));
    }
}

/// What a person wrote, on one line.
fn plain(reason: &str) -> String {
    reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
