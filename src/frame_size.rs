//! Sizes of frames, and those that a certificate holds for.
//!
//! A frame's score is the highest of its tiles, beside their mean and spread: with more tiles the highest is higher, with fewer the
//! spread is less certain, so that a threshold calibrated on frames of one size promises nothing about those of another. A frame is
//! *covered* where its size lies within the range of the calibration frames: tiles across and tiles down, or pixels where frames are
//! resampled to one tile. A size between two that were calibrated on is taken to lie between them in its false alarms, too: the highest
//! tile rises with their number, the scatter of mean and spread falls. What is rare among the calibration frames extends no range,
//! since a rate that is certified for all of them together says nothing about so few.

use std::fmt::{Display, Formatter};

use serde::{Deserialize, Serialize};

use crate::pipeline::Input;
use crate::prepare::Prepared;

/// One part in so many of the calibration frames must be as small as the lower end of the range, and as many as large as the upper.
pub const RARE: usize = 20;

/// How large a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FrameSize {
    /// Tiles across and down.
    pub tiles: [usize; 2],
    /// Width and height in the file.
    pub pixels: [usize; 2],
}

/// The sizes that a version was calibrated on, each axis by itself: those that less than a twentieth of the frames lie below, or above,
/// are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// The lower end of the range.
    pub smallest: FrameSize,
    /// The upper end.
    pub largest: FrameSize,
    /// How many tiles a frame has, fewest and most: portrait and landscape frames are no reason for squares.
    pub tiles: Option<[usize; 2]>,
    /// How many pixels a frame has, fewest and most.
    pub area: Option<[usize; 2]>,
}

/// A frame of another size than its version was calibrated on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherSize {
    /// The frame's.
    pub frame: FrameSize,
    /// The version's.
    pub calibrated: Sizes,
}

impl OtherSize {
    /// What to do about it.
    pub const TO_DO: &str = "train a version on frames of that size too, or give them a pipeline of their own";
}

impl FrameSize {
    /// Of a frame: its tiles form a grid.
    pub fn of(frame: &Prepared) -> Self {
        let across = frame.tiles.iter().filter(|(_, y)| *y == frame.tiles[0].1).count();
        Self { tiles: [across, frame.tiles.len() / across.max(1)], pixels: frame.in_file }
    }

    fn zip(self, other: Self, each: impl Fn(usize, usize) -> usize) -> Self {
        let both = |a: [usize; 2], b: [usize; 2]| [each(a[0], b[0]), each(a[1], b[1])];
        Self { tiles: both(self.tiles, other.tiles), pixels: both(self.pixels, other.pixels) }
    }
}

impl Sizes {
    /// What is said of a version that did not record them.
    pub const UNKNOWN: &str = "the version does not say on frames of which sizes it was calibrated; its certificate holds for no others, \
         which cannot be told apart";

    /// Of calibration frames; `None` where there are none.
    pub fn of(frames: &[FrameSize]) -> Option<Self> {
        let left_out = frames.len().div_ceil(RARE).checked_sub(1)?;
        let ends = [left_out, frames.len() - 1 - left_out];
        let nth = |at: usize, value: &dyn Fn(&FrameSize) -> usize| {
            let mut values: Vec<usize> = frames.iter().map(value).collect();
            *values.select_nth_unstable(at).1
        };
        let [smallest, largest] = ends.map(|at| FrameSize {
            tiles: [0, 1].map(|side| nth(at, &|frame| frame.tiles[side])),
            pixels: [0, 1].map(|side| nth(at, &|frame| frame.pixels[side])),
        });
        let tiles = Some(ends.map(|at| nth(at, &|frame| frame.tiles.iter().product())));
        let area = Some(ends.map(|at| nth(at, &|frame| frame.pixels.iter().product())));
        Some(Self { smallest, largest, tiles, area })
    }

    /// The one size that a pipeline takes; `None` where it takes several.
    pub fn only(input: &Input) -> Option<Self> {
        let size = FrameSize { tiles: [1, 1], pixels: [input.size; 2] };
        (input.tile.is_none() && !input.resize).then_some(Self {
            smallest: size,
            largest: size,
            tiles: None,
            area: None,
        })
    }

    /// Whether a frame of that size is covered.
    pub fn cover(&self, frame: FrameSize, input: &Input) -> bool {
        let within = self.smallest.zip(frame, usize::max).zip(self.largest, usize::min);
        let as_many = |count: [usize; 2], range: Option<[usize; 2]>| {
            let count = count.iter().product();
            range.is_none_or(|[fewest, most]| (fewest..=most).contains(&count))
        };
        if input.resize {
            within.pixels == frame.pixels && as_many(frame.pixels, self.area)
        } else {
            within.tiles == frame.tiles && as_many(frame.tiles, self.tiles)
        }
    }
}

