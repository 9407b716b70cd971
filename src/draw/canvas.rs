//! A picture in 8-bit RGB: rectangles, other pictures, and text in an embedded bitmap font.

use std::convert::Infallible;

use embedded_graphics::mono_font::{MonoFont, MonoTextStyle, iso_8859_1 as fonts};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::text::{Baseline, Text};

use super::colour::{PAPER, Rgb};

/// An 8-bit RGB picture, row by row from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` bytes.
    pub rgb: Vec<u8>,
}

/// Size of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 7x13 pixels a character: ticks and notes.
    Small,
    /// 9x15 pixels: captions.
    Text,
    /// 10x20 pixels: titles.
    Title,
}

impl Size {
    /// Width of a character, pixels.
    pub fn width(self) -> usize {
        self.font().character_size.width as usize
    }

    /// Height of a line, pixels.
    pub fn height(self) -> usize {
        self.font().character_size.height as usize + 3
    }

    /// Width of a text, pixels.
    pub fn length(self, text: &str) -> usize {
        text.chars().count() * self.width()
    }

    fn font(self) -> &'static MonoFont<'static> {
        match self {
            Self::Small => &fonts::FONT_7X13,
            Self::Text => &fonts::FONT_9X15,
            Self::Title => &fonts::FONT_10X20,
        }
    }
}

impl Picture {
    /// A sheet of white paper.
    pub fn new(width: usize, height: usize) -> Self {
        Self { width, height, rgb: PAPER.repeat(width * height) }
    }

    /// The colour at a place inside the picture; white outside.
    pub fn at(&self, x: usize, y: usize) -> Rgb {
        if x >= self.width || y >= self.height {
            return PAPER;
        }
        let start = 3 * (y * self.width + x);
        std::array::from_fn(|channel| self.rgb[start + channel])
    }

    /// Paints one pixel; outside the picture nothing happens.
    pub fn set(&mut self, x: usize, y: usize, colour: Rgb) {
        if x < self.width && y < self.height {
            let start = 3 * (y * self.width + x);
            self.rgb[start..start + 3].copy_from_slice(&colour);
        }
    }

    /// Paints a rectangle; what lies outside the picture is cut.
    pub fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Rgb) {
        for row in y..(y + height).min(self.height) {
            for column in x..(x + width).min(self.width) {
                self.set(column, row, colour);
            }
        }
    }

    /// Draws the outline of a rectangle, `thickness` pixels wide, inwards from its edge.
    pub fn outline(&mut self, x: usize, y: usize, width: usize, height: usize, thickness: usize, colour: Rgb) {
        let thickness = thickness.min(width).min(height);
        self.fill(x, y, width, thickness, colour);
        self.fill(x, y + height - thickness, width, thickness, colour);
        self.fill(x, y, thickness, height, colour);
        self.fill(x + width - thickness, y, thickness, height, colour);
    }

    /// Copies another picture in, its top-left corner at `(x, y)`; what does not fit is cut.
    pub fn paste(&mut self, x: usize, y: usize, other: &Picture) {
        for row in 0..other.height {
            for column in 0..other.width {
                self.set(x + column, y + row, other.at(column, row));
            }
        }
    }

    /// Writes one line, its top-left corner at `(x, y)`. Characters beyond Latin-1 become `?`.
    pub fn text(&mut self, x: usize, y: usize, text: &str, size: Size, colour: Rgb) {
        let style = MonoTextStyle::new(size.font(), Rgb888::new(colour[0], colour[1], colour[2]));
        let place = Point::new(x as i32, y as i32);
        let Ok(_) = Text::with_baseline(text, place, style, Baseline::Top).draw(self);
    }

    /// Writes one line centred on `x`.
    pub fn text_centred(&mut self, x: usize, y: usize, text: &str, size: Size, colour: Rgb) {
        let half = size.length(text) / 2;
        self.text(x.saturating_sub(half), y, text, size, colour);
    }

    /// As a PNG file, 8-bit RGB.
    pub fn png(&self) -> Vec<u8> {
        super::png::png8(self)
    }
}

/// A picture is as wide as the lines of its heading are, up to this width in pixels: of a longer line the end is shown.
pub const WIDEST: usize = 1200;

/// Text cut to a width in pixels: the end of a path says more than its beginning, so the beginning goes.
pub fn keep_end(text: &str, size: Size, width: usize) -> String {
    let (room, length) = (width / size.width(), text.chars().count());
    if length <= room {
        return text.to_string();
    }
    let tail: String = text.chars().skip(length - room.saturating_sub(3).min(length)).collect();
    format!("...{tail}")
}

impl OriginDimensions for Picture {
    fn size(&self) -> embedded_graphics::geometry::Size {
        embedded_graphics::geometry::Size::new(self.width as u32, self.height as u32)
    }
}

impl DrawTarget for Picture {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(place, colour) in pixels {
            if let (Ok(x), Ok(y)) = (usize::try_from(place.x), usize::try_from(place.y)) {
                self.set(x, y, [colour.r(), colour.g(), colour.b()]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::colour::INK;

    #[test]
    fn what_lies_outside_is_cut() {
        let mut picture = Picture::new(8, 4);
        picture.fill(6, 2, 100, 100, INK);
        picture.outline(0, 0, 3, 3, 9, INK);
        picture.paste(7, 3, &Picture::new(5, 5));
        assert_eq!(picture.at(6, 2), INK);
        assert_eq!(picture.at(7, 3), PAPER);
        picture.text(5, 0, "W", Size::Title, INK);
        assert_eq!(picture.rgb.len(), 8 * 4 * 3);
    }

    #[test]
    fn text_leaves_ink_where_it_stands() {
        let mut picture = Picture::new(40, 20);
        picture.text(2, 2, "p = 0.003", Size::Text, INK);
        assert!(picture.rgb.chunks(3).filter(|pixel| pixel[..] == INK).count() > 30);
    }

    #[test]
    fn a_long_path_keeps_its_end() {
        let kept = keep_end("night/20261123/frame_000123.fits", Size::Text, 20 * 9);
        assert_eq!(kept, "...frame_000123.fits");
    }
}
