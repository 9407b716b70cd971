//! Which files each worker holds right now, so that a file that kills or stalls the process is found out.
//!
//! A worker overwrites its own small file before and after each piece of work, without any sync: the page cache outlives the
//! process. A note names the boot it was made in, since some reach the disk by themselves: for what a power cut or a reboot ended
//! no file is to blame, unless a worker had hung over it. Nor is one to blame for the end of a process that had been told to stop:
//! who told it may have lost patience. An orderly end, even by a failing disk, leaves no notes.
//!
//! What stands in a note when a process dies need not be to blame: it may have been killed from outside, or by another file. So
//! a file goes alone after its first death, frame by frame, and a death over later frames than the last one starts the count
//! anew, see [`crate::ledger::Ledger::blame`].

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::post::{Doing, Post, Posts};
use crate::error::{Failure, Result};
use crate::ledger::Suspect;
use crate::watch::Stat;

/// Deaths over one file after which it is rejected.
pub const MOST_TRIES: u32 = 3;
/// The worker of the score stage.
pub const SCORE: &str = "score";

/// Where a note says that its worker hung.
const STALLED_AT: u64 = 4;
/// Names this boot where `/proc/sys` is hidden; the units set it.
const BOOT: &str = "ANOMALYD_BOOT_ID";

/// Stands among the notes of a process that was told to stop.
const STOPPING: &str = "stopping";

/// 128 random bits of this boot; nothing where nobody tells.
type Boot = [u8; 16];

/// One worker's note of what it holds, and its post.
#[derive(Debug)]
pub struct Work {
    file: File,
    boot: Boot,
    buffer: Vec<u8>,
    /// What the worker does.
    pub post: Arc<Post>,
}

/// A file in hand: pipeline, name, version, first and last frame in hand.
pub type InHand<'a> = (&'a str, &'a [u8], Stat, u32, u32);

/// Makes the folder of the notes and returns what a dead process held.
///
/// # Errors
/// [`crate::error::Kind::Io`].
pub fn left_behind(state: &Path) -> Result<Vec<Suspect>> {
    left_behind_at(state, &this_boot())
}

fn left_behind_at(state: &Path, boot: &Boot) -> Result<Vec<Suspect>> {
    let folder = folder(state);
    std::fs::create_dir_all(&folder).map_err(|error| Failure::io(&folder, error))?;
    let entries = std::fs::read_dir(&folder).map_err(|error| Failure::io(&folder, error))?;
    let was_stopping = folder.join(STOPPING).exists();
    let mut held: Vec<Suspect> = Vec::new();
    for entry in entries.flatten() {
        let suspects = std::fs::read(entry.path()).ok().and_then(|bytes| parse(&bytes, boot)).unwrap_or_default();
        for suspect in suspects.into_iter().filter(|suspect| suspect.stalled || !was_stopping) {
            // One worker may have decoded its next frames while another scored those before.
            match held.iter_mut().find(|other| other.path == suspect.path && other.pipeline == suspect.pipeline) {
                Some(other) => {
                    other.frames = (other.frames.0.min(suspect.frames.0), other.frames.1.max(suspect.frames.1));
                    other.stalled |= suspect.stalled;
                }
                None => held.push(suspect),
            }
        }
        std::fs::remove_file(entry.path()).map_err(|error| Failure::io(&entry.path(), error))?;
    }
    held.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(held)
}

/// Notes that the process has been told to stop.
pub fn stops(state: &Path) {
    // Where it cannot be written there may be blame, no more.
    let _ = File::create(folder(state).join(STOPPING));
}

/// Takes all notes away: an orderly end blames nobody.
pub fn blame_nobody(state: &Path) {
    remove_notes(state, |_| true);
}

/// Leaves the note of a worker that hangs, and says so in it; takes those of the others away.
pub fn blame_alone(state: &Path, worker: &str) {
    remove_notes(state, |name| name != worker);
    let note = File::options().write(true).open(folder(state).join(worker));
    // A note that cannot be written costs the word for it, no more.
    let _ = note.and_then(|note| note.write_all_at(&1u32.to_le_bytes(), STALLED_AT));
}

