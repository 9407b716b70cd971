//! Bytes to frames: one file a format, recognised by content; every limit is checked before anything is allocated.
//!
//! ```text
//! bytes ─unpack→ bytes ─sniff→ Format ─decoder, guarded→ Frames (one frame in memory at a time)
//!    gzip, bzip2                      png jpeg tiff fits npy idx
//! ```

mod bits;
mod fits;
mod fits_gzip;
mod fits_header;
mod format;
mod guard;
mod idx;
mod jpeg;
pub mod npy;
mod png;
mod read;
mod samples;
mod tiff;
mod unpack;

use chrono::{DateTime, Utc};

pub use format::Format;
pub use idx::idx_labels;
pub use read::read;

/// One image of a file, at full depth, in physical units.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Position in the file: page, HDU plane or IDX item, from 0.
    pub index: usize,
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Channels (1 grey, 3 RGB; alpha is dropped).
    pub channels: usize,
    /// `[channels, height, width]`, physical units; blank pixels are NaN.
    pub pixels: Vec<f32>,
    /// How the file stores a pixel.
    pub depth: Depth,
    /// When it was taken, where the header says so.
    pub observed_at: Option<DateTime<Utc>>,
    /// Exposure in seconds, where the header says so.
    pub exposure_s: Option<f64>,
}

/// How a file stores a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Unsigned integer of this many bits.
    Unsigned(u8),
    /// Signed integer of this many bits.
    Signed(u8),
    /// Floating point of this many bits.
    Float(u8),
}

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
    /// Bytes a compressed file may unpack to.
    pub unpacked_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 1 << 30, frame_pixels: 1 << 26, frames: 1 << 20, unpacked_bytes: 1 << 30 }
    }
}

/// Why a file or frame could not be scored: a stable word for queries, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The stable word.
    pub reason: Reason,
    /// What exactly was wrong, and what to do about it.
    pub detail: String,
}

/// The stable words of the `rejected` table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No bytes.
    Empty,
    /// Not a format that is read.
    UnknownFormat,
    /// A format that is read, in a variant that is not.
    Unsupported,
    /// The file contradicts its own format.
    Corrupt,
    /// The file ends before its data do.
    Truncated,
    /// Over a declared limit.
    TooLarge,
    /// No image in the file.
    NoImage,
    /// Not the size the pipeline's model takes.
    WrongSize,
    /// Not the channels the pipeline's model takes.
    WrongChannels,
    /// Too many blank or non-finite pixels.
    TooManyBlank,
    /// The file cannot be read from the disk.
    Unreadable,
    /// The frame stopped a worker.
    Poisonous,
}

impl Reason {
    /// The word as the report has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::UnknownFormat => "unknown_format",
            Self::Unsupported => "unsupported",
            Self::Corrupt => "corrupt",
            Self::Truncated => "truncated",
            Self::TooLarge => "too_large",
            Self::NoImage => "no_image",
            Self::WrongSize => "wrong_size",
            Self::WrongChannels => "wrong_channels",
            Self::TooManyBlank => "too_many_blank",
            Self::Unreadable => "unreadable",
            Self::Poisonous => "poisonous",
        }
    }
}

impl Rejection {
    /// A rejection for this reason.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }

    /// The content is no format that is read here.
    fn unknown_format() -> Self {
        Self::new(Reason::UnknownFormat, "not FITS, PNG, JPEG, TIFF, NPY or IDX by its first bytes")
    }

    /// The file contradicts its own format.
    fn corrupt(detail: impl std::fmt::Display) -> Self {
        Self::new(Reason::Corrupt, detail.to_string())
    }

    /// The file ends before its data do.
    fn truncated(detail: impl std::fmt::Display) -> Self {
        Self::new(Reason::Truncated, detail.to_string())
    }

    /// A variant of the format that is not read.
    fn unsupported(detail: impl std::fmt::Display) -> Self {
        Self::new(Reason::Unsupported, detail.to_string())
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason.as_str(), self.detail)
    }
}

impl std::error::Error for Rejection {}

/// The frames of a file, decoded one at a time, in the file's order.
pub type Frames = Box<dyn Iterator<Item = Result<Frame, Rejection>> + Send>;

/// An opened file: its format, and its frames still to be decoded.
pub struct File {
    /// What the content is, below any compression wrapper.
    pub format: Format,
    /// The frames, decoded one at a time.
    pub frames: Frames,
}

/// Recognises the format by content and opens the file.
///
/// # Errors
/// A [`Rejection`] when the bytes are no image that is read here, or over a limit; a frame's own fault comes from the iterator.
pub fn open(bytes: Vec<u8>, limits: &Limits) -> Result<File, Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::new(Reason::Empty, "the file has no bytes"));
    }
    limits.check_file(bytes.len() as u64)?;
    let (bytes, limits) = (guard::guarded(|| unpack::unpack(bytes, limits))?, *limits);
    let format = Format::of(&bytes).ok_or_else(Rejection::unknown_format)?;
    let frames = guard::guarded(move || match format {
        Format::Png => png::open(bytes, limits),
        Format::Jpeg => jpeg::open(bytes, limits),
        Format::Tiff => tiff::open(bytes, limits),
        Format::Fits => fits::open(bytes, limits),
        Format::Npy => npy::open(bytes, limits),
        Format::Idx => idx::open(bytes, limits),
    })?;
    Ok(File { format, frames: guard::guarded_frames(frames) })
}

/// The frames of a file; see [`open`].
///
/// # Errors
/// Those of [`open`].
pub fn frames(bytes: Vec<u8>, limits: &Limits) -> Result<Frames, Rejection> {
    Ok(open(bytes, limits)?.frames)
}

impl Limits {
    /// Refuses a file larger than the limit.
    fn check_file(&self, bytes: u64) -> Result<(), Rejection> {
        if bytes <= self.file_bytes {
            return Ok(());
        }
        Err(Rejection::new(Reason::TooLarge, format!("{bytes} bytes; the limit is {} (file_bytes)", self.file_bytes)))
    }

    /// Refuses a frame without pixels or with more than the limit; the number of its samples otherwise.
    fn check_frame(&self, width: usize, height: usize, channels: usize) -> Result<usize, Rejection> {
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
    fn check_frames(&self, frames: usize) -> Result<(), Rejection> {
        if frames as u64 <= self.frames {
            return Ok(());
        }
        Err(Rejection::new(Reason::TooLarge, format!("{frames} frames; the limit is {} (frames)", self.frames)))
    }
}

/// Refuses a header that promises more bytes than `stored` bytes can unpack to at `ratio`, the best a codec can do.
fn check_plausible(promised: usize, stored: usize, ratio: usize) -> Result<(), Rejection> {
    if promised <= stored.saturating_mul(ratio).saturating_add(1 << 16) {
        return Ok(());
    }
    Err(Rejection::new(
        Reason::Truncated,
        format!("the header promises {promised} bytes of pixels; {stored} bytes cannot hold them"),
    ))
}
