//! The time that a file may take from one frame to the next. Decoders that loop ask now and then; nobody is interrupted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Reason, Rejection};

/// Shared by all that reads one file.
#[derive(Debug, Clone)]
pub(super) struct Deadline(Arc<Clock>);

#[derive(Debug)]
struct Clock {
    opened: Instant,
    /// Nanoseconds from `opened` to the last restart.
    restarted: AtomicU64,
    limit: Duration,
}

impl Deadline {
    /// This many seconds from now.
    pub(super) fn start(seconds: u64) -> Self {
        let limit = Duration::from_secs(seconds);
        Self(Arc::new(Clock { opened: Instant::now(), restarted: AtomicU64::new(0), limit }))
    }

    /// Starts anew: the next frame has the whole time.
    pub(super) fn restart(&self) {
        self.0.restarted.store(self.0.opened.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        let restarted = Duration::from_nanos(self.0.restarted.load(Ordering::Relaxed));
        self.0.opened.elapsed().saturating_sub(restarted) >= self.0.limit
    }

    /// An error once the time is over, for readers.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.is_over() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// What to say of a rejection that came when the time was over: whatever the decoder made of it, time is the reason.
    pub(super) fn blame(&self, rejection: Rejection) -> Rejection {
        if self.is_over() { Self::too_slow(self.0.limit.as_secs()) } else { rejection }
    }

    /// The rejection of what takes longer than `seconds`.
    pub(super) fn too_slow(seconds: u64) -> Rejection {
        let detail = format!("decoding takes longer than {seconds} s from one frame to the next (limits.decode_s)");
        Rejection::new(Reason::TooSlow, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_between_two_frames() {
        let deadline = Deadline::start(3600);
        assert!(deadline.check().is_ok());
        assert_eq!(deadline.blame(Rejection::corrupt("x")).reason, Reason::Corrupt);
        let over = Deadline::start(0);
        assert_eq!(over.check().unwrap_err().kind(), io::ErrorKind::TimedOut);
        let rejection = over.blame(Rejection::corrupt("x"));
        assert_eq!(rejection.reason, Reason::TooSlow);
        assert!(rejection.detail.contains("decode_s"));
    }

    #[test]
    fn a_restart_gives_the_whole_time_again() {
        let clock = |age, restarted| Clock {
            opened: Instant::now() - Duration::from_secs(age),
            restarted: AtomicU64::new(restarted),
            limit: Duration::from_secs(10),
        };
        let old = Deadline(Arc::new(clock(11, 0)));
        assert!(old.is_over());
        old.restart();
        assert!(!old.is_over());
        assert!(!Deadline(Arc::new(clock(11, 5_000_000_000))).is_over());
    }
}
