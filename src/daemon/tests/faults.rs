//! Files that hang, processes that are killed over them, inboxes that do not answer.

use std::sync::Arc;
use std::time::Instant;

use super::queue::{Bounds, Queue, Refused};
use super::stages::{Feedback, Job};
use super::*;
use crate::error::{Failure, Kind};
use crate::ledger::Ledger;
use crate::watch::Stat;

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
fn suspects(house: &House) -> usize {
    let mut ledger = Ledger::open(&house.settings.state).unwrap();
    ledger.blame(&work::left_behind(&house.settings.state).unwrap()).unwrap();
    ledger.suspects().unwrap().len()
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
    // A frame takes 4 ms, and a batch of one is committed every 50 ms.
    std::fs::write(house.inbox().join("long.npy"), cube((0..600).map(|index| 1000 + index))).unwrap();
    for pause in [400, 420, 440, 460] {
        let mut child = spawn_victim(&house);
        std::thread::sleep(Duration::from_millis(pause));
        let _ = child.kill();
        child.wait().unwrap();
    }
    let before = house.rows("scores").height();
    house.once("m");
    assert_eq!((house.rows("scores").height(), house.rows("rejected").height()), (600, 0));
    assert!(before < 600, "it was to be killed before its end");
}

/// Fails as a device would.
struct Broken(Mean);

impl Judge for Broken {
    fn identity(&self) -> &Identity {
        self.0.identity()
    }

    fn score(&mut self, _: &[Prepared]) -> Result<Vec<Verdict>> {
        Err(Failure::new(Kind::Internal, "the device is gone"))
    }
}

#[test]
fn an_end_that_is_nobodys_fault_blames_no_file() {
    let house = House::new();
    house.drop_image("a.png", 7);
    let load = || {
        let Plan { pipeline, judge } = plan(&house.inbox(), "m", Duration::ZERO);
        let judge = Broken(Mean { identity: judge.identity().clone(), pause: Duration::ZERO });
        Ok(vec![Plan { pipeline, judge: Box::new(judge) }])
    };
    let orders = Orders { intake: Intake::Watch { once: true }, load: &load, view: None };
    assert_eq!(run(&house.settings, &orders).unwrap_err().kind, Kind::Internal);
    assert_eq!(suspects(&house), 0);
}

fn lane(name: &str, ledger: &mut Ledger) -> Arc<Lane> {
    let mut plan = plan(Path::new("/inbox"), "m", Duration::ZERO);
    plan.pipeline.name = name.into();
    Arc::new(Lane::new(plan, ledger, &Progress::default()).unwrap())
}

fn job(lane: &Arc<Lane>, name: &str, size: u64) -> Job {
    Job {
        lane: lane.clone(),
        path: name.into(),
        inbox: None,
        name: name.into(),
        stat: Stat { size, mtime_ns: 0, inode: 0 },
        received_at: chrono::Utc::now(),
        rejected: None,
        alone: false,
        failures: 0,
        ticket: Arc::<Feedback>::default().ticket(),
    }
}

const SOON: Duration = Duration::from_millis(1);

#[test]
fn a_lane_whose_reads_do_not_end_leaves_a_worker_to_the_others() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let (slow, quick) = (lane("slow", &mut ledger), lane("quick", &mut ledger));
    let (queue, feed) = Queue::new(Bounds { files: 4, bytes: 1 << 20, workers: 3 });
    for index in 0..4 {
        assert!(feed.push(job(&slow, &index.to_string(), 10), SOON).is_ok());
    }
    assert!(matches!(feed.push(job(&slow, "more", 10), SOON), Err(Refused::Full(_))), "each line is bounded");
    assert!(feed.push(job(&quick, "a", 10), SOON).is_ok());
    let mut held: Vec<_> = (0..3).map(|_| queue.take().unwrap()).collect();
    let mut lanes: Vec<&str> = held.iter().map(|(job, _)| job.lane.name.as_str()).collect();
    lanes.sort_unstable();
    assert_eq!(lanes, ["quick", "slow", "slow"]);
    let other = queue.clone();
    let waiting = std::thread::spawn(move || other.take().map(|(job, _)| job.lane.name.clone()));
    std::thread::sleep(Duration::from_millis(30));
    assert!(!waiting.is_finished(), "two of three workers are the most for one lane");
    held.iter_mut().filter(|(job, _)| job.lane.name == "slow").for_each(|(_, hold)| hold.has_read());
    assert_eq!(waiting.join().unwrap().as_deref(), Some("slow"));
    drop((held, feed));
    assert!(queue.take().is_some());
    assert!(queue.take().is_none(), "nobody pushes any more");
}

