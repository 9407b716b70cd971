use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::StatVfs;

use super::*;

/// A space of a thousand bytes, of which as many are free as the test says.
fn space(min_free: u64, free: u64) -> (Arc<Space>, Arc<AtomicU64>, Arc<Condition>, Arc<Stop>) {
    let (free, condition, stop) = (Arc::new(AtomicU64::new(free)), Arc::default(), Arc::default());
    let seen = free.clone();
    let measure: Measure = Box::new(move || Ok(Room { free: seen.load(Ordering::Relaxed), all: 1000, inodes: true }));
    let space = Space::new(min_free, measure, Arc::clone(&condition), Arc::clone(&stop)).unwrap();
    (space, free, condition, stop)
}

#[test]
fn intake_pauses_below_min_free_and_goes_on_a_tenth_above() {
    let (space, free, condition, _) = space(100, 100);
    assert!(!space.is_low() && space.pass() && condition.list().is_empty());
    for (now, low) in [(99, true), (100, true), (109, true), (110, false), (100, false), (99, true)] {
        free.store(now, Ordering::Relaxed);
        space.look();
        assert_eq!((space.is_low(), condition.list().len()), (low, usize::from(low)), "{now}");
    }
    let held = &condition.list()[0];
    assert_eq!((&held.reason, &*held.detail), (&Reason::DiskFull, "99 bytes free, 100 needed (min_free)"));
}

#[test]
fn a_disk_without_a_free_inode_is_full_whatever_min_free_says() {
    let inodes = Arc::new(AtomicU64::new(0));
    let left = inodes.clone();
    let mut disk = rustix::fs::statvfs("/").unwrap();
    (disk.f_files, disk.f_favail) = (0, 0);
    assert!(Room::said(&disk).inodes, "a file system that does not count them");
    let measure: Measure =
        Box::new(move || Ok(Room::said(&StatVfs { f_files: 100, f_favail: left.load(Ordering::Relaxed), ..disk })));
    let condition = Arc::new(Condition::default());
    let space = Space::new(0, measure, condition.clone(), Arc::default()).unwrap();
    assert!(space.is_low() && condition.list()[0].detail.contains("no inode"));
    inodes.store(1, Ordering::Relaxed);
    space.look();
    assert!(!space.is_low() && condition.list().is_empty());
}

#[test]
fn who_waits_goes_on_with_space_and_ends_with_a_stop() {
    let (space, free, _, stop) = space(100, 1);
    let looking = space.keep_looking().unwrap();
    let waiter = space.clone();
    let thread = std::thread::spawn(move || waiter.pass());
    free.store(500, Ordering::Relaxed);
    assert!(thread.join().unwrap());
    free.store(1, Ordering::Relaxed);
    space.look();
    let waiter = space.clone();
    let thread = std::thread::spawn(move || waiter.pass());
    stop.stop(0);
    assert!(!thread.join().unwrap(), "nothing new is begun");
    drop(looking);
}

#[test]
fn a_full_disk_is_said_until_it_is_over_and_given_up_by_a_stop() {
    let (space, _, condition, stop) = space(0, 500);
    let full = || Failure::new(Kind::Io, "part: no space");
    space.wait(full()).unwrap();
    assert_eq!(condition.list()[0].detail, "part: no space");
    space.look();
    assert_eq!(condition.list().len(), 1, "the gate does not take it back");
    space.over();
    assert!(condition.list().is_empty());
    stop.stop(0);
    assert!(crate::disk::is_given_up(&space.wait(full()).unwrap_err()));
}

#[test]
fn a_disk_that_is_too_small_for_ever_is_refused() {
    let measure = |all| -> Measure { Box::new(move || Ok(Room { free: 0, all, inodes: true })) };
    let refused = |all| Space::new(512, measure(all), Arc::default(), Arc::default()).err();
    assert_eq!(refused(512).unwrap().kind, Kind::Settings);
    assert!(refused(513).is_none() && refused(0).is_none(), "0 is a file system that does not say");
}
