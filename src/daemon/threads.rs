//! Threads that say when they end, or that they have panicked.

use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

use crate::error::{Failure, Kind, Result};

/// A stage's message to the supervisor: it has ended, well or not.
pub struct Ended {
    /// Which stage.
    pub stage: &'static str,
    /// How.
    pub outcome: Result<()>,
}

/// Starts a stage; it says how it has ended.
pub fn spawn(
    stage: &'static str,
    events: &UnboundedSender<Ended>,
    work: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<()> {
    let events = events.clone();
    let guarded = move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Failure::new(Kind::Internal, format!("the {stage} stage panicked"))));
        let _ = events.send(Ended { stage, outcome });
    };
    thread(stage, guarded).map(drop)
}

/// Starts a thread that ends the run if it panics: nobody would do its work any more, and nobody would say so.
pub fn watchful(
    stage: &'static str,
    name: &str,
    events: &UnboundedSender<Ended>,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>> {
    let events = events.clone();
    thread(name, move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err() {
            let failure = Failure::new(Kind::Internal, format!("a thread of the {stage} panicked"));
            let _ = events.send(Ended { stage, outcome: Err(failure) });
        }
    })
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let started = std::thread::Builder::new().name(name.into()).spawn(work);
    started.map_err(|error| Failure::new(Kind::Internal, format!("cannot start a thread: {error}")))
}
