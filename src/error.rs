//! How a command fails: a kind that fixes the exit code, a message that names the thing, and what to do about it.

use std::fmt;
use std::path::Path;

/// What kind of failure it is; the discriminant is the process's exit code, where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Something failed that is nobody's input: a device, a bug.
    Internal = 1,
    /// The command line is wrong (clap's own exit code).
    Usage = 2,
    /// A settings or pipeline file is wrong.
    Settings = 3,
    /// A model is missing, damaged, or does not fit the pipeline.
    Model = 4,
    /// The data given cannot serve: none, too few, or of the wrong shape.
    Data = 5,
    /// A file or folder cannot be read or written, or the disk fails.
    Io = 6,
    /// Another process holds the state folder.
    Locked = 7,
    /// A worker hung over a file, and the process ended itself.
    Hung = 8,
    /// The device has not enough memory for what it was given at once; exit code 1.
    DeviceMemory = 100,
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
        match self.kind {
            Kind::DeviceMemory => Kind::Internal as u8,
            kind => kind as u8,
        }
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
        let message = format!("tensor operation failed: {error}");
        Self::new(if is_out_of_memory(&message) { Kind::DeviceMemory } else { Kind::Internal }, message)
    }
}

/// candle passes on the texts of CUDA, cuBLAS and cuDNN; there is no variant for it.
fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["out of memory", "out_of_memory", "alloc_failed"].iter().any(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_memory_is_told_from_one_that_fails() {
        for (text, kind) in [
            ("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")", Kind::DeviceMemory),
            ("CublasError(CUBLAS_STATUS_ALLOC_FAILED)", Kind::DeviceMemory),
            ("DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, \"an illegal memory access was encountered\")", Kind::Internal),
        ] {
            let failure = Failure::from(candle_core::Error::Msg(text.into()));
            assert_eq!((failure.kind, failure.exit_code()), (kind, 1), "{text}");
        }
    }
}
