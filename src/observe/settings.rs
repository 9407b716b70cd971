//! What can be set about answers over HTTP: `[http]` in `anomalyd.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::{Failure, Kind, Result};

/// Answers over HTTP: metrics, health, readiness, status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port, such as `127.0.0.1:9464`. Without it there is no TCP.
    pub listen: Option<SocketAddr>,
    /// A file with the token that has to be shown (`Authorization: Bearer TOKEN`); not readable for everybody. Needed where
    /// `listen` is not of this machine alone.
    pub token_file: Option<PathBuf>,
}

impl Http {
    /// Checks that an address that other machines reach has a token.
    ///
    /// # Errors
    /// [`Kind::Settings`] naming the address.
    pub fn check(&self) -> Result<()> {
        match self.listen {
            Some(address) if !address.ip().is_loopback() && self.token_file.is_none() => {
                let message = format!("settings: http.listen = {address} is open to other machines");
                Err(Failure::new(Kind::Settings, message)
                    .hint("name a file with a token in http.token_file, or listen on 127.0.0.1"))
            }
            _ => Ok(()),
        }
    }
}
