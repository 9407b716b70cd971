//! Frame to what the model sees: channels, blanks, size, scaling, tiles. The same code in training and scoring.

use std::collections::BTreeSet;

use rayon::prelude::*;

use crate::image::{Frame, Reason, Rejection};
use crate::pipeline::{Input, Scaling};

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
    /// Width and height in the file, before any resampling.
    pub in_file: [usize; 2],
    /// How the pixels were scaled; [`Scaling::PerFrame`] resolved to the frame's own range.
    pub scaling: Scaling,
}

impl Prepared {
    /// Copies the tile at `(x, y)` into `out`, `[channels, size, size]`.
    pub fn copy_tile(&self, (x, y): (usize, usize), size: usize, out: &mut [f32]) {
        for (row, line) in out.chunks_exact_mut(size).enumerate() {
            let (channel, row) = (row / size, row % size);
            let start = (channel * self.height + y + row) * self.width + x;
            line.copy_from_slice(&self.pixels[start..start + size]);
        }
    }

    /// The corner of the tile whose centre is nearest the frame's.
    pub fn central(&self, size: usize) -> (usize, usize) {
        let off = |start: usize, length: usize| (2 * start + size).abs_diff(length);
        let distance = |&(x, y): &(usize, usize)| off(x, self.width).pow(2) + off(y, self.height).pow(2);
        self.tiles.iter().copied().min_by_key(|corner| distance(corner)).unwrap_or_default()
    }
}

/// Tiles put back in their places in a frame; where several cover a pixel, their mean.
#[derive(Debug)]
pub struct Mosaic {
    width: usize,
    size: usize,
    pixels: Vec<f32>,
    /// How many tiles cover each column and each row: corners form a grid, so a pixel's count is the product.
    across: Vec<f32>,
    down: Vec<f32>,
}

impl Mosaic {
    /// Of a frame's size, for tiles `[channels, size, size]`.
    pub fn new(frame: &Prepared, size: usize, channels: usize) -> Self {
        Self {
            width: frame.width,
            size,
            pixels: vec![0.0; channels * frame.width * frame.height],
            across: cover(frame.tiles.iter().map(|tile| tile.0), size, frame.width),
            down: cover(frame.tiles.iter().map(|tile| tile.1), size, frame.height),
        }
    }

    /// Adds the tile whose top-left corner lies at `(x, y)`.
    pub fn add(&mut self, (x, y): (usize, usize), tile: &[f32]) {
        let height = self.down.len();
        for (row, line) in tile.chunks_exact(self.size).enumerate() {
            let (channel, row) = (row / self.size, row % self.size);
            let start = (channel * height + y + row) * self.width + x;
            self.pixels[start..start + self.size].iter_mut().zip(line).for_each(|(sum, value)| *sum += value);
        }
    }

    /// The frame, `[channels, height, width]`.
    pub fn finish(mut self) -> Vec<f32> {
        let (width, height) = (self.width, self.down.len());
        let (across, down) = (&self.across, &self.down);
        let mean = |(at, sum): (usize, &mut f32)| *sum /= across[at % width] * down[at / width % height];
        self.pixels.par_iter_mut().enumerate().for_each(mean);
        self.pixels
    }
}

/// How many of the distinct starts cover each place of a length.
fn cover(starts: impl Iterator<Item = usize>, size: usize, length: usize) -> Vec<f32> {
    let mut counts = vec![0.0; length];
    for start in starts.collect::<BTreeSet<usize>>() {
        counts[start..start + size].iter_mut().for_each(|count| *count += 1.0);
    }
    counts
}

/// Prepares one frame.
///
/// # Errors
/// A [`Rejection`] for a frame of the wrong size or channels, or with too many blank pixels.
pub fn prepare(frame: Frame, input: &Input) -> Result<Prepared, Rejection> {
    let in_file = [frame.width, frame.height];
    let mut frame = match_channels(frame, input.channels)?;
    fill_blanks(&mut frame, input.max_blank)?;
    if input.resize {
        frame = resample(frame, input.size);
    }
    let tiles = cut(frame.width, frame.height, input)?;
    let scaling = resolve(input.scaling, &frame.pixels);
    for value in &mut frame.pixels {
        *value = scaling.scale(*value);
    }
    if input.clip {
        frame.pixels.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
    }
    let Frame { width, height, channels, pixels, .. } = frame;
    Ok(Prepared { width, height, channels, pixels, tiles, in_file, scaling })
}

