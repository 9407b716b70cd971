//! The one place where a panic of a decoder becomes a rejection: hostile input must not stop the daemon.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::{Frame, Frames, Rejection};

thread_local! {
    /// Whether a panic of this thread is about to be caught here, and so must not be printed.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

static QUIET_HOOK: Once = Once::new();

/// Runs `decode`; its panic, if any, is a corrupt file.
pub(super) fn guarded<T>(decode: impl FnOnce() -> Result<T, Rejection>) -> Result<T, Rejection> {
    QUIET_HOOK.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                loud(info);
            }
        }));
    });
    let before = GUARDED.replace(true);
    // Whatever the closure owned is dropped with the panic, so no broken state is seen again.
    let outcome = panic::catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(before);
    outcome.unwrap_or_else(|payload| {
        Err(Rejection::corrupt(format!("the decoder failed on it: {}", words(payload.as_ref()))))
    })
}

/// Guards each step of the iteration; nothing comes after a rejection.
pub(super) fn guarded_frames(frames: Frames) -> Frames {
    Box::new(Guarded { frames: Some(frames) })
}

struct Guarded {
    frames: Option<Frames>,
}

impl Iterator for Guarded {
    type Item = Result<Frame, Rejection>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut frames = self.frames.take()?;
        let step = guarded(move || match frames.next() {
            Some(Ok(frame)) => Ok(Some((frame, frames))),
            Some(Err(rejection)) => Err(rejection),
            None => Ok(None),
        });
        match step {
            Ok(Some((frame, frames))) => {
                self.frames = Some(frames);
                Some(Ok(frame))
            }
            Ok(None) => None,
            Err(rejection) => Some(Err(rejection)),
        }
    }
}

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic")
}

#[cfg(test)]
mod tests {
    use super::super::Reason;
    use super::*;

    #[test]
    fn a_panic_becomes_a_rejection_and_ends_the_frames() {
        let mut left = 2;
        let frames: Frames = Box::new(std::iter::from_fn(move || {
            left -= 1;
            assert!(left > 5, "boom");
            None
        }));
        let mut frames = guarded_frames(frames);
        let rejection = frames.next().unwrap().unwrap_err();
        assert_eq!(rejection.reason, Reason::Corrupt);
        assert!(rejection.detail.contains("boom"));
        assert!(frames.next().is_none());
    }
}
