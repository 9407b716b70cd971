use super::*;

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
    inbox.scan();
    assert_eq!(names(inbox.settled(100)), ["a.png", "night/b"]);
    inbox.scan();
    assert!(inbox.settled(100).is_empty(), "known files are not found twice");
}

#[test]
fn a_file_settles_only_when_it_no_longer_changes() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let mut inbox = inbox(root.path(), 120);
    for size in 1..4 {
        std::fs::write(&path, vec![0; size]).unwrap();
        inbox.scan();
        std::thread::sleep(Duration::from_millis(60));
        assert!(inbox.settled(100).is_empty());
    }
    std::thread::sleep(Duration::from_millis(130));
    assert_eq!(names(inbox.settled(100)), ["a"]);
    std::fs::write(&path, b"another").unwrap();
    inbox.scan();
    assert_eq!(inbox.waiting(), 1, "an overwritten file is a new one");
}

#[test]
fn a_file_that_is_being_written_gets_more_patience() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("slow");
    std::fs::write(&path, b"half").unwrap();
    let mut inbox = inbox(root.path(), 40);
    inbox.follow(&Hint::Writing(path.clone()));
    std::thread::sleep(Duration::from_millis(100));
    assert!(inbox.settled(100).is_empty());
    inbox.follow(&Hint::Look(path));
    assert_eq!(names(inbox.settled(100)), ["slow"]);
}

#[test]
fn a_file_deleted_while_it_waits_is_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    std::fs::write(&path, b"x").unwrap();
    let mut inbox = inbox(root.path(), 0);
    inbox.scan();
    std::fs::remove_file(&path).unwrap();
    assert!(inbox.settled(100).is_empty());
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
    inbox.scan();
    let mut found = 0;
    while inbox.waiting() > 0 {
        assert!(inbox.waiting() <= MOST_PENDING);
        found += inbox.settled(1000).len();
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
