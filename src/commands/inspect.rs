//! `anomalyd inspect`.

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `inspect`.
///
/// # Errors
/// Not built yet.
pub fn run(_args: &Args, _settings: &Settings) -> Result<()> {
    Err(Failure::new(Kind::Internal, "inspect is not built yet"))
}
