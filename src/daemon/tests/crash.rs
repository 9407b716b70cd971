//! Processes that are killed, or that a file kills.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};

use super::*;
use crate::ledger::{Reader, Suspect};

/// Set in the process that is killed: the folder it works in.
const VICTIM: &str = "ANOMALYD_TEST_VICTIM";
/// And the number of frames it judges at most: then it waits to be killed.
const FRAMES: &str = "ANOMALYD_TEST_FRAMES";

/// No test of its own: what the next ones run in a process of its own, to be killed.
#[test]
fn victim() {
    let Some(root) = std::env::var_os(VICTIM).map(PathBuf::from) else { return };
    // A machine with too much to do may keep a batch for a second; only what is to hang is found out soon.
    let score_s = if root.join("inbox/hangs.npy").exists() { 4 } else { 100 };
    let settings = Settings { batch_frames: 4, queue_frames: 16, score_s, ..settings(&root) };
    let frames = std::env::var(FRAMES).map_or(usize::MAX, |frames| frames.parse().unwrap());
    let load = || Ok(vec![plan_of(&root.join("inbox"), "m", Duration::from_millis(4), frames)]);
    run(&settings, &Orders { intake: Intake::Watch { once: true }, load: &load, view: None }).unwrap();
}

pub(super) fn victim_command(house: &House) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "daemon::tests::crash::victim", "--quiet"]).env(VICTIM, house.root.path());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command
}

pub(in crate::daemon) fn spawn_victim(house: &House) -> Child {
    victim_command(house).spawn().unwrap()
}

/// Rows that count.
fn committed(house: &House) -> u64 {
    // A ledger that is being made cannot be read yet.
    Reader::open(&house.settings.state).and_then(|ledger| ledger.counts("mean")).map_or(0, |counts| counts.scored)
}

/// Kills a process that has work for longer when so many rows are committed. It judges no more than `frames`, so that it cannot
/// end before, whoever is held up meanwhile.
fn work_until_killed(house: &House, frames: u64, rows: u64) {
    let mut child = victim_command(house).env(FRAMES, frames.to_string()).spawn().unwrap();
    wait_until("rows are committed", || committed(house) >= rows || child.try_wait().unwrap().is_some());
    // Not always right after a commit.
    std::thread::sleep(Duration::from_millis(rows % 8));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9), "it was to be killed before its end");
}

#[test]
fn killed_at_any_moment_it_loses_nothing_and_doubles_nothing() {
    let house = House::new();
    let total = 600;
    for index in 0..total {
        house.drop_image(&format!("{index:03}.png"), 1000 + index);
    }
    for more in [1, 17, 2, 33, 9, 50] {
        work_until_killed(&house, 64, committed(&house) + more);
    }
    let before = house.rows("scores").height();
    house.once("m");
    let sources = texts(&house.rows("scores"), "source");
    let wanted: Vec<String> = (0..total).map(|index| format!("{index:03}.png")).collect();
    assert_eq!(sources, wanted);
    assert_eq!(texts(&house.rows("anomalies"), "source"), wanted);
    assert!(before < usize::from(total), "{before} rows stood before the last run");
    assert_eq!(super::drift::monitor(&house).standing(0.05).frames, u64::from(total), "each frame was looked at once");
}

#[test]
fn a_file_that_kills_the_process_is_rejected_after_three_tries() {
    let house = House::new();
    house.drop_image("killer.png", 99);
    for index in 0..8 {
        house.drop_image(&format!("{index}.png"), 1 + index);
    }
    let mut deaths = 0;
    while spawn_victim(&house).wait().unwrap().signal().is_some() {
        deaths += 1;
        assert!(deaths < 6);
    }
    assert!(deaths >= 3, "{deaths}");
    assert_eq!(house.rows("scores").height(), 8);
    let rejected = house.rows("rejected");
    assert_eq!(
        (texts(&rejected, "source"), texts(&rejected, "reason")),
        (vec!["killer.png".into()], vec!["poisonous".into()])
    );
}

/// A cube of frames in NPY; the frame of this number has this value.
pub(super) fn cube(values: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let values: Vec<u16> = values.into_iter().collect();
    let shape = format!("{{'descr': '<u2', 'fortran_order': False, 'shape': ({}, {SIDE}, {SIDE}), }}", values.len());
    let header = format!("{shape:117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes().repeat(SIDE * SIDE)));
    bytes
}

/// What stands against files in the ledger after the next start has looked.
pub(super) fn suspects(house: &House) -> Vec<Suspect> {
    let mut ledger = Ledger::open(&house.settings.state).unwrap();
    ledger.blame(&work::left_behind(&house.settings.state).unwrap()).unwrap();
    ledger.suspects().unwrap()
}

#[test]
fn a_file_over_which_a_worker_hangs_is_rejected_after_three_tries() {
    let house = House::new();
    std::fs::write(house.inbox().join("hangs.npy"), cube([1, 98, 2])).unwrap();
    house.drop_image("good.png", 7);
    let mut deaths = 0;
    while !spawn_victim(&house).wait().unwrap().success() {
        deaths += 1;
        assert!(deaths < 6);
    }
    assert_eq!(deaths, 3);
    let rejected = house.rows("rejected");
    assert_eq!(
        (texts(&rejected, "source"), texts(&rejected, "reason")),
        (vec!["hangs.npy".into()], vec!["stalled".into()])
    );
    assert!(texts(&rejected, "detail")[0].contains("frame 1"), "{:?}", texts(&rejected, "detail"));
    assert!(texts(&house.rows("scores"), "source").contains(&"good.png".to_string()));
}

#[test]
fn a_long_file_that_is_killed_from_outside_is_not_to_blame() {
    let house = House::new();
    std::fs::write(house.inbox().join("long.npy"), cube((0..600).map(|index| 1000 + index))).unwrap();
    let mut rows = 1;
    for death in 1..=u64::from(work::MOST_TRIES) + 1 {
        work_until_killed(&house, rows + 40 - committed(&house), rows);
        let suspects = suspects(&house);
        let tries: Vec<u32> = suspects.iter().map(|suspect| suspect.tries).collect();
        assert_eq!(tries, [1], "death {death}: it had come further than at the last one");
        // The next one comes further than any frame that was in hand now.
        rows = u64::from(suspects[0].frames.1) + 2;
    }
    house.once("m");
    assert_eq!((house.rows("scores").height(), house.rows("rejected").height()), (600, 0));
}
