use std::sync::atomic::AtomicBool;

use super::masked::Parts;
use super::*;
use crate::image::Limits;
use crate::pipeline::Pipeline;
use crate::simulate::{Instrument, Kind as Anomaly, Request, make};
use crate::stats::pixels::PixelTally;
use crate::train::data::Sample;

const SIDE: usize = 16;
const SEGMENTER: &str = "[segmenter]\nkind = \"unet\"\nwidths = [8, 16]\nnorm = \"none\"\nepochs = 40\nlearning_rate = 4e-3\nbatch_size = 8\ndice = 0.0\n";

fn text(segmenter: &str) -> String {
    include_str!("../../pipelines/telescope.toml").to_string() + "\n" + segmenter
}

fn spec() -> Spec {
    let mut spec = Pipeline::parse("sky", Path::new("sky.toml"), text(SEGMENTER)).unwrap().spec;
    spec.input.size = SIDE;
    spec.training.tiles_per_epoch = None;
    spec.training.patience = 40;
    spec
}

/// Noise, two columns by four tiles of it; in every other frame a bright bar on a faint one that is normal.
fn set(spec: &Spec, count: usize) -> Masked {
    let mut set = Masked::default();
    for index in 0..count {
        let (width, height) = (2 * SIDE, 4 * SIDE);
        let mask: Vec<bool> = (0..width * height)
            .map(|at| index % 2 == 0 && at / width == 5 + 2 * index % 50 && (4..20).contains(&(at % width)))
            .collect();
        let pixels = (0..width * height).map(|at| {
            let noise = ((at * 7919 + index * 104_729) % 2003) as f32 / 1000.0 - 1.0;
            let faint = f32::from(u8::from(at % width == 3 + index % 20));
            noise + faint + if mask[at] { 5.0 } else { 0.0 }
        });
        let prepared = Prepared {
            width,
            height,
            channels: 1,
            pixels: pixels.collect(),
            tiles: (0..8).map(|tile| (tile % 2 * SIDE, tile / 2 * SIDE)).collect(),
            in_file: [width, height],
            scaling: spec.input.scaling,
        };
        let digest = blake3::hash(&[index as u8]);
        set.kinds.push(if index % 2 == 0 { "bar" } else { "normal" }.into());
        set.masks.push(mask);
        set.frames.push(Sample {
            source: format!("f/{index}.fits").into(),
            index: 0,
            digest,
            observed_at: None,
            prepared,
        });
    }
    set
}

#[test]
fn what_is_anomalous_is_marked_in_frames_it_has_not_seen() {
    let spec = spec();
    let set = set(&spec, 60);
    let parts = set.parts().unwrap();
    let stop = AtomicBool::new(false);
    let wanted = spec.segmenter.as_ref().unwrap();
    let (segmenter, _) = lesson::fit((&spec, wanted), (&set, &parts), Device::Cpu, (&stop, &mut |_| {})).unwrap();
    let mut tally = PixelTally::default();
    for &index in &parts.held {
        tally.add(&segmenter.apply(&set.frames[index].prepared).unwrap(), &set.masks[index]);
    }
    let dice = tally.marked(segmenter.threshold).dice().unwrap();
    assert!(dice > 0.8, "Dice {dice} from {} on", segmenter.threshold);
}

#[test]
fn every_kind_is_held_out_and_no_frame_is_two_things() {
    let set = set(&spec(), 60);
    let Parts { train, validation, held } = set.parts().unwrap();
    assert_eq!((train.len(), validation.len(), held.len()), (42, 6, 12));
    let mut all = [train, validation.clone(), held.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..60).collect::<Vec<_>>());
    for part in [validation, held] {
        assert_eq!(part.iter().filter(|&&index| set.kinds[index] == "bar").count(), part.len() / 2);
    }
    let few = set_without_anomalies_but(&spec(), 1);
    assert!(few.parts().unwrap_err().message.contains("none with an anomaly is left for"));
}

/// Two anomalies are too few for three parts.
fn set_without_anomalies_but(spec: &Spec, count: usize) -> Masked {
    let mut set = set(spec, 10);
    set.masks.iter_mut().skip(2 * count).for_each(|mask| mask.fill(false));
    set
}

#[test]
fn a_segmenter_that_cannot_be_is_refused_by_its_key() {
    let refused = |from: &str, to: &str| {
        let text = text(&SEGMENTER.replace(from, to));
        Pipeline::parse("sky", Path::new("sky.toml"), text).unwrap_err().message
    };
    assert!(refused("[8, 16]", "[]").contains("segmenter.widths"));
    assert!(refused("[8, 16]", "[8, 8, 8, 8, 8, 8, 8, 8]").contains("segmenter.widths"));
    assert!(refused("epochs = 40", "epochs = 0").contains("segmenter.epochs"));
    assert!(refused("epochs = 40", "epochs = 2\npositive_weight = 0").contains("segmenter.positive_weight"));
    assert!(refused("dice = 0.0", "dice = -1.0").contains("segmenter.dice"));
}

#[test]
fn frames_are_found_by_the_names_of_their_masks() {
    let house = tempfile::tempdir().unwrap();
    let folder = house.path().join("sim");
    let request = Request {
        instrument: Instrument::Telescope,
        count: 6,
        seed: 1,
        anomalies: 0.5,
        kinds: vec![Anomaly::HotColumn],
        size: 64,
        split: true,
        clean: false,
        masks: true,
        out: folder.clone(),
    };
    make(&request, || {}).unwrap();
    let mut input = spec().input;
    (input.size, input.tile) = (64, None);
    let load = || Masked::load(&[folder.clone(), folder.clone()], &input, &Limits::default());
    let set = load().unwrap();
    assert_eq!((set.frames.len(), set.rejected), (6, 0), "each content once");
    for ((frame, mask), kind) in set.frames.iter().zip(&set.masks).zip(&set.kinds) {
        let column = frame.source.to_string_lossy().contains("hot_column");
        assert_eq!(
            (kind.as_str(), mask.contains(&true)),
            if column { ("hot_column", true) } else { ("normal", false) }
        );
    }
    let normal = std::fs::read_dir(folder.join("normal")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&normal).unwrap();
    let failure = load().unwrap_err();
    assert!(failure.message.contains("masks/normal/frame-"), "{failure}");
    std::fs::remove_dir_all(folder.join("masks")).unwrap();
    assert!(load().unwrap_err().message.contains("no folder masks"));
}
