//! `anomalyd show`.

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `show`.
///
/// # Errors
/// Not built yet.
pub fn run(_args: &Args, _settings: &Settings) -> Result<()> {
    Err(Failure::new(Kind::Internal, "show is not built yet"))
}