#[test]
fn a_lane_does_not_get_all_workers_because_it_comes_first() {
    let state = tempfile::tempdir().unwrap();
    let slow = lane("slow", &mut Ledger::open(state.path()).unwrap());
    let (queue, feed) = Queue::new(Bounds { files: 4, bytes: 1 << 20, workers: 2 });
    queue.expect(["slow", "quick"]);
    for name in ["1", "2"] {
        assert!(feed.push(job(&slow, name, 10), SOON).is_ok());
    }
    let (_job, mut hold) = queue.take().unwrap();
    let other = queue.clone();
    let waiting = std::thread::spawn(move || other.take().is_some());
    std::thread::sleep(Duration::from_millis(30));
    assert!(!waiting.is_finished());
    hold.has_read();
    assert!(waiting.join().unwrap());
}

#[test]
fn large_files_of_one_lane_wait_for_each_other_and_for_nobody_else() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let (large, small) = (lane("large", &mut ledger), lane("small", &mut ledger));
    let (queue, feed) = Queue::new(Bounds { files: 9, bytes: 1000, workers: 9 });
    for (lane, size) in [(&large, 1000), (&large, 1000), (&small, 10), (&small, 10)] {
        assert!(feed.push(job(lane, "a", size), SOON).is_ok());
    }
    let names: Vec<_> =
        (0..3).map(|_| queue.take().unwrap()).map(|(job, hold)| (job.lane.name.clone(), hold)).collect();
    assert_eq!(names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["large", "small", "small"]);
    let begun = Instant::now();
    let other = queue.clone();
    let waiting = std::thread::spawn(move || other.take().is_some());
    std::thread::sleep(Duration::from_millis(30));
    drop(names);
    assert!(waiting.join().unwrap() && begun.elapsed() >= Duration::from_millis(30));
}

#[test]
fn what_cannot_be_read_is_rejected_once_and_read_again_when_its_rights_change() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let house = House::new();
    house.drop_image("closed.png", 7);
    house.drop_image("open.png", 8);
    let closed = house.inbox().join("closed.png");
    let allow = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    allow(&closed, 0o000);
    // A daemon in this process may have narrowed its umask.
    allow(&house.inbox(), 0o755);
    allow(&house.inbox().join("open.png"), 0o644);
    allow(house.root.path(), 0o777);
    let run = || {
        let mut command = victim_command(&house);
        // root may read everything
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        command.stdout(std::process::Stdio::piped()).output()
    };
    match run() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => return println!("no other user can run this test program ({error}): not tested"),
    }
    let rejected = || (texts(&house.rows("rejected"), "source"), texts(&house.rows("rejected"), "reason"));
    assert_eq!(rejected(), (vec!["closed.png".into()], vec!["unreadable".into()]));
    assert_eq!(texts(&house.rows("scores"), "source"), ["open.png"]);
    assert!(run().unwrap().status.success());
    assert_eq!(rejected().0.len(), 1, "nothing has changed: no second row");
    allow(&closed, 0o444);
    assert!(run().unwrap().status.success());
    assert_eq!(texts(&house.rows("scores"), "source"), ["closed.png", "open.png"]);
}

/// A device with memory for so many frames, and for none with a mean of 65.
struct Small(Mean, usize, Arc<std::sync::Mutex<Vec<usize>>>);

impl Judge for Small {
    fn identity(&self) -> &Identity {
        self.0.identity()
    }

    fn score(&mut self, frames: &[Prepared]) -> Result<Vec<Verdict>> {
        self.2.lock().unwrap().push(frames.len());
        if frames.len() > self.1 || frames.iter().any(|frame| frame.pixels[0] == 65.0) {
            return Err(Failure::new(Kind::DeviceMemory, "out of memory"));
        }
        self.0.score(frames)
    }
}

