//! One inbox: what is met in it, what of it waits, and what is known.

use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::info;

use super::Found;
use super::hints::Hint;
use super::known::Known;
use super::pending::{Held, MOST_PENDING, Waiting, Writer};
use super::place::{Place, is_remote};
use super::rules::{Rules, is_ignored};
use super::stat::{Stat, stat_of};
use super::walk::{self, Walk};
use crate::pipeline::{Watch, WatchMode};

/// One inbox.
#[derive(Debug)]
pub struct Inbox {
    root: PathBuf,
    pub(super) rules: Rules,
    known: Known,
    pending: Waiting,
    place: Option<Place>,
    lost: Option<io::Error>,
    /// Finished files that were met again, where somebody wants to know.
    finished: Option<Vec<(Found, bool)>>,
}

/// Is called whenever the inbox's filesystem has answered; false where nobody wants to know more.
pub type Step<'a> = &'a dyn Fn() -> bool;

impl Inbox {
    /// An inbox whose `known` files are done; [`Self::open`] comes next.
    pub fn new(root: PathBuf, watch: &Watch, known: Known) -> Self {
        let (rules, pending) = (Rules::new(watch), Waiting::default());
        Self { root, rules, known, pending, place: None, lost: None, finished: None }
    }

    /// Remembers what stands at `root`, the inbox's canonical path; see [`super::check_inbox`].
    ///
    /// # Errors
    /// There is no folder, or its filesystem is not mounted any more.
    pub fn open(&mut self, root: PathBuf, mode: WatchMode) -> io::Result<()> {
        self.place = Some(self.place.map_or_else(|| Place::of(&root), |place| place.again(&root))?);
        let remote = mode == WatchMode::Auto && is_remote(&root);
        if remote {
            info!(inbox = %root.display(), "what other machines write is found by the rescan alone: watch.mode = \"poll\" says so");
        }
        self.rules.trust_mtime = mode == WatchMode::Auto && !remote;
        self.rules.listen();
        (self.root, self.lost) = (root, None);
        // Nobody listened while it was away.
        self.pending.forget_writers();
        Ok(())
    }

