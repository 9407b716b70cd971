//! `anomalyd status`.

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `status`.
///
/// # Errors
/// Not built yet.
pub fn run(_args: &Args, _settings: &Settings) -> Result<()> {
    Err(Failure::new(Kind::Internal, "status is not built yet"))
}