/// Averages colour to grey for a grey model; colour is never invented.
fn match_channels(mut frame: Frame, wanted: usize) -> Result<Frame, Rejection> {
    if frame.channels == wanted {
        return Ok(frame);
    }
    if wanted != 1 {
        return Err(Rejection::new(
            Reason::WrongChannels,
            format!("the frame has {} channel(s), the pipeline takes {wanted}", frame.channels),
        ));
    }
    let plane = frame.width * frame.height;
    let share = 1.0 / frame.channels as f32;
    for pixel in 0..plane {
        let sum: f32 = (0..frame.channels).map(|channel| frame.pixels[channel * plane + pixel]).sum();
        frame.pixels[pixel] = sum * share;
    }
    frame.pixels.truncate(plane);
    frame.channels = 1;
    Ok(frame)
}

/// Replaces blank pixels by their channel's median; too many of them and the frame says nothing.
fn fill_blanks(frame: &mut Frame, max_share: f64) -> Result<(), Rejection> {
    let blank = frame.pixels.iter().filter(|value| !value.is_finite()).count();
    if blank == 0 {
        return Ok(());
    }
    let share = blank as f64 / frame.pixels.len() as f64;
    if share > max_share || blank == frame.pixels.len() {
        return Err(Rejection::new(
            Reason::TooManyBlank,
            format!("{:.1} % of the pixels are blank, the pipeline allows {:.1} %", 100.0 * share, 100.0 * max_share),
        ));
    }
    for plane in frame.pixels.chunks_exact_mut(frame.width * frame.height) {
        let mut finite: Vec<f32> = plane.iter().copied().filter(|value| value.is_finite()).collect();
        let middle = finite.len() / 2;
        let fill = if finite.is_empty() { 0.0 } else { *finite.select_nth_unstable_by(middle, f32::total_cmp).1 };
        plane.iter_mut().filter(|value| !value.is_finite()).for_each(|value| *value = fill);
    }
    Ok(())
}

/// Resampling to `size` x `size`: each new pixel is the mean of the area it covers.
fn resample(frame: Frame, size: usize) -> Frame {
    if frame.width == size && frame.height == size {
        return frame;
    }
    let (across, down) = (overlaps(frame.width, size), overlaps(frame.height, size));
    let mut pixels = Vec::with_capacity(frame.channels * size * size);
    for plane in frame.pixels.chunks_exact(frame.width * frame.height) {
        let rows: Vec<f32> = plane
            .chunks_exact(frame.width)
            .flat_map(|row| across.iter().map(|cover| cover.iter().map(|&(x, share)| share * row[x]).sum::<f32>()))
            .collect();
        for cover in &down {
            pixels.extend((0..size).map(|x| cover.iter().map(|&(y, share)| share * rows[y * size + x]).sum::<f32>()));
        }
    }
    Frame { width: size, height: size, pixels, ..frame }
}

/// For each of `to` cells over a length of `from` pixels: the pixels it covers, and their shares of it.
fn overlaps(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    let step = from as f64 / to as f64;
    let cell = |index: usize| {
        let (start, end) = (index as f64 * step, (index + 1) as f64 * step);
        let pixels = start as usize..(end.ceil() as usize).min(from);
        let share = |pixel: usize| ((end.min(pixel as f64 + 1.0) - start.max(pixel as f64)) / step) as f32;
        pixels.map(|pixel| (pixel, share(pixel))).collect()
    };
    (0..to).map(cell).collect()
}

/// Corners of the tiles: every `stride`, the last of each row and column shifted inwards so that no pixel is dropped.
fn cut(width: usize, height: usize, input: &Input) -> Result<Vec<(usize, usize)>, Rejection> {
    let size = input.size;
    let wrong = |takes: String| {
        Err(Rejection::new(
            Reason::WrongSize,
            format!("the frame is {width}x{height} pixels, the pipeline takes {takes}"),
        ))
    };
    match input.tile {
        None if width == size && height == size => Ok(vec![(0, 0)]),
        None => wrong(format!("{size}x{size}")),
        Some(_) if width < size || height < size => wrong(format!("at least {size}x{size}")),
        Some(tile) => {
            let columns = starts(width, size, tile.stride);
            Ok(starts(height, size, tile.stride)
                .into_iter()
                .flat_map(|y| columns.iter().map(move |&x| (x, y)))
                .collect())
        }
    }
}

/// Where tiles of this size and stride begin along a length of at least `size`; the last ends with it.
pub fn starts(length: usize, size: usize, stride: usize) -> Vec<usize> {
    let last = length - size;
    let mut starts: Vec<usize> = (0..last).step_by(stride).collect();
    starts.push(last);
    starts
}

