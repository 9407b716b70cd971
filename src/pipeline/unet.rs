//! `[denoiser]` and `[segmenter]` of a pipeline file: U-Nets beside the model. The image of one is kept as the denoised one, in place
//! of the model's reconstruction; the other says pixel by pixel what is anomalous, in place of the residual.

use serde::{Deserialize, Serialize};

use super::{ExtraNoise, Likelihood, Norm, Spec, Upsample};

/// Widths of the levels, as many of them as `input.size` can be halved for.
const WIDTHS: [usize; 3] = [16, 32, 64];

/// Kinds of network beside the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnetKind {
    /// U-Net (arXiv:1505.04597).
    Unet,
}

/// When a U-Net takes the place of what the model gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// Where it was not found to be worse.
    #[default]
    IfBetter,
    /// In any case.
    Always,
}

/// A network and its fit, with what the file leaves out.
#[derive(Debug, Clone, PartialEq)]
pub struct Unet {
    /// Widths of its levels; each but the last halves the side.
    pub widths: Vec<usize>,
    /// How a level doubles the side.
    pub upsample: Upsample,
    /// Normalisation after each convolution.
    pub norm: Norm,
    /// Most epochs.
    pub epochs: usize,
    /// AdamW's step size at its height.
    pub learning_rate: f32,
    /// Tiles a step.
    pub batch_size: usize,
    /// Most tiles an epoch; all where absent.
    pub tiles_per_epoch: Option<usize>,
}

