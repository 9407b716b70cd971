//! One frame for people: input, reconstruction and anomaly map side by side.

use super::Values;
use super::canvas::{Picture, Size, WIDEST, keep_end};
use super::colour::{INK, MUTED, ORANGE, PAPER, Rgb, VERMILION, inferno};
use super::contour::{Marks, contour};
use super::stretch::{Shrink, Stretch, fit, short};

/// Side of one picture, at most, in pixels.
const SIDE: usize = 512;
const MARGIN: usize = 18;
const GAP: usize = 24;
const BAR: usize = 16;
const BAR_LABELS: usize = 64;
/// Thickness of an outline.
const LINE: usize = 2;
/// Pixels of the picture between a marked pixel and its ring.
const RING: usize = 4;
/// From this highest residual on, in units of the noise, the colours go by the square root.
const WIDE: f32 = 30.0;

/// A region of a frame: left, top, width, height in its pixels.
pub type Region = (usize, usize, usize, usize);

/// What a panel shows.
#[derive(Debug, Clone)]
pub struct Panel<'a> {
    /// First line: which frame.
    pub title: String,
    /// Further lines: score, p-value, what flagged it.
    pub lines: Vec<String>,
    /// How input and reconstruction are stretched.
    pub stretch: Stretch,
    /// What was seen, physical units.
    pub input: Values<'a>,
    /// What the model made of it, physical units.
    pub reconstruction: Values<'a>,
    /// Noise-normalised residual, `[height, width]`, at least 0; with a mask, probabilities.
    pub anomaly: Values<'a>,
    /// What is marked in the anomaly map, `[height, width]`: its contour is drawn on input and map.
    pub mask: Option<&'a [bool]>,
    /// Outlined on the input.
    pub boxes: Vec<Region>,
    /// Pixels `(x, y)` ringed on the reconstruction.
    pub marks: Vec<(usize, usize)>,
}

/// Draws a panel as an 8-bit PNG. Input and reconstruction share their stretch; the anomaly map
/// runs from 0 to its highest value, with a scale bar. The captions say so.
pub fn panel(panel: &Panel<'_>) -> Vec<u8> {
    let stretch = panel.stretch;
    let (mut input, scale) = grey(&stretch, panel.input);
    outline(&mut input, &panel.boxes, scale);
    let (mut reconstruction, scale) = grey(&stretch, panel.reconstruction);
    ring(&mut reconstruction, &panel.marks, scale);
    let (mut map, bar) = match panel.mask {
        Some(_) => (heated(panel.anomaly, SIDE, 1.0), Bar { highest: 1.0, root: false }),
        None => heat(panel.anomaly),
    };
    if let Some(inside) = panel.mask {
        let marks = Marks { width: panel.anomaly.width, inside };
        contour(&mut input, marks, VERMILION);
        contour(&mut map, marks, PAPER);
    }
    let (columns, rows) = (input.width.max(200), input.height.max(map.height));
    let lines = panel.lines.iter().map(|line| Size::Text.length(line));
    let heading = lines.chain([Size::Title.length(&panel.title)]).max().unwrap_or(0);
    let width = 2 * MARGIN + (3 * columns + 2 * GAP + 8 + BAR + BAR_LABELS).max(heading.min(WIDEST));
    let top = MARGIN + Size::Title.height() + panel.lines.len() * Size::Text.height() + 12;
    let mut sheet = Picture::new(width, top + rows + 8 + Size::Text.height() + Size::Small.height() + MARGIN);
    header(&mut sheet, panel, width - 2 * MARGIN);
    let shared = format!("{} (percentiles)", stretch.caption());
    let meaning = match panel.mask {
        Some(_) => "probability of an anomaly".into(),
        None => format!("residual / noise, smoothed{}", if bar.root { " (square-root scale)" } else { "" }),
    };
    let notes = [("input", shared.clone()), ("reconstruction", shared), ("anomaly map", meaning)];
    for (place, (picture, (label, note))) in [&input, &reconstruction, &map].into_iter().zip(notes).enumerate() {
        let x = MARGIN + place * (columns + GAP);
        sheet.paste(x + (columns - picture.width.min(columns)) / 2, top, picture);
        sheet.text_centred(x + columns / 2, top + rows + 8, label, Size::Text, INK);
        let below = top + rows + 8 + Size::Text.height();
        sheet.text_centred(x + columns / 2, below, &note, Size::Small, MUTED);
    }
    scale_bar(&mut sheet, MARGIN + 3 * columns + 2 * GAP + 8, top, map.height, bar);
    sheet.png()
}

