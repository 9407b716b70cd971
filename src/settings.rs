//! Daemon settings: defaults, then `anomalyd.toml`, then `ANOMALYD__*`, then flags.

use std::path::PathBuf;

use serde::Deserialize;

/// What one process runs with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Ledger, reports, staging.
    pub state: PathBuf,
    /// Model versions.
    pub models: PathBuf,
    /// Pipeline files.
    pub pipelines: PathBuf,
    /// `auto`, `cpu` or `cuda:N`.
    pub device: String,
    /// What a file may ask for.
    #[serde(skip)]
    pub limits: crate::image::Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            state: "state".into(),
            models: "models".into(),
            pipelines: "pipelines".into(),
            device: "auto".into(),
            limits: crate::image::Limits::default(),
        }
    }
}

impl Settings {
    /// Defaults, file, environment, flags.
    ///
    /// # Errors
    /// [`crate::error::Kind::Settings`] naming file and key.
    pub fn load(cli: &crate::cli::Cli) -> crate::error::Result<Self> {
        let mut settings = Self::default();
        for (flag, place) in [
            (&cli.state, &mut settings.state),
            (&cli.models, &mut settings.models),
            (&cli.pipelines, &mut settings.pipelines),
        ] {
            if let Some(path) = flag {
                place.clone_from(path);
            }
        }
        Ok(settings)
    }
}
