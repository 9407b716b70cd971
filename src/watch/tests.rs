mod versions;

use std::time::{Duration, Instant};

use super::pending::{MOST_PENDING, Pending, Waiting, Writer};
use super::*;
use crate::error::Kind;
use crate::pipeline::WatchMode;

fn watch(settle_ms: u64) -> Watch {
    Watch { settle_ms, ..Watch::default() }
}

fn inbox(root: &Path, settle_ms: u64) -> Inbox {
    Inbox::new(root.to_path_buf(), &watch(settle_ms), Known::default())
}

fn names(found: Vec<Found>) -> Vec<String> {
    let mut names: Vec<String> = found.into_iter().map(|file| file.name.display().to_string()).collect();
    names.sort();
    names
}

#[test]
fn finds_files_of_any_depth_but_no_hidden_unfinished_or_linked_ones() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("night/.cache")).unwrap();
    for name in ["a.png", "night/b", ".c", "d.part", "e.tmp", "night/.cache/f", "g.partial"] {
        std::fs::write(root.path().join(name), b"x").unwrap();
    }
    std::os::unix::fs::symlink("/etc/hostname", root.path().join("link")).unwrap();
    let mut inbox = inbox(root.path(), 0);
    inbox.scan(&|| true);
    assert_eq!(names(inbox.settled(100, &|| true)), ["a.png", "night/b"]);
    inbox.scan(&|| true);
    assert!(inbox.settled(100, &|| true).is_empty(), "known files are not found twice");
}

#[test]
fn a_file_settles_only_when_it_no_longer_changes() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    // Times of files go by the ticks of the kernel.
    let (rest, grain) = (Duration::from_millis(120), Duration::from_millis(20));
    let mut inbox = inbox(root.path(), 120);
    let (mut changed, mut size) = (Instant::now(), 0);
    loop {
        if size < 4 {
            changed = Instant::now();
            size += 1;
            std::fs::write(&path, vec![0; size]).unwrap();
            inbox.scan(&|| true);
        }
        std::thread::sleep(Duration::from_millis(60));
        // However long the pause became meanwhile.
        let settled = names(inbox.settled(100, &|| true));
        if !settled.is_empty() {
            assert!(settled == ["a"] && changed.elapsed() + grain >= rest, "after {:?}", changed.elapsed());
            break;
        }
    }
    std::fs::write(&path, b"another").unwrap();
    inbox.scan(&|| true);
    assert_eq!(inbox.waiting(), 1, "an overwritten file is a new one");
}

#[test]
fn a_file_that_is_being_written_gets_more_patience() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("slow");
    std::fs::write(&path, b"half").unwrap();
    let mut inbox = inbox(root.path(), 40);
    inbox.follow(&Hint::Writing(path.clone()), &|| true);
    std::thread::sleep(Duration::from_millis(100));
    assert!(inbox.settled(100, &|| true).is_empty());
    inbox.follow(&Hint::Look(path), &|| true);
    assert_eq!(names(inbox.settled(100, &|| true)), ["slow"]);
}

#[test]
fn what_changed_while_writers_are_heard_must_rest_while_it_is_looked_at() {
    let root = tempfile::tempdir().unwrap();
    let mut inbox = inbox(root.path(), 20);
    inbox.open(root.path().to_path_buf(), WatchMode::Auto).unwrap();
    let path = root.path().join("a");
    std::fs::write(&path, b"half").unwrap();
    std::thread::sleep(Duration::from_millis(40));
    let (now, settle) = (Instant::now(), Duration::from_millis(20));
    let complete = |stat: Stat| {
        let pending = Pending::new(stat, now, false);
        (inbox.rules.is_complete(&pending, now), inbox.rules.is_complete(&pending, now + settle))
    };
    let stat = || stat_of(&path).unwrap();
    assert_eq!(complete(stat()), (false, true), "that it is being written may be about to be heard");
    let hour = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(hour).unwrap();
    assert_eq!(complete(stat()), (false, true), "its time may be put back by who has written it just now");
    let before = Stat { ctime_ns: stat().mtime_ns, ..stat() };
    assert_eq!(complete(before), (true, true), "what lay there before need not rest");
}

