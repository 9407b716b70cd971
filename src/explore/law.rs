//! What latents are drawn from: the prior, the aggregate posterior (a Gaussian fitted to the latents of training tiles), or
//! standard normals whatever the model.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::Subject;
use crate::error::{Failure, Kind, Result};
use crate::model::{Autoencoder, Prior};
use crate::stats::gaussian::Mahalanobis;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// What training held a VAE's latents close to: N(0, 1), or N(mu, 1) a class, each in turn; an AE has no prior.
    Prior,
    /// The aggregate posterior: a Gaussian fitted to the latents of the training frames. Of any model.
    Posterior,
    /// N(0, 1) of any model: shows what an AE makes of latents that its training never came by.
    Normal,
}

/// A law of latents.
#[derive(Debug, Clone)]
pub enum Law {
    /// Independent standard normals.
    Standard {
        /// Values of a latent.
        len: usize,
        /// Whether a variational model's latents were held close to them.
        is_prior: bool,
    },
    /// Standard normals about the means of classes, each in turn.
    Classes {
        /// A name and a mean each.
        classes: Vec<(String, Vec<f32>)>,
    },
    /// A Gaussian with the mean and the covariance of the training tiles' latent vectors.
    Fitted(Mahalanobis),
    /// Of a latent map: one Gaussian a channel, the same and independent at each position.
    Channels {
        /// Mean and standard deviation of each channel.
        moments: Vec<(f32, f32)>,
        /// Positions of the map.
        positions: usize,
    },
}

impl Law {
    /// The law of a model's latents that is asked for; `label`: the prior of that class.
    ///
    /// # Errors
    /// [`Kind::Usage`] for the prior of a model or a class that has none; [`Kind::Model`] where what the version keeps of its training
    /// latents does not go with its latent.
    pub fn of(subject: &Subject, source: Source, label: Option<&str>) -> Result<Self> {
        if let Some(label) = label {
            return Self::of_class(subject, label);
        }
        match source {
            Source::Prior => Self::prior(subject.model()).ok_or_else(|| {
                let name = subject.name();
                let message = format!("model {name} is an autoencoder without a prior: nothing held its latents to a law");
                Failure::new(Kind::Usage, message).hint(
                    "--from posterior draws from a Gaussian fitted to the latents of its training frames; --from normal shows what \
                     it makes of N(0, 1)",
                )
            }),
            Source::Posterior => Self::posterior(&subject.name(), subject.reference.latents(), subject.latent_map()),
            Source::Normal => {
                let is_prior = subject.has_prior() && *subject.model().prior() == Prior::Standard;
                Ok(Self::Standard { len: subject.model().latent_len(), is_prior })
            }
        }
    }

    /// The prior of a model; `None` where it has none.
    pub fn prior(model: &Autoencoder) -> Option<Self> {
        let standard = Self::Standard { len: model.latent_len(), is_prior: true };
        let classes = || Self::Classes { classes: classes(model) };
        model.is_variational().then(|| if *model.prior() == Prior::Standard { standard } else { classes() })
    }

    /// The aggregate posterior of a model of this name, by the latents of its training tiles, `(channels, rows, columns)` each.
    ///
    /// # Errors
    /// [`Kind::Model`] where what is kept of the training latents does not go with such a latent.
    pub fn posterior(
        name: &str,
        latents: &Mahalanobis,
        (channels, rows, columns): (usize, usize, usize),
    ) -> Result<Self> {
        let positions = rows * columns;
        let kept = if positions == 1 { channels } else { 3 * channels };
        if latents.dim() != kept {
            let message = format!("model {name} keeps training latents of {} values, not {kept}", latents.dim());
            return Err(Failure::new(Kind::Model, message).hint("train again"));
        }
        Ok(if positions == 1 { Self::Fitted(latents.clone()) } else { Self::channels(latents, positions) })
    }

    fn of_class(subject: &Subject, label: &str) -> Result<Self> {
        let mut classes = classes(subject.model());
        if classes.is_empty() {
            let message = format!("--label: model {} has no prior a class", subject.name());
            return Err(Failure::new(Kind::Usage, message).hint("train a pipeline with prior = true in [model.labels]"));
        }
        let names = classes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        classes.retain(|(name, _)| name == label);
        if classes.is_empty() {
            return Err(Failure::new(Kind::Usage, format!("--label {label}: the model's classes are {names}")));
        }
        Ok(Self::Classes { classes })
    }

