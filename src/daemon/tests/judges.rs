//! Judges that fail.

use super::crash::suspects;
use super::*;

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
        let judge = Broken(Mean { identity: judge.identity().clone(), pause: Duration::ZERO, frames: usize::MAX });
        Ok(vec![Plan { pipeline, judge: Box::new(judge) }])
    };
    let orders = Orders { intake: Intake::Watch { once: true }, load: &load, view: None };
    assert_eq!(run(&house.settings, &orders).unwrap_err().kind, Kind::Internal);
    assert!(suspects(&house).is_empty());
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
    let small = Small(Mean { identity, pause: Duration::ZERO, frames: usize::MAX }, 5, sizes.clone());
    let lane = Lane::new(Plan { pipeline, judge: Box::new(small) }, &mut ledger, &Progress::default()).unwrap();
    let frame = |value: f32| Prepared {
        width: 1,
        height: 1,
        channels: 1,
        pixels: vec![value],
        tiles: vec![(0, 0)],
        in_file: [1, 1],
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

/// A device that fails over a mean of 64, as over a kernel that its driver cannot run.
struct Picky(Mean);

impl Judge for Picky {
    fn identity(&self) -> &Identity {
        self.0.identity()
    }

    fn score(&mut self, frames: &[Prepared]) -> Result<Vec<Verdict>> {
        if frames.iter().any(|frame| frame.pixels[0] == 64.0) {
            return Err(Failure::new(Kind::Internal, "the kernel failed"));
        }
        self.0.score(frames)
    }
}

#[test]
fn a_frame_over_which_the_device_fails_is_rejected_and_the_others_are_judged() {
    let house = House::new();
    for value in [63, 64, 65] {
        house.drop_image(&format!("{value}.png"), value);
    }
    let load = || {
        let Plan { pipeline, judge } = plan(&house.inbox(), "m", Duration::ZERO);
        let judge = Picky(Mean { identity: judge.identity().clone(), pause: Duration::ZERO, frames: usize::MAX });
        Ok(vec![Plan { pipeline, judge: Box::new(judge) }])
    };
    run(&house.settings, &Orders { intake: Intake::Watch { once: true }, load: &load, view: None }).unwrap();
    assert_eq!(texts(&house.rows("scores"), "source"), ["63.png", "65.png"]);
    let rejected = house.rows("rejected");
    assert_eq!(
        (texts(&rejected, "source"), texts(&rejected, "reason")),
        (vec!["64.png".into()], vec!["poisonous".into()])
    );
    assert!(texts(&rejected, "detail")[0].contains("the kernel failed"));
}

/// Whether a thread of this process has a name.
fn is_there(name: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .into_iter()
        .any(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
}

#[test]
fn when_a_worker_hangs_the_others_are_told_and_the_folder_stays_locked_while_one_may_write() {
    let mut house = House::new();
    house.settings.score_s = 1;
    house.drop_image("hangs.png", 98);
    let load = || {
        let mut plan = plan(&house.inbox(), "m", Duration::ZERO);
        plan.pipeline.name = "hang-ends".into();
        Ok(vec![plan])
    };
    let orders = Orders { intake: Intake::Watch { once: false }, load: &load, view: None };
    assert_eq!(run(&house.settings, &orders).unwrap_err().kind, Kind::Hung);
    // The writer waits for rows that the judge may still send.
    assert_eq!(crate::ledger::Lock::take(&house.settings.state).unwrap_err().kind, Kind::Locked);
    wait_until("the intake ends", || !is_there("in-hang-ends"));
}
