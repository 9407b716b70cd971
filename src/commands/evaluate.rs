//! `anomalyd evaluate`.

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `evaluate`.
///
/// # Errors
/// Not built yet.
pub fn run(_args: &Args, _settings: &Settings) -> Result<()> {
    Err(Failure::new(Kind::Internal, "evaluate is not built yet"))
}
