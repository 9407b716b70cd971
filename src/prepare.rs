//! Frame to what the model sees: channels, blanks, size, scaling, tiles. The same code in training and scoring.

use crate::image::{Frame, Rejection};
use crate::pipeline::Input;

/// A frame in the model's units, ready to be cut into tiles.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Channels.
    pub channels: usize,
    /// `[channels, height, width]`, scaled.
    pub pixels: Vec<f32>,
    /// Top-left corners of the tiles, `(x, y)`; one `(0, 0)` where the frame is the tile.
    pub tiles: Vec<(usize, usize)>,
}

/// Prepares one frame.
///
/// # Errors
/// A [`Rejection`] for a frame of the wrong size or channels, or with too many blank pixels.
pub fn prepare(_frame: Frame, _input: &Input) -> Result<Prepared, Rejection> {
    Err(Rejection::new(crate::image::Reason::WrongSize, "not built yet"))
}
