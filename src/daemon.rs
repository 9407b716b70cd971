//! The stages wired: intake, decode, score, write. Channels are bounded, so a slow disk slows the intake down.
//!
//! ```text
//! intake ─Job→ decode×N ─Item→ score×1 ─Row→ write×1 ─> reports, ledger
//! ```
//! Built from the sink backwards; stopping drops the first sender, each stage drains and ends, the writer last. A file is
//! acknowledged in the ledger when all its frames are committed, and not before: whatever happens, it is found again.

mod access;
mod after;
mod batch;
mod budget;
mod changes;
mod condition;
mod crew;
mod decode;
mod decoders;
mod drift;
mod flight;
mod inboxes;
mod intake;
mod judge;
mod lane;
mod lookout;
mod overseer;
mod owed;
mod portions;
mod post;
mod progress;
mod promoted;
mod pulse;
mod queue;
mod reading;
mod space;
mod stages;
mod starved;
mod supervise;
mod tables;
mod threads;
mod upkeep;
mod vigil;
mod work;
mod write;

pub use condition::{Condition, Hindrance, Reason};
pub use inboxes::{check_inboxes, inbox_of};
pub use intake::Intake;
pub use lane::{Judge, Lane, Plan};
pub use progress::{Activity, Progress, Summary};
pub use supervise::{Orders, run};
pub use vigil::Vigil;

#[cfg(test)]
mod history_tests;
#[cfg(test)]
mod tests;
