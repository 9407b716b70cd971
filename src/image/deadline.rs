//! The time that a file may take from one frame to the next. Decoders that loop ask now and then; nobody is interrupted.

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Reason, Rejection};

/// By the wall, a file may take this many times the time that it may compute: a machine with too much to do gives it less.
const ASLEEP: u32 = 10;

/// Shared by all that reads one file.
#[derive(Debug, Clone)]
pub(super) struct Deadline(Arc<Clock>);

#[derive(Debug)]
struct Clock {
    limit: Duration,
    span: Mutex<Span>,
}

/// The time since a moment.
#[derive(Debug)]
struct Span {
    /// The moment, later by what was waited since.
    began: Instant,
    /// What the thread had computed by then.
    computed: Option<Duration>,
    /// The time is not over before the span is this long.
    earliest: Duration,
}

impl Span {
    fn new(earliest: Duration) -> Self {
        Self { began: Instant::now(), computed: processor_time(), earliest }
    }

    /// By the wall, and what the thread has computed of it; the same where the kernel does not tell.
    fn took(&self) -> (Duration, Duration) {
        let wall = self.began.elapsed();
        let computed = self.computed.zip(processor_time()).map(|(before, now)| now.saturating_sub(before));
        (wall, computed.unwrap_or(wall))
    }
}

impl Deadline {
    /// This many seconds from now.
    pub(super) fn start(seconds: u64) -> Self {
        let limit = Duration::from_secs(seconds);
        Self(Arc::new(Clock { limit, span: Mutex::new(Span::new(limit)) }))
    }

    /// Starts anew: the next frame has the whole time.
    pub(super) fn restart(&self) {
        *self.span() = Span::new(self.0.limit);
    }

    /// Waits for somebody else, which is not the file's fault.
    pub(super) fn pause(&self, wait: impl FnOnce()) {
        let began = Instant::now();
        wait();
        self.span().began += began.elapsed();
    }

    /// What the calling thread has computed since the last restart.
    pub(super) fn computed(&self) -> Duration {
        self.span().took().1
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        let (mut span, limit) = (self.span(), self.0.limit);
        if span.began.elapsed() < span.earliest {
            return false;
        }
        let (wall, computed) = span.took();
        let is_over = exceeds(wall, computed, limit);
        if !is_over {
            span.earliest = wall + limit.saturating_sub(computed);
        }
        is_over
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

    fn span(&self) -> MutexGuard<'_, Span> {
        self.0.span.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn exceeds(wall: Duration, computed: Duration, limit: Duration) -> bool {
    computed >= limit || wall >= limit.saturating_mul(ASLEEP)
}

thread_local! {
    /// Where the kernel tells the thread's own times; opened once, so that a look costs one call.
    static TIMES: OnceCell<Option<File>> = const { OnceCell::new() };
}

/// What the calling thread has computed so far; `None` where the kernel does not tell.
fn processor_time() -> Option<Duration> {
    TIMES.with(|times| {
        let times = times.get_or_init(|| File::open("/proc/thread-self/schedstat").ok()).as_ref()?;
        let mut text = [0; 64];
        let read = times.read_at(&mut text, 0).ok()?;
        computed_of(std::str::from_utf8(&text[..read]).ok()?)
    })
}

/// Nanoseconds computed, nanoseconds waited, turns; a kernel that does not count says that a thread which runs had no turn.
fn computed_of(schedstat: &str) -> Option<Duration> {
    let mut numbers = schedstat.split_ascii_whitespace().map(str::parse::<u64>);
    let (computed, _waited, turns) = (numbers.next()?.ok()?, numbers.next()?, numbers.next()?.ok()?);
    (turns > 0).then(|| Duration::from_nanos(computed))
}

#[cfg(test)]
impl Deadline {
    /// Ages by much more than any limit.
    pub(super) fn expire(&self) {
        self.span().began -= Duration::from_secs(86_400);
    }

    /// The time that counts so far, by the wall.
    pub(super) fn elapsed(&self) -> Duration {
        self.span().began.elapsed()
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
        let deadline = Deadline::start(3600);
        deadline.expire();
        assert!(deadline.is_over() && deadline.is_over(), "and stays so");
        deadline.restart();
        assert!(!deadline.is_over());
    }

    #[test]
    fn a_thread_that_does_not_come_to_compute_has_more_time() {
        let seconds = Duration::from_secs;
        assert!(exceeds(seconds(10), seconds(10), seconds(10)));
        assert!(!exceeds(seconds(99), seconds(9), seconds(10)));
        assert!(exceeds(seconds(100), seconds(0), seconds(10)), "whoever sleeps for ever is found out");
        let starved = Deadline::start(36_000);
        starved.span().began -= seconds(40_000);
        assert!(!starved.is_over(), "more than the limit by the wall");
        assert!(starved.span().earliest >= seconds(75_000), "asked again when it can be over at the earliest");
    }

    #[test]
    fn what_a_thread_computes_is_told_apart_from_what_others_do() {
        assert_eq!(computed_of("1000 20 3\n"), Some(Duration::from_nanos(1000)));
        assert_eq!(computed_of("0 0 0\n"), None);
        let before = processor_time().unwrap();
        let idle = std::thread::spawn(|| processor_time().unwrap());
        assert!(idle.join().unwrap() < Duration::from_secs(60));
        let began = Instant::now();
        while processor_time().unwrap() == before {
            assert!(began.elapsed() < Duration::from_secs(60));
            std::hint::black_box((0..100_000u64).sum::<u64>());
        }
    }

    #[test]
    fn time_spent_waiting_for_others_does_not_count() {
        let (began, wait) = (Instant::now(), Duration::from_millis(20));
        let deadline = Deadline::start(3600);
        deadline.pause(|| std::thread::sleep(wait));
        let counted = deadline.elapsed();
        assert!(counted + wait <= began.elapsed());
    }
}
