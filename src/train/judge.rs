//! How a network does on tiles that are not augmented, with the latent at its mean; and what its latent units carry.

use serde::{Deserialize, Serialize};

use super::classes::Classes;
use super::data::Sample;
use super::fit::{TileRef, gather};
use crate::error::Result;
use crate::model::Autoencoder;
use crate::model::supervised::{answer, cross_entropy};

/// Images inferred at once.
const INFER_BATCH: usize = 64;
/// A latent unit is active when its posterior mean varies at least this much over the data (Burda et al. 2016).
pub const ACTIVE_VARIANCE: f64 = 0.01;

/// Losses of some tiles: means a tile, in nats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Reconstruction loss.
    pub nll: f64,
    /// KL of the posterior from the prior.
    pub kl: f64,
    /// Standard error of the mean of the whole loss, at the pipeline's full beta.
    pub error: f64,
    /// What the classification head answers; none without labels.
    pub head: Option<Answers>,
}

impl Loss {
    /// `nll + beta * kl`, and the head's cross-entropy with its weight.
    pub fn whole(&self, beta: f32) -> f64 {
        self.nll + f64::from(beta) * self.kl + self.head.map_or(0.0, |head| head.loss())
    }
}

/// What the classification head answers on tiles whose class is known; where there is no head, the class whose prior is most
/// probable at the latent mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// Weight of the cross-entropy in the loss.
    pub weight: f32,
    /// Mean cross-entropy of a tile whose class is known, nats.
    pub cross_entropy: f64,
    /// Share of right answers among them.
    pub accuracy: f64,
    /// Share of the tiles whose class is known.
    pub known: f64,
}

impl Answers {
    /// What they add to the loss of a tile.
    pub fn loss(&self) -> f64 {
        f64::from(self.weight) * self.known * self.cross_entropy
    }
}

/// What each latent unit carries; of a map, a unit is a value of it, `[dim, h, w]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latent {
    /// Mean KL of each unit's posterior from the prior, nats; empty where the encoder gives a point.
    pub kl: Vec<f32>,
    /// Variance of each unit's posterior mean over the tiles.
    pub variance: Vec<f32>,
}

impl Latent {
    /// Units whose mean varies over the tiles.
    pub fn active(&self) -> usize {
        self.variance.iter().filter(|&&variance| f64::from(variance) > ACTIVE_VARIANCE).count()
    }
}

/// Sums over tiles.
struct Sums {
    beta: f64,
    /// The head's weight; none without labels.
    weight: Option<f32>,
    nll: f64,
    kl: f64,
    squares: f64,
    units: Vec<[f64; 3]>,
    /// Cross-entropy, right answers and tiles, of those whose class is known.
    answers: [f64; 3],
}

/// One tile.
struct Tile<'a> {
    nll: f64,
    kl: f64,
    mean: &'a [f32],
    /// KL of each latent unit; empty where the encoder gives a point.
    of_each: &'a [f64],
    /// Cross-entropy, and whether the answer is right, where the class is known.
    answer: Option<(f64, bool)>,
}

/// Mean losses of the tiles under the present weights, and what the latent units carry over them.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn judge(
    model: &mut Autoencoder,
    (samples, classes): (&[Sample], &Classes),
    tiles: &[TileRef],
    beta: f32,
) -> Result<(Loss, Latent)> {
    let mut sums = Sums::new(beta, model.latent_len(), (!classes.is_empty()).then(|| model.head().unwrap_or(0.0)));
    let (image, latent) = (model.image_len(), model.latent_len());
    for batch in tiles.chunks(INFER_BATCH) {
        let x = gather(samples, batch, model);
        let inference = model.reconstruct(&x)?;
        let (observation, logits) = (model.observation(), model.answers(&inference.mean)?);
        let outputs = x.chunks_exact(image).zip(inference.output.chunks_exact(image));
        let mut log_vars = inference.log_var.chunks_exact(latent);
        let mut logits = logits.chunks_exact(classes.names.len().max(1));
        for (((x, output), mean), tile) in outputs.zip(inference.mean.chunks_exact(latent)).zip(batch) {
            let (class, log_var) = (classes.class(&samples[tile.sample]), log_vars.next().unwrap_or_default());
            let logits = logits.next().unwrap_or_default();
            let scored = |class: u32| (cross_entropy(logits, class as usize), answer(logits).0 == class as usize);
            sums.add(&Tile {
                nll: observation.nll(x, output),
                kl: if log_var.is_empty() { 0.0 } else { model.prior().kl(mean, log_var, class) },
                mean,
                of_each: &model.prior().kl_of_each(mean, log_var, class),
                answer: class.map(scored),
            });
        }
    }
    Ok(sums.finish(tiles.len().max(1) as f64, model.is_variational()))
}

