use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::watch::stat_of;

struct House {
    inbox: tempfile::TempDir,
    archive: tempfile::TempDir,
}

impl House {
    /// An archive on the inbox's filesystem, or on another one where there is one.
    fn new(elsewhere: bool) -> Self {
        let inbox = tempfile::tempdir().unwrap();
        let archive = if elsewhere { tempfile::tempdir_in("/dev/shm").unwrap() } else { tempfile::tempdir().unwrap() };
        Self { inbox, archive }
    }

    fn write(&self, name: &str, content: &[u8]) -> Stat {
        let path = self.inbox.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        stat_of(&path).unwrap()
    }

    fn scored<'a>(&'a self, name: &'a str, stat: Stat) -> Scored<'a> {
        Scored { inbox: self.inbox.path(), name: Path::new(name), stat, digest: None, marker: Some(".done") }
    }

    fn archived(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.archive.path().join(name)).ok()
    }

    fn waits(&self, name: &str) -> bool {
        self.inbox.path().join(name).exists()
    }

    fn are_apart(&self) -> bool {
        let device = |folder: &tempfile::TempDir| std::fs::metadata(folder.path()).unwrap().dev();
        device(&self.inbox) != device(&self.archive)
    }
}

#[test]
fn a_file_moves_with_its_folder_and_its_marker() {
    for elsewhere in [false, true] {
        let house = House::new(elsewhere);
        if elsewhere && !house.are_apart() {
            println!("/dev/shm is no other filesystem: not tested across two");
        }
        let stat = house.write("night/1/a.fits", b"content");
        house.write("night/1/a.fits.done", b"");
        std::fs::set_permissions(house.inbox.path().join("night/1/a.fits"), PermissionsExt::from_mode(0o640)).unwrap();
        let scored = house.scored("night/1/a.fits", stat);
        assert_eq!(scored.move_to(house.archive.path()).unwrap(), Outcome::Done);
        assert_eq!(house.archived("night/1/a.fits").unwrap(), b"content");
        let meta = std::fs::metadata(house.archive.path().join("night/1/a.fits")).unwrap();
        assert_eq!((Stat::from(&meta).mtime_ns, meta.permissions().mode() & 0o777), (stat.mtime_ns, 0o640));
        assert!(!house.waits("night/1/a.fits") && !house.waits("night/1/a.fits.done"));
        assert_eq!(
            std::fs::read_dir(house.archive.path().join("night/1")).unwrap().count(),
            if elsewhere && house.are_apart() { 1 } else { 2 }
        );
    }
}

#[test]
fn nothing_in_the_archive_is_overwritten() {
    for elsewhere in [false, true] {
        let house = House::new(elsewhere);
        for (content, name) in
            [(b"one", "a.png"), (b"two", "a.1.png"), (b"one", "a.png"), (b"six", "a.2.png"), (b"two", "a.1.png")]
        {
            let stat = house.write("a.png", content);
            assert_eq!(house.scored("a.png", stat).move_to(house.archive.path()).unwrap(), Outcome::Done);
            assert_eq!(house.archived(name).unwrap(), content);
            assert!(!house.waits("a.png"));
        }
        assert_eq!(std::fs::read_dir(house.archive.path()).unwrap().count(), 3, "the same content is kept once");
    }
}

#[test]
fn a_file_that_has_changed_is_left_alone() {
    for elsewhere in [false, true] {
        let house = House::new(elsewhere);
        let stat = house.write("a", b"before");
        house.write("a", b"after that");
        let scored = house.scored("a", stat);
        assert_eq!(scored.move_to(house.archive.path()).unwrap(), Outcome::Changed);
        assert_eq!(scored.delete().unwrap(), Outcome::Changed);
        assert!(house.waits("a") && house.archived("a").is_none());
        let lie =
            Scored { digest: Some([7; 32]), ..house.scored("a", stat_of(&house.inbox.path().join("a")).unwrap()) };
        if house.are_apart() {
            assert_eq!(lie.move_to(house.archive.path()).unwrap(), Outcome::Changed, "a copy is held to its digest");
            assert_eq!(std::fs::read_dir(house.archive.path()).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_file_is_deleted_with_its_marker() {
    let house = House::new(false);
    let stat = house.write("a", b"x");
    house.write("a.done", b"");
    house.write("b", b"x");
    assert_eq!(house.scored("a", stat).delete().unwrap(), Outcome::Done);
    assert!(!house.waits("a") && !house.waits("a.done") && house.waits("b"));
    assert_eq!(house.scored("a", stat).delete().unwrap(), Outcome::Changed, "it is gone already");
}

#[test]
fn a_link_in_place_of_a_folder_leads_nowhere() {
    let house = House::new(false);
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("a"), b"precious").unwrap();
    let stat = stat_of(&outside.path().join("a")).unwrap();
    std::os::unix::fs::symlink(outside.path(), house.inbox.path().join("night")).unwrap();
    let scored = house.scored("night/a", stat);
    assert!(scored.delete().is_err() && scored.move_to(house.archive.path()).is_err());
    assert!(outside.path().join("a").exists());
}

#[test]
fn an_archive_that_cannot_be_written_costs_nothing() {
    let house = House::new(false);
    let stat = house.write("a", b"x");
    let file = house.archive.path().join("file");
    std::fs::write(&file, b"no folder").unwrap();
    assert!(house.scored("a", stat).move_to(&file).is_err());
    assert!(house.waits("a"));
}
