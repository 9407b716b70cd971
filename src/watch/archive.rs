//! What becomes of a file that has been scored: it is deleted, or moved below an archive folder, keeping its path. Never one that
//! has changed since, and nothing is overwritten.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::fs::{openat, openat2, renameat, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::Stat;

/// Names tried for a file whose own is taken in the archive.
const NAMES: u32 = 10_000;
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A file in an inbox, as it was when it was scored.
#[derive(Debug)]
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
        let (folder, base) = self.folder()?;
        if !self.is_same(&folder, base)? {
            return Ok(Outcome::Changed);
        }
        unlinkat(&folder, base, AtFlags::empty())?;
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
        let (folder, base) = self.folder()?;
        let place = archive.join(self.name.parent().unwrap_or(Path::new("")));
        std::fs::create_dir_all(&place)?;
        let to = openat(CWD, &place, FOLDER, Mode::empty())?;
        for number in 0..NAMES {
            if !self.is_same(&folder, base)? {
                return Ok(Outcome::Changed);
            }
            let name = numbered(base, number);
            match self.put(&folder, base, &to, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if self.is_there(&folder, base, &to, &name)? {
                        return self.delete();
                    }
                }
                Ok(Outcome::Done) => {
                    if let Some(marker) = self.marker(base) {
                        move_marker(&folder, &marker, &to, &[name.as_bytes(), marker_ending(&marker, base)].concat())?;
                    }
                    return Ok(Outcome::Done);
                }
                other => return other,
            }
        }
        Err(io::Error::other(format!("{NAMES} names like it are taken in {}", place.display())))
    }

    /// The folder it lies in, reached without a link below the inbox, and its name there.
    fn folder(&self) -> io::Result<(OwnedFd, &OsStr)> {
        let base = self.name.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let inbox = openat(CWD, self.inbox, FOLDER, Mode::empty())?;
        let parent = self.name.parent().filter(|parent| !parent.as_os_str().is_empty());
        let Some(parent) = parent else { return Ok((inbox, base)) };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        match openat2(&inbox, parent, FOLDER, Mode::empty(), resolve) {
            Err(Errno::NOSYS | Errno::PERM) => {
                Ok((openat(&inbox, parent, FOLDER | OFlags::NOFOLLOW, Mode::empty())?, base))
            }
            opened => Ok((opened?, base)),
        }
    }

    fn is_same(&self, folder: &OwnedFd, base: &OsStr) -> io::Result<bool> {
        Ok(stat_at(folder, base)? == Some(self.stat))
    }

    fn marker(&self, base: &OsStr) -> Option<OsString> {
        let marker = self.marker?;
        Some(OsString::from_vec([base.as_bytes(), marker.as_bytes()].concat()))
    }

    /// Gives the file this name in the archive, unless it is taken.
    fn put(&self, folder: &OwnedFd, base: &OsStr, to: &OwnedFd, name: &OsStr) -> io::Result<Outcome> {
        match rename_new(folder, base, to, name) {
            Err(Errno::XDEV) => return self.copy(folder, base, to, name),
            renamed => renamed?,
        }
        // It may have been replaced in the last moment: then it goes back.
        if stat_at(to, name)? == Some(self.stat) {
            return Ok(Outcome::Done);
        }
        rename_new(to, name, folder, base)?;
        Ok(Outcome::Changed)
    }

    /// The same across filesystems: nothing is deleted before its copy is safe.
    fn copy(&self, folder: &OwnedFd, base: &OsStr, to: &OwnedFd, name: &OsStr) -> io::Result<Outcome> {
        if stat_at(to, name)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let temporary = OsString::from_vec([b".", base.as_bytes(), b".anomalyd"].concat());
        gone(unlinkat(to, &temporary, AtFlags::empty()))?;
        let copied = self.copy_as(folder, base, to, &temporary);
        let renamed = match copied {
            Ok(true) => rename_new(to, &temporary, to, name).map_err(io::Error::from),
            Ok(false) => {
                gone(unlinkat(to, &temporary, AtFlags::empty()))?;
                return Ok(Outcome::Changed);
            }
            Err(error) => Err(error),
        };
        if let Err(error) = renamed {
            gone(unlinkat(to, &temporary, AtFlags::empty()))?;
            return Err(error);
        }
        sync(to)?;
        if self.is_same(folder, base)? {
            unlinkat(folder, base, AtFlags::empty())?;
            return Ok(Outcome::Done);
        }
        unlinkat(to, name, AtFlags::empty())?;
        Ok(Outcome::Changed)
    }

    /// Copies content, times and rights; false where it is not what was scored.
    fn copy_as(&self, folder: &OwnedFd, base: &OsStr, to: &OwnedFd, name: &OsStr) -> io::Result<bool> {
        let mut source = File::from(openat(folder, base, READ, Mode::empty())?);
        let meta = source.metadata()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut copy = File::from(openat(to, name, flags, Mode::from(0o600))?);
        let digest = each_piece(&mut source, &mut |piece| copy.write_all(piece))?;
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
        let digest =
            |folder, name| each_piece(&mut File::from(openat(folder, name, READ, Mode::empty())?), &mut |_| Ok(()));
        let own = self.digest.map_or_else(|| digest(folder, base), Ok)?;
        Ok(digest(to, name)? == own)
    }
}

/// What a regular file is; `None` where there is none.
fn stat_at(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile => Ok(Some(Stat {
            size: found.st_size as u64,
            mtime_ns: found.st_mtime * 1_000_000_000 + found.st_mtime_nsec as i64,
            inode: found.st_ino,
        })),
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Renames, unless the new name is taken. A filesystem that cannot promise that (NFS) is asked before.
fn rename_new(from: &OwnedFd, old: &OsStr, to: &OwnedFd, new: &OsStr) -> Result<(), Errno> {
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => match statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => renameat(from, old, to, new),
            Err(error) => Err(error),
        },
        renamed => renamed,
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

/// `frame.fits`, `frame.1.fits`, `frame.2.fits`, ...
fn numbered(base: &OsStr, number: u32) -> OsString {
    if number == 0 {
        return base.to_os_string();
    }
    let path = PathBuf::from(base);
    let mut name = path.file_stem().unwrap_or(base).to_os_string();
    name.push(format!(".{number}"));
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    name
}

/// Reads a file piece by piece; BLAKE3 of it.
fn each_piece(file: &mut File, take: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<[u8; 32]> {
    let (mut hasher, mut piece) = (blake3::Hasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(*hasher.finalize().as_bytes()),
            read => {
                hasher.update(&piece[..read]);
                take(&piece[..read])?;
            }
        }
    }
}

fn sync(folder: &OwnedFd) -> io::Result<()> {
    File::from(openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?).sync_all()
}

/// It is no failure that there is nothing to be deleted.
fn gone(deleted: Result<(), Errno>) -> io::Result<()> {
    match deleted {
        Err(Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[path = "archive/tests.rs"]
mod tests;
