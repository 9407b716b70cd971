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
        Scored {
            inbox: self.inbox.path(),
            name: Path::new(name),
            stat,
            digest: None,
            marker: Some(".done"),
            step: &|| (),
        }
    }

    fn archived(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.archive.path().join(name)).ok()
    }

    fn waits(&self, name: &str) -> bool {
        self.inbox.path().join(name).exists()
    }

    /// The names in the inbox, hidden ones too.
    fn names(&self) -> Vec<String> {
        let name = |entry: io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = std::fs::read_dir(self.inbox.path()).unwrap().map(name).collect();
        names.sort();
        names
    }

    fn are_apart(&self) -> bool {
        let device = |folder: &tempfile::TempDir| std::fs::metadata(folder.path()).unwrap().dev();
        device(&self.inbox) != device(&self.archive)
    }
}

fn open(folder: &Path) -> OwnedFd {
    openat(CWD, folder, FOLDER, Mode::empty()).unwrap()
}

#[test]
fn a_file_moves_with_its_folder_and_its_marker() {
    for elsewhere in [false, true] {
        let house = House::new(elsewhere);
        if elsewhere && !house.are_apart() {
            println!("/dev/shm is no other filesystem: not tested across two");
        }
        house.write("night/1/a.fits", b"content");
        house.write("night/1/a.fits.done", b"");
        let path = house.inbox.path().join("night/1/a.fits");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let stat = stat_of(&path).unwrap();
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
fn a_file_whose_folder_is_gone_is_no_failure_and_an_inbox_that_is_gone_is() {
    let house = House::new(false);
    let stat = house.write("night/a", b"x");
    std::fs::remove_dir_all(house.inbox.path().join("night")).unwrap();
    assert_eq!(house.scored("night/a", stat).delete().unwrap(), Outcome::Changed);
    assert_eq!(house.scored("night/a", stat).move_to(house.archive.path()).unwrap(), Outcome::Changed);
    std::fs::remove_dir_all(house.inbox.path()).unwrap();
    assert!(house.scored("night/a", stat).delete().is_err());
}

#[test]
fn a_large_file_comes_through_in_steps() {
    let house = House::new(true);
    if !house.are_apart() {
        println!("one filesystem only: not tested");
        return;
    }
    let stat = house.write("a", &vec![7; 5 << 20]);
    let steps = std::cell::Cell::new(0);
    let step = || steps.set(steps.get() + 1);
    let scored = Scored { step: &step, ..house.scored("a", stat) };
    assert_eq!(scored.move_to(house.archive.path()).unwrap(), Outcome::Done);
    assert!(steps.get() >= 5, "{}", steps.get());
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

#[test]
fn a_hidden_name_is_nobodys() {
    let house = House::new(false);
    let folder = open(house.inbox.path());
    let first = hidden(&folder, OsStr::new("a.fits")).unwrap();
    let text = first.to_str().unwrap();
    assert!(text.starts_with(".a.fits.") && text.ends_with(".anomalyd"), "{text}");
    let number: u64 = text.trim_end_matches(".anomalyd").rsplit_once('-').unwrap().1.parse().unwrap();
    for taken in number + 1..number + 200 {
        house.write(&text.replace(&format!("-{number}."), &format!("-{taken}.")), b"left by another process");
    }
    let second = hidden(&folder, OsStr::new("a.fits")).unwrap();
    assert!(second != first && !house.inbox.path().join(&second).exists(), "{}", second.display());

    let longest = "x".repeat(255);
    let stat = house.write(&longest, b"x");
    assert_eq!(Scored { marker: None, ..house.scored(&longest, stat) }.delete().unwrap(), Outcome::Done);
}

#[test]
fn a_copy_under_way_elsewhere_is_left_alone() {
    let house = House::new(true);
    let stat = house.write("a", b"content");
    let other = house.archive.path().join(".a.anomalyd");
    std::fs::write(&other, b"half of ano").unwrap();
    let (from, to) = (open(house.inbox.path()), Place::make(house.archive.path(), house.archive.path()).unwrap());
    assert_eq!(house.scored("a", stat).copy(&from, OsStr::new("a"), &to, OsStr::new("a")).unwrap(), Outcome::Done);
    assert_eq!(std::fs::read(other).unwrap(), b"half of ano");
    assert_eq!(house.archived("a").unwrap(), b"content");
    assert!(!house.waits("a"));
    assert_eq!(std::fs::read_dir(house.archive.path()).unwrap().count(), 2, "no temporary of its own is left");
}

#[test]
fn what_takes_its_place_in_the_last_moment_is_kept() {
    let house = House::new(false);
    let folder = open(house.inbox.path());
    let stat = house.write("a.png", b"scored");
    house.write("new", b"not scored");
    std::fs::rename(house.inbox.path().join("new"), house.inbox.path().join("a.png")).unwrap();
    let scored = house.scored("a.png", stat);
    assert_eq!(scored.remove(&folder, OsStr::new("a.png")).unwrap(), Outcome::Changed);
    assert_eq!(house.names(), ["a.png"]);
    assert_eq!(std::fs::read(house.inbox.path().join("a.png")).unwrap(), b"not scored");

    house.write(".hidden", b"not scored");
    house.write("a.png", b"newer still");
    house.write("a.png.done", b"");
    let elsewhere = open(house.archive.path());
    std::fs::rename(house.inbox.path().join(".hidden"), house.archive.path().join("a.png")).unwrap();
    scored.put_back(&elsewhere, OsStr::new("a.png"), &folder, OsStr::new("a.png")).unwrap();
    assert_eq!(house.names(), ["a.1.png", "a.1.png.done", "a.png", "a.png.done"]);
    assert_eq!(std::fs::read(house.inbox.path().join("a.1.png")).unwrap(), b"not scored");
    assert_eq!(std::fs::read(house.inbox.path().join("a.png")).unwrap(), b"newer still");
}

#[test]
fn a_rewrite_whose_size_and_time_are_put_back_is_left_alone() {
    for elsewhere in [false, true] {
        let house = House::new(elsewhere);
        let stat = house.write("a", b"scored");
        let path = house.inbox.path().join("a");
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        while stat_of(&path) == Some(stat) {
            std::fs::write(&path, b"unread").unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        let scored = house.scored("a", stat);
        assert!(stat_of(&path).unwrap().is_renamed(stat), "nothing but the time of change tells it");
        assert_eq!(scored.move_to(house.archive.path()).unwrap(), Outcome::Changed);
        assert_eq!(scored.remove(&open(house.inbox.path()), OsStr::new("a")).unwrap(), Outcome::Changed);
        assert_eq!(scored.delete().unwrap(), Outcome::Changed);
        assert_eq!((house.names(), std::fs::read(&path).unwrap()), (vec!["a".to_string()], b"unread".to_vec()));
    }
}

#[test]
fn the_way_to_a_copy_is_durable_before_its_source_is_deleted() {
    let house = House::new(true);
    let archive = house.archive.path().join("new");
    let missing = Place::make(&archive, &archive.join("night/1")).err().unwrap();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound, "an archive that is not mounted is not made elsewhere");
    assert!(!archive.exists());
    std::fs::create_dir(&archive).unwrap();
    let place = Place::make(&archive, &archive.join("night/1")).unwrap();
    assert_eq!(place.parents, [archive.join("night"), archive.clone()]);
    let again = Place::make(&archive, &archive.join("night/1")).unwrap();
    assert_eq!(again.parents, [archive.join("night"), archive.clone()], "another thread may have made them just now");

    let stat = house.write("a", b"content");
    let unsynced = Place { parents: vec![archive.join("no such folder")], ..again };
    let name = OsStr::new("a");
    assert!(house.scored("a", stat).copy(&open(house.inbox.path()), name, &unsynced, name).is_err());
    assert!(house.waits("a"));
}
