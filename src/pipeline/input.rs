//! `[input]` of a pipeline file: from pixels to what the model sees.

use serde::{Deserialize, Serialize};

use super::filter::Filter;

/// From pixels to what the model sees.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Side of the square the model takes, in pixels.
    pub size: usize,
    /// Channels the model takes: 1 or 3. A colour frame is averaged for a grey model; a grey frame is refused by a colour model.
    pub channels: usize,
    /// Physical units to the model's units; fixed by the instrument, never by the frame.
    pub scaling: Scaling,
    /// Frames of another size are resampled to `size` x `size` first (area average). Excludes `tile`.
    #[serde(default)]
    pub resize: bool,
    /// Scaled values are clipped to [0, 1]; `bernoulli` needs it.
    #[serde(default)]
    pub clip: bool,
    /// Frames larger than `size` are scored in tiles of `size`.
    pub tile: Option<Tile>,
    /// What the encoder sees beside the image: `sobel` adds four channels to each. The decoder still gives the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// Largest share of blank (NaN) pixels in a frame; they are replaced by the frame's median.
    #[serde(default = "default_blank")]
    pub max_blank: f64,
}

fn default_blank() -> f64 {
    0.1
}

impl Input {
    /// Whether a scaled pixel is asinh of its value in units of the noise.
    pub fn in_noise_units(&self) -> bool {
        matches!(self.scaling, Scaling::Asinh { .. }) && self.channels == 1
    }
}

/// How a large frame is cut: tiles at every `stride`, the last of each row and column shifted inwards to the edge.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tile {
    /// Side of a tile in pixels; equals `input.size`.
    pub size: usize,
    /// Step between tiles in pixels, at most `size`.
    pub stride: usize,
}

/// Physical units `v` to the model's units `u`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Scaling {
    /// `u = (v - black) / (white - black)`.
    Linear {
        /// The value that becomes 0.
        black: f32,
        /// The value that becomes 1.
        white: f32,
    },
    /// `u = asinh((v - black) / scale)`: linear near the sky, logarithmic in the stars.
    Asinh {
        /// The value that becomes 0: the sky.
        black: f32,
        /// The noise there, in the frame's units.
        scale: f32,
    },
    /// `u = ln(1 + max(v - black, 0) / scale) / ln(1 + (white - black) / scale)`.
    Log {
        /// The value that becomes 0.
        black: f32,
        /// The value that becomes 1.
        white: f32,
        /// Where the logarithm takes over from the straight line.
        scale: f32,
    },
    /// `u = (v - min) / (max - min)` of each frame by itself. Destroys photometry; for pictures only.
    PerFrame,
}
