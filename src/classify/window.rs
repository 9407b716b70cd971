//! Where in a flagged frame a classifier looks: a window of a tile's size, with what is odd in its middle.
//!
//! A network of few labelled frames does not learn to find an anomaly wherever it lies: LeNet-5 was made for characters that had
//! been centred.

use crate::detector::Detector;
use crate::error::Result;
use crate::pipeline::Spec;
use crate::prepare::Prepared;
use crate::reference::Components;

/// The corner of the window around the largest smoothed residual of the tile that stands out most, moved inwards at the frame's edge.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn corner(detector: &mut Detector, spec: &Spec, frame: &Prepared, tiles: &[Components]) -> Result<(usize, usize)> {
    if (frame.width, frame.height) == (spec.input.size, spec.input.size) {
        return Ok((0, 0));
    }
    let tails = &detector.fitted.tails;
    let evidence: Vec<f64> = tiles.iter().map(|tile| tails.evidence(tile, &spec.score)).collect();
    let most = (0..evidence.len()).max_by(|&a, &b| evidence[a].total_cmp(&evidence[b])).unwrap_or_default();
    let (size, (left, top)) = (spec.input.size, frame.tiles[most]);
    let map = detector.tile_residual(frame, (left, top))?;
    let peak = (0..map.len()).max_by(|&a, &b| map[a].total_cmp(&map[b])).unwrap_or_default();
    let around = |at: usize, length: usize| at.saturating_sub(size / 2).min(length - size);
    Ok((around(left + peak % size, frame.width), around(top + peak / size, frame.height)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::image::{Depth, Frame};
    use crate::pipeline::Pipeline;
    use crate::prepare::prepare;
    use crate::score::Scorer;
    use crate::simulate::{Kind, Simulated, telescope};
    use crate::store;

    const SIDE: usize = 256;

    #[test]
    fn what_is_odd_lies_in_the_middle() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pipeline = Pipeline::load("telescope", &root.join("pipelines")).unwrap();
        let version = store::load(&root.join("models"), &pipeline).unwrap();
        let mut scorer = Scorer::of(&pipeline, version, "cpu").unwrap();
        let size = pipeline.spec.input.size;
        let (mut inside, mut flagged) = (0, 0);
        for index in 0..30 {
            let kind = [Kind::HotPixels, Kind::CosmicRay, Kind::HotColumn][index as usize % 3];
            let Simulated { pixels, truth, .. } = telescope::frame(SIDE, 5, index, Some(kind));
            let frame = Frame {
                index: 0,
                width: SIDE,
                height: SIDE,
                channels: 1,
                pixels: pixels.into_iter().map(f32::from).collect(),
                depth: Depth::Unsigned(16),
                observed_at: None,
                exposure_s: None,
            };
            let prepared = prepare(frame, &pipeline.spec.input).unwrap();
            let Some((x, y)) = scorer.flagged_windows(&[&prepared]).unwrap()[0] else { continue };
            flagged += 1;
            // At the frame's edge the middle of a window is as near as it comes.
            let region = truth.unwrap().region;
            let reached = |start: usize, first: usize, length: usize| {
                let middle = start + size / 2;
                let near = first.saturating_sub(2)..first + length + 2;
                near.contains(&middle)
                    || start == 0 && first < size / 2
                    || start + size == SIDE && first + length > SIDE - size / 2
            };
            inside += usize::from(reached(x, region.x, region.width) && reached(y, region.y, region.height));
        }
        assert!(flagged >= 20 && inside * 10 >= flagged * 8, "{inside} of {flagged}");
    }
}