#[test]
fn a_device_without_memory_is_given_less_and_later_more() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let sizes = Arc::<std::sync::Mutex<Vec<usize>>>::default();
    let Plan { pipeline, judge } = plan(Path::new("/inbox"), "m", Duration::ZERO);
    let identity = judge.identity().clone();
    let small = Small(Mean { identity, pause: Duration::ZERO }, 5, sizes.clone());
    let lane = Lane::new(Plan { pipeline, judge: Box::new(small) }, &mut ledger, &Progress::default()).unwrap();
    let frame = |value: f32| Prepared {
        width: 1,
        height: 1,
        channels: 1,
        pixels: vec![value],
        tiles: vec![(0, 0)],
        scaling: crate::pipeline::Scaling::Linear { black: 0.0, white: 1.0 },
    };
    let mut portions = portions::Portions::new(16);
    let values: Vec<f32> = (0..16).map(|value| if value == 9 { 65.0 } else { value as f32 }).collect();
    let judged = portions.judge(&lane, &values.iter().map(|&value| frame(value)).collect::<Vec<_>>(), &|| ()).unwrap();
    for (value, judged) in values.iter().zip(&judged) {
        match judged {
            portions::Judged::Verdict(verdict) => assert_eq!(verdict.score, f64::from(*value)),
            portions::Judged::Not(rejection) => assert_eq!((rejection.reason.as_str(), *value), ("too_large", 65.0)),
        }
    }
    assert_eq!(sizes.lock().unwrap()[..3], [16, 8, 4]);
    sizes.lock().unwrap().clear();
    for _ in 0..300 {
        portions.judge(&lane, &vec![frame(1.0); 4], &|| ()).unwrap();
    }
    portions.judge(&lane, &vec![frame(1.0); 8], &|| ()).unwrap();
    assert!(sizes.lock().unwrap().contains(&8), "it is tried with more again");
}

#[test]
fn what_is_scored_is_moved_and_what_is_rejected_is_deleted_after_the_commit() {
    let house = House::new();
    let archive = house.root.path().join("archive");
    std::fs::create_dir(&archive).unwrap();
    let after = crate::pipeline::After {
        scored: crate::pipeline::Action::Move(archive.clone()),
        rejected: crate::pipeline::Action::Delete,
    };
    let once = |after: &crate::pipeline::After| {
        let load = || {
            let mut plan = plan(&house.inbox(), "m", Duration::ZERO);
            plan.pipeline.spec.after = after.clone();
            Ok(vec![plan])
        };
        run(&house.settings, &Orders { intake: Intake::Watch { once: true }, load: &load, view: None })
    };
    let names = |folder: &Path| {
        let mut names: Vec<String> = crate::watch::files_below(folder)
            .map(|(path, _)| path.strip_prefix(folder).unwrap().display().to_string())
            .collect();
        names.sort();
        names
    };
    std::fs::create_dir(house.inbox().join("night")).unwrap();
    house.drop_image("night/a.png", 7);
    house.drop_image("copy.png", 7);
    std::fs::write(house.inbox().join("junk"), b"no image at all").unwrap();
    // A process that died between commit and action leaves them so.
    assert_eq!(once(&crate::pipeline::After::default()).unwrap().scored, 1);
    assert_eq!(names(&house.inbox()), ["copy.png", "junk", "night/a.png"]);
    house.drop_image("b.png", 8);
    let summary = once(&after).unwrap();
    assert_eq!((summary.scored, summary.rejected), (1, 0));
    assert_eq!(names(&archive), ["b.png", "copy.png", "night/a.png"]);
    assert!(names(&house.inbox()).is_empty());
    let inside = crate::pipeline::After { scored: crate::pipeline::Action::Move(house.inbox()), ..after.clone() };
    assert_eq!(once(&inside).unwrap_err().kind, Kind::Settings);
    let reports = house.settings.state.join("reports");
    let inside = crate::pipeline::After { scored: crate::pipeline::Action::Move(reports), ..after.clone() };
    assert_eq!(once(&inside).unwrap_err().kind, Kind::Settings);
    let nowhere = crate::pipeline::After { scored: crate::pipeline::Action::Move("/nowhere".into()), ..after };
    assert_eq!(once(&nowhere).unwrap_err().kind, Kind::Io);
}

#[test]
fn what_was_rejected_and_is_seen_again_is_not_taken_for_scored() {
    let house = House::new();
    let junk = house.inbox().join("junk");
    std::fs::write(&junk, b"no image").unwrap();
    let once = || {
        let load = || {
            let mut plan = plan(&house.inbox(), "m", Duration::ZERO);
            plan.pipeline.spec.after.scored = crate::pipeline::Action::Delete;
            Ok(vec![plan])
        };
        run(&house.settings, &Orders { intake: Intake::Watch { once: true }, load: &load, view: None }).unwrap()
    };
    assert_eq!(once().rejected, 1);
    for day in 1..3 {
        let touched = std::time::SystemTime::now() - Duration::from_secs(86_400 * day);
        std::fs::File::options().write(true).open(&junk).unwrap().set_modified(touched).unwrap();
        assert_eq!(once().rejected, 0, "it has its row");
        assert!(junk.exists());
    }
    once();
    assert!(junk.exists(), "neither at once nor at a later start");
}
