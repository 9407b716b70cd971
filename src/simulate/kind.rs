//! The instruments and what can go wrong with their frames.

use clap::ValueEnum;

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Instrument {
    /// Star fields on a CCD: 16-bit FITS, electrons.
    Telescope,
    /// Beta particles on a Timepix-like hybrid pixel detector: 16-bit PNG, time over threshold.
    Detector,
}

/// One kind of anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A satellite crosses the field; strength: peak over the sky's noise.
    SatelliteTrail,
    /// A particle through the CCD; strength: its charge in electrons.
    CosmicRay,
    /// A cluster of pixels with a large dark current; strength: their charge in electrons.
    HotPixels,
    /// A column that leaks charge; strength: excess a pixel over the sky's noise.
    HotColumn,
    /// A star so bright that its charge runs along the column; strength: saturated pixels.
    SaturationBleed,
    /// The whole frame out of focus; strength: FWHM over the frame's seeing.
    Defocus,
    /// A point source beside a galaxy's core; strength: its flux over its host's.
    Supernova,
    /// A heavily ionising particle, round with a bright core; strength: its counts.
    AlphaBlob,
    /// A part of the chip that reads nothing; strength: its share of the frame.
    DeadRegion,
    /// A column that fires by itself; strength: the share of its rows that do.
    NoisyColumn,
    /// Two long straight tracks from one vertex; strength: their length in pixels.
    DoubleTrack,
}

impl Instrument {
    /// The kinds of anomaly its frames can have, in the order of rotation.
    pub fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Telescope => &[
                Kind::SatelliteTrail,
                Kind::CosmicRay,
                Kind::HotPixels,
                Kind::HotColumn,
                Kind::SaturationBleed,
                Kind::Defocus,
                Kind::Supernova,
            ],
            Self::Detector => &[Kind::AlphaBlob, Kind::DeadRegion, Kind::NoisyColumn, Kind::DoubleTrack],
        }
    }

    /// Pixels a side unless asked otherwise.
    pub fn default_size(self) -> usize {
        match self {
            Self::Telescope => 512,
            Self::Detector => 256,
        }
    }

    /// File name extension of its frames.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Telescope => "fits",
            Self::Detector => "png",
        }
    }
}

impl Kind {
    /// The word of the truth table and of `--kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SatelliteTrail => "satellite_trail",
            Self::CosmicRay => "cosmic_ray",
            Self::HotPixels => "hot_pixels",
            Self::HotColumn => "hot_column",
            Self::SaturationBleed => "saturation_bleed",
            Self::Defocus => "defocus",
            Self::Supernova => "supernova",
            Self::AlphaBlob => "alpha_blob",
            Self::DeadRegion => "dead_region",
            Self::NoisyColumn => "noisy_column",
            Self::DoubleTrack => "double_track",
        }
    }
}
