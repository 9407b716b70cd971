//! Parse, trace, dispatch, exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use anomalyd::cli::{Cli, LogFormat};
use anomalyd::settings::Settings;
use clap::Parser;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log);
    let outcome = Settings::load(&cli).and_then(|settings| anomalyd::commands::run(cli.command, &settings));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Log lines go to stderr; `ANOMALYD_LOG` filters them as `RUST_LOG` would.
fn start_log(format: LogFormat) {
    let filter = EnvFilter::try_from_env("ANOMALYD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
