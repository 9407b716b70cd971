//! What becomes of a file that has been scored: it is deleted, or moved below an archive folder, keeping its path. Never one that
//! has changed since, and nothing is overwritten.

mod entry;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, openat, openat2, unlinkat};
use rustix::io::Errno;

use super::Stat;
use entry::{FOLDER, NEW, Place, READ, each_piece, gone, hidden, numbered, rename_new, stat_at};

/// Names tried for a file whose own is taken in the archive.
const NAMES: u32 = 10_000;

/// A file in an inbox, as it was when it was scored.
pub struct Scored<'a> {
    /// The inbox.
    pub inbox: &'a Path,
    /// Its name there.
    pub name: &'a Path,
    /// What it was.
    pub stat: Stat,
    /// BLAKE3 of its content, where that is at hand.
    pub digest: Option<[u8; 32]>,
    /// The ending of the marker that goes with it.
    pub marker: Option<&'a str>,
    /// Is called whenever a piece of a large file has come through.
    pub step: &'a dyn Fn(),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is no longer in the inbox.
    Done,
    /// It is no longer what was scored, and was left alone.
    Changed,
}

impl Scored<'_> {
    /// Deletes the file.
    ///
    /// # Errors
    /// The file or its folder cannot be written.
    pub fn delete(&self) -> io::Result<Outcome> {
        let Some((folder, base)) = self.folder()? else { return Ok(Outcome::Changed) };
        if self.remove(&folder, base)? == Outcome::Changed {
            return Ok(Outcome::Changed);
        }
        if let Some(marker) = self.marker(base) {
            gone(unlinkat(&folder, &marker, AtFlags::empty()))?;
        }
        Ok(Outcome::Done)
    }

    /// Moves the file below `archive`, under its own name, or a numbered one where another content has that.
    ///
    /// # Errors
    /// The file, its folder or the archive cannot be written; the file is then still in the inbox.
    pub fn move_to(&self, archive: &Path) -> io::Result<Outcome> {
        let Some((folder, base)) = self.folder()? else { return Ok(Outcome::Changed) };
        let place = archive.join(self.name.parent().unwrap_or(Path::new("")));
        let to = Place::make(archive, &place)?;
        for number in 0..NAMES {
            if !self.is_same(&folder, base)? {
                return Ok(Outcome::Changed);
            }
            let name = numbered(base, number);
            match self.put(&folder, base, &to, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.is_there(&folder, base, &to.folder, &name)? {
                        to.sync()?;
                        return self.delete();
                    }
                }
                Ok(Outcome::Done) => {
                    if let Some(marker) = self.marker(base) {
                        let ending = marker_ending(&marker, base);
                        move_marker(&folder, &marker, &to.folder, &[name.as_bytes(), ending].concat())?;
                    }
                    return Ok(Outcome::Done);
                }
                other => return other,
            }
        }
        Err(io::Error::other(format!("{NAMES} names like it are taken in {}", place.display())))
    }

    /// The folder it lies in, reached without a link below the inbox, and its name there; `None` where that folder is gone.
    fn folder(&self) -> io::Result<Option<(OwnedFd, &OsStr)>> {
        let base = self.name.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let inbox = openat(CWD, self.inbox, FOLDER, Mode::empty())?;
        let parent = self.name.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Some(parent) = parent else { return Ok(Some((inbox, base))) };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = match openat2(&inbox, parent, FOLDER, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM) => openat(&inbox, parent, FOLDER | OFlags::NOFOLLOW, Mode::empty()),
            opened => opened,
        };
        match opened {
            // Taken away as a whole.
            Err(Errno::NOENT) => Ok(None),
            opened => Ok(Some((opened?, base))),
        }
    }

    fn is_same(&self, folder: &OwnedFd, base: &OsStr) -> io::Result<bool> {
        Ok(stat_at(folder, base)? == Some(self.stat))
    }

    /// The same once it has been given another name.
    fn is_renamed(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        Ok(stat_at(folder, name)?.is_some_and(|now| now.is_renamed(self.stat)))
    }

    fn marker(&self, base: &OsStr) -> Option<OsString> {
        let marker = self.marker?;
        Some(OsString::from_vec([base.as_bytes(), marker.as_bytes()].concat()))
    }

    /// Deletes the file by way of a name that no writer uses: what took its place in the last moment is not deleted with it.
    fn remove(&self, folder: &OwnedFd, base: &OsStr) -> io::Result<Outcome> {
        if !self.is_same(folder, base)? {
            return Ok(Outcome::Changed);
        }
        let hidden = hidden(folder, base)?;
        match rename_new(folder, base, folder, &hidden) {
            Err(Errno::NOENT) => return Ok(Outcome::Changed),
            renamed => renamed?,
        }
        let removed = match self.is_renamed(folder, &hidden) {
            Ok(true) => unlinkat(folder, &hidden, AtFlags::empty()).map(|()| Outcome::Done).map_err(io::Error::from),
            other => other.map(|_| Outcome::Changed),
        };
        if !matches!(removed, Ok(Outcome::Done)) {
            self.put_back(folder, &hidden, folder, base)?;
        }
        removed
    }

    /// Gives a file that was taken `from` its name back, or a numbered one where a newer version has that, so that it is found and
    /// scored.
    fn put_back(&self, from: &OwnedFd, hidden: &OsStr, folder: &OwnedFd, base: &OsStr) -> io::Result<()> {
        for name in (0..NAMES).map(|number| numbered(base, number)) {
            match rename_new(from, hidden, folder, &name) {
                Ok(()) => return self.mark_like(folder, base, &name),
                Err(Errno::EXIST) => {}
                Err(error) => {
                    let left = format!("a new version is left under the name {}: {error}", hidden.display());
                    return Err(io::Error::new(error.kind(), left));
                }
            }
        }
        Err(io::Error::other(format!("a new version is left under the name {}", hidden.display())))
    }

    /// Where a marker stands beside the file, makes one for another name of it.
    fn mark_like(&self, folder: &OwnedFd, base: &OsStr, name: &OsStr) -> io::Result<()> {
        if let (Some(marker), Some(own)) = (self.marker(base), self.marker(name))
            && stat_at(folder, &marker)?.is_some()
            && stat_at(folder, &own)?.is_none()
        {
            openat(folder, &own, NEW, Mode::from(0o644))?;
        }
        Ok(())
    }

    /// Gives the file this name in the archive, unless it is taken.
    fn put(&self, folder: &OwnedFd, base: &OsStr, to: &Place, name: &OsStr) -> io::Result<Outcome> {
        match rename_new(folder, base, &to.folder, name) {
            Err(Errno::XDEV) => return self.copy(folder, base, to, name),
            renamed => renamed?,
        }
        // It may have been replaced in the last moment: then it goes back.
        if self.is_renamed(&to.folder, name)? {
            return Ok(Outcome::Done);
        }
        self.put_back(&to.folder, name, folder, base)?;
        Ok(Outcome::Changed)
    }

    /// The same across filesystems: nothing is deleted before its copy is safe.
    fn copy(&self, folder: &OwnedFd, base: &OsStr, to: &Place, name: &OsStr) -> io::Result<Outcome> {
        if stat_at(&to.folder, name)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let temporary = hidden(&to.folder, base)?;
        let copy = File::from(openat(&to.folder, &temporary, NEW, Mode::from(0o600))?);
        let published = self.copy_to(folder, base, copy).and_then(|same| {
            if same {
                rename_new(&to.folder, &temporary, &to.folder, name)?;
            }
            Ok(same)
        });
        if !matches!(published, Ok(true)) {
            gone(unlinkat(&to.folder, &temporary, AtFlags::empty()))?;
            return published.map(|_| Outcome::Changed);
        }
        to.sync()?;
        let removed = self.remove(folder, base)?;
        if removed == Outcome::Changed {
            unlinkat(&to.folder, name, AtFlags::empty())?;
        }
        Ok(removed)
    }

    /// Copies content, times and rights; false where it is not what was scored.
    fn copy_to(&self, folder: &OwnedFd, base: &OsStr, mut copy: File) -> io::Result<bool> {
        let mut source = File::from(openat(folder, base, READ, Mode::empty())?);
        let meta = source.metadata()?;
        let digest = each_piece(&mut source, self.step, &mut |piece| copy.write_all(piece))?;
        copy.set_permissions(meta.permissions())?;
        copy.set_times(std::fs::FileTimes::new().set_accessed(meta.accessed()?).set_modified(meta.modified()?))?;
        copy.sync_all()?;
        Ok(self.digest.is_none_or(|scored| scored == digest) && Stat::from(&source.metadata()?) == self.stat)
    }

    /// Whether the content stands under this name in the archive already.
    fn is_there(&self, folder: &OwnedFd, base: &OsStr, to: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        if stat_at(to, name)?.is_none_or(|there| there.size != self.stat.size) {
            return Ok(false);
        }
        let digest = |folder, name| {
            let mut file = File::from(openat(folder, name, READ, Mode::empty())?);
            each_piece(&mut file, self.step, &mut |_| Ok(()))
        };
        let own = self.digest.map_or_else(|| digest(folder, base), Ok)?;
        Ok(digest(to, name)? == own)
    }
}

/// A marker says nothing once its file is gone: where it cannot go along it is deleted.
fn move_marker(folder: &OwnedFd, marker: &OsStr, to: &OwnedFd, name: &[u8]) -> io::Result<()> {
    match rename_new(folder, marker, to, OsStr::from_bytes(name)) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(_) => gone(unlinkat(folder, marker, AtFlags::empty())),
    }
}

fn marker_ending<'a>(marker: &'a OsStr, base: &OsStr) -> &'a [u8] {
    &marker.as_bytes()[base.len()..]
}

#[cfg(test)]
#[path = "archive/tests.rs"]
mod tests;
