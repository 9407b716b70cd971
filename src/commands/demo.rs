//! `anomalyd demo`.

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `demo`.
///
/// # Errors
/// Not built yet.
pub fn run(_args: &Args, _settings: &Settings) -> Result<()> {
    Err(Failure::new(Kind::Internal, "demo is not built yet"))
}
