//! A contact sheet: many small pictures, each with a caption and a border that says how it was judged.

use super::Values;
use super::canvas::{Picture, Size, WIDEST, keep_end};
use super::colour::{INK, MUTED, Rgb};
use super::panel::{Region, outline};
use super::stretch::{Shrink, Stretch, fit};

/// Side of the square a picture is fitted into, pixels.
const SIDE: usize = 256;
const BORDER: usize = 4;
const GAP: usize = 16;
const MARGIN: usize = 20;

/// One picture of a sheet.
#[derive(Debug, Clone)]
pub struct Tile {
    /// The picture, at most 256 pixels a side: see [`thumbnail`].
    pub image: Picture,
    /// Lines below it; the first is darker.
    pub caption: Vec<String>,
    /// Colour of its border.
    pub border: Rgb,
}

/// A sheet's heading.
#[derive(Debug, Clone, Default)]
pub struct Heading {
    /// First line.
    pub title: String,
    /// Further lines, smaller.
    pub lines: Vec<String>,
    /// What the border colours mean.
    pub legend: Vec<(Rgb, String)>,
}

/// Values in the model's units as a picture for a sheet, stretched linearly between their own percentiles.
pub fn thumbnail(values: Values<'_>) -> Picture {
    thumbnail_as(values, &Stretch::linear(values.pixels), &[])
}

/// Values under a stretch as a picture for a sheet, with regions `(x, y, width, height)` outlined.
pub fn thumbnail_as(values: Values<'_>, stretch: &Stretch, boxes: &[Region]) -> Picture {
    let (width, height, pixels, scale) = fit(values, SIDE, Shrink::Mean);
    let mut picture = stretch.picture(Values { width, height, channels: values.channels, pixels: &pixels });
    outline(&mut picture, boxes, scale);
    picture
}

/// Values as a picture of about `side` pixels, under a stretch that several may share.
pub fn picture(stretch: &Stretch, values: Values<'_>, side: usize) -> Picture {
    let (width, height, pixels, _) = fit(values, side, Shrink::Mean);
    stretch.picture(Values { width, height, channels: values.channels, pixels: &pixels })
}

/// Draws the tiles in rows, in order, as an 8-bit PNG; `columns` a row (0: as many as make the sheet about 3 to 2).
pub fn contact_sheet(heading: &Heading, tiles: &[Tile], columns: usize) -> Vec<u8> {
    let columns = if columns > 0 { columns } else { ((tiles.len() as f64 * 1.6).sqrt().ceil() as usize).max(3) };
    let columns = columns.min(tiles.len().max(3));
    let lines = tiles.iter().map(|tile| tile.caption.len()).max().unwrap_or(0);
    let (wide, high) = cell(tiles, lines);
    let rows = tiles.len().div_ceil(columns);
    let top = MARGIN + heading_height(heading);
    let width = 2 * MARGIN + (columns * wide + (columns - 1) * GAP).max(heading_width(heading).min(WIDEST));
    let mut sheet = Picture::new(width, top + rows * (high + GAP) + MARGIN);
    draw_heading(&mut sheet, heading, width - 2 * MARGIN);
    for (place, tile) in tiles.iter().enumerate() {
        let (x, y) = (MARGIN + (place % columns) * (wide + GAP), top + (place / columns) * (high + GAP));
        draw_tile(&mut sheet, tile, (x, y), (wide, high - lines * Size::Small.height() - 4));
    }
    sheet.png()
}

/// Size of a cell: the largest picture, its border, its caption.
fn cell(tiles: &[Tile], lines: usize) -> (usize, usize) {
    let side = |of: fn(&Picture) -> usize| tiles.iter().map(|tile| of(&tile.image)).max().unwrap_or(SIDE);
    let (wide, high) = (side(|image| image.width), side(|image| image.height));
    (wide.max(160) + 2 * BORDER, high + 2 * BORDER + 4 + lines * Size::Small.height())
}

