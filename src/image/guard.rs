//! The one place where a panic of a decoder becomes a rejection: hostile input must not stop the daemon.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::Rejection;

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

fn words(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic")
}

#[cfg(test)]
mod tests {
    use super::super::Reason;
    use super::*;

    #[test]
    fn a_panic_becomes_a_rejection() {
        let rejection = guarded(|| -> Result<(), Rejection> { panic!("boom") }).unwrap_err();
        assert_eq!(rejection.reason, Reason::Corrupt);
        assert!(rejection.detail.contains("boom"));
    }
}
