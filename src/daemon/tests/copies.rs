//! Many files of one content; tries that must not be lost, and others that must not count.

use super::*;
use crate::ledger::{Ledger, Suspect};
use crate::watch::stat_of;

/// How often names stand in `rejected`.
fn rejected(house: &House) -> Vec<String> {
    texts(&house.rows("rejected"), "source")
}

#[test]
fn many_names_of_one_rejected_content_are_read_once_each() {
    let house = House::new();
    let names: Vec<String> = (0..200).map(|index| format!("{index:03}.png")).collect();
    for name in &names {
        std::fs::write(house.inbox().join(name), b"").unwrap();
    }
    let summary = house.once("m");
    assert_eq!((summary.files, summary.unfinished), (200, 0), "none had to be sent a second time");
    assert_eq!(rejected(&house), names);
}

/// One run of a version after which the next one of the same pipeline goes on, as after a promotion.
fn go_on(house: &House, digest: &str) -> Summary {
    let load = || {
        let mut plan = plan(&house.inbox(), digest, Duration::ZERO);
        plan.pipeline.spec.watch.rejudge = false;
        Ok(vec![plan])
    };
    run(&house.settings, &Orders { intake: Intake::Watch { once: true }, load: &load, view: None }).unwrap()
}

#[test]
fn a_content_has_one_row_in_scores_whichever_versions_come_by() {
    let house = House::new();
    house.drop_image("a.png", 7);
    assert_eq!(go_on(&house, "first").unfinished, 0);
    // Under the next version a second name of what the first has scored, and two names of something new.
    house.drop_image("b.png", 7);
    for name in ["c.png", "d.png"] {
        house.drop_image(name, 8);
    }
    assert_eq!(go_on(&house, "second").unfinished, 0, "none waits for what was committed long ago");
    let (scored, seconds) = (texts(&house.rows("scores"), "source"), texts(&house.rows("duplicates"), "source"));
    assert_eq!((scored.len(), seconds.len()), (2, 2), "{scored:?} {seconds:?}");
    assert_eq!((&*scored[0], &*seconds[0]), ("a.png", "b.png"));
}

#[test]
fn more_rejections_than_are_kept_are_found_anew_under_each_name() {
    let house = House::new();
    let blank = |frames: usize| {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({frames}, {SIDE}, {SIDE}), }}");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend(118u16.to_le_bytes());
        bytes.extend(format!("{header:117}\n").into_bytes());
        bytes.extend(f32::NAN.to_le_bytes().repeat(frames * SIDE * SIDE));
        bytes
    };
    for (name, frames) in [("few-a", 3), ("few-b", 3), ("many-a", 300), ("many-b", 300)] {
        std::fs::write(house.inbox().join(name), blank(frames)).unwrap();
    }
    assert_eq!(house.once("m").unfinished, 0);
    let wanted = [("few-a", 3), ("few-b", 3), ("many-a", 300), ("many-b", 300)];
    assert_eq!(rejected(&house), wanted.iter().flat_map(|&(name, times)| vec![name; times]).collect::<Vec<_>>());
}

#[test]
fn a_frame_that_is_scored_between_does_not_hide_the_one_a_worker_hangs_over() {
    let house = House::new();
    let path = house.inbox().join("hangs.npy");
    std::fs::write(&path, crash::cube([1, 98, 2])).unwrap();
    // A first process had all three frames in hand at once.
    std::fs::create_dir(&house.settings.state).unwrap();
    let first = Suspect {
        pipeline: "mean".into(),
        path: b"hangs.npy".to_vec(),
        stat: stat_of(&path).unwrap(),
        frames: (0, 2),
        stalled: true,
        tries: 0,
    };
    Ledger::open(&house.settings.state).unwrap().blame(&[first]).unwrap();
    let mut deaths = 1;
    while !spawn_victim(&house).wait().unwrap().success() {
        deaths += 1;
        assert!(deaths < 6);
    }
    assert_eq!(deaths, 3);
    assert_eq!(rejected(&house), ["hangs.npy"]);
}

#[test]
fn a_process_that_is_told_to_stop_and_then_killed_blames_no_file() {
    use rustix::process::{Pid, Signal, kill_process};
    let house = House::new();
    std::fs::write(house.inbox().join("parks.npy"), crash::cube([98])).unwrap();
    let mut child = spawn_victim(&house);
    let notes = house.settings.state.join("work");
    let in_hand = |bytes: Vec<u8>| bytes.starts_with(&[1]) && bytes.windows(5).any(|name| name == b"parks");
    wait_until("its frame is in hand", || std::fs::read(notes.join("score")).is_ok_and(in_hand));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    wait_until("it has heard", || notes.join("stopping").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(work::left_behind(&house.settings.state).unwrap().is_empty());
}
