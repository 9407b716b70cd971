//! What others see of a running process: log lines.

pub mod flood;
pub mod log;
