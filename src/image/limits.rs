//! What a file may ask for, and the refusal of what is over it.

use super::{Reason, Rejection};

/// What a file may ask for; declared in the settings.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of the file as it lies on disk.
    pub file_bytes: u64,
    /// Pixels (width x height x channels) of one frame.
    pub frame_pixels: u64,
    /// Frames of one file.
    pub frames: u64,
    /// Bytes a compressed file may unpack to, and pixels that all frames of a file may have where that is more than its size
    /// explains.
    pub unpacked_bytes: u64,
    /// Seconds that decoding a file may compute from one frame to the next; for all of its frames ten times that, and a
    /// second a mebibyte.
    pub decode_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 1 << 30, frame_pixels: 1 << 26, frames: 1 << 20, unpacked_bytes: 1 << 30, decode_s: 60 }
    }
}

impl Limits {
    /// Refuses a file larger than the limit.
    pub(super) fn check_file(&self, bytes: u64) -> Result<(), Rejection> {
        if bytes <= self.file_bytes {
            return Ok(());
        }
        Err(Rejection::new(Reason::TooLarge, format!("{bytes} bytes; the limit is {} (file_bytes)", self.file_bytes)))
    }

    /// Refuses a frame without pixels or with more than the limit; the number of its samples otherwise.
    pub(super) fn check_frame(&self, width: usize, height: usize, channels: usize) -> Result<usize, Rejection> {
        if width == 0 || height == 0 || channels == 0 {
            return Err(Rejection::new(
                Reason::Corrupt,
                format!("a frame of {width} x {height} x {channels} has no pixels"),
            ));
        }
        match width.checked_mul(height).and_then(|area| area.checked_mul(channels)) {
            Some(samples) if samples as u64 <= self.frame_pixels => Ok(samples),
            _ => {
                let detail = format!(
                    "a frame of {width} x {height} x {channels}; the limit is {} pixels (frame_pixels)",
                    self.frame_pixels
                );
                Err(Rejection::new(Reason::TooLarge, detail))
            }
        }
    }

    /// Refuses a file of more frames than the limit.
    pub(super) fn check_frames(&self, frames: usize) -> Result<(), Rejection> {
        if frames as u64 <= self.frames {
            return Ok(());
        }
        Err(Rejection::new(Reason::TooLarge, format!("{frames} frames; the limit is {} (frames)", self.frames)))
    }
}

/// Refuses a header that promises more bytes than `stored` bytes can unpack to at `ratio`, the best a codec can do.
pub(super) fn check_plausible(promised: usize, stored: usize, ratio: usize) -> Result<(), Rejection> {
    if promised <= stored.saturating_mul(ratio).saturating_add(1 << 16) {
        return Ok(());
    }
    Err(Rejection::new(
        Reason::Truncated,
        format!("the header promises {promised} bytes of pixels; {stored} bytes cannot hold them"),
    ))
}
