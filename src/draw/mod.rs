//! Pictures: panels and contact sheets as PNG, plots as SVG.
//!
//! What a program reads keeps its values ([`png::png16`]: `value = offset + scale * level`); what a person looks at is
//! stretched for the eye ([`stretch::Stretch`]), and its caption says how.

pub mod animation;
pub mod canvas;
pub mod colour;
pub mod contour;
pub mod filters;
pub mod panel;
pub mod plot;
pub mod png;
pub mod sheet;
pub mod stretch;
pub mod strip;

/// Values to draw: borrowed, `[channels, height, width]`, one or three channels; NaN is blank.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `channels * height * width` values.
    pub pixels: &'a [f32],
}

impl<'a> Values<'a> {
    /// Grey values, `[height, width]`.
    pub fn grey(width: usize, height: usize, pixels: &'a [f32]) -> Self {
        Self { width, height, channels: 1, pixels }
    }
}
