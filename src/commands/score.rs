//! `anomalyd score`.

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Arguments of `score`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `score`.
///
/// # Errors
/// Not built yet.
pub fn run(_args: &Args, _settings: &Settings) -> Result<()> {
    Err(Failure::new(Kind::Internal, "score is not built yet"))
}
