//! The picture of what a pipeline's encoder sees of a frame.

use std::path::{Path, PathBuf};

use crate::draw::{Values, filters};
use crate::error::{Failure, Result};
use crate::pipeline::Input;
use crate::prepare::Prepared;

/// Draws a frame's central tile and the channels of the input's filters to `path`.
///
/// # Errors
/// [`crate::error::Kind::Io`] when the file cannot be written.
pub fn write(path: &Path, frame: &Prepared, input: &Input) -> Result<PathBuf> {
    let Input { size, channels, filters: wanted, .. } = input;
    let mut pixels = vec![0.0; channels * size * size];
    let (x, y) = frame.central(*size);
    frame.copy_tile((x, y), *size, &mut pixels);
    let image = Values { width: *size, height: *size, channels: *channels, pixels: &pixels };
    let caption = vec!["image".to_string(), format!("tile at {x},{y} of {} x {}", frame.width, frame.height)];
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let sheet =
        filters::sheet(format!("{name}: what the encoder sees"), &filters::seen(image, caption, wanted), wanted);
    std::fs::write(path, sheet).map_err(|error| Failure::io(path, error))?;
    Ok(path.to_path_buf())
}
