//! t-SNE (van der Maaten & Hinton 2008) by Barnes-Hut (van der Maaten 2014): near vectors stay near on a map of two axes.

use bhtsne::tSNE;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::error::{Failure, Kind, Result};

/// Fewest vectors that make a map, and most: of more, a map takes longer than anyone waits.
pub const FEWEST: usize = 20;
/// See [`FEWEST`].
pub const MOST: usize = 20_000;
/// Steps of the descent, a quarter of them exaggerated: the library's own, as in the reference implementation.
pub const STEPS: usize = 1000;
/// Opening angle of the tree: the published choice.
const THETA: f32 = 0.5;
/// Deviation of the start along its first axis (Kobak & Berens 2019), and of what the seed adds to it.
const START: f64 = 1e-4;
const JITTER: f64 = 1e-5;

/// How to map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Neighbours that each vector keeps, as it were; at most a third of the vectors.
    pub perplexity: f32,
    /// Where the start is a little off its given places; the same seed gives the same map.
    pub seed: u64,
}

/// A map of vectors, and how well it holds.
#[derive(Debug, Clone)]
pub struct Map {
    /// A place each. Its axes and unit mean nothing; nor do distances between what is far apart.
    pub places: Vec<(f64, f64)>,
    /// Kullback-Leibler divergence of the map from the vectors, nats; none where it cannot be had.
    pub divergence: Option<f32>,
}

/// Maps `rows` (`[n, dim]`, row-major), beginning close to a place each; `on` is told how many of [`STEPS`] are done. On one
/// thread, so that sums have one order and the same rows and seed give the same map on every machine of a kind.
///
/// # Errors
/// Those of [`check`], and [`Kind::Data`] for a row that is not finite.
pub fn tsne(
    rows: &[f32],
    dim: usize,
    start: &[(f64, f64)],
    options: Options,
    mut on: impl FnMut(usize) + Send,
) -> Result<Map> {
    let vectors: Vec<&[f32]> = rows.chunks_exact(dim).collect();
    check(vectors.len(), options.perplexity)?;
    if rows.iter().any(|value| !value.is_finite()) {
        return Err(Failure::new(Kind::Data, "t-SNE needs finite latents, and one is not")
            .hint("look at the model's report.html"));
    }
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let alone = alone.map_err(|error| Failure::new(Kind::Internal, format!("cannot start a thread: {error}")))?;
    let start = near(start, options.seed);
    let (places, divergence) = alone.install(|| {
        let mut fit: tSNE<'_, f32, &[f32]> = tSNE::new(&vectors);
        fit.epochs(STEPS).perplexity(options.perplexity).initial_embedding(start);
        fit.epoch_callback(|step, _| on(step + 1));
        fit.barnes_hut(THETA, |a, b| a.iter().zip(b.iter()).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt());
        (fit.embedding(), fit.kl_divergence())
    });
    let places = places.chunks_exact(2).map(|place| (f64::from(place[0]), f64::from(place[1]))).collect();
    Ok(Map { places, divergence })
}

/// The perplexity that is taken where none is asked for: 30, or what few vectors allow.
pub fn usual_perplexity(count: usize) -> f32 {
    30f32.min(highest_perplexity(count) as f32).max(1.0)
}

/// Each vector is to have three times as many neighbours as the perplexity.
fn highest_perplexity(count: usize) -> usize {
    count.saturating_sub(1) / 3
}

/// Whether as many vectors can be mapped with this perplexity.
///
/// # Errors
/// [`Kind::Data`] for too few or too many, or a perplexity that is too high for them.
pub fn check(count: usize, perplexity: f32) -> Result<()> {
    let refused = |message: String, hint: String| Err(Failure::new(Kind::Data, message).hint(hint));
    if count < FEWEST {
        let message = format!("t-SNE needs {FEWEST} vectors at least, there are {count}");
        return refused(message, "give more --data, or take --method pca".into());
    }
    if count > MOST {
        let message = format!("t-SNE of {count} vectors would take too long: {MOST} are the most");
        return refused(message, format!("take --most {MOST} or fewer, or --method pca"));
    }
    let highest = highest_perplexity(count);
    if !(1.0..=highest as f32).contains(&perplexity) {
        let message = format!("a perplexity of {perplexity} does not go with {count} vectors: 1 to {highest} does");
        return refused(message, format!("take --perplexity {}, or give more --data", usual_perplexity(count)));
    }
    Ok(())
}

