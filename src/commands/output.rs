//! Results on stdout, where whoever has read enough may close the pipe (`| head`) and a full disk may lie behind the redirection.
//!
//! `println!` panics on both. Here the first is no failure, and the second is one that is told once, at the end.

use std::fmt::Arguments;
use std::io::{Error, ErrorKind, Write};
use std::sync::Mutex;

use crate::error::{Failure, Kind, Result};

/// Why something could not be printed: the first failure.
static UNPRINTED: Mutex<Option<Error>> = Mutex::new(None);

/// `println!` for results.
macro_rules! sayln {
    () => { $crate::commands::output::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::commands::output::print(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints, and keeps why that failed for [`all_printed`].
pub(super) fn print(text: Arguments) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        UNPRINTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(error);
    }
}

/// Standard output for whoever writes bytes. What goes into a closed pipe is dropped.
pub(super) struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match std::io::stdout().write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match std::io::stdout().flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}

/// Prints a whole result.
///
/// # Errors
/// Those of [`all_printed`].
pub(super) fn say(text: &str) -> Result<()> {
    print(format_args!("{text}"));
    all_printed()
}

/// Whether everything printed so far has arrived.
///
/// # Errors
/// [`Kind::Io`] with the first reason why not; a closed pipe is none.
pub(super) fn all_printed() -> Result<()> {
    match UNPRINTED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take() {
        None => Ok(()),
        Some(error) => Err(Failure::new(Kind::Io, format!("cannot print the result: {error}"))),
    }
}