#[test]
fn what_lies_behind_a_link_that_took_the_place_of_a_folder_is_not_found_again_and_again() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(root.path().join("night")).unwrap();
    std::fs::write(root.path().join("night/a"), b"x").unwrap();
    let mut inbox = inbox(root.path(), 0);
    inbox.scan(&|| true);
    let found = inbox.settled(9, &|| true).remove(0);
    std::fs::rename(root.path().join("night"), outside.path().join("night")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("night"), root.path().join("night")).unwrap();
    inbox.again(&found);
    assert!(inbox.settled(9, &|| true).is_empty() && inbox.waiting() == 0);
    std::fs::remove_file(root.path().join("night")).unwrap();
    std::fs::rename(outside.path().join("night"), root.path().join("night")).unwrap();
    inbox.scan(&|| true);
    assert_eq!(names(inbox.settled(9, &|| true)), ["night/a"], "the folder has come back");
}

#[test]
fn a_file_deleted_while_it_waits_is_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    std::fs::write(&path, b"x").unwrap();
    let mut inbox = inbox(root.path(), 0);
    inbox.scan(&|| true);
    std::fs::remove_file(&path).unwrap();
    assert!(inbox.settled(100, &|| true).is_empty());
    assert_eq!(inbox.waiting(), 0);
}

#[test]
fn a_storm_of_files_is_found_in_portions() {
    let root = tempfile::tempdir().unwrap();
    let total = MOST_PENDING + 500;
    for index in 0..total {
        std::fs::write(root.path().join(index.to_string()), b"x").unwrap();
    }
    let mut inbox = inbox(root.path(), 0);
    inbox.scan(&|| true);
    let mut found = 0;
    while inbox.waiting() > 0 {
        assert!(inbox.waiting() <= MOST_PENDING);
        found += inbox.settled(1000, &|| true).len();
    }
    assert_eq!(found, total);
}

#[test]
fn inboxes_that_cannot_work_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("inbox/state");
    std::fs::create_dir_all(&state).unwrap();
    assert_eq!(check_inbox(&root.path().join("none"), &state).unwrap_err().kind, Kind::Io);
    assert_eq!(check_inbox(&root.path().join("inbox"), &state).unwrap_err().kind, Kind::Settings);
    std::fs::create_dir_all(state.join("in")).unwrap();
    assert_eq!(check_inbox(&state.join("in"), &state).unwrap_err().kind, Kind::Settings);
    assert!(check_inbox(&root.path().join("inbox"), &root.path().join("elsewhere")).is_ok());
}

/// The names that an inbox finds at once, sorted, as bytes.
fn found_in(root: &Path, watch: &Watch) -> Vec<Vec<u8>> {
    let mut inbox = Inbox::new(root.to_path_buf(), watch, Known::default());
    inbox.scan(&|| true);
    let mut names: Vec<Vec<u8>> =
        inbox.settled(100, &|| true).into_iter().map(|file| file.name.as_os_str().as_bytes().to_vec()).collect();
    names.sort();
    names
}

#[test]
fn what_is_no_regular_file_is_passed_over_and_what_is_one_is_found_whatever_its_name() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &[u8]| root.path().join(std::ffi::OsStr::from_bytes(name));
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path(b"pipe.png"), kind, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(path(b"socket.png")).unwrap();
    std::fs::write(outside.path().join("a"), b"x").unwrap();
    std::os::unix::fs::symlink(outside.path(), path(b"linked")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("a"), path(b"link.png")).unwrap();
    std::fs::create_dir(path(b"folder.png")).unwrap();
    for name in [&b"folder.png/in"[..], b"new\nline", b"not utf-8 \xff\xfe", b" "] {
        std::fs::write(path(name), b"x").unwrap();
    }
    std::fs::hard_link(outside.path().join("a"), path(b"hard")).unwrap();
    std::fs::File::create(path(b"sparse")).unwrap().set_len(1 << 40).unwrap();
    let wanted: [&[u8]; 6] = [b" ", b"folder.png/in", b"hard", b"new\nline", b"not utf-8 \xff\xfe", b"sparse"];
    assert_eq!(found_in(root.path(), &watch(0)), wanted);
}