/// Declares a table of the pipeline file: the keys that every U-Net has, and its own.
macro_rules! table {
    ($(#[$about:meta])* $name:ident { norm = $norm:expr; $($(#[$of:meta])* $key:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// `unet`.
            pub kind: UnetKind,
            /// When it takes the place of what the model gives.
            #[serde(default, rename = "use")]
            pub used: Use,
            /// Widths of its levels; each but the last halves the side [default: 16, 32, 64, as far as `input.size` can be halved].
            pub widths: Option<Vec<usize>>,
            /// How a level doubles the side.
            #[serde(default)]
            pub upsample: Upsample,
            /// Normalisation after each convolution [default: `none` of a denoiser, `group` of a segmenter].
            pub norm: Option<Norm>,
            /// Most epochs.
            #[serde(default = "epochs")]
            pub epochs: usize,
            /// AdamW's step size at its height.
            #[serde(default = "learning_rate")]
            pub learning_rate: f32,
            /// Tiles a step [default: `training.batch_size`].
            pub batch_size: Option<usize>,
            /// Most tiles an epoch [default: `training.tiles_per_epoch`].
            pub tiles_per_epoch: Option<usize>,
            $($(#[$of])* pub $key: $type,)*
        }

        impl $name {
            /// The network and its fit.
            pub fn unet(&self, spec: &Spec) -> Unet {
                Unet {
                    widths: self.widths.clone().unwrap_or_else(|| widths(spec.input.size)),
                    upsample: self.upsample,
                    norm: self.norm.unwrap_or($norm),
                    epochs: self.epochs,
                    learning_rate: self.learning_rate,
                    batch_size: self.batch_size.unwrap_or(spec.training.batch_size),
                    tiles_per_epoch: self.tiles_per_epoch.or(spec.training.tiles_per_epoch),
                }
            }
        }
    };
}

table! {
    /// A network of its own for the denoised image. A norm would take the brightness of a tile away.
    Denoiser {
        norm = Norm::None;
        /// What is added to a frame to learn from where no clean frames are given [default: the noise that `poisson_gaussian`
        /// describes, once more].
        noise: Option<ExtraNoise>,
    }
}

table! {
    /// A network of its own for the anomaly map.
    Segmenter {
        norm = Norm::Group;
        /// What an anomalous pixel counts in the cross-entropy beside a normal one.
        #[serde(default = "one")]
        positive_weight: f32,
        /// What the soft Dice loss counts beside the cross-entropy; 0 for none. Without it what is small is not found: beside a trail
        /// of a thousand pixels a hot one costs the cross-entropy nothing.
        #[serde(default = "one")]
        dice: f32,
    }
}

fn epochs() -> usize {
    12
}

fn learning_rate() -> f32 {
    4e-3
}

fn one() -> f32 {
    1.0
}

/// [`WIDTHS`], less those for which this side cannot be halved.
fn widths(size: usize) -> Vec<usize> {
    let levels = 1 + (size.trailing_zeros() as usize).min(WIDTHS.len() - 1);
    WIDTHS[..levels].to_vec()
}

impl Denoiser {
    /// What is added to a frame to learn from; none where nothing says what the noise is.
    pub fn noise(&self, likelihood: Likelihood) -> Option<ExtraNoise> {
        let counts = matches!(likelihood, Likelihood::PoissonGaussian { .. });
        self.noise.or(counts.then_some(ExtraNoise::Instrument(1.0)))
    }
}

/// The keys that are wrong, and how.
pub(super) fn check(spec: &Spec, require: &mut impl FnMut(bool, &str, &str)) {
    if let Some(denoiser) = &spec.denoiser {
        network("denoiser", &denoiser.unet(spec), spec, require);
        let (ExtraNoise::Instrument(size) | ExtraNoise::Gaussian(size)) =
            denoiser.noise.unwrap_or(ExtraNoise::Instrument(1.0));
        require(size > 0.0 && size.is_finite(), "denoiser.noise", "must be above 0");
        let counts = matches!(spec.model.likelihood, Likelihood::PoissonGaussian { .. });
        let known = counts || !matches!(denoiser.noise, Some(ExtraNoise::Instrument(_)));
        require(known, "denoiser.noise", "is the instrument's only where model.likelihood is poisson_gaussian");
    }
    if let Some(segmenter) = &spec.segmenter {
        network("segmenter", &segmenter.unet(spec), spec, require);
        let Segmenter { positive_weight, dice, .. } = *segmenter;
        require(positive_weight > 0.0 && positive_weight.is_finite(), "segmenter.positive_weight", "must be above 0");
        require(dice >= 0.0 && dice.is_finite(), "segmenter.dice", "must be 0 or more");
    }
}

/// The keys that every U-Net has.
fn network(table: &str, unet: &Unet, spec: &Spec, require: &mut impl FnMut(bool, &str, &str)) {
    let mut require = |holds: bool, key: &str, wrong: &str| require(holds, &format!("{table}.{key}"), wrong);
    let halvings = unet.widths.len().saturating_sub(1).min(30) as u32;
    let sane = !unet.widths.is_empty() && !unet.widths.contains(&0);
    require(sane, "widths", "needs at least one width, all above 0");
    let divides = spec.input.size.is_multiple_of(1 << halvings);
    require(divides, "widths", "halve input.size more often than it can be halved");
    require(unet.epochs > 0, "epochs", "must be above 0");
    require(unet.learning_rate > 0.0, "learning_rate", "must be above 0");
    require(unet.batch_size > 0, "batch_size", "must be above 0");
    require(unet.tiles_per_epoch != Some(0), "tiles_per_epoch", "must be above 0");
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::Result;
    use crate::pipeline::Pipeline;

    const TELESCOPE: &str = include_str!("../../pipelines/telescope.toml");
    const README: &str = include_str!("../../README.md");

    fn with(tables: &str) -> Result<Spec> {
        Ok(Pipeline::parse("sky", Path::new("sky.toml"), format!("{TELESCOPE}\n{tables}"))?.spec)
    }

    #[test]
    fn the_example_of_the_readme_says_the_defaults() {
        let shown: Vec<&str> =
            README.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
        let example = shown.iter().find(|block| block.contains("[denoiser]")).unwrap();
        let (long, short) =
            (with(example).unwrap(), with("[denoiser]\nkind = 'unet'\n[segmenter]\nkind = 'unet'").unwrap());
        let of = |spec: &Spec| {
            let (denoiser, segmenter) = (spec.denoiser.as_ref().unwrap(), spec.segmenter.as_ref().unwrap());
            let noise = denoiser.noise(spec.model.likelihood);
            let own = (segmenter.positive_weight, segmenter.dice, [denoiser.used, segmenter.used]);
            (denoiser.unet(spec), segmenter.unet(spec), noise, own)
        };
        assert_eq!(of(&long), of(&short));
        for key in ["use", "widths", "upsample", "norm", "epochs", "learning_rate", "batch_size", "tiles_per_epoch"] {
            assert!(example.contains(&format!("\n{key} = ")), "{key} is not shown");
        }
    }

    #[test]
    fn widths_follow_the_side_and_a_fault_names_its_table() {
        assert_eq!([64, 28, 30, 25].map(|size| widths(size).len()), [3, 3, 2, 1]);
        for (tables, key) in [
            ("[denoiser]\nkind = 'unet'\nepochs = 0", "denoiser.epochs"),
            ("[segmenter]\nkind = 'unet'\nbatch_size = 0", "segmenter.batch_size"),
            ("[segmenter]\nkind = 'unet'\nnoise = { gaussian = 1.0 }", "noise"),
            ("[denoiser]\nkind = 'unet'\nuse = 'sometimes'", "if_better"),
        ] {
            let message = with(tables).unwrap_err().message;
            assert!(message.contains(key), "{message}");
        }
    }
}
