//! From a path to bytes, never more of them than the limit, and never from a pipe or a device that could block.

use std::io::Read;
use std::path::Path;

use super::{Limits, Reason, Rejection};

/// Reads a file whole; its size is checked before anything is allocated.
///
/// # Errors
/// [`Reason::Unreadable`] for what is no regular file or fails to read, [`Reason::TooLarge`] over `Limits::file_bytes`.
pub fn read(path: &Path, limits: &Limits) -> Result<Vec<u8>, Rejection> {
    let unreadable = |error: std::io::Error| Rejection::new(Reason::Unreadable, error.to_string());
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Rejection::new(Reason::Unreadable, "not a regular file"));
    }
    limits.check_file(metadata.len())?;
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // The file may have grown since.
    file.take(limits.file_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    limits.check_file(bytes.len() as u64)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_within_the_limit() {
        let reason = |path: &Path, file_bytes| {
            read(path, &Limits { file_bytes, ..Limits::default() })
                .map(|bytes| bytes.len())
                .map_err(|error| error.reason)
        };
        let this = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        assert!(reason(this, 1 << 20).unwrap() > 100);
        assert_eq!(reason(this, 10), Err(Reason::TooLarge));
        assert_eq!(reason(Path::new("/dev/zero"), 10), Err(Reason::Unreadable));
        assert_eq!(reason(Path::new("/no/such/file"), 10), Err(Reason::Unreadable));
    }
}
