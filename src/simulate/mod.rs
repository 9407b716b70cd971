//! Frames with known truth: what an instrument sees on a good night or run, and the same with one thing wrong.
//!
//! ```text
//! plan ─kind of each frame→ telescope | detector ─expected signal→ anomaly ─→ noise, readout ─→ FITS | PNG
//!                                                   └ Truth (box, strength) ─────────────────→ truth.parquet, truth.csv
//! ```
//!
//! A frame depends on the seed, its index and its kind alone; the scene behind it on the seed and the index alone, so that an
//! anomalous frame has a normal twin. Every kind is physics with a strength, not a drawing.

pub mod dataset;
pub mod detector;
mod detector_faults;
mod electron;
pub(crate) mod fits;
pub mod folder;
pub mod inject;
pub mod kind;
mod noise;
mod optics;
mod plan;
mod random;
pub mod telescope;
mod telescope_faults;
mod truth;

pub use dataset::{Request, Summary, make};
pub use kind::{Instrument, Kind};
pub use truth::{Region, Truth};

/// One simulated frame.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Pixels a side.
    pub size: usize,
    /// `[size, size]`, row by row: electrons (telescope) or counts of time over threshold (detector).
    pub pixels: Vec<u16>,
    /// What was put in, for an anomalous frame.
    pub truth: Option<Truth>,
    /// `[size, size]`: what the frame would read without the instrument's noise, the anomaly included.
    pub clean: Vec<u16>,
    /// `[size, size]`: the pixels that the anomaly changes by more than their noise, makes fire, or kills.
    pub mask: Vec<bool>,
}

/// Makes frame `index` of the sequence with this seed, `size` pixels a side; `kind` is what is wrong with it.
pub fn frame(instrument: Instrument, size: usize, seed: u64, index: u64, kind: Option<Kind>) -> Simulated {
    match instrument {
        Instrument::Telescope => telescope::frame(size, seed, index, kind),
        Instrument::Detector => detector::frame(size, seed, index, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_depends_on_seed_and_index_alone() {
        for (instrument, size) in [(Instrument::Telescope, 128), (Instrument::Detector, 256)] {
            for kind in std::iter::once(None).chain(instrument.kinds().iter().copied().map(Some)) {
                let first = frame(instrument, size, 7, 3, kind);
                assert_eq!(first.pixels, frame(instrument, size, 7, 3, kind).pixels);
                assert_ne!(first.pixels, frame(instrument, size, 8, 3, kind).pixels);
                assert_ne!(first.pixels, frame(instrument, size, 7, 4, kind).pixels);
                assert_eq!(first.truth.is_some(), kind.is_some());
            }
        }
    }

    #[test]
    fn every_box_lies_in_the_frame() {
        for (instrument, size) in [(Instrument::Telescope, 256), (Instrument::Detector, 256)] {
            for &kind in instrument.kinds() {
                for index in 0..12 {
                    let truth = frame(instrument, size, 5, index, Some(kind)).truth.expect("an anomaly");
                    let region = truth.region;
                    assert!(region.width > 0 && region.height > 0, "{kind:?} {index}: {region:?}");
                    assert!(
                        region.x + region.width <= size && region.y + region.height <= size,
                        "{kind:?}: {region:?}"
                    );
                    assert!(truth.strength.is_finite() && truth.strength > 0.0, "{kind:?}: {}", truth.strength);
                }
            }
        }
    }
}