    /// The class that the `index`-th latent is drawn from; `None` where there are no classes.
    pub fn class(&self, index: usize) -> Option<&str> {
        let Self::Classes { classes } = self else { return None };
        Some(&classes[index % classes.len()].0)
    }

    /// From the mean and spread of each channel of a tile's map, as they go over the training tiles: the variance of a
    /// value is that of the means, plus the mean square of the spreads.
    fn channels(described: &Mahalanobis, positions: usize) -> Self {
        let variance = described.variances();
        let each = described.mean().chunks_exact(3).zip(variance.chunks_exact(3));
        let moments =
            each.map(|(mean, variance)| (mean[0], (variance[0] + mean[1] * mean[1] + variance[1]).sqrt())).collect();
        Self::Channels { moments, positions }
    }

    /// Draws latents, one after the other: `[count, len]`, a function of the seed. More of them begin with the fewer.
    pub fn draw(&self, count: usize, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut normal =
            |len: usize| -> Vec<f32> { StandardNormal.sample_iter(&mut random).take(count * len).collect() };
        match self {
            Self::Standard { len, .. } => normal(*len),
            Self::Classes { classes } => {
                let len = classes.first().map_or(0, |(_, mean)| mean.len());
                let mut z = normal(len);
                for (z, (_, mean)) in z.chunks_exact_mut(len.max(1)).zip(classes.iter().cycle()) {
                    z.iter_mut().zip(mean).for_each(|(z, mean)| *z += mean);
                }
                z
            }
            Self::Fitted(gaussian) => gaussian.place(&normal(gaussian.dim())),
            Self::Channels { moments, positions } => {
                let mut z = normal(moments.len() * positions);
                for (index, plane) in z.chunks_exact_mut(*positions).enumerate() {
                    let (mean, deviation) = moments[index % moments.len()];
                    plane.iter_mut().for_each(|value| *value = mean + deviation * *value);
                }
                z
            }
        }
    }

    /// Mean and standard deviation of each value of a latent.
    pub fn moments(&self) -> Vec<(f32, f32)> {
        match self {
            Self::Standard { len, .. } => vec![(0.0, 1.0); *len],
            Self::Classes { classes } => mixed(classes),
            Self::Fitted(gaussian) => gaussian
                .mean()
                .iter()
                .zip(gaussian.variances())
                .map(|(&mean, variance)| (mean, variance.sqrt()))
                .collect(),
            Self::Channels { moments, positions } => moments.iter().flat_map(|&both| vec![both; *positions]).collect(),
        }
    }

    /// What it is, in words.
    pub fn text(&self) -> String {
        let text = match self {
            Self::Standard { is_prior: true, .. } => "the prior N(0, 1)",
            Self::Standard { is_prior: false, .. } => "N(0, 1), which is no prior of this model",
            Self::Classes { classes } => match &classes[..] {
                [(name, _)] => return format!("the prior of class {name}"),
                all => return format!("the priors of {} classes in turn", all.len()),
            },
            Self::Fitted(_) => "the aggregate posterior: a Gaussian fitted to the training latents",
            Self::Channels { .. } => {
                "the aggregate posterior: one Gaussian a channel, fitted to the training latents (positions independent)"
            }
        };
        text.to_string()
    }
}

/// The classes of a model's prior, with their names; none of a prior without.
fn classes(model: &Autoencoder) -> Vec<(String, Vec<f32>)> {
    let of = |(class, name): (usize, &String)| Some((name.clone(), model.prior().mean(class)?.to_vec()));
    model.classes().iter().enumerate().filter_map(of).collect()
}

