//! `anomalyd train`.

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Arguments of `train`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `train`.
///
/// # Errors
/// Not built yet.
pub fn run(_args: &Args, _settings: &Settings) -> Result<()> {
    Err(Failure::new(Kind::Internal, "train is not built yet"))
}
