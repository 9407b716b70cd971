//! Sizes of the frames that a version will be calibrated on, and what they make of its certificate: said before the training.

use std::collections::BTreeMap;

use tracing::warn;

use super::data::Sample;
use crate::frame_size::{FrameSize, Sizes};
use crate::pipeline::Spec;

/// Most sizes that are named.
const NAMED: usize = 4;

/// The sizes that the certificate will hold for; warns where frames are left without one, and of components that say nothing.
pub fn examine(frames: &[Sample], calibration: &[usize], spec: &Spec) -> Option<Sizes> {
    let all: Vec<FrameSize> = frames.iter().map(|frame| FrameSize::of(&frame.prepared)).collect();
    let calibrated: Vec<FrameSize> = calibration.iter().map(|&index| all[index]).collect();
    let sizes = Sizes::of(&calibrated)?;
    let doubts = [over_one_tile(&all, spec), rare(&calibrated, sizes, spec)];
    doubts.into_iter().flatten().for_each(|doubt| warn!("{doubt}"));
    Some(sizes)
}

/// Components over the tiles of a frame, where each frame is one.
fn over_one_tile(frames: &[FrameSize], spec: &Spec) -> Option<String> {
    let score = &spec.score;
    let keys = [("score.frame_means", &score.frame_means), ("score.frame_spreads", &score.frame_spreads)];
    let asked: Vec<&str> = keys.into_iter().filter(|(_, of)| !of.is_empty()).map(|(key, _)| key).collect();
    let is_one = frames.iter().all(|frame| frame.tiles == [1, 1]);
    (is_one && !asked.is_empty()).then(|| {
        format!(
            "every frame is one tile, over which a mean is the tile's own value and a spread is 0: leave out {}, or train on frames \
             of several tiles",
            asked.join(" and ")
        )
    })
}

/// Calibration frames of sizes that are too rare among them for the certificate to hold.
fn rare(calibrated: &[FrameSize], sizes: Sizes, spec: &Spec) -> Option<String> {
    let mut rare: BTreeMap<FrameSize, usize> = BTreeMap::new();
    for &frame in calibrated.iter().filter(|&&frame| !sizes.cover(frame, &spec.input)) {
        *rare.entry(frame).or_default() += 1;
    }
    let count: usize = rare.values().sum();
    (count > 0).then(|| {
        let named: Vec<String> = rare.iter().take(NAMED).map(|(size, count)| format!("{count} of {size}")).collect();
        let more = if rare.len() > NAMED { format!(", and {} sizes more", rare.len() - NAMED) } else { String::new() };
        format!(
            "{count} of {} calibration frames are of sizes too rare among them to be certified ({}{more}); the certificate will hold \
             for {sizes}: give more frames of those sizes, leave them out, or give them a pipeline of their own",
            calibrated.len(),
            named.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pipeline::Pipeline;

    fn spec(name: &str) -> Spec {
        Pipeline::load(name, &Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines")).unwrap().spec
    }

    fn size(tiles: usize) -> FrameSize {
        FrameSize { tiles: [tiles; 2], pixels: [64 * tiles; 2] }
    }

    #[test]
    fn what_says_nothing_of_one_tile_is_named_and_only_where_it_is_asked_for() {
        let said = over_one_tile(&[size(1); 3], &spec("telescope")).unwrap();
        assert!(said.contains("leave out score.frame_spreads, or"), "{said}");
        let said = over_one_tile(&[size(1); 3], &spec("detector")).unwrap();
        assert!(said.contains("leave out score.frame_means and score.frame_spreads, or"), "{said}");
        assert_eq!(over_one_tile(&[size(1), size(2)], &spec("telescope")), None);
        assert_eq!(over_one_tile(&[size(1); 3], &spec("digits")), None);
    }

    #[test]
    fn sizes_too_rare_to_be_certified_are_counted_and_named() {
        let said = |mut frames: Vec<FrameSize>| {
            frames.extend([size(8); 100]);
            rare(&frames, Sizes::of(&frames).unwrap(), &spec("telescope"))
        };
        assert_eq!((said(vec![]), said(vec![size(4); 10])), (None, None));
        let few = said(vec![size(4), size(4), size(9)]).unwrap();
        assert!(few.starts_with("3 of 103 calibration frames"), "{few}");
        assert!(few.contains("2 of 4x4 tiles (256x256 pixels), 1 of 9x9 tiles"), "{few}");
        assert!(few.contains("will hold for 8x8 tiles (512x512 pixels): "), "{few}");
        assert!(said((1..=5).map(size).collect()).unwrap().contains(", and 1 sizes more"));
    }
}