impl Sums {
    fn new(beta: f32, units: usize, weight: Option<f32>) -> Self {
        let units = vec![[0.0; 3]; units];
        Self { beta: f64::from(beta), weight, nll: 0.0, kl: 0.0, squares: 0.0, units, answers: [0.0; 3] }
    }

    fn add(&mut self, tile: &Tile) {
        let (entropy, right) = tile.answer.unwrap_or_default();
        self.nll += tile.nll;
        self.kl += tile.kl;
        let head = f64::from(self.weight.unwrap_or(0.0)) * entropy;
        self.squares += (tile.nll + self.beta * tile.kl + head).powi(2);
        let terms = [entropy, f64::from(u8::from(right)), f64::from(u8::from(tile.answer.is_some()))];
        self.answers.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        for (at, (unit, &z)) in self.units.iter_mut().zip(tile.mean).enumerate() {
            let own = tile.of_each.get(at).copied().unwrap_or(0.0);
            let terms = [f64::from(z), f64::from(z).powi(2), own];
            unit.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
    }

    fn finish(self, count: f64, is_variational: bool) -> (Loss, Latent) {
        let (nll, kl) = (self.nll / count, self.kl / count);
        let [entropy, right, known] = self.answers;
        let head = self.weight.map(|weight| Answers {
            weight,
            cross_entropy: entropy / known.max(1.0),
            accuracy: right / known.max(1.0),
            known: known / count,
        });
        let whole = nll + self.beta * kl + head.map_or(0.0, |head| head.loss());
        let variance = (self.squares / count - whole.powi(2)).max(0.0);
        let spread = |[sum, squares, _]: &[f64; 3]| (squares / count - (sum / count).powi(2)).max(0.0) as f32;
        let latent = Latent {
            kl: if is_variational { self.units.iter().map(|unit| (unit[2] / count) as f32).collect() } else { vec![] },
            variance: self.units.iter().map(spread).collect(),
        };
        (Loss { nll, kl, error: (variance / count).sqrt(), head }, latent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile<'a>(nll: f64, mean: &'a [f32], of_each: &'a [f64]) -> Tile<'a> {
        Tile { nll, kl: of_each.iter().sum(), mean, of_each, answer: None }
    }

    #[test]
    fn sums_come_to_means_their_error_and_what_each_unit_carries() {
        let mut sums = Sums::new(0.5, 2, None);
        // The first unit tells the tiles apart, the second keeps the prior; KL of N(+-2, 1) from N(0, 1) is 2.
        sums.add(&tile(10.0, &[2.0, 0.0], &[2.0, 0.0]));
        sums.add(&tile(14.0, &[-2.0, 0.0], &[2.0, 0.0]));
        let (loss, latent) = sums.finish(2.0, true);
        assert_eq!((loss.nll, loss.kl, loss.head), (12.0, 2.0, None));
        assert!((loss.error - 2.0 / 2f64.sqrt()).abs() < 1e-9, "{loss:?}");
        assert_eq!(latent, Latent { kl: vec![2.0, 0.0], variance: vec![4.0, 0.0] });
        assert_eq!(latent.active(), 1);
    }

    #[test]
    fn a_point_has_no_divergence() {
        let mut sums = Sums::new(1.0, 1, None);
        sums.add(&tile(3.0, &[1.0], &[]));
        let (loss, latent) = sums.finish(1.0, false);
        assert_eq!((loss.kl, loss.error), (0.0, 0.0));
        assert!(latent.kl.is_empty() && latent.variance.len() == 1);
    }

    #[test]
    fn answers_count_where_the_class_is_known() {
        let mut sums = Sums::new(1.0, 1, Some(10.0));
        for answer in [Some((0.1, true)), Some((0.5, false)), None, None] {
            sums.add(&Tile { answer, ..tile(3.0, &[1.0], &[]) });
        }
        let (loss, _) = sums.finish(4.0, false);
        let head = loss.head.unwrap();
        assert!((head.cross_entropy - 0.3).abs() < 1e-12 && (head.accuracy, head.known) == (0.5, 0.5), "{head:?}");
        // Whole losses are 4, 8, 3 and 3.
        assert!((loss.whole(1.0) - 4.5).abs() < 1e-12 && (loss.error - 17f64.sqrt() / 4.0).abs() < 1e-9, "{loss:?}");
    }
}
