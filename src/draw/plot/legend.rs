//! A legend above a plot, where it lies over nothing that is drawn: marks and names in rows.

use plotters::prelude::*;

use super::{Area, colour, failed, label};
use crate::draw::colour::Rgb;
use crate::error::Result;

/// Height of a row, width of a mark, and the gap between two entries, pixels.
const ROW: i32 = 20;
const MARK: i32 = 20;
const GAP: i32 = 20;
/// Left and right of the rows, pixels.
const MARGIN: i32 = 24;
/// About the width of a character, pixels: what draws the text is not known.
const CHARACTER: i32 = 8;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Line,
    Dashes,
    Area,
}

/// A series.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub name: String,
    pub colour: Rgb,
    pub mark: Mark,
}

impl Entry {
    pub fn new(name: impl Into<String>, colour: Rgb, mark: Mark) -> Self {
        Self { name: name.into(), colour, mark }
    }
}

/// Draws the legend at the top of an area; returns what is left below it.
pub(super) fn legend<'a>(area: &Area<'a>, entries: &[Entry]) -> Result<Area<'a>> {
    let (places, height) = places(entries, area.dim_in_pixel().0);
    let (top, rest) = area.split_vertically(height);
    for (entry, (x, y)) in entries.iter().zip(places) {
        let (pen, middle) = (colour(entry.colour), y + ROW / 2);
        let line = [(x, middle), (x + MARK, middle)];
        match entry.mark {
            Mark::Line => top.draw(&PathElement::new(line, pen.stroke_width(2))),
            Mark::Dashes => {
                let dash = |at: i32| PathElement::new([(x + at, middle), (x + at + 5, middle)], pen.stroke_width(2));
                [0, 8, 16].iter().try_for_each(|&at| top.draw(&dash(at)))
            }
            Mark::Area => top.draw(&Rectangle::new([(x, middle - 5), (x + MARK, middle + 5)], pen.mix(0.5).filled())),
        }
        .map_err(failed)?;
        top.draw_text(&entry.name, &label(14), (x + MARK + 6, middle - 8)).map_err(failed)?;
    }
    Ok(rest)
}

/// Height of the legend of these entries in an area of this width.
pub(super) fn height(entries: &[Entry], width: u32) -> u32 {
    places(entries, width).1
}

/// The top-left corner of each entry, and the height of all rows.
fn places(entries: &[Entry], width: u32) -> (Vec<(i32, i32)>, u32) {
    let (mut x, mut y) = (MARGIN, 0);
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        let wide = MARK + 6 + CHARACTER * entry.name.chars().count() as i32;
        if x > MARGIN && x + wide > width as i32 - MARGIN {
            (x, y) = (MARGIN, y + ROW);
        }
        places.push((x, y));
        x += wide + GAP;
    }
    (places, (y + ROW) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::colour::INK;

    #[test]
    fn rows_hold_what_fits_and_no_entry_lies_over_another() {
        let entries: Vec<Entry> = (0..5).map(|_| Entry::new("x".repeat(20), INK, Mark::Line)).collect();
        // 186 pixels an entry.
        let (places, height) = places(&entries, 2 * MARGIN as u32 + 2 * 186 + GAP as u32);
        assert_eq!(places, [(24, 0), (230, 0), (24, 20), (230, 20), (24, 40)]);
        assert_eq!(height, 60);
        assert_eq!(super::places(&entries[..1], 10).0, [(24, 0)], "one that is too long has a row of its own");
    }
}
