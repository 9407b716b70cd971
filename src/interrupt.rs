//! Ctrl-C for long commands: the first asks to stop and keep what is there, the second ends the process.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Failure, Kind, Result};

static RAISED: AtomicBool = AtomicBool::new(false);

/// A flag that from now on Ctrl-C (SIGINT) or SIGTERM raises; a second one ends the process with exit code 130.
///
/// # Errors
/// [`Kind::Internal`] when the handler cannot be installed.
pub fn flag() -> Result<&'static AtomicBool> {
    let failed = |error: std::io::Error| Failure::new(Kind::Internal, format!("cannot listen for signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let listen = async move {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            tracing::warn!("cannot listen for signals");
            return;
        };
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if RAISED.swap(true, Ordering::Relaxed) {
                std::process::exit(i32::from(Kind::Interrupted as u8));
            }
            eprintln!("stopping; once more to stop at once");
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(listen)).map_err(failed)?;
    Ok(&RAISED)
}

/// Ends what has nothing to keep yet, between two files or batches, where the flag is raised.
///
/// # Errors
/// [`Kind::Interrupted`].
pub fn check() -> Result<()> {
    if RAISED.load(Ordering::Relaxed) {
        return Err(Failure::new(Kind::Interrupted, "stopped while frames were read; nothing to keep"));
    }
    Ok(())
}