impl Display for FrameSize {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let ([across, down], [width, height]) = (self.tiles, self.pixels);
        match self.tiles {
            [1, 1] => write!(f, "1 tile ({width}x{height} pixels)"),
            _ => write!(f, "{across}x{down} tiles ({width}x{height} pixels)"),
        }
    }
}

impl Display for Sizes {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.smallest)?;
        if self.largest == self.smallest { Ok(()) } else { write!(f, " to {}", self.largest) }
    }
}

impl Display for OtherSize {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "the frame is {}, the model is calibrated on {}", self.frame, self.calibrated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Depth, Frame};
    use crate::pipeline::{Scaling, Tile};
    use crate::prepare::prepare;

    fn input(resize: bool) -> Input {
        let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
        let tile = (!resize).then_some(Tile { size: 4, stride: 4 });
        Input { size: 4, channels: 1, scaling, resize, clip: false, tile, max_blank: 0.3, filters: vec![] }
    }

    fn size(width: usize, height: usize, input: &Input) -> FrameSize {
        let (pixels, depth) = (vec![0.5; width * height], Depth::Unsigned(16));
        let frame = Frame { index: 0, width, height, channels: 1, pixels, depth, observed_at: None, exposure_s: None };
        FrameSize::of(&prepare(frame, input).unwrap())
    }

    #[test]
    fn a_frame_is_as_many_tiles_as_it_is_cut_into_and_the_pixels_of_its_file() {
        assert_eq!(size(13, 8, &input(false)), FrameSize { tiles: [4, 2], pixels: [13, 8] });
        assert_eq!(size(4, 4, &input(false)), FrameSize { tiles: [1, 1], pixels: [4, 4] });
        assert_eq!(size(13, 8, &input(true)), FrameSize { tiles: [1, 1], pixels: [13, 8] });
    }

    #[test]
    fn only_the_tiles_that_were_calibrated_on_are_covered() {
        let tiled = input(false);
        let sizes = Sizes::of(&vec![size(16, 16, &tiled); 300]).unwrap();
        let covers = |width, height| sizes.cover(size(width, height, &tiled), &tiled);
        assert!(covers(16, 16) && covers(13, 16), "13 pixels are cut into as many tiles");
        assert!(!covers(8, 8) && !covers(32, 32) && !covers(16, 20) && !covers(12, 16));
        assert_eq!(sizes.to_string(), "4x4 tiles (16x16 pixels)");
    }

    #[test]
    fn frames_that_are_resampled_go_by_their_pixels() {
        let resized = input(true);
        let sizes = Sizes::of(&vec![size(16, 16, &resized); 300]).unwrap();
        assert!(sizes.cover(size(16, 16, &resized), &resized));
        assert!(!sizes.cover(size(4, 4, &resized), &resized) && !sizes.cover(size(17, 16, &resized), &resized));
    }

    #[test]
    fn a_range_reaches_as_far_as_a_twentieth_of_the_frames_does() {
        let tiled = input(false);
        let mixed = |small: usize, large: usize| {
            let mut frames = vec![size(16, 16, &tiled); 100 - small - large];
            frames.extend(vec![size(8, 8, &tiled); small]);
            frames.extend(vec![size(32, 32, &tiled); large]);
            let sizes = Sizes::of(&frames).unwrap();
            [8, 12, 16, 24, 32, 36].map(|side| sizes.cover(size(side, side, &tiled), &tiled))
        };
        assert_eq!(mixed(0, 0), [false, false, true, false, false, false]);
        assert_eq!(mixed(4, 4), [false, false, true, false, false, false], "strays extend nothing");
        assert_eq!(mixed(5, 0), [true, true, true, false, false, false]);
        assert_eq!(mixed(5, 5), [true, true, true, true, true, false]);
        assert_eq!(Sizes::of(&[]), None);
    }

    #[test]
    fn portrait_and_landscape_frames_are_no_squares() {
        let tiled = input(false);
        let frames = [vec![size(32, 16, &tiled); 100], vec![size(16, 32, &tiled); 100]].concat();
        let sizes = Sizes::of(&frames).unwrap();
        let covers = |width, height| sizes.cover(size(width, height, &tiled), &tiled);
        assert!(covers(32, 16) && covers(16, 32) && !covers(32, 32) && !covers(16, 16));
    }

    #[test]
    fn a_pipeline_that_takes_one_size_needs_no_record_of_it() {
        assert_eq!((Sizes::only(&input(false)), Sizes::only(&input(true))), (None, None));
        let one = Input { tile: None, ..input(false) };
        assert!(Sizes::only(&one).unwrap().cover(size(4, 4, &one), &one));
    }
}
