//! Whether anybody reads a day folder: seen by inotify on it.
//!
//! A reader lists a folder first and opens its files afterwards. Whoever lists it, or opens or reads a file by its path in it,
//! raises an event here. Files opened by another of their names (a hard link elsewhere) raise none.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::error::{Failure, Result};

/// Folders that are watched for readers.
#[derive(Debug)]
pub struct Quiet {
    inotify: OwnedFd,
    folders: Vec<Watched>,
}

/// One folder.
#[derive(Debug)]
struct Watched {
    number: i32,
    /// When it was last read, or first watched.
    last: Instant,
    /// Something came into it or left it.
    changed: bool,
}

impl Quiet {
    /// Watches folders; the answers to questions about them go by their position.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`] where a folder cannot be watched.
    pub fn watch(folders: &[&Path]) -> Result<Self> {
        let fail = |path: &Path, error: Errno| {
            let limits = "is fs.inotify.max_user_watches or fs.inotify.max_user_instances too low?";
            Failure::io(path, format!("cannot watch for readers: {error}; {limits}"))
        };
        let first = folders.first().copied().unwrap_or(Path::new("inotify"));
        let inotify =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|error| fail(first, error))?;
        let reads = WatchFlags::OPEN | WatchFlags::ACCESS;
        let changes = WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::DELETE | WatchFlags::DELETE_SELF;
        let mut watched = Vec::with_capacity(folders.len());
        for folder in folders {
            let mask = reads | changes | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
            let number = inotify::add_watch(&inotify, *folder, mask).map_err(|error| fail(folder, error))?;
            watched.push(Watched { number, last: Instant::now(), changed: false });
        }
        Ok(Self { inotify, folders: watched })
    }

    /// Takes in what has happened since the last look; to be called often, as the kernel keeps only so many events.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn look(&mut self) -> Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 1 << 14];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        let (reads, now) = (ReadFlags::OPEN | ReadFlags::ACCESS, Instant::now());
        loop {
            let (number, what) = match events.next() {
                Ok(event) => (event.wd(), event.events()),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(Failure::io(Path::new("inotify"), error)),
            };
            // Events were lost: anything may have happened anywhere.
            let lost = what.contains(ReadFlags::QUEUE_OVERFLOW);
            for folder in self.folders.iter_mut().filter(|folder| lost || folder.number == number) {
                folder.last = now;
                folder.changed |= lost || !(what - ReadFlags::ISDIR - reads).is_empty();
            }
        }
    }

    /// Whether something came into a folder or left it since it is watched.
    pub fn is_changed(&self, folder: usize) -> bool {
        self.folders[folder].changed
    }

    /// For how long nobody has read a folder, as of the last look.
    pub fn since(&self, folder: usize) -> Duration {
        self.folders[folder].last.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn seen(quiet: &mut Quiet, folder: usize) -> (bool, bool) {
        let before = quiet.folders[folder].last;
        std::thread::sleep(Duration::from_millis(2));
        quiet.look().unwrap();
        (quiet.folders[folder].last > before, quiet.is_changed(folder))
    }

    #[test]
    fn listing_opening_and_changing_are_seen_and_reading_by_another_name_is_not() {
        let root = tempfile::tempdir().unwrap();
        let [day, other, away] = ["day", "other", "away"].map(|name| root.path().join(name));
        for folder in [&day, &other, &away] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("part"), b"rows").unwrap();
        }
        let mut quiet = Quiet::watch(&[&day, &other]).unwrap();
        assert_eq!(seen(&mut quiet, 0), (false, false));
        fs::hard_link(day.join("part"), away.join("link")).unwrap();
        fs::read(away.join("link")).unwrap();
        fs::metadata(day.join("part")).unwrap();
        assert_eq!(seen(&mut quiet, 0), (false, false), "our own reading goes by another name");
        let _ = fs::read_dir(&day).unwrap().count();
        assert_eq!(seen(&mut quiet, 0), (true, false), "listed");
        fs::read(day.join("part")).unwrap();
        assert_eq!(seen(&mut quiet, 0), (true, false), "opened");
        fs::rename(away.join("part"), day.join("new")).unwrap();
        assert_eq!(seen(&mut quiet, 0), (true, true), "a part came");
        assert_eq!(seen(&mut quiet, 1), (false, false), "the other folder is another");
        assert!(quiet.since(1) > Duration::ZERO);
    }
}
