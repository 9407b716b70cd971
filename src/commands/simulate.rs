//! `anomalyd simulate`.

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `simulate`.
///
/// # Errors
/// Not built yet.
pub fn run(_args: &Args, _settings: &Settings) -> Result<()> {
    Err(Failure::new(Kind::Internal, "simulate is not built yet"))
}
