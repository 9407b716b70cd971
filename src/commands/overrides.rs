//! Flags that stand in for keys of a pipeline's `[training]`.

use crate::error::{Failure, Kind, Result};
use crate::pipeline::{Augment, Pipeline};

/// What a training changes about its pipeline; the manifest records the outcome.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Overrides {
    /// Seed of weights, order and noise [default: the pipeline's].
    #[arg(long)]
    pub seed: Option<u64>,
    /// Most epochs [default: the pipeline's].
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Decoupled L2 of the weights [default: the pipeline's].
    #[arg(long, value_name = "STRENGTH")]
    pub weight_decay: Option<f32>,
    /// Decoupled L1 of the weights, which reaches exact zeros [default: the pipeline's].
    #[arg(long, value_name = "STRENGTH")]
    pub l1: Option<f32>,
    /// A transformation of training tiles, as `[training.augment]` has it; may be repeated: `--augment rotate=15`.
    #[arg(long, value_name = "KEY=VALUE")]
    pub augment: Vec<String>,
}

impl Overrides {
    /// Changes the pipeline, and checks it again.
    ///
    /// # Errors
    /// [`crate::error::Kind::Settings`] for a value that the key does not take.
    pub fn apply(&self, pipeline: &mut Pipeline) -> Result<()> {
        let training = &mut pipeline.spec.training;
        training.seed = self.seed.unwrap_or(training.seed);
        training.epochs = self.epochs.unwrap_or(training.epochs);
        training.weight_decay = self.weight_decay.unwrap_or(training.weight_decay);
        training.l1 = self.l1.unwrap_or(training.l1);
        for given in &self.augment {
            training.augment = declare(training.augment, given)?;
        }
        pipeline.check()
    }
}

/// The augmentation with one more key set.
///
/// # Errors
/// [`Kind::Usage`] for what is no key, or no value of it.
pub fn declare(augment: Augment, given: &str) -> Result<Augment> {
    let wrong = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("--augment {given}: {why}"))
            .hint("give a key of [training.augment] and its value: rotate=15, flip_x=true, 'noise={ gaussian = 2.5 }'")
    };
    let mut table = toml::Table::try_from(augment).map_err(|error| wrong(&error))?;
    let set: toml::Table = toml::from_str(given).map_err(|error| wrong(&error.message()))?;
    table.extend(set);
    table.try_into().map_err(|error: toml::de::Error| wrong(&error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::ExtraNoise;

    #[test]
    fn keys_are_set_one_by_one_and_wrong_ones_named() {
        let augment = declare(Augment { flip_x: true, ..Augment::default() }, "rotate=15.5").unwrap();
        assert_eq!(augment, Augment { flip_x: true, rotate: 15.5, ..Augment::default() });
        let augment = declare(augment, "noise={ gaussian = 2.5 }").unwrap();
        assert_eq!(augment.noise, Some(ExtraNoise::Gaussian(2.5)));
        assert_eq!(declare(augment, "translate=3").unwrap().translate, 3.0);
        for wrong in ["rotated=1", "rotate", "rotate=fast"] {
            let failure = declare(augment, wrong).unwrap_err();
            assert_eq!(failure.kind, Kind::Usage);
            assert!(failure.message.contains(wrong), "{failure}");
        }
    }
}
