//! How a command fails: a kind that fixes the exit code, a message that names the thing, and what to do about it.

use std::fmt;
use std::path::Path;

/// What kind of failure it is; the discriminant is the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Something failed that is nobody's input: a broken disk, a bug.
    Internal = 1,
    /// The command line is wrong (clap's own exit code).
    Usage = 2,
    /// A settings or pipeline file is wrong.
    Settings = 3,
    /// A model is missing, damaged, or does not fit the pipeline.
    Model = 4,
    /// The data given cannot serve: none, too few, or of the wrong shape.
    Data = 5,
    /// A file or folder cannot be read or written.
    Io = 6,
    /// Another process holds the state folder.
    Locked = 7,
    /// Stopped by the user before anything useful was kept.
    Interrupted = 130,
}

/// A failure on its way to the user.
#[derive(Debug)]
pub struct Failure {
    /// Fixes the exit code.
    pub kind: Kind,
    /// What failed, naming the file, key or value.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A result that ends at the user.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// An I/O error, with the path it happened to.
    pub fn io(path: &Path, error: impl fmt::Display) -> Self {
        Self::new(Kind::Io, format!("{}: {error}", path.display()))
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        self.kind as u8
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<candle_core::Error> for Failure {
    fn from(error: candle_core::Error) -> Self {
        Self::new(Kind::Internal, format!("tensor operation failed: {error}"))
    }
}
