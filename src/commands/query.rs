//! `anomalyd query`.

use crate::error::{Failure, Kind, Result};
use crate::settings::Settings;

/// Arguments of `query`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs `query`.
///
/// # Errors
/// Not built yet.
pub fn run(_args: &Args, _settings: &Settings) -> Result<()> {
    Err(Failure::new(Kind::Internal, "query is not built yet"))
}
