//! `anomalyd watch`.

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `watch`.
///
/// # Errors
/// Not built yet.
pub fn run(_args: &Args, _settings: &Settings) -> Result<()> {
    Err(Failure::new(Kind::Internal, "watch is not built yet"))
}
