//! The space on the disk of the state folder: below `min_free` nothing new is decoded, and who finds the disk full waits here.
//!
//! Only the way into the stages is shut: frames under way are finished and committed, so whoever waits for the stages to drain
//! (a stop, a reload) never waits for space. A stop opens it for nothing to pass, and a reload does not wait for what is queued.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use tracing::{info, warn};

use super::condition::{Condition, Reason};
use super::stages::Stop;
use crate::disk::Patience;
use crate::error::{Failure, Kind, Result};

/// Time between two looks at the disk, and between two tries to write to a full one.
const PACE: Duration = Duration::from_secs(1);
/// Time between two looks at whether to stop.
const STOP_PACE: Duration = Duration::from_millis(50);

/// Bytes that are free, and bytes there are.
pub type Measure = Box<dyn Fn() -> io::Result<(u64, u64)> + Send + Sync>;

/// Who waits for space, and why.
pub struct Space {
    min_free: u64,
    measure: Measure,
    condition: Arc<Condition>,
    stop: Arc<Stop>,
    now: Mutex<Now>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Now {
    /// What is known of a disk with less free than `min_free`.
    low: Option<String>,
    /// What was found by who waits for a full disk.
    full: Option<String>,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Space({:?})", self.lock())
    }
}

/// What `statvfs` says of the file system a folder lies on.
pub fn disk_of(folder: &Path) -> Measure {
    let folder = folder.to_path_buf();
    Box::new(move || {
        let disk = rustix::fs::statvfs(&folder)?;
        Ok((disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize)))
    })
}

impl Space {
    /// A disk that is looked at now, and every second once [`Self::keep_looking`] is called.
    ///
    /// # Errors
    /// [`Kind::Settings`] for a disk that could never have `min_free` bytes free.
    pub fn new(min_free: u64, measure: Measure, condition: Arc<Condition>, stop: Arc<Stop>) -> Result<Arc<Self>> {
        if let Ok((_, all)) = measure()
            && (1..=min_free).contains(&all)
        {
            let message = format!("min_free = {min_free}, but the disk of the state folder has {all} bytes in all");
            return Err(Failure::new(Kind::Settings, message).hint("lower min_free, or move the state folder"));
        }
        let space = Self { min_free, measure, condition, stop, now: Mutex::default(), changed: Condvar::new() };
        space.look();
        Ok(Arc::new(space))
    }

