//! Whether a folder can be watched at all.

use std::path::{Path, PathBuf};

use crate::error::{Failure, Kind, Result};

/// Checks that an inbox can be watched, and returns it canonical.
///
/// # Errors
/// [`Kind::Io`] where it is missing or cannot be read; [`Kind::Settings`] where it contains the state folder or lies in it.
pub fn check_inbox(inbox: &Path, state: &Path) -> Result<PathBuf> {
    let root = inbox.canonicalize().map_err(|error| {
        Failure::new(Kind::Io, format!("inbox {}: {error}", inbox.display()))
            .hint("make the folder, or correct `inbox`")
    })?;
    if !root.is_dir() {
        return Err(Failure::new(Kind::Io, format!("inbox {} is not a folder", root.display())));
    }
    std::fs::read_dir(&root).map_err(|error| {
        Failure::new(Kind::Io, format!("inbox {} cannot be read: {error}", root.display()))
            .hint("give the user that runs anomalyd the right to read and enter it")
    })?;
    let state = std::path::absolute(state).unwrap_or_else(|_| state.to_path_buf());
    let state = state.canonicalize().unwrap_or(state);
    if state.starts_with(&root) || root.starts_with(&state) {
        let message = format!("inbox {} and state folder {} contain one another", root.display(), state.display());
        return Err(
            Failure::new(Kind::Settings, message).hint("keep the reports outside of the folder that is watched")
        );
    }
    Ok(root)
}
