//! Drift: whether the frames of a pipeline still come as those did that its certificate was made from.
//!
//! ```text
//! score ──────────────────────┐ rank among calibration and past ─p→ jumper ──→ scores ┐ each passes its bound
//! background, noise, hot pixels ┘ rank among past ────────────────p→ 3 jumpers → raw    ┘ or not: raised
//! ```
//! While frames are exchangeable (with the calibration frames, and among themselves) every p-value is uniform and independent
//! of the ones before, and betting against that wins nothing. Each of the four martingales may pass its own bound with a
//! probability of at most its share of `delta`, over all time (Ville's inequality), so that a false alarm of the whole has a
//! probability of at most `delta`: one half for the scores, a sixth for each raw statistic. The mean of the three would be larger
//! than a third of their largest, and is not taken: p-values of different statistics are independent of their own past only, not of
//! each other's (Choe, Ramdas: "Combining evidence across filtrations", arXiv:2402.09698), and the bound would not hold for it.

mod history;
mod jumper;
mod monitor;
mod ranks;
mod raw;
#[cfg(test)]
mod simulation;

pub use history::{Event, History, Point};
pub use monitor::{Monitor, Setup, Standing, VERSION};
pub use raw::RawStatistics;
