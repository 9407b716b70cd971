//! Anomalous frames, each with the scene it was made from: copies of one frame count as one.

use std::collections::BTreeMap;

use super::Kinds;
use super::look::{Seen, look};
use crate::error::Result;
use crate::pipeline::Spec;
use crate::prepare::Prepared;
use crate::score::Scorer;
use crate::simulate::inject::{Injected, Range, inject};
use crate::train::data::Sample;

/// Scenes, each with its frames and their kinds.
pub struct Scenes(Vec<Vec<(String, Prepared)>>);

/// What both versions make of scenes.
pub struct SeenScenes {
    /// Of each scene the kind of its frames.
    kinds: Vec<Vec<String>>,
    /// Under the candidate and the current version.
    seen: [Vec<Vec<Seen>>; 2],
}

impl Scenes {
    /// Of known anomalies, each a scene of its own.
    pub fn known(kinds: &Kinds) -> Self {
        let one = |kind: &String, sample: &Sample| vec![(kind.clone(), sample.prepared.clone())];
        Self(kinds.iter().flat_map(|(kind, samples)| samples.iter().map(move |sample| one(kind, sample))).collect())
    }

    /// Of normal frames of one origin the half that is [`hurt`], with one copy a kind of injected anomaly.
    pub fn injected(frames: &[Sample], clip: bool) -> Self {
        let range = Range::of(&frames.iter().map(|frame| &frame.prepared).collect::<Vec<_>>(), clip);
        let scene = |sample: &Sample| {
            let mut head = [0; 8];
            head.copy_from_slice(&sample.digest.as_bytes()[16..24]);
            let seed = u64::from_be_bytes(head);
            let copy = |kind: Injected| (kind.as_str().to_string(), inject(&sample.prepared, kind, range, seed));
            Injected::ALL.into_iter().map(copy).collect()
        };
        Self(frames.iter().filter(|sample| hurt(sample)).map(scene).collect())
    }

    /// Shows them to both versions.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn look(&self, both: &mut [&mut Scorer; 2], spec: &Spec) -> Result<SeenScenes> {
        let frames: Vec<&Prepared> = self.0.iter().flatten().map(|(_, prepared)| prepared).collect();
        let [candidate, current] = both;
        let mut seen = [Vec::new(), Vec::new()];
        for (scorer, scenes) in [candidate, current].into_iter().zip(&mut seen) {
            let mut each = look(scorer, &frames, spec)?.into_iter();
            *scenes = self.0.iter().map(|scene| each.by_ref().take(scene.len()).collect()).collect();
        }
        let kinds = self.0.iter().map(|scene| scene.iter().map(|(kind, _)| kind.clone()).collect()).collect();
        Ok(SeenScenes { kinds, seen })
    }
}

/// Whether anomalies are put into a frame; the others stand for the normal ones.
pub fn hurt(sample: &Sample) -> bool {
    sample.digest.as_bytes()[24] % 2 == 1
}

impl SeenScenes {
    /// Scores by scene.
    pub fn scores(&self, of: usize) -> Vec<Vec<f64>> {
        self.seen[of].iter().map(|scene| scene.iter().map(|seen| seen.score).collect()).collect()
    }

    /// Share of each scene's frames that are flagged.
    pub fn recalls(&self, of: usize) -> Vec<f64> {
        let flagged = |scene: &Vec<Seen>| scene.iter().filter(|seen| seen.flagged).count();
        self.seen[of].iter().map(|scene| flagged(scene) as f64 / scene.len().max(1) as f64).collect()
    }

    /// Area under the ROC curve of each kind against normal scores, under both versions.
    pub fn by_kind(&self, normal: [&[f64]; 2]) -> BTreeMap<String, [f64; 2]> {
        let mut kinds: BTreeMap<&str, [Vec<f64>; 2]> = BTreeMap::new();
        for (of, scenes) in self.seen.iter().enumerate() {
            for (kind, seen) in self.kinds.iter().flatten().zip(scenes.iter().flatten()) {
                kinds.entry(kind).or_default()[of].push(seen.score);
            }
        }
        let area = |of: usize, scores: &[Vec<f64>; 2]| crate::stats::metrics::auroc(normal[of], &scores[of]);
        let both = |scores: &[Vec<f64>; 2]| Some([area(0, scores)?, area(1, scores)?]);
        kinds.into_iter().filter_map(|(kind, scores)| Some((kind.to_string(), both(&scores)?))).collect()
    }
}
