//! Lanes that share the workers and the memory.

use super::queue::{Bounds, Feed, Queue, Refused};
use super::stages::{Feedback, Job};
use super::*;
use crate::watch::Stat;

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
        stat: Stat { size, mtime_ns: 0, inode: 0, ctime_ns: 0 },
        received_at: chrono::Utc::now(),
        rejected: None,
        alone: false,
        failures: 0,
        ticket: Arc::<Feedback>::default().ticket(),
    }
}

/// A queue with so many threads to take from it.
fn lines(files: usize, bytes: u64, workers: usize) -> (Arc<Queue>, Feed) {
    let (queue, feed) = Queue::new(Bounds { files, bytes });
    (0..workers).for_each(|_| queue.enlist());
    (queue, feed)
}

const SOON: Duration = Duration::from_millis(1);

#[test]
fn a_lane_whose_reads_do_not_end_leaves_a_worker_to_the_others() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let (slow, quick) = (lane("slow", &mut ledger), lane("quick", &mut ledger));
    let (queue, feed) = lines(4, 1 << 20, 3);
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
    let (queue, feed) = lines(4, 1 << 20, 2);
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
fn a_lane_that_a_reload_takes_away_keeps_no_worker_and_a_new_worker_is_used() {
    let state = tempfile::tempdir().unwrap();
    let slow = lane("slow", &mut Ledger::open(state.path()).unwrap());
    for freed in [|queue: &Queue| queue.expect(["slow"]), |queue: &Queue| queue.enlist()] {
        let (queue, feed) = lines(4, 1 << 20, 2);
        queue.expect(["slow", "quick"]);
        for name in ["1", "2"] {
            assert!(feed.push(job(&slow, name, 10), SOON).is_ok());
        }
        let _held = queue.take().unwrap();
        let other = queue.clone();
        let waiting = std::thread::spawn(move || other.take().is_some());
        std::thread::sleep(Duration::from_millis(30));
        assert!(!waiting.is_finished());
        freed(&queue);
        assert!(waiting.join().unwrap());
    }
}

#[test]
fn large_files_of_one_lane_wait_for_each_other_and_for_nobody_else() {
    let state = tempfile::tempdir().unwrap();
    let mut ledger = Ledger::open(state.path()).unwrap();
    let (large, small) = (lane("large", &mut ledger), lane("small", &mut ledger));
    let (queue, feed) = lines(9, 1000, 9);
    for (lane, size) in [(&large, 1000), (&large, 1000), (&small, 10), (&small, 10)] {
        assert!(feed.push(job(lane, "a", size), SOON).is_ok());
    }
    let names: Vec<_> =
        (0..3).map(|_| queue.take().unwrap()).map(|(job, hold)| (job.lane.name.clone(), hold)).collect();
    assert_eq!(names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["large", "small", "small"]);
    let other = queue.clone();
    let waiting = std::thread::spawn(move || other.take().is_some());
    std::thread::sleep(Duration::from_millis(30));
    assert!(!waiting.is_finished());
    drop(names);
    assert!(waiting.join().unwrap());
}
