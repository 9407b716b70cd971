//! `[training]` of a pipeline file: how the weights are fitted.

use serde::{Deserialize, Serialize};

/// How the weights are fitted.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Seed of weights, order and noise.
    pub seed: u64,
    /// Most epochs.
    pub epochs: usize,
    /// Images a step.
    pub batch_size: usize,
    /// AdamW's step size at its height (cosine decay to a hundredth).
    pub learning_rate: f32,
    /// Decoupled L2 (AdamW); biases and norms are exempt.
    pub weight_decay: f32,
    /// Decoupled L1: after each step every weight moves towards zero by `learning_rate * l1`, and stays there where it would
    /// pass it; biases and norms are exempt.
    #[serde(default)]
    pub l1: f32,
    /// Largest global norm of the gradient.
    pub clip_norm: f32,
    /// Epochs over which beta rises from 0.
    pub warmup_epochs: f32,
    /// Epochs without a better validation loss before stopping.
    pub patience: usize,
    /// Shares of train, validation and calibration, and of a sealed test part where there is a fourth; they add up to 1.
    pub split: Shares,
    /// Frames that belong together and are never divided between the parts; each for itself where absent.
    pub group: Option<Group>,
    /// Most tiles an epoch, drawn anew each epoch; all where absent.
    pub tiles_per_epoch: Option<usize>,
    /// Transformations under which a normal tile stays normal; training batches alone see them.
    #[serde(default)]
    pub augment: Augment,
    /// What becomes of a new version that the gate found to be as good as the current one, or better.
    #[serde(default)]
    pub promote: Promotion,
}

/// What becomes of a new version that is good enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promotion {
    /// It becomes the current one.
    #[default]
    Auto,
    /// It waits for somebody to promote it.
    Manual,
}

/// What the instrument's physics allows to change about a tile without making it anomalous. Each is off until declared; of
/// those that are, every training tile has one drawn anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augment {
    /// Shifts along each axis by up to this many pixels; between pixels bilinear interpolation.
    pub translate: f64,
    /// Left and right exchanged.
    pub flip_x: bool,
    /// Top and bottom exchanged.
    pub flip_y: bool,
    /// Quarter turns.
    pub rotate90: bool,
    /// Turns by up to this many degrees either way.
    pub rotate: f64,
    /// Magnifies by a factor between `1 / (1 + scale)` and `1 + scale`; surface brightness stays.
    pub scale: f64,
    /// Multiplies the signal by a factor between `1 - gain` and `1 + gain`.
    pub gain: f32,
    /// Noise on top of the frame's own.
    pub noise: Option<ExtraNoise>,
    /// Rectangles hidden behind the tile's background.
    pub mask: Option<Mask>,
}

/// Noise on top of a frame's own.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ExtraNoise {
    /// Photons counted and read out as `poisson_gaussian` says, times this share: 1 doubles the variance.
    Instrument(f32),
    /// Gaussian, with this standard deviation in the frame's units.
    Gaussian(f32),
}

/// Rectangles hidden behind the tile's background, its median.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// How many in a tile.
    pub count: usize,
    /// Longest side in pixels.
    pub side: usize,
}

impl Augment {
    /// Whether nothing is declared.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Each transformation that is declared, alone, under its key.
    pub fn declared(&self) -> Vec<(&'static str, Self)> {
        let off = Self::default();
        let alone = [
            ("translate", Self { translate: self.translate, ..off }),
            ("flip_x", Self { flip_x: self.flip_x, ..off }),
            ("flip_y", Self { flip_y: self.flip_y, ..off }),
            ("rotate90", Self { rotate90: self.rotate90, ..off }),
            ("rotate", Self { rotate: self.rotate, ..off }),
            ("scale", Self { scale: self.scale, ..off }),
            ("gain", Self { gain: self.gain, ..off }),
            ("noise", Self { noise: self.noise, ..off }),
            ("mask", Self { mask: self.mask, ..off }),
        ];
        alone.into_iter().filter(|(_, augment)| *augment != off).collect()
    }

    /// What is declared, as the pipeline file has it; `none` where nothing is.
    pub fn words(&self) -> String {
        let table = toml::Table::try_from(*self).unwrap_or_default();
        let declared = self.declared().into_iter();
        let words: Vec<String> =
            declared.filter_map(|(name, _)| Some(format!("{name} = {}", table.get(name)?))).collect();
        if words.is_empty() { "none".into() } else { words.join(", ") }
    }
}

/// Shares of the parts of the data, three or four numbers in the file.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct Shares {
    /// Fits the weights.
    pub train: f64,
    /// Stops the training and fits the tails.
    pub validation: f64,
    /// Gives the p-values.
    pub calibration: f64,
    /// Sealed; 0 where the file has three shares.
    pub test: f64,
}

impl TryFrom<Vec<f64>> for Shares {
    type Error = String;

    fn try_from(shares: Vec<f64>) -> Result<Self, String> {
        let (train, validation, calibration, test) = match shares[..] {
            [train, validation, calibration] => (train, validation, calibration, 0.0),
            [train, validation, calibration, test] if test > 0.0 => (train, validation, calibration, test),
            _ => return Err("split needs three or four shares above 0 that add up to 1".into()),
        };
        Ok(Self { train, validation, calibration, test })
    }
}

impl From<[f64; 3]> for Shares {
    fn from([train, validation, calibration]: [f64; 3]) -> Self {
        Self { train, validation, calibration, test: 0.0 }
    }
}

impl From<Shares> for Vec<f64> {
    fn from(shares: Shares) -> Self {
        let mut all = vec![shares.train, shares.validation, shares.calibration];
        all.extend((shares.test > 0.0).then_some(shares.test));
        all
    }
}

/// What frames that belong together have in common.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// What a regular expression matches in the file's path: its first parenthesis, where it has one.
    Path(String),
    /// The value of a keyword in the file's FITS headers.
    Fits(String),
}

impl std::fmt::Display for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(expression) => write!(f, "the path's {expression:?}"),
            Self::Fits(keyword) => write!(f, "the FITS keyword {keyword}"),
        }
    }
}