/// The places, brought to the size of a start, each a little off.
fn near(places: &[(f64, f64)], seed: u64) -> Vec<f32> {
    let square = places.iter().map(|place| place.0 * place.0).sum::<f64>() / places.len().max(1) as f64;
    let unit = if square > 0.0 { START / square.sqrt() } else { 1.0 };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut off = |value: f64| -> f32 {
        let e: f64 = StandardNormal.sample(&mut random);
        (value * unit + JITTER * e) as f32
    };
    places.iter().flat_map(|place| [off(place.0), off(place.1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options { perplexity: 20.0, seed: 1 };

    /// Three clouds of eight dimensions, far apart, one after the other.
    fn clouds(each: usize) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut value = || -> f32 { StandardNormal.sample(&mut random) };
        (0..3 * each * 8).map(|at| value() + if at % 8 == at / (each * 8) { 30.0 } else { 0.0 }).collect()
    }

    fn start(rows: &[f32]) -> Vec<(f64, f64)> {
        rows.chunks(8).map(|row| (f64::from(row[0]), f64::from(row[1]))).collect()
    }

    #[test]
    fn clouds_stay_apart_and_the_same_seed_gives_the_same_map() {
        let rows = clouds(60);
        let mut steps = Vec::new();
        let map = tsne(&rows, 8, &start(&rows), OPTIONS, |step| steps.push(step)).unwrap();
        assert_eq!(steps, (1..=STEPS).collect::<Vec<_>>());
        let again = |options: Options| tsne(&rows, 8, &start(&rows), options, |_| ()).unwrap().places;
        assert_eq!(map.places, again(OPTIONS));
        assert_ne!(map.places, again(Options { seed: 2, ..OPTIONS }));
        assert_ne!(map.places, again(Options { perplexity: 5.0, ..OPTIONS }));
        let distance =
            |a: usize, b: usize| (map.places[a].0 - map.places[b].0).hypot(map.places[a].1 - map.places[b].1);
        for a in 0..180 {
            let nearest = (0..180).filter(|&b| b != a).min_by(|&b, &c| distance(a, b).total_cmp(&distance(a, c)));
            assert_eq!(nearest.unwrap() / 60, a / 60, "{a} stands in another cloud");
        }
        assert!(map.divergence.is_some_and(|divergence| divergence > 0.0 && divergence < 3.0), "{:?}", map.divergence);
    }

    #[test]
    fn what_cannot_be_mapped_is_refused_with_the_reason() {
        let refused = |rows: &[f32], perplexity: f32| {
            let failure = tsne(rows, 8, &start(rows), Options { perplexity, seed: 1 }, |_| ()).unwrap_err();
            assert_eq!(failure.kind, Kind::Data);
            failure.message
        };
        let rows = clouds(7);
        assert!(refused(&rows[..8 * 5], 5.0).contains("20 vectors at least, there are 5"));
        assert!(refused(&rows, 7.0).contains("1 to 6 does"));
        assert!(refused(&rows, f32::NAN).contains("1 to 6 does"));
        assert!(refused(&vec![0.0; 8 * (MOST + 1)], 30.0).contains("20000 are the most"));
        let mut broken = rows.clone();
        broken[9] = f32::NAN;
        assert!(refused(&broken, 5.0).contains("finite"));
        assert_eq!(
            tsne(&rows, 8, &start(&rows), Options { perplexity: 6.0, seed: 1 }, |_| ()).unwrap().places.len(),
            21
        );
    }

    #[test]
    fn equal_vectors_are_mapped_as_well() {
        let rows = vec![1.0; 8 * 30];
        let map = tsne(&rows, 8, &[(0.0, 0.0); 30], Options { perplexity: 5.0, seed: 1 }, |_| ()).unwrap();
        assert!(map.places.iter().all(|place| place.0.is_finite() && place.1.is_finite()));
    }
}
