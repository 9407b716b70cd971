//! Where frames lie in a model's latent space, on a map of two axes.

use chrono::{DateTime, Utc};

use crate::detector::Detector;
use crate::error::Result;
use crate::measure::describe_latent;
use crate::model::Autoencoder;
use crate::pipeline::Spec;
use crate::prepare::Prepared;
use crate::stats::pca::Pca;
use crate::stats::tsne::{self, tsne};

/// Frames examined at once.
const FRAMES_AT_ONCE: usize = 256;

/// What is known of a frame beside its latents.
#[derive(Debug, Clone)]
pub struct Known {
    /// The file.
    pub source: String,
    /// Position in the file.
    pub frame_index: u32,
    /// Its label, where labels are given.
    pub label: Option<String>,
    /// Its frozen score under the trained model, nats.
    pub score: f64,
    /// When it was observed, where the file says so.
    pub time: Option<DateTime<Utc>>,
}

/// How many axes become two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Principal components: a shadow of the latents, true to scale.
    Pca,
    /// t-SNE: neighbours stay neighbours; distances and axes mean nothing.
    Tsne(tsne::Options),
}

/// A map, and what it says of itself.
#[derive(Debug, Clone)]
pub struct Chart {
    /// A place each.
    pub places: Vec<(f64, f64)>,
    /// What its axes are.
    pub axes: [String; 2],
    /// How much of the latents it shows, in words.
    pub words: String,
}

/// Vectors of frames, row by row.
#[derive(Debug, Clone, Default)]
pub struct Vectors {
    /// `[n, dim]`.
    pub rows: Vec<f32>,
    /// Length of one.
    pub dim: usize,
}

impl Vectors {
    /// Adds a frame by the latent means of its tiles: their mean, of maps described by each channel's mean, spread and
    /// largest magnitude.
    fn add(&mut self, latents: &[Vec<f32>], map: (usize, usize, usize)) {
        let mut sum: Vec<f32> = Vec::new();
        for latent in latents {
            let described = describe_latent(latent, map);
            sum.resize(described.len(), 0.0);
            sum.iter_mut().zip(&described).for_each(|(sum, value)| *sum += value / latents.len() as f32);
        }
        self.dim = sum.len();
        self.rows.append(&mut sum);
    }
}

/// Latent vectors and scores of frames under a fitted model; `on` is told how many are done.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn trained(
    detector: &mut Detector,
    frames: &[&Prepared],
    spec: &Spec,
    mut on: impl FnMut(usize),
) -> Result<(Vectors, Vec<f64>)> {
    let (mut vectors, mut scores) = (Vectors::default(), Vec::with_capacity(frames.len()));
    let map = detector.latent_map();
    for some in frames.chunks(FRAMES_AT_ONCE) {
        for examined in detector.examine(some)? {
            vectors.add(&examined.latents, map);
            scores.push(detector.fitted.tails.frame_score(&examined.tiles, &spec.score));
        }
        on(scores.len());
    }
    Ok((vectors, scores))
}

/// Latent vectors of frames under weights alone: a model before its training has no score.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn untrained(model: &mut Autoencoder, frames: &[&Prepared], mut on: impl FnMut(usize)) -> Result<Vectors> {
    let mut vectors = Vectors::default();
    let (image, latent, map) = (model.image_len(), model.latent_len(), model.latent_map());
    for (done, frame) in frames.iter().enumerate() {
        let mut tiles = vec![0.0; frame.tiles.len() * image];
        for (&corner, out) in frame.tiles.iter().zip(tiles.chunks_exact_mut(image)) {
            frame.copy_tile(corner, model.size(), out);
        }
        let mean = model.reconstruct(&tiles)?.mean;
        vectors.add(&mean.chunks_exact(latent).map(<[f32]>::to_vec).collect::<Vec<_>>(), map);
        on(done + 1);
    }
    Ok(vectors)
}

/// Draws up the map of some vectors; `on` is told how many steps of [`tsne::STEPS`] are done, where there are any.
///
/// # Errors
/// Those of [`tsne()`].
pub fn chart(vectors: &Vectors, method: Method, on: impl FnMut(usize) + Send) -> Result<Chart> {
    let pca = Pca::fit(&vectors.rows, vectors.dim);
    let places = pca.project(&vectors.rows);
    match method {
        Method::Pca => Ok(Chart { places, axes: [0, 1].map(|axis| axis_text(&pca, axis)), words: words(&pca) }),
        Method::Tsne(options) => {
            let map = tsne(&vectors.rows, vectors.dim, &places, options, on)?;
            let divergence = map.divergence.map_or(String::new(), |d| format!(", {d:.2} nats from the latents"));
            let (perplexity, seed) = (options.perplexity, options.seed);
            Ok(Chart {
                places: map.places,
                axes: [1, 2].map(|axis| format!("t-SNE axis {axis} (no unit)")),
                words: format!(
                    "t-SNE, perplexity {perplexity}, seed {seed}{divergence}: near is alike, far distances mean nothing"
                ),
            })
        }
    }
}

fn axis_text(pca: &Pca, axis: usize) -> String {
    format!("principal axis {} ({:.1} % of the variance)", axis + 1, 100.0 * pca.share(axis))
}

fn words(pca: &Pca) -> String {
    let (first, second, needed) = (100.0 * pca.share(0), 100.0 * pca.share(1), pca.needed(0.9));
    format!(
        "the two axes hold {:.1} % of the variance ({first:.1} % and {second:.1} %); {needed} of {} hold 90 %",
        first + second,
        pca.explained.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_the_mean_of_its_tiles() {
        let mut vectors = Vectors::default();
        vectors.add(&[vec![1.0, 2.0], vec![3.0, 6.0]], (2, 1, 1));
        assert_eq!((&vectors.rows[..], vectors.dim), (&[2.0, 4.0][..], 2));
        let mut maps = Vectors::default();
        maps.add(&[vec![1.0, 3.0]], (1, 1, 2));
        assert_eq!((&maps.rows[..], maps.dim), (&[2.0, 1.0, 3.0][..], 3));
    }

    #[test]
    fn explained_variance_is_said_in_words() {
        // Variances 9 and 1 along two of three axes.
        let rows = [3.0, 1.0, 0.0, 3.0, -1.0, 0.0, -3.0, 1.0, 0.0, -3.0, -1.0, 0.0].to_vec();
        let chart = chart(&Vectors { rows, dim: 3 }, Method::Pca, |_| ()).unwrap();
        assert_eq!(chart.axes[0], "principal axis 1 (90.0 % of the variance)");
        assert!(chart.words.contains("100.0 % of the variance (90.0 % and 10.0 %)"), "{}", chart.words);
    }
}