fn draw_tile(sheet: &mut Picture, tile: &Tile, (x, y): (usize, usize), (wide, high): (usize, usize)) {
    let (width, height) = (tile.image.width + 2 * BORDER, tile.image.height + 2 * BORDER);
    let (left, top) = (x + (wide - width.min(wide)) / 2, y + (high - height.min(high)) / 2);
    sheet.outline(left, top, width, height, BORDER, tile.border);
    sheet.paste(left + BORDER, top + BORDER, &tile.image);
    for (place, line) in tile.caption.iter().enumerate() {
        let colour = if place == 0 { INK } else { MUTED };
        let below = y + high + 4 + place * Size::Small.height();
        sheet.text(left, below, &keep_end(line, Size::Small, wide), Size::Small, colour);
    }
}

fn heading_width(heading: &Heading) -> usize {
    let lines = heading.lines.iter().map(|line| Size::Text.length(line));
    let legend = heading.legend.iter().map(|(_, meaning)| legend_width(meaning)).sum();
    lines.chain([Size::Title.length(&heading.title), legend]).max().unwrap_or(0)
}

/// Width of a colour, its meaning, and the gap to the next.
fn legend_width(meaning: &str) -> usize {
    20 + Size::Text.length(meaning) + 24
}

fn heading_height(heading: &Heading) -> usize {
    let legend = if heading.legend.is_empty() { 0 } else { Size::Text.height() + 4 };
    Size::Title.height() + heading.lines.len() * Size::Text.height() + legend + 12
}

fn draw_heading(sheet: &mut Picture, heading: &Heading, width: usize) {
    let mut y = MARGIN;
    sheet.text(MARGIN, y, &keep_end(&heading.title, Size::Title, width), Size::Title, INK);
    y += Size::Title.height();
    for line in &heading.lines {
        sheet.text(MARGIN, y, &keep_end(line, Size::Text, width), Size::Text, MUTED);
        y += Size::Text.height();
    }
    let mut x = MARGIN;
    for (colour, meaning) in &heading.legend {
        sheet.outline(x, y + 4, 14, 14, BORDER, *colour);
        sheet.text(x + 20, y + 4, meaning, Size::Text, INK);
        x += legend_width(meaning);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::colour::{GREEN, VERMILION};
    use crate::draw::png::decode;

    #[test]
    fn every_tile_has_its_border() {
        let tile = |border| Tile { image: Picture::new(60, 40), caption: vec!["a".into(), "b".into()], border };
        let tiles = [tile(GREEN), tile(VERMILION), tile(GREEN), tile(GREEN)];
        let heading = Heading { title: "t".into(), ..Heading::default() };
        let back = decode(&contact_sheet(&heading, &tiles, 2), None).unwrap();
        assert_eq!(back.width, 2 * MARGIN + 2 * 168 + GAP);
        let plane = back.width * back.height;
        let count = |colour: Rgb| {
            (0..plane).filter(|i| (0..3).all(|c| back.pixels[c * plane + i] == f32::from(colour[c]))).count()
        };
        let border = 68 * 48 - 60 * 40;
        assert_eq!(count(GREEN), 3 * border);
        assert_eq!(count(VERMILION), border);
    }

    #[test]
    fn a_narrow_sheet_is_as_wide_as_its_heading() {
        let tile = || Tile { image: Picture::new(60, 40), caption: vec![], border: GREEN };
        let width = |title: String, lines: Vec<String>, legend: Vec<(Rgb, String)>| {
            decode(&contact_sheet(&Heading { title, lines, legend }, &[tile()], 1), None).unwrap().width
        };
        let alone = width("t".into(), vec![], vec![]);
        assert_eq!(alone, 2 * MARGIN + 168);
        assert_eq!(width("t".repeat(40), vec![], vec![]), 2 * MARGIN + 400);
        assert_eq!(width(String::new(), vec!["l".into(), "l".repeat(90)], vec![]), 2 * MARGIN + 810);
        assert_eq!(width(String::new(), vec![], vec![(GREEN, "m".repeat(30)); 2]), 2 * MARGIN + 2 * (270 + 44));
        assert_eq!(width("a path/".repeat(999), vec![], vec![]), 2 * MARGIN + WIDEST);
    }

    #[test]
    fn an_empty_sheet_is_still_a_picture() {
        assert!(decode(&contact_sheet(&Heading::default(), &[], 0), None).is_ok());
    }
}