/// Values as a grey picture of at most [`SIDE`], and its pixels a pixel of the frame.
fn grey(stretch: &Stretch, values: Values<'_>) -> (Picture, f64) {
    let (width, height, pixels, scale) = fit(values, SIDE, Shrink::Mean);
    (stretch.picture(Values { width, height, channels: values.channels, pixels: &pixels }), scale)
}

/// What the colours of an anomaly map mean: from 0 to `highest`, by their square root where the range is wide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Value of the lightest colour.
    pub highest: f32,
    /// Whether the colour goes by the square root.
    pub root: bool,
}

/// An anomaly map in colour; one pixel of a thousand sigma shall not leave everything else black.
pub fn heat(values: Values<'_>) -> (Picture, Bar) {
    let (_, _, pixels, _) = fit(values, SIDE, Shrink::Max);
    let highest = pixels.iter().copied().filter(|value| value.is_finite()).fold(0.0, f32::max);
    let bar = Bar { highest: if highest > 0.0 { highest } else { 1.0 }, root: highest > WIDE };
    let place = |value: f32| if bar.root { (value / bar.highest).max(0.0).sqrt() } else { value / bar.highest };
    (coloured(values, SIDE, place), bar)
}

/// Values in colour, from 0 to `highest`, as a picture of about `side` pixels.
pub fn heated(values: Values<'_>, side: usize, highest: f32) -> Picture {
    coloured(values, side, |value| value / highest)
}

fn coloured(values: Values<'_>, side: usize, place: impl Fn(f32) -> f32) -> Picture {
    let (width, height, pixels, _) = fit(values, side, Shrink::Max);
    Picture { width, height, rgb: pixels.iter().flat_map(|value| inferno(place(*value))).collect() }
}

/// Outlines regions of the frame; where they overlap or touch, what they cover together.
pub fn outline(picture: &mut Picture, regions: &[Region], scale: f64) {
    let (wide, high) = (picture.width, picture.height);
    let at = |value: usize| (value as f64 * scale).round() as usize;
    let mut covered = vec![false; wide * high];
    for &(x, y, width, height) in regions {
        for row in at(y)..at(y + height).min(high) {
            let (left, right) = (at(x).min(wide), at(x + width).min(wide));
            covered[row * wide + left..row * wide + right.max(left)].fill(true);
        }
    }
    let inside = |x: usize, y: usize| x < wide && y < high && covered[y * wide + x];
    for y in 0..high {
        for x in 0..wide {
            let corners = [(x.wrapping_sub(LINE), y.wrapping_sub(LINE)), (x + LINE, y.wrapping_sub(LINE))];
            let others = [(x.wrapping_sub(LINE), y + LINE), (x + LINE, y + LINE)];
            if inside(x, y) && !corners.iter().chain(&others).all(|corner| inside(corner.0, corner.1)) {
                picture.set(x, y, ORANGE);
            }
        }
    }
}

/// A small square around each pixel of the frame, far enough from it to leave it to be seen.
fn ring(picture: &mut Picture, marks: &[(usize, usize)], scale: f64) {
    for &(x, y) in marks {
        let at = |value: usize| ((value as f64 * scale) as usize).saturating_sub(RING);
        let side = 2 * RING + scale.ceil() as usize;
        picture.outline(at(x), at(y), side, side, 1, VERMILION);
    }
}

