//! Frames that do not come any more as they did.

use super::crash::cube;
use super::*;
use crate::drift::Monitor;
use crate::ledger::Reader;
use crate::simulate::{Instrument, frame};

/// The watch over the newest model, as the ledger has it.
pub(super) fn monitor(house: &House) -> Monitor {
    let watched = Reader::open(&house.settings.state).unwrap().drift("mean").unwrap();
    Monitor::decode(&watched.last().unwrap().state).unwrap()
}

/// Side of the simulated frames.
const SKY_SIDE: usize = 64;

/// A cube of what a telescope sees through a gain.
fn sky(indices: std::ops::Range<u64>, gain: f64) -> Vec<u8> {
    let shape = (indices.end - indices.start, SKY_SIDE, SKY_SIDE);
    let header = format!("{:117}\n", format!("{{'descr': '<u2', 'fortran_order': False, 'shape': {shape:?}, }}"));
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    let frames = indices.map(|index| frame(Instrument::Telescope, SKY_SIDE, 9, index, None));
    let pixels = frames.flat_map(|frame| frame.pixels);
    bytes.extend(pixels.flat_map(|value| ((f64::from(value) * gain).round() as u16).to_le_bytes()));
    bytes
}

/// What the rows of a cube say of their certificates, in order, once the daemon has looked at it under a model.
fn void(house: &House, name: &str, digest: &str, cube: Vec<u8>) -> Vec<bool> {
    std::fs::write(house.inbox().join(name), cube).unwrap();
    let load = || {
        let mut plan = plan(&house.inbox(), digest, Duration::ZERO);
        plan.pipeline.spec.input.size = SKY_SIDE;
        Ok(vec![plan])
    };
    run(&house.settings, &Orders { intake: Intake::Watch { once: true }, load: &load, view: None }).unwrap();
    let rows = house.rows("scores").lazy().filter(col("source").eq(lit(name)).and(col("model_digest").eq(lit(digest))));
    let rows = rows.sort(["frame_index"], Default::default()).collect().unwrap();
    rows.column("certificate_void").unwrap().bool().unwrap().iter().flatten().collect()
}

#[test]
fn a_changed_gain_raises_and_rows_say_so_until_a_person_or_a_new_model_resets_it() {
    let house = House::new();
    assert_eq!(void(&house, "before.npy", "m", sky(0..150, 1.0)), vec![false; 150]);
    let after = void(&house, "after.npy", "m", sky(150..300, 1.05));
    assert!(!after[0] && after[149] && after.is_sorted(), "{after:?}");
    let standing = monitor(&house).standing(0.05);
    assert!(standing.raised && standing.frames == 300, "{standing:?}");
    assert_eq!(void(&house, "still.npy", "m", sky(300..303, 1.05)), [true; 3], "a start does not forget it");

    Ledger::open(&house.settings.state).unwrap().ask_for_reset("mean", "the gain is meant to be so").unwrap();
    assert_eq!(void(&house, "reset.npy", "m", sky(303..309, 1.05)), [false; 6]);
    let seen = monitor(&house);
    let events: Vec<_> = seen.history().events().iter().map(|event| (event.what.as_str(), event.frame)).collect();
    assert!(events[0].0 == "raised" && events[1..] == [("reset", 303)], "{events:?}");
}

#[test]
fn a_new_model_starts_anew_and_the_one_before_is_told_what_it_had_seen() {
    let house = House::new();
    void(&house, "a.npy", "m", sky(0..150, 1.0));
    assert!(void(&house, "b.npy", "m", sky(150..250, 1.3)).ends_with(&[true; 3]));
    for scored in ["a.npy", "b.npy"] {
        std::fs::remove_file(house.inbox().join(scored)).unwrap();
    }
    let new = void(&house, "c.npy", "m2", sky(250..255, 1.3));
    assert_eq!(new, [false; 5]);
    let watched = Reader::open(&house.settings.state).unwrap().drift("mean").unwrap();
    let standings: Vec<_> = watched.iter().map(|it| Monitor::decode(&it.state).unwrap().standing(0.05)).collect();
    assert!(standings[0].raised && standings[0].frames == 250, "{standings:?}");
    std::fs::remove_file(house.inbox().join("c.npy")).unwrap();
    assert_eq!(void(&house, "d.npy", "m", sky(255..257, 1.3)), [true; 2]);
}

#[test]
fn files_that_somebody_names_are_not_what_the_instrument_does() {
    let house = House::new();
    std::fs::write(house.inbox().join("before.npy"), cube(0..60)).unwrap();
    house.once("m");
    let file = house.root.path().join("named.npy");
    std::fs::write(&file, cube(200..250)).unwrap();
    let load = || Ok(vec![plan(&house.inbox(), "m", Duration::ZERO)]);
    run(&house.settings, &Orders { intake: Intake::Paths(vec![file]), load: &load, view: None }).unwrap();
    assert_eq!((house.rows("scores").height(), monitor(&house).standing(0.05).frames), (110, 60));
}
