//! Anomalies put into frames that are normal: what any instrument may do wrong, for models whose own anomalies nobody has collected.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::prepare::Prepared;

/// Strengths, in units of [`Range::span`], from the faintest to the brightest: about where good and bad models differ.
const STRENGTHS: [f32; 2] = [0.1, 0.6];
/// Share of the brightest pixels among which a blank region looks for its centre: blanking what is empty changes nothing.
const BRIGHT: usize = 10;

/// A kind of anomaly that is put into a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    /// One to three single pixels too bright.
    HotPixel,
    /// A straight line across the frame, one pixel wide.
    Line,
    /// A round spot.
    Blob,
    /// A rectangle that reads nothing.
    Blank,
    /// The whole frame brighter.
    BrightnessJump,
}

impl Injected {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::HotPixel, Self::Line, Self::Blob, Self::Blank, Self::BrightnessJump];

    /// Its word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HotPixel => "hot_pixel",
            Self::Line => "line",
            Self::Blob => "blob",
            Self::Blank => "blank",
            Self::BrightnessJump => "brightness_jump",
        }
    }
}

/// The values that normal frames take, scaled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// What an empty pixel reads.
    pub low: f32,
    /// From the middle to the brightest thousandth; at least six standard deviations of the noise.
    pub span: f32,
    /// Values are cut to [0, 1].
    pub clip: bool,
}

impl Range {
    /// Of some normal frames.
    pub fn of(frames: &[&Prepared], clip: bool) -> Self {
        let step = (frames.iter().map(|frame| frame.pixels.len()).sum::<usize>() / 1_000_000).max(1);
        let mut values: Vec<f32> = frames.iter().flat_map(|frame| &frame.pixels).step_by(step).copied().collect();
        values.sort_by(f32::total_cmp);
        let at = |share: f64| values.get((share * values.len() as f64) as usize).copied().unwrap_or(0.0);
        let middle = at(0.5);
        let mut away: Vec<f32> = values.iter().map(|value| (value - middle).abs()).collect();
        away.sort_by(f32::total_cmp);
        let noise = 1.4826 * away.get(away.len() / 2).copied().unwrap_or(0.0);
        let span = (at(0.999) - middle).max(6.0 * noise).max(f32::MIN_POSITIVE);
        Self { low: at(0.001), span, clip }
    }
}

/// Puts an anomaly into a frame; where, and how strong, is a function of the seed.
pub fn inject(frame: &Prepared, kind: Injected, range: Range, seed: u64) -> Prepared {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut frame = frame.clone();
    let strength = range.span * STRENGTHS[0] * (STRENGTHS[1] / STRENGTHS[0]).powf(random.random::<f32>());
    match kind {
        Injected::HotPixel => hot_pixels(&mut frame, 2.0 * strength, &mut random),
        Injected::Line => line(&mut frame, strength, &mut random),
        Injected::Blob => blob(&mut frame, strength, &mut random),
        Injected::Blank => blank(&mut frame, range.low, &mut random),
        Injected::BrightnessJump => frame.pixels.iter_mut().for_each(|value| *value += 0.5 * strength),
    }
    if range.clip {
        frame.pixels.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
    }
    frame
}

fn hot_pixels(frame: &mut Prepared, strength: f32, random: &mut ChaCha8Rng) {
    for _ in 0..random.random_range(1..=3) {
        let (x, y) = (random.random_range(0..frame.width), random.random_range(0..frame.height));
        add(frame, x, y, strength);
    }
}

/// From one side to the opposite one.
fn line(frame: &mut Prepared, strength: f32, random: &mut ChaCha8Rng) {
    let (width, height) = (frame.width, frame.height);
    let steep = random.random::<bool>();
    let (long, short) = if steep { (height, width) } else { (width, height) };
    let ends = [random.random_range(0..short) as f32, random.random_range(0..short) as f32];
    for step in 0..long {
        let share = step as f32 / long.max(2) as f32;
        let across = ((ends[0] + share * (ends[1] - ends[0])).round() as usize).min(short - 1);
        let (x, y) = if steep { (across, step) } else { (step, across) };
        add(frame, x, y, strength);
    }
}