    /// Looks every second, in a thread of its own, until what is returned is dropped.
    ///
    /// # Errors
    /// [`Kind::Internal`] where there is no thread.
    pub fn keep_looking(self: &Arc<Self>) -> Result<Sender<()>> {
        let (space, (sender, ended)) = (self.clone(), bounded::<()>(0));
        std::thread::Builder::new()
            .name("space".into())
            .spawn(move || {
                while ended.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                    space.look();
                }
            })
            .map_err(|error| Failure::new(Kind::Internal, format!("cannot start a thread: {error}")))?;
        Ok(sender)
    }

    /// Looks whether intake is to pause or to go on; it goes on at a tenth more than `min_free`.
    pub fn look(&self) {
        let free = match (self.measure)() {
            Ok((free, _)) => free,
            Err(error) => return warn!(%error, "cannot see how much of the disk is free"),
        };
        let mut now = self.lock();
        let needed = if now.low.is_some() { self.min_free.saturating_add(self.min_free / 10) } else { self.min_free };
        let was_low = now.low.is_some();
        now.low = (free < needed).then(|| format!("{free} bytes free, {needed} needed (min_free)"));
        match (was_low, now.low.is_some()) {
            (false, true) => warn!(free, min_free = self.min_free, "little space on the disk, intake pauses"),
            (true, false) => info!(free, min_free = self.min_free, "space on the disk again, intake goes on"),
            _ => {}
        }
        self.show(&now);
    }

    /// What ends the waiting.
    pub fn stop(&self) -> &Arc<Stop> {
        &self.stop
    }

    /// Whether intake pauses.
    pub fn is_low(&self) -> bool {
        self.lock().low.is_some()
    }

    /// Waits while intake pauses. False where a stop came meanwhile: then nothing new is begun.
    pub fn pass(&self) -> bool {
        let mut now = self.lock();
        while now.low.is_some() {
            if self.stop.is_stopped() {
                return false;
            }
            now = self.changed.wait_timeout(now, STOP_PACE).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn show(&self, now: &Now) {
        match now.full.as_ref().or(now.low.as_ref()) {
            Some(detail) => {
                self.condition.set(Reason::DiskFull, detail.clone());
            }
            None => {
                self.condition.clear(&Reason::DiskFull);
            }
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Patience for Space {
    fn wait(&self, full: Failure) -> Result<()> {
        let mut now = self.lock();
        if now.full.replace(full.message.clone()).is_none() {
            warn!(error = %full.message, "disk full, waiting for space");
        }
        self.show(&now);
        drop(now);
        let mut left = PACE;
        while !left.is_zero() && !self.stop.is_over() {
            std::thread::sleep(STOP_PACE);
            left = left.saturating_sub(STOP_PACE);
        }
        if self.stop.is_over() { Err(Failure { kind: Kind::Interrupted, ..full }) } else { Ok(()) }
    }

    fn over(&self) {
        let mut now = self.lock();
        if now.full.take().is_some() {
            info!("what waited for the disk goes on");
        }
        self.show(&now);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Instant;

    use super::*;

    /// A space of a thousand bytes, of which as many are free as the test says.
    fn space(min_free: u64, free: u64) -> (Arc<Space>, Arc<AtomicU64>, Arc<Condition>, Arc<Stop>) {
        let (free, condition, stop) = (Arc::new(AtomicU64::new(free)), Arc::default(), Arc::default());
        let seen = free.clone();
        let measure: Measure = Box::new(move || Ok((seen.load(Ordering::Relaxed), 1000)));
        let space = Space::new(min_free, measure, Arc::clone(&condition), Arc::clone(&stop)).unwrap();
        (space, free, condition, stop)
    }

    #[test]
    fn intake_pauses_below_min_free_and_goes_on_a_tenth_above() {
        let (space, free, condition, _) = space(100, 100);
        assert!(!space.is_low() && space.pass() && condition.list().is_empty());
        for (now, low) in [(99, true), (100, true), (109, true), (110, false), (100, false), (99, true)] {
            free.store(now, Ordering::Relaxed);
            space.look();
            assert_eq!((space.is_low(), condition.list().len()), (low, usize::from(low)), "{now}");
        }
        let held = &condition.list()[0];
        assert_eq!((&held.reason, &*held.detail), (&Reason::DiskFull, "99 bytes free, 100 needed (min_free)"));
    }

    #[test]
    fn who_waits_goes_on_with_space_and_ends_with_a_stop() {
        let (space, free, _, stop) = space(100, 1);
        let looking = space.keep_looking().unwrap();
        let started = Instant::now();
        let waiter = space.clone();
        let thread = std::thread::spawn(move || waiter.pass());
        free.store(500, Ordering::Relaxed);
        assert!(thread.join().unwrap() && started.elapsed() < Duration::from_secs(10));
        free.store(1, Ordering::Relaxed);
        space.look();
        let waiter = space.clone();
        let thread = std::thread::spawn(move || waiter.pass());
        stop.stop(0);
        assert!(!thread.join().unwrap(), "nothing new is begun");
        drop(looking);
    }

    #[test]
    fn a_full_disk_is_said_until_it_is_over_and_given_up_by_a_stop() {
        let (space, _, condition, stop) = space(0, 500);
        let full = || Failure::new(Kind::Io, "part: no space");
        space.wait(full()).unwrap();
        assert_eq!(condition.list()[0].detail, "part: no space");
        space.look();
        assert_eq!(condition.list().len(), 1, "the gate does not take it back");
        space.over();
        assert!(condition.list().is_empty());
        stop.stop(0);
        assert!(crate::disk::is_given_up(&space.wait(full()).unwrap_err()));
    }

    #[test]
    fn a_disk_that_is_too_small_for_ever_is_refused() {
        let measure = |all| -> Measure { Box::new(move || Ok((0, all))) };
        let refused = |all| Space::new(512, measure(all), Arc::default(), Arc::default()).err();
        assert_eq!(refused(512).unwrap().kind, Kind::Settings);
        assert!(refused(513).is_none() && refused(0).is_none(), "0 is a file system that does not say");
    }
}
