//! Samples as frames on disk.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::write;
use crate::draw::png::png16;
use crate::error::{Failure, Result};
use crate::explore::Subject;

/// Offset and scale of each frame, beside the frames.
pub const TABLE: &str = "frames.csv";

/// A frame on disk: `value = offset + scale * level`.
#[derive(Serialize)]
pub struct FrameFile {
    /// The 16-bit PNG.
    pub file: PathBuf,
    offset: f64,
    scale: f64,
}

/// Writes each image as `sample-0001.png`, and a table of their offsets and scales.
///
/// # Errors
/// [`crate::error::Kind::Io`] naming the file or folder that cannot be written.
pub fn write_all(folder: &Path, subject: &Subject, images: &[Vec<f32>]) -> Result<Vec<FrameFile>> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::io(folder, error))?;
    let mut frames = Vec::with_capacity(images.len());
    let mut table = "file,offset,scale\n".to_string();
    for (index, image) in images.iter().enumerate() {
        let name = format!("sample-{:04}.png", index + 1);
        let values = subject.values(image);
        let png = png16(values.width, values.height, values.channels, image);
        let file = folder.join(&name);
        write(&file, &png.bytes)?;
        let Ok(()) = writeln!(table, "{name},{},{}", png.offset, png.scale) else { continue };
        frames.push(FrameFile { file, offset: png.offset, scale: png.scale });
    }
    write(&folder.join(TABLE), table.as_bytes())?;
    Ok(frames)
}