fn remove_notes(state: &Path, which: impl Fn(&str) -> bool) {
    for entry in std::fs::read_dir(folder(state)).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(&which) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

impl Work {
    /// The note of a worker, empty.
    ///
    /// # Errors
    /// [`crate::error::Kind::Io`].
    pub fn new(state: &Path, worker: &str, posts: &Posts) -> Result<Self> {
        let path = folder(state).join(worker);
        let file = File::create(&path).map_err(|error| Failure::io(&path, error))?;
        Ok(Self { file, boot: this_boot(), buffer: Vec::new(), post: posts.post(worker) })
    }

    /// Notes what is taken in hand. A note that cannot be written costs no more than the blame.
    pub fn begin(&mut self, files: &[InHand<'_>]) {
        self.buffer.clear();
        self.buffer.extend((files.len() as u32).to_le_bytes());
        self.buffer.extend(0u32.to_le_bytes());
        self.buffer.extend(self.boot);
        for &(pipeline, name, stat, first, last) in files {
            for text in [pipeline.as_bytes(), name] {
                self.buffer.extend((text.len() as u32).to_le_bytes());
                self.buffer.extend(text);
            }
            for number in [stat.size, stat.mtime_ns as u64, stat.inode, stat.ctime_ns as u64] {
                self.buffer.extend(number.to_le_bytes());
            }
            self.buffer.extend(first.to_le_bytes());
            self.buffer.extend(last.to_le_bytes());
        }
        let _ = self.file.write_all_at(&self.buffer, 0);
    }

    /// Notes that the one file in hand has come to this frame.
    pub fn advance(&mut self, source: &Arc<str>, frame: u32) {
        self.post.say(Doing::Work { source: source.clone(), frame });
        if let Some(end) = self.buffer.len().checked_sub(8).filter(|_| frame > 0) {
            let frames = [frame.to_le_bytes(), frame.to_le_bytes()].concat();
            let _ = self.file.write_all_at(&frames, end as u64);
        }
    }

    /// Notes that the work is done.
    pub fn done(&mut self) {
        self.post.say(Doing::Rest);
        let _ = self.file.write_all_at(&0u32.to_le_bytes(), 0);
    }
}

fn folder(state: &Path) -> PathBuf {
    state.join("work")
}

/// Which boot this is. A note of which that is not known counts as one of this boot.
fn this_boot() -> Boot {
    let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok().or_else(|| std::env::var(BOOT).ok());
    told.and_then(|text| boot_of(&text)).unwrap_or_default()
}

/// 32 hexadecimal digits, with hyphens or without.
fn boot_of(text: &str) -> Option<Boot> {
    let digits: String = text.trim().chars().filter(|&letter| letter != '-').collect();
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok())?.map(u128::to_be_bytes)
}

/// What a note blames, read in this boot.
fn parse(bytes: &[u8], now: &Boot) -> Option<Vec<Suspect>> {
    let mut rest = bytes;
    let (count, stalled) = (number::<4>(&mut rest)?, number::<4>(&mut rest)? != 0);
    let (boot, tail) = rest.split_first_chunk::<16>()?;
    rest = tail;
    let unknown = Boot::default();
    if !stalled && boot != now && *boot != unknown && *now != unknown {
        return Some(Vec::new());
    }
    (0..count)
        .map(|_| {
            let mut text = || {
                let length = usize::try_from(number::<4>(&mut rest)?).ok()?;
                let (text, tail) = rest.split_at_checked(length)?;
                rest = tail;
                Some(text.to_vec())
            };
            let (pipeline, path) = (String::from_utf8(text()?).ok()?, text()?);
            let stat = Stat {
                size: number::<8>(&mut rest)?,
                mtime_ns: number::<8>(&mut rest)? as i64,
                inode: number::<8>(&mut rest)?,
                ctime_ns: number::<8>(&mut rest)? as i64,
            };
            let frames = (number::<4>(&mut rest)? as u32, number::<4>(&mut rest)? as u32);
            Some(Suspect { pipeline, path, stat, frames, stalled, tries: 0 })
        })
        .collect()
}

/// A little-endian number of N bytes from the front.
fn number<const N: usize>(rest: &mut &[u8]) -> Option<u64> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(head);
    Some(u64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: Stat = Stat { size: 1, mtime_ns: -2, inode: 3, ctime_ns: 4 };

    fn suspect(path: &[u8], frames: (u32, u32), stalled: bool) -> Suspect {
        Suspect { pipeline: "digits".into(), path: path.to_vec(), stat: STAT, frames, stalled, tries: 0 }
    }

    #[test]
    fn what_is_held_is_found_and_what_is_done_is_not() {
        let (state, posts) = (tempfile::tempdir().unwrap(), Posts::default());
        assert!(left_behind(state.path()).unwrap().is_empty());
        let mut one = Work::new(state.path(), "decode-0", &posts).unwrap();
        let mut two = Work::new(state.path(), SCORE, &posts).unwrap();
        one.begin(&[("digits", b"a long name", STAT, 0, 0)]);
        one.begin(&[("digits", b"b", STAT, 0, 0)]);
        one.advance(&"b".into(), 70);
        two.begin(&[("digits", b"c", STAT, 0, 0), ("digits", b"d", STAT, 0, 9)]);
        two.done();
        assert_eq!(left_behind(state.path()).unwrap(), [suspect(b"b", (70, 70), false)]);
        assert!(parse(&[9, 0, 0, 0, 1], &Boot::default()).is_none(), "a torn note blames nobody");
    }

    #[test]
    fn frames_in_several_hands_are_one_range() {
        let (state, posts) = (tempfile::tempdir().unwrap(), Posts::default());
        left_behind(state.path()).unwrap();
        let mut one = Work::new(state.path(), "decode-0", &posts).unwrap();
        let mut two = Work::new(state.path(), SCORE, &posts).unwrap();
        one.begin(&[("digits", b"cube", STAT, 0, 0)]);
        one.advance(&"cube".into(), 70);
        two.begin(&[("digits", b"cube", STAT, 31, 44)]);
        assert_eq!(left_behind(state.path()).unwrap(), [suspect(b"cube", (31, 70), false)]);
    }

    #[test]
    fn a_power_cut_blames_nobody_but_who_hung_before_it() {
        let boot = boot_of("8e5a1bd0-3f2c-4d6e-9a7b-0c1d2e3f4a5b\n").unwrap();
        assert_eq!(boot_of("8e5a1bd03f2c4d6e9a7b0c1d2e3f4a5b"), Some(boot), "as systemd writes it");
        assert_eq!((boot_of(""), boot_of("8e5a1bd0-3f2c")), (None, None));
        let (state, posts) = (tempfile::tempdir().unwrap(), Posts::default());
        let kill = |made_in: Boot, hung: bool, read_in: Boot| {
            left_behind(state.path()).unwrap();
            let mut work = Work::new(state.path(), SCORE, &posts).unwrap();
            work.boot = made_in;
            work.begin(&[("digits", b"a", STAT, 2, 5)]);
            if hung {
                blame_alone(state.path(), SCORE);
            }
            left_behind_at(state.path(), &read_in).unwrap()
        };
        let (other, unknown) = ([7; 16], Boot::default());
        assert_eq!(kill(boot, false, boot), [suspect(b"a", (2, 5), false)]);
        assert_eq!(kill(boot, false, other), []);
        assert_eq!(kill(boot, true, other), [suspect(b"a", (2, 5), true)]);
        assert_eq!(kill(unknown, false, other).len(), 1);
        assert_eq!(kill(boot, false, unknown).len(), 1);
    }

    #[test]
    fn who_was_told_to_stop_and_killed_blames_nobody_but_who_hung() {
        let (state, posts) = (tempfile::tempdir().unwrap(), Posts::default());
        for (told, hung, count) in [(true, false, 0), (false, false, 1), (true, true, 1)] {
            left_behind(state.path()).unwrap();
            Work::new(state.path(), SCORE, &posts).unwrap().begin(&[("digits", b"a", STAT, 2, 5)]);
            if hung {
                blame_alone(state.path(), SCORE);
            }
            if told {
                stops(state.path());
            }
            assert_eq!(left_behind(state.path()).unwrap().len(), count, "told: {told}, hung: {hung}");
        }
    }

    #[test]
    fn an_orderly_end_blames_nobody_and_a_worker_that_hangs_alone() {
        let (state, posts) = (tempfile::tempdir().unwrap(), Posts::default());
        left_behind(state.path()).unwrap();
        for (blame, held) in [
            (blame_nobody as fn(&Path), vec![]),
            (|state| blame_alone(state, "decode-1"), vec![suspect(b"1", (0, 0), true)]),
        ] {
            for worker in 0..3 {
                let mut work = Work::new(state.path(), &format!("decode-{worker}"), &posts).unwrap();
                work.begin(&[("digits", worker.to_string().as_bytes(), STAT, 0, 0)]);
            }
            blame(state.path());
            assert_eq!(left_behind(state.path()).unwrap(), held);
        }
    }
}
