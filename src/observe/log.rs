//! Where log lines go: text or JSON on stderr, or the journal with a field of its own for every value.

use std::io::IsTerminal;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use super::flood;
use crate::cli::LogFormat;
use crate::error::{Failure, Kind, Result};

/// Filters the log as `RUST_LOG` would.
const FILTER: &str = "ANOMALYD_LOG";
/// Fields in the journal begin with this: `journalctl ANOMALYD_PIPELINE=digits`.
const PREFIX: &str = "ANOMALYD";

/// Starts the log of this process; to be called once.
///
/// # Errors
/// [`Kind::Settings`] for a filter that cannot be read; [`Kind::Io`] where the journal is asked for and there is none.
pub fn start(format: LogFormat) -> Result<()> {
    let registry = tracing_subscriber::registry().with(filter()?).with(flood::limit());
    match format {
        LogFormat::Text => {
            let ansi = std::io::stderr().is_terminal();
            registry.with(fmt::layer().with_writer(std::io::stderr).with_ansi(ansi)).init();
        }
        LogFormat::Json => {
            registry.with(fmt::layer().json().with_span_list(false).with_writer(std::io::stderr)).init();
        }
        LogFormat::Journald => registry.with(journal()?).init(),
    }
    Ok(())
}

fn filter() -> Result<EnvFilter> {
    match std::env::var(FILTER) {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|error| {
            Failure::new(Kind::Settings, format!("environment {FILTER}={text:?}: {error}"))
                .hint("a level (error, warn, info, debug, trace), or TARGET=LEVEL,TARGET=LEVEL")
        }),
        _ => Ok(EnvFilter::new("info")),
    }
}

fn journal() -> Result<tracing_journald::Layer> {
    let layer = tracing_journald::layer().map_err(|error| {
        Failure::new(Kind::Io, format!("--log journald: cannot reach the journal: {error}"))
            .hint("--log text and --log json write to stderr; systemd puts that into the journal too")
    })?;
    let priorities =
        PriorityMappings { info: Priority::Informational, debug: Priority::Debug, ..PriorityMappings::new() };
    Ok(layer
        .with_syslog_identifier("anomalyd".into())
        .with_field_prefix(Some(PREFIX.into()))
        .with_priority_mappings(priorities))
}
