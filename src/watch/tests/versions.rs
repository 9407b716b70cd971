//! Which version of a file is known, and what tells a new one.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// Writes over a file in place, and puts its time back.
fn rewrite(path: &Path, content: &[u8]) {
    let before = std::fs::metadata(path).unwrap();
    let ctime = || stat_of(path).unwrap().ctime_ns;
    let was = ctime();
    // The clock of a filesystem goes in steps of milliseconds.
    while ctime() == was {
        std::fs::write(path, content).unwrap();
        std::fs::File::options().write(true).open(path).unwrap().set_modified(before.modified().unwrap()).unwrap();
    }
    let now = stat_of(path).unwrap();
    assert!(now.is_renamed(Stat::from(&before)), "nothing else tells it");
}

#[test]
fn a_rewrite_whose_size_and_time_are_put_back_is_a_new_version() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    std::fs::write(&path, b"before").unwrap();
    let mut inbox = inbox(root.path(), 0);
    inbox.scan(&|| true);
    assert_eq!(names(inbox.settled(9, &|| true)), ["a"]);
    inbox.scan(&|| true);
    assert_eq!(inbox.waiting(), 0);
    rewrite(&path, b"after.");
    inbox.scan(&|| true);
    assert_eq!(names(inbox.settled(9, &|| true)), ["a"]);
}

#[test]
fn what_an_older_ledger_knows_is_known_until_it_changes() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    std::fs::write(&path, b"before").unwrap();
    let stat = stat_of(&path).unwrap();
    let mut known = Known::default();
    known.finish(b"a", stat.without_ctime(), true);
    assert_eq!(known.finished(b"a", stat), Some(true));
    let mut inbox = Inbox::new(root.path().to_path_buf(), &watch(0), known);
    inbox.scan(&|| true);
    assert_eq!(inbox.waiting(), 0, "it is not read again because a version is newer");
    rewrite(&path, b"after.");
    inbox.scan(&|| true);
    assert_eq!(inbox.waiting(), 1, "once it has been met, its time of change is known");
    assert!(stat.is(stat) && stat.is(stat.without_ctime()) && !stat.without_ctime().is(stat));
}

#[test]
fn what_is_said_of_an_old_version_is_not_said_of_the_new_one() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    let mut inbox = inbox(root.path(), 0);
    inbox.keep_finished();
    let mut found = |content: &[u8]| {
        std::fs::write(&path, content).unwrap();
        inbox.scan(&|| true);
        inbox.settled(9, &|| true).remove(0)
    };
    let (old, new) = (found(b"old"), found(b"newer"));
    for tell in [Inbox::again, Inbox::forget, |inbox: &mut Inbox, file: &Found| inbox.finish(file, false)] {
        tell(&mut inbox, &old);
        inbox.scan(&|| true);
        assert_eq!((inbox.waiting(), inbox.finished().len()), (0, 0), "the new one is under way");
    }
    assert!(inbox.is_current(&new) && !inbox.is_current(&old));
    inbox.finish(&new, true);
    inbox.scan(&|| true);
    assert!(matches!(&inbox.finished()[..], [(file, true)] if file.stat == new.stat));
    inbox.forget(&new);
    inbox.scan(&|| true);
    assert_eq!(names(inbox.settled(9, &|| true)), ["a"], "it has come again");
    inbox.again(&new);
    assert_eq!(inbox.waiting(), 1);
}

#[test]
fn what_could_not_be_read_is_looked_at_again_when_its_rights_change() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a");
    std::fs::write(&path, b"x").unwrap();
    let mut inbox = inbox(root.path(), 0);
    inbox.scan(&|| true);
    let before = inbox.settled(9, &|| true).remove(0).stat;
    while stat_of(&path) == Some(before) {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    }
    inbox.follow(&Hint::Changed(path), &|| true);
    assert_eq!(names(inbox.settled(9, &|| true)), ["a"]);
}