    /// Checks that the inbox is still there.
    ///
    /// # Errors
    /// It is gone, another folder stands in its place, or it does not answer.
    pub fn check(&mut self) -> io::Result<()> {
        if let Some(error) = self.lost.take() {
            return Err(error);
        }
        self.place.map_or(Ok(()), |place| place.check(&self.root))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks at every file below the inbox.
    pub fn scan(&mut self, step: Step<'_>) {
        self.pending.begin_scan();
        let root = self.root.clone();
        match Walk::new(&root) {
            Ok(walk) => self.scan_all(walk, step),
            Err(error) => self.lost = Some(error),
        }
    }

    /// Looks where a hint says.
    pub fn follow(&mut self, hint: &Hint, step: Step<'_>) {
        match hint {
            Hint::Look(path) => self.look(path, step, |_| Writer::HasClosed),
            // What is created with a size is a link to a file that may have been finished long ago.
            Hint::Created(path) => {
                self.look(path, step, |meta| if meta.len() == 0 { Writer::Writes } else { Writer::Unknown });
            }
            Hint::Changed(path) => self.look(path, step, |_| Writer::Unknown),
            Hint::Writing(path) => self.look(path, step, |_| Writer::Writes),
            Hint::Everything => {
                self.pending.forget_writers();
                self.scan(step);
            }
        }
    }

    /// The files that are complete, at most `most`, those changed longest ago first; they count as known from now on.
    pub fn settled(&mut self, most: usize, step: Step<'_>) -> Vec<Found> {
        let (now, mut found) = (Instant::now(), Vec::new());
        for name in self.pending.in_order() {
            if found.len() >= most || !step() {
                break;
            }
            let path = self.root.join(&name);
            let stat = stat_of(&path).filter(|_| self.rules.is_marked(&path));
            if let Some(stat) = self.pending.settle(&name, stat, now, &self.rules)
                && self.lies_inside(&name)
            {
                self.known.insert(name.as_os_str().as_bytes(), stat);
                found.push(Found { name, stat });
            }
        }
        if self.pending.is_overfull() && self.pending.len() < MOST_PENDING / 2 {
            self.scan(step);
        }
        found
    }

    /// Makes a file that changed while it was read be looked at again, unless another version of it is known by now.
    pub fn again(&mut self, file: &Found) {
        self.forget(file);
        let path = self.root.join(&file.name);
        self.look(&path, &|| true, |_| Writer::Unknown);
    }

    /// Whether this version of a file is the last that was found, or finished.
    pub fn is_current(&self, file: &Found) -> bool {
        self.known.contains(file.name.as_os_str().as_bytes(), file.stat)
    }

    /// From now on keeps the files that are met though their rows are committed: something is to be done with them.
    pub fn keep_finished(&mut self) {
        self.finished.get_or_insert_default();
    }

    /// Those kept, each with whether it was rejected; they count as under way until they are finished anew.
    pub fn finished(&mut self) -> Vec<(Found, bool)> {
        let finished = self.finished.as_mut().map(std::mem::take).unwrap_or_default();
        for (file, _) in &finished {
            self.known.insert(file.name.as_os_str().as_bytes(), file.stat);
        }
        finished
    }

    /// A file's rows are committed, and nothing has been done with it yet. One that is under way in another version is.
    pub fn finish(&mut self, file: &Found, rejected: bool) {
        if self.is_current(file) {
            self.known.finish(file.name.as_os_str().as_bytes(), file.stat, rejected);
        }
    }

    /// A file is no longer there; another version of it may be.
    pub fn forget(&mut self, file: &Found) {
        if self.is_current(file) {
            self.known.forget(file.name.as_os_str().as_bytes());
        }
    }

    /// Files found and not yet settled.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Those of them that are to be read soon: not those that are [held](Self::held).
    pub fn expected(&self) -> usize {
        self.pending.expected()
    }

    /// Whether there are more files than are kept in mind.
    pub fn is_overfull(&self) -> bool {
        self.pending.is_overfull()
    }

    /// The files that wait though the longest time a file is to wait has passed long since.
    pub fn held(&mut self) -> Option<Held> {
        self.pending.held(self.rules.patience())
    }

    /// Time between two looks at the waiting files.
    pub fn pace(&self) -> Duration {
        (self.rules.settle / 4).clamp(Duration::from_millis(10), Duration::from_millis(250))
    }

    /// Whether no folder on the way has been replaced by a link: what lies behind one is not read.
    fn lies_inside(&self, name: &Path) -> bool {
        let mut folders = name.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
        folders.all(|folder| std::fs::symlink_metadata(self.root.join(folder)).is_ok_and(|meta| meta.is_dir()))
    }

    fn look(&mut self, path: &Path, step: Step<'_>, writer: impl Fn(&Metadata) -> Writer) {
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => match Walk::new(path) {
                Ok(walk) => self.scan_all(walk, step),
                Err(error) => walk::report(path, &error),
            },
            Ok(meta) if meta.is_file() => {
                let Some(candidate) = self.rules.candidate(path) else { return };
                // A marker says nothing about the writer of its file.
                if candidate == path {
                    self.note(path, &meta, writer(&meta));
                } else if let Ok(meta) = std::fs::symlink_metadata(&candidate)
                    && meta.is_file()
                {
                    self.note(&candidate, &meta, Writer::Unknown);
                }
            }
            _ => {}
        }
    }

    fn scan_all(&mut self, walk: Walk, step: Step<'_>) {
        for (path, meta) in walk {
            if self.pending.is_overfull() || !step() {
                return;
            }
            match self.rules.candidate_of_walk(&path) {
                Some(candidate) if candidate == path => self.note(&path, &meta, Writer::Unknown),
                Some(_) => self.look(&path, step, |_| Writer::Unknown),
                None => {}
            }
        }
    }

    fn note(&mut self, path: &Path, meta: &Metadata, writer: Writer) {
        let Ok(name) = path.strip_prefix(&self.root) else { return };
        let stat = Stat::from(meta);
        let bytes = name.as_os_str().as_bytes();
        if let Some(finished) = self.finished.as_mut().filter(|finished| finished.len() < MOST_PENDING)
            && let Some(rejected) = self.known.finished(bytes, stat)
        {
            finished.push((Found { name: name.to_path_buf(), stat }, rejected));
            return;
        }
        if !is_ignored(name) && !self.known.meets(bytes, stat) {
            self.pending.note(name, stat, writer, &self.rules);
        }
    }
}
