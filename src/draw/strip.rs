//! A strip: rows of pictures of one size, each with a caption, under a heading.

use super::canvas::{Picture, Size, WIDEST, keep_end};
use super::colour::{INK, MUTED};

const MARGIN: usize = 20;
const GAP: usize = 6;

/// One row of a strip.
#[derive(Debug, Clone)]
pub struct Row {
    /// What stands above it.
    pub title: String,
    /// Its pictures and what stands below each.
    pub pictures: Vec<(Picture, String)>,
}

/// Draws rows of pictures below a title and lines about them.
pub fn strip(title: &str, lines: &[String], rows: &[Row]) -> Picture {
    let all = || rows.iter().flat_map(|row| &row.pictures);
    let wide = all().map(|(picture, _)| picture.width).max().unwrap_or(1);
    let high = all().map(|(picture, _)| picture.height).max().unwrap_or(1);
    let columns = rows.iter().map(|row| row.pictures.len()).max().unwrap_or(1);
    let texts = lines.iter().chain(rows.iter().map(|row| &row.title)).map(|line| Size::Text.length(line));
    let heading = texts.chain([Size::Title.length(title)]).max().unwrap_or(0);
    let width = 2 * MARGIN + (columns * (wide + GAP)).max(heading.min(WIDEST));
    let top = MARGIN + Size::Title.height() + lines.len() * Size::Text.height() + 8;
    let step = Size::Text.height() + high + Size::Small.height() + 12;
    let mut sheet = Picture::new(width, top + rows.len() * step + MARGIN);
    let room = width - 2 * MARGIN;
    sheet.text(MARGIN, MARGIN, &keep_end(title, Size::Title, room), Size::Title, INK);
    for (index, line) in lines.iter().enumerate() {
        let y = MARGIN + Size::Title.height() + index * Size::Text.height();
        sheet.text(MARGIN, y, &keep_end(line, Size::Text, room), Size::Text, MUTED);
    }
    for (index, row) in rows.iter().enumerate() {
        let y = top + index * step;
        sheet.text(MARGIN, y, &keep_end(&row.title, Size::Text, room), Size::Text, INK);
        for (column, (picture, caption)) in row.pictures.iter().enumerate() {
            let (x, y) = (MARGIN + column * (wide + GAP), y + Size::Text.height());
            sheet.paste(x, y, picture);
            sheet.text(x, y + high + 2, &keep_end(caption, Size::Small, wide), Size::Small, MUTED);
        }
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::colour::GREEN;

    #[test]
    fn every_picture_of_every_row_is_there() {
        let mut picture = Picture::new(50, 40);
        picture.fill(0, 0, 50, 40, GREEN);
        let row =
            |count: usize| Row { title: "row".into(), pictures: vec![(picture.clone(), "caption".into()); count] };
        let sheet = strip("title", &["line".into()], &[row(3), row(20)]);
        let green = sheet.rgb.chunks(3).filter(|pixel| pixel[..] == GREEN).count();
        assert_eq!(green, 23 * 50 * 40);
        assert!(strip("", &[], &[]).width > 0);
        assert_eq!(strip(&"t".repeat(70), &[], &[row(1)]).width, 2 * MARGIN + 700);
        let titled = Row { title: "r".repeat(100), ..row(1) };
        assert_eq!(strip("title", &[], &[titled]).width, 2 * MARGIN + 900);
    }
}