#[test]
fn with_a_marker_a_file_counts_when_its_marker_stands_beside_it() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir(root.path().join("night")).unwrap();
    for name in ["a.fits", "night/b.fits", "b.fits.done", ".done", "night/c.done"] {
        std::fs::write(root.path().join(name), b"x").unwrap();
    }
    let watch = Watch { done_marker: Some(".done".into()), ..watch(0) };
    let mut inbox = Inbox::new(root.path().to_path_buf(), &watch, Known::default());
    inbox.scan(&|| true);
    inbox.follow(&Hint::Look(root.path().join("a.fits")), &|| true);
    assert_eq!(inbox.waiting(), 0, "no marker stands beside its file yet");
    for (marker, file) in [("a.fits.done", "a.fits"), ("night/b.fits.done", "night/b.fits")] {
        std::fs::write(root.path().join(marker), b"").unwrap();
        inbox.follow(&Hint::Look(root.path().join(marker)), &|| true);
        assert_eq!(names(inbox.settled(9, &|| true)), [file], "the marker is a hint to look at its file");
    }
    assert_eq!(count_waiting(root.path(), &watch, &Known::default()), 2);
    assert_eq!(found_in(root.path(), &watch), [&b"a.fits"[..], b"night/b.fits"]);
    std::fs::write(root.path().join("a.fits"), b"another").unwrap();
    inbox.scan(&|| true);
    std::fs::remove_file(root.path().join("a.fits.done")).unwrap();
    assert!(inbox.settled(9, &|| true).is_empty(), "the marker was taken back");
}

#[test]
fn a_file_is_not_read_before_its_age() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let file = std::fs::File::create(&path).unwrap();
    let aged = |seconds| file.set_modified(std::time::SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    let watch = |mode| Watch { min_age_s: 1200, rescan_s: 600, mode, ..watch(0) };
    aged(3);
    assert!(found_in(root.path(), &watch(WatchMode::Auto)).is_empty());
    let mut inbox = Inbox::new(root.path().to_path_buf(), &watch(WatchMode::Auto), Known::default());
    inbox.scan(&|| true);
    assert_eq!(inbox.waiting(), 0, "a later rescan finds it again");
    aged(900);
    inbox.scan(&|| true);
    assert_eq!((inbox.waiting(), inbox.settled(9, &|| true).len()), (1, 0));
    aged(1201);
    assert_eq!(names(inbox.settled(9, &|| true)), ["a"]);
    assert!(found_in(root.path(), &watch(WatchMode::Poll)).is_empty(), "another machine's clock may be wrong");
}

#[test]
fn a_writer_that_pauses_is_waited_for_until_it_closes() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("cube");
    let mut inbox = inbox(root.path(), 10);
    std::fs::write(&path, b"").unwrap();
    inbox.follow(&Hint::Created(path.clone()), &|| true);
    std::fs::write(&path, b"half").unwrap();
    inbox.follow(&Hint::Writing(path.clone()), &|| true);
    std::thread::sleep(Duration::from_millis(150));
    inbox.scan(&|| true);
    inbox.follow(&Hint::Changed(path.clone()), &|| true);
    assert!(inbox.settled(9, &|| true).is_empty(), "neither a rescan nor a chmod closes a file");
    inbox.follow(&Hint::Look(path.clone()), &|| true);
    assert_eq!(names(inbox.settled(9, &|| true)), ["cube"]);
    inbox.follow(&Hint::Writing(path.clone()), &|| true);
    assert_eq!(inbox.waiting(), 0, "nothing has been written since");
    std::fs::write(&path, b"more than half").unwrap();
    inbox.follow(&Hint::Writing(path), &|| true);
    std::thread::sleep(Duration::from_millis(30));
    assert!(inbox.settled(9, &|| true).is_empty());
    inbox.follow(&Hint::Everything, &|| true);
    assert_eq!(names(inbox.settled(9, &|| true)), ["cube"], "where events were lost, the close may be among them");
}

