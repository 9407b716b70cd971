//! Bytes to frames: one file a format, recognised by content; every limit is checked before anything is allocated.
//!
//! ```text
//! bytes ─unpack→ bytes ─sniff→ Format ─decoder, guarded, timed→ Frames (one frame in memory at a time)
//!    gzip, bzip2                      png jpeg tiff fits npy idx
//! ```

mod bits;
mod bytes;
mod deadline;
mod effort;
mod fits;
mod fits_gzip;
mod fits_header;
mod fits_image;
mod fits_keyword;
mod format;
mod frames;
mod guard;
mod idx;
mod jpeg;
mod limits;
pub mod npy;
mod png;
mod read;
mod samples;
mod tiff;
mod tiff_chain;
mod tiff_samples;
mod unpack;

use chrono::{DateTime, Utc};

pub use fits_keyword::fits_keyword;
pub use format::Format;
pub use frames::Frames;
pub use idx::idx_labels;
pub use limits::Limits;
pub use read::read;

use deadline::Deadline;
use effort::Effort;
use frames::Decoder;
use limits::check_plausible;

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

/// Bytes of a rejection's detail.
const MOST_DETAIL: usize = 300;

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
    /// Decoding took longer than it may.
    TooSlow,
    /// A worker hung over the frame.
    Stalled,
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
            Self::TooSlow => "too_slow",
            Self::Stalled => "stalled",
        }
    }
}

impl Rejection {
    /// A rejection for this reason.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        // Decoders quote what they found, whole: control characters, and lists of tens of thousands.
        let end = detail.floor_char_boundary(MOST_DETAIL);
        let mut short: String = detail[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if end < detail.len() {
            short.push('…');
        }
        Self { reason, detail: short }
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
    open_within(bytes, limits, &mut |_| {})
}

/// [`open`], which tells `hold` before it allocates: the bytes that this file will hold in memory from then on, its
/// content included. What its frames add comes from [`Frames::next_bytes`].
///
/// # Errors
/// Those of [`open`].
pub fn open_within(bytes: Vec<u8>, limits: &Limits, hold: &mut dyn FnMut(u64)) -> Result<File, Rejection> {
    if bytes.is_empty() {
        return Err(Rejection::new(Reason::Empty, "the file has no bytes"));
    }
    limits.check_file(bytes.len() as u64)?;
    let deadline = Deadline::start(limits.decode_s);
    let opened = guard::guarded(|| {
        let bytes = unpack::unpack(bytes, limits, &deadline, hold)?;
        let format = Format::of(&bytes).ok_or_else(Rejection::unknown_format)?;
        let content = bytes.capacity() as u64;
        let decoder: Box<dyn Decoder> = match format {
            Format::Png => Box::new(png::open(bytes, *limits, deadline.clone())),
            Format::Jpeg => Box::new(jpeg::open(bytes, *limits)),
            Format::Tiff => Box::new(tiff::open(bytes, *limits, deadline.clone())?),
            Format::Fits => Box::new(fits::open(bytes, *limits, deadline.clone(), hold)?),
            Format::Npy => Box::new(npy::open(bytes, *limits)?),
            Format::Idx => Box::new(idx::open(bytes, *limits)?),
        };
        let effort = Effort::of(content, limits);
        Ok(File { format, frames: Frames::new(decoder, content, deadline.clone(), effort) })
    });
    opened.map_err(|rejection| deadline.blame(rejection))
}

/// The frames of a file; see [`open`].
///
/// # Errors
/// Those of [`open`].
pub fn frames(bytes: Vec<u8>, limits: &Limits) -> Result<Frames, Rejection> {
    Ok(open(bytes, limits)?.frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_short_and_of_one_line() {
        let quoted = Rejection::corrupt(format!("bits {:?}", [1; 60_000]));
        assert!(quoted.detail.len() < 310 && quoted.detail.starts_with("bits [1, 1") && quoted.detail.ends_with('…'));
        assert_eq!(Rejection::corrupt("a\nb\u{1b}[2J").detail, "a b [2J");
        assert_eq!(Rejection::corrupt("é".repeat(200)).detail.chars().count(), 151);
    }
}