/// Mean and standard deviation of each value of the mixture of some classes.
fn mixed(classes: &[(String, Vec<f32>)]) -> Vec<(f32, f32)> {
    let (len, count) = (classes.first().map_or(0, |(_, mean)| mean.len()), classes.len() as f32);
    let moments = |at: usize| {
        let mean = classes.iter().map(|(_, mean)| mean[at]).sum::<f32>() / count;
        let between = classes.iter().map(|(_, own)| (own[at] - mean).powi(2)).sum::<f32>() / count;
        (mean, (1.0 + between).sqrt())
    };
    (0..len).map(moments).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and standard deviation of some values.
    fn moments(values: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
        let count = values.clone().count() as f32;
        let mean = values.clone().sum::<f32>() / count;
        (mean, (values.map(|value| (value - mean).powi(2)).sum::<f32>() / count).sqrt())
    }

    #[test]
    fn the_same_seed_draws_the_same_and_more_begin_with_the_fewer() {
        let law = Law::Standard { len: 3, is_prior: true };
        assert_eq!(law.draw(4, 7), law.draw(4, 7));
        assert_eq!(law.draw(9, 7)[..12], law.draw(4, 7));
        assert_ne!(law.draw(4, 7), law.draw(4, 8));
    }

    #[test]
    fn classes_come_in_turn_about_their_means() {
        let law = Law::Classes { classes: vec![("a".into(), vec![100.0, 0.0]), ("b".into(), vec![-100.0, 5.0])] };
        let z = law.draw(5, 7);
        let plain = Law::Standard { len: 2, is_prior: true }.draw(5, 7);
        for (index, (z, e)) in z.chunks(2).zip(plain.chunks(2)).enumerate() {
            let mean = if index % 2 == 0 { [100.0, 0.0] } else { [-100.0, 5.0] };
            assert_eq!(z, [e[0] + mean[0], e[1] + mean[1]]);
            assert_eq!(law.class(index), Some(["a", "b"][index % 2]));
        }
        assert_eq!(law.text(), "the priors of 2 classes in turn");
        assert!((law.moments()[0].1 - 10_001f32.sqrt()).abs() < 1e-3 && law.moments()[1].0 == 2.5);
    }

    #[test]
    fn what_is_drawn_has_the_mean_and_covariance_of_the_fit() {
        // x ~ N(5, 2^2), y = x + N(0, 1): covariance 4, 4, 5.
        let e = Law::Standard { len: 2, is_prior: true }.draw(20_000, 1);
        let rows: Vec<f32> = e.chunks(2).flat_map(|e| [5.0 + 2.0 * e[0], 5.0 + 2.0 * e[0] + e[1]]).collect();
        let drawn = Law::Fitted(Mahalanobis::fit(&rows, 2)).draw(20_000, 2);
        let (x, y) = (drawn.iter().copied().step_by(2), drawn.iter().copied().skip(1).step_by(2));
        let ((mean_x, sd_x), (mean_y, sd_y)) = (moments(x.clone()), moments(y.clone()));
        let product = x.zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f32>() / 20_000.0;
        let law = Law::Fitted(Mahalanobis::fit(&rows, 2)).moments();
        assert!((law[0].0 - 5.0).abs() < 0.1 && (law[1].1 - 5f32.sqrt()).abs() < 0.1, "{law:?}");
        for (found, wanted) in [(mean_x, 5.0), (mean_y, 5.0), (sd_x, 2.0), (sd_y, 5f32.sqrt()), (product, 4.0)] {
            assert!((found - wanted).abs() < 0.1, "{found} {wanted}");
        }
    }

    #[test]
    fn a_map_has_the_moments_of_its_channels() {
        // Channel 0: means N(1, 0.5^2), spread 2 throughout; channel 1: mean -3, no spread.
        let e = Law::Standard { len: 1, is_prior: true }.draw(10_000, 1);
        let rows: Vec<f32> = e.iter().flat_map(|e| [1.0 + 0.5 * e, 2.0, 5.0, -3.0, 0.0, 3.0]).collect();
        let drawn = Law::channels(&Mahalanobis::fit(&rows, 6), 4).draw(5_000, 2);
        let channel =
            |c: usize| moments(drawn.chunks(4).skip(c).step_by(2).flatten().copied().collect::<Vec<_>>().into_iter());
        let ((mean, deviation), (other, none)) = (channel(0), channel(1));
        assert!((mean - 1.0).abs() < 0.05 && (deviation - 4.25f32.sqrt()).abs() < 0.05, "{mean} {deviation}");
        assert!((other + 3.0).abs() < 0.01 && none < 0.05, "{other} {none}");
    }
}