#[test]
fn a_close_that_nobody_could_hear_is_not_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("cube");
    let mut inbox = inbox(root.path(), 10);
    inbox.open(root.path().to_path_buf(), WatchMode::Auto).unwrap();
    std::fs::write(&path, b"half").unwrap();
    inbox.follow(&Hint::Writing(path), &|| true);
    std::thread::sleep(Duration::from_millis(30));
    assert!(inbox.settled(9, &|| true).is_empty());
    inbox.open(root.path().to_path_buf(), WatchMode::Auto).unwrap();
    // It was closed while the inbox was away.
    let begun = Instant::now();
    while names(inbox.settled(9, &|| true)) != ["cube"] {
        assert!(begun.elapsed() < Duration::from_secs(60), "its close is waited for");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_file_held_open_is_read_a_day_after_its_last_change_and_named_long_before() {
    let rules = Rules::new(&watch(10));
    let (mut waiting, begun) = (Waiting::default(), Instant::now());
    let stat = |size| Stat { size, mtime_ns: 2, inode: 3, ctime_ns: 4 };
    for name in ["log", "cube"] {
        waiting.note(Path::new(name), stat(1), Writer::Writes, &rules);
    }
    assert_eq!((waiting.held(rules.patience()), waiting.expected()), (None, 2));
    let hours = |hours: u64| begun + Duration::from_secs(hours * 3600 + 60);
    let mut settle = |name: &str, size, at| waiting.settle(Path::new(name), Some(stat(size)), at, &rules).is_some();
    assert!(!settle("log", 1, hours(23)) && !settle("log", 2, hours(24)) && !settle("log", 2, hours(47)));
    assert!(!settle("cube", 1, hours(23)) && settle("cube", 1, hours(24)));
    let held = waiting.held(Duration::ZERO).unwrap();
    assert_eq!((held.files, &*held.name, waiting.expected()), (1, Path::new("log"), 0));
    waiting.note(Path::new("log"), stat(2), Writer::HasClosed, &rules);
    assert!(waiting.settle(Path::new("log"), Some(stat(2)), hours(47), &rules).is_some());
    assert_eq!(waiting.held(Duration::ZERO), None);
}

#[test]
fn a_link_into_the_inbox_waits_for_nobody_to_close_it() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join(".delivery"), b"x").unwrap();
    std::fs::hard_link(root.path().join(".delivery"), root.path().join("a")).unwrap();
    let mut inbox = inbox(root.path(), 10);
    inbox.follow(&Hint::Created(root.path().join("a")), &|| true);
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(names(inbox.settled(9, &|| true)), ["a"]);
}

#[test]
fn what_changed_longest_ago_is_read_first() {
    let root = tempfile::tempdir().unwrap();
    let now = std::time::SystemTime::now();
    for (name, age) in [("c", 10), ("a", 20), ("b", 30), ("d", 5)] {
        let file = std::fs::File::create(root.path().join(name)).unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    }
    let mut inbox = inbox(root.path(), 0);
    inbox.scan(&|| true);
    let order: Vec<PathBuf> =
        [3, 1].into_iter().flat_map(|most| inbox.settled(most, &|| true)).map(|file| file.name).collect();
    assert_eq!(order, ["b", "a", "c", "d"].map(PathBuf::from));
}

#[test]
fn files_come_before_folders_and_both_by_name() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("b/d")).unwrap();
    std::fs::create_dir(root.path().join("c")).unwrap();
    for name in ["z", "a", "b/2", "b/1", "b/d/3", "c/4"] {
        std::fs::write(root.path().join(name), b"x").unwrap();
    }
    let met: Vec<PathBuf> =
        files_below(root.path()).map(|(path, _)| path.strip_prefix(root.path()).unwrap().to_path_buf()).collect();
    assert_eq!(met, ["a", "z", "b/1", "b/2", "b/d/3", "c/4"].map(PathBuf::from));
    assert_eq!(files_below(&root.path().join("nowhere")).count(), 0);
}