fn blob(frame: &mut Prepared, strength: f32, random: &mut ChaCha8Rng) {
    let side = frame.width.min(frame.height) as f32;
    let sigma = (side * random.random_range(0.03..0.1)).max(0.7);
    let (at_x, at_y) = (random.random_range(0..frame.width) as f32, random.random_range(0..frame.height) as f32);
    for y in 0..frame.height {
        for x in 0..frame.width {
            let square = (x as f32 - at_x).powi(2) + (y as f32 - at_y).powi(2);
            add(frame, x, y, strength * (-0.5 * square / sigma.powi(2)).exp());
        }
    }
}

fn blank(frame: &mut Prepared, low: f32, random: &mut ChaCha8Rng) {
    let (width, height) = (frame.width, frame.height);
    let plane = width * height;
    let mut order: Vec<usize> = (0..plane).collect();
    let bright = (plane / BRIGHT).max(1);
    order.select_nth_unstable_by(bright.min(plane - 1), |&a, &b| frame.pixels[b].total_cmp(&frame.pixels[a]));
    let centre = order[random.random_range(0..bright)];
    let half = |side: usize, random: &mut ChaCha8Rng| (side as f32 * random.random_range(0.1..0.2)) as usize;
    let (half_x, half_y) = (half(width, random), half(height, random));
    let (at_x, at_y) = (centre % width, centre / width);
    for channel in 0..frame.channels {
        for y in at_y.saturating_sub(half_y)..(at_y + half_y + 1).min(height) {
            let row = channel * plane + y * width;
            let (from, to) = (at_x.saturating_sub(half_x), (at_x + half_x + 1).min(width));
            frame.pixels[row + from..row + to].fill(low);
        }
    }
}

/// Adds to a pixel in every channel.
fn add(frame: &mut Prepared, x: usize, y: usize, strength: f32) {
    let plane = frame.width * frame.height;
    for channel in 0..frame.channels {
        frame.pixels[channel * plane + y * frame.width + x] += strength;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Scaling;

    fn frame() -> Prepared {
        let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
        let pixels = (0..2 * 30 * 20).map(|at| (at * 37 % 101) as f32 / 200.0).collect();
        Prepared { width: 30, height: 20, channels: 2, pixels, tiles: vec![(0, 0)], in_file: [30, 20], scaling }
    }

    #[test]
    fn every_kind_changes_what_it_says_and_nothing_else() {
        let frame = frame();
        let range = Range::of(&[&frame], true);
        for kind in Injected::ALL {
            for seed in 0..20 {
                let changed = inject(&frame, kind, range, seed);
                assert_eq!(changed.pixels, inject(&frame, kind, range, seed).pixels);
                assert!(changed.pixels.iter().all(|value| (0.0..=1.0).contains(value)));
                let pairs = || frame.pixels[..600].iter().zip(&changed.pixels);
                let count = pairs().filter(|(a, b)| a != b).count();
                let brighter = pairs().all(|(a, b)| b >= a);
                let fits = match kind {
                    Injected::HotPixel => (1..=3).contains(&count) && brighter,
                    Injected::Line => (20..=30).contains(&count) && brighter,
                    Injected::Blob => count > 5 && brighter,
                    Injected::Blank => (1..=13 * 9).contains(&count),
                    Injected::BrightnessJump => count == 600 && brighter,
                };
                assert!(fits, "{kind:?} {seed}: {count}");
            }
        }
    }

    #[test]
    fn the_range_is_of_the_frames_not_of_their_extremes() {
        let mut frame = frame();
        frame.pixels = (0..1200).map(|at| (at % 100) as f32).collect();
        frame.pixels[0] = 1e6;
        let range = Range::of(&[&frame], false);
        assert_eq!(range.low, 0.0);
        // A uniform law of width 100 has a median deviation of 25: six sigma is 222.
        assert!((range.span - 6.0 * 1.4826 * 25.0).abs() < 3.0, "{range:?}");
    }
}
