//! Parse, trace, dispatch, exit code.

use std::process::ExitCode;

use anomalyd::cli::Cli;
use anomalyd::observe::{flood, log};
use anomalyd::settings::Settings;
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = log::start(cli.log)
        .and_then(|()| Settings::load(&cli))
        .and_then(|settings| anomalyd::commands::run(cli.command, &settings));
    flood::finish();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}
