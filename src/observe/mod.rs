//! What others see of a running process: log lines, metrics, answers over HTTP.
//!
//! The stages write to a [`tally`] a pipeline and to nothing else; a [`board`] gathers what is known about a run, and [`http`]
//! answers from it, on a thread of its own.

pub mod board;
mod bounded;
pub mod flood;
pub mod http;
pub mod log;
pub mod metrics;
pub mod process;
pub mod reloads;
pub mod settings;
pub mod socket;
pub mod tally;
pub(crate) mod token;