fn header(sheet: &mut Picture, panel: &Panel<'_>, width: usize) {
    sheet.text(MARGIN, MARGIN, &keep_end(&panel.title, Size::Title, width), Size::Title, INK);
    for (place, line) in panel.lines.iter().enumerate() {
        let y = MARGIN + Size::Title.height() + place * Size::Text.height();
        sheet.text(MARGIN, y, &keep_end(line, Size::Text, width), Size::Text, MUTED);
    }
}

/// The colours from 0 (bottom) to the highest (top), with five ticks.
fn scale_bar(sheet: &mut Picture, x: usize, y: usize, height: usize, bar: Bar) {
    let frame: Rgb = MUTED;
    for row in 0..height {
        let level = 1.0 - row as f32 / (height.max(2) - 1) as f32;
        sheet.fill(x, y + row, BAR, 1, inferno(level));
    }
    sheet.outline(x, y, BAR, height, 1, frame);
    for tick in 0..=4 {
        let share = tick as f32 / 4.0;
        let place = y + ((1.0 - share) * (height.saturating_sub(1)) as f32) as usize;
        sheet.fill(x + BAR, place, 4, 1, frame);
        let half = Size::Small.height() / 2;
        let label = place.saturating_sub(half).clamp(y, (y + height).saturating_sub(2 * half));
        sheet.text(
            x + BAR + 7,
            label,
            &short(bar.highest * if bar.root { share * share } else { share }),
            Size::Small,
            INK,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::png::decode;

    #[test]
    fn a_panel_holds_three_pictures_a_bar_and_the_outline() {
        let input: Vec<f32> = (0..64 * 64).map(|i| (i % 64) as f32).collect();
        let mut map = vec![0.1; 64 * 64];
        map[64 * 20 + 20] = 8.0;
        let bytes = panel(&Panel {
            title: "night/frame.fits".into(),
            lines: vec!["score 12.3".into()],
            stretch: Stretch::of(&input),
            input: Values::grey(64, 64, &input),
            reconstruction: Values::grey(64, 64, &input),
            anomaly: Values::grey(64, 64, &map),
            mask: None,
            boxes: vec![(16, 16, 32, 32)],
            marks: vec![(40, 40)],
        });
        let back = decode(&bytes, None).unwrap();
        assert_eq!(back.width, 2 * MARGIN + 3 * 512 + 2 * GAP + 8 + BAR + BAR_LABELS);
        let plane = back.width * back.height;
        let has = |colour: Rgb| {
            (0..plane).filter(|i| (0..3).all(|c| back.pixels[c * plane + i] == f32::from(colour[c]))).count()
        };
        assert_eq!(has(ORANGE), 256 * 256 - 252 * 252);
        assert_eq!(has(VERMILION), 16 * 16 - 14 * 14);
        assert!(has(inferno(1.0)) >= 64, "the one hot pixel, eight times as large");
    }

    #[test]
    fn a_map_of_nothing_is_dark_and_has_a_scale() {
        let (picture, bar) = heat(Values::grey(2, 2, &[0.0; 4]));
        assert_eq!(bar, Bar { highest: 1.0, root: false });
        assert_eq!(picture.at(0, 0), inferno(0.0));
        let (picture, bar) = heat(Values::grey(1, 2, &[400.0, 100.0]));
        assert_eq!(bar, Bar { highest: 400.0, root: true });
        assert_eq!(picture.at(0, picture.height - 1), inferno(0.5));
    }

    #[test]
    fn tiles_that_touch_get_one_outline() {
        let mut picture = Picture::new(40, 20);
        outline(&mut picture, &[(4, 4, 8, 8), (10, 4, 10, 8), (38, 18, 99, 99)], 1.0);
        assert_eq!(picture.at(4, 8), ORANGE);
        assert_eq!(picture.at(11, 8), crate::draw::colour::PAPER);
        assert_eq!(picture.at(19, 8), ORANGE);
        assert_eq!(picture.at(39, 19), ORANGE);
    }
}