/// The scaling with the frame's own range put in where the pipeline asked for it.
fn resolve(scaling: Scaling, pixels: &[f32]) -> Scaling {
    if scaling != Scaling::PerFrame {
        return scaling;
    }
    let (low, high) = pixels.iter().fold((f32::MAX, f32::MIN), |(low, high), &value| (low.min(value), high.max(value)));
    Scaling::Linear { black: low, white: if high > low { high } else { low + 1.0 } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Depth;
    use crate::pipeline::Tile;

    fn frame(width: usize, height: usize, pixels: Vec<f32>) -> Frame {
        let channels = pixels.len() / (width * height);
        Frame {
            index: 0,
            width,
            height,
            channels,
            pixels,
            depth: Depth::Unsigned(16),
            observed_at: None,
            exposure_s: None,
        }
    }

    fn input(size: usize, tile: Option<Tile>) -> Input {
        let scaling = Scaling::Linear { black: 0.0, white: 65535.0 };
        Input { size, channels: 1, scaling, resize: false, clip: false, tile, max_blank: 0.3, filters: vec![] }
    }

    #[test]
    fn a_16_bit_level_survives() {
        let pixels: Vec<f32> = (0..16).map(|level| 1000.0 + level as f32).collect();
        let prepared = prepare(frame(4, 4, pixels.clone()), &input(4, None)).unwrap();
        for (scaled, value) in prepared.pixels.iter().zip(&pixels) {
            assert!((prepared.scaling.unscale(*scaled) - value).abs() < 0.01);
        }
    }

    #[test]
    fn tiles_cover_every_pixel_and_stay_inside() {
        for (width, height, size, stride) in [(10, 7, 4, 3), (8, 8, 4, 4), (9, 4, 4, 2), (5, 5, 5, 5)] {
            let pixels = vec![0.0; width * height];
            let prepared = prepare(frame(width, height, pixels), &input(size, Some(Tile { size, stride }))).unwrap();
            let mut seen = vec![0; width * height];
            for &(x, y) in &prepared.tiles {
                for row in y..y + size {
                    seen[row * width + x..row * width + x + size].iter_mut().for_each(|count| *count += 1);
                }
            }
            assert!(seen.iter().all(|&count| count > 0), "{width}x{height} in {size}/{stride}");
        }
    }

    #[test]
    fn a_tile_is_the_frame_there() {
        let prepared = prepare(
            frame(5, 4, (0..20).map(|value| value as f32).collect()),
            &input(2, Some(Tile { size: 2, stride: 2 })),
        )
        .unwrap();
        let mut tile = [0.0; 4];
        prepared.copy_tile((3, 2), 2, &mut tile);
        let expected = [13.0, 14.0, 18.0, 19.0].map(|value| value / 65535.0);
        assert_eq!(tile, expected);
    }

    #[test]
    fn blanks_become_the_median_or_a_rejection() {
        let some = prepare(frame(2, 2, vec![1.0, f32::NAN, 3.0, 2.0]), &input(2, None)).unwrap();
        assert_eq!(some.pixels[1], 2.0 / 65535.0);
        let many = prepare(frame(2, 2, vec![1.0, f32::NAN, f32::NAN, 2.0]), &input(2, None)).unwrap_err();
        assert_eq!(many.reason, Reason::TooManyBlank);
    }

    #[test]
    fn colour_averages_to_grey_but_grey_is_no_colour() {
        let grey = prepare(frame(1, 1, vec![3.0, 6.0, 9.0]), &input(1, None)).unwrap();
        assert_eq!(grey.pixels, [6.0 / 65535.0]);
        let colour = Input { channels: 3, ..input(1, None) };
        assert_eq!(prepare(frame(1, 1, vec![3.0]), &colour).unwrap_err().reason, Reason::WrongChannels);
    }

    #[test]
    fn another_size_is_refused_unless_resampled() {
        assert_eq!(prepare(frame(3, 3, vec![1.0; 9]), &input(2, None)).unwrap_err().reason, Reason::WrongSize);
        let resampled = prepare(frame(4, 4, vec![7.0; 16]), &Input { resize: true, ..input(2, None) }).unwrap();
        assert!(resampled.pixels.iter().all(|value| (value * 65535.0 - 7.0).abs() < 1e-3));
    }

    #[test]
    fn resampling_is_the_mean_of_the_area() {
        let ramp = frame(3, 2, vec![100.0, 200.0, 300.0, 400.0, 500.0, 600.0]);
        // Each new pixel covers one row and one and a half columns.
        let expected = [(100.0 + 0.5 * 200.0) / 1.5, (0.5 * 200.0 + 300.0) / 1.5];
        let resampled = resample(ramp, 2);
        assert!(resampled.pixels.iter().zip(expected).all(|(value, expected)| (value - expected).abs() < 1e-3));
        assert!((resampled.pixels[3] - (0.5 * 500.0 + 600.0) / 1.5).abs() < 1e-3);
    }
}
