//! Names in a folder that is held open: looked at, renamed without overwriting, made durable.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::fs::{openat, renameat, renameat_with, statat};
use rustix::io::Errno;

use crate::watch::stat::{Stat, nanoseconds};

/// Bytes of a file's name that its hidden one keeps, so that the longest name has one.
const KEPT: usize = 200;
/// The number of the next hidden name: no two threads of this process share one.
static HIDDEN: AtomicU64 = AtomicU64::new(0);
/// A folder, to find names in.
pub const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A file that is there.
pub const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A file that is not there.
pub const NEW: OFlags = OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::CLOEXEC);

/// A folder of the archive.
pub struct Place {
    /// Held open.
    pub folder: OwnedFd,
    /// The folders above it whose entries may be new.
    pub parents: Vec<PathBuf>,
}

impl Place {
    /// Makes the folder at `path`, with what is missing of the way to it from the archive. The archive itself is not made: where its
    /// filesystem is not mounted, that would be a folder of another one.
    pub fn make(archive: &Path, path: &Path) -> io::Result<Self> {
        std::fs::metadata(archive)?;
        std::fs::create_dir_all(path)?;
        // All of them, not the missing alone: another thread may have made one and not synced it yet.
        let parents = path.ancestors().skip(1).take_while(|parent| parent.starts_with(archive));
        Ok(Self { folder: openat(CWD, path, FOLDER, Mode::empty())?, parents: parents.map(PathBuf::from).collect() })
    }

    /// Makes its entries durable, and the way to it.
    pub fn sync(&self) -> io::Result<()> {
        sync(&self.folder)?;
        self.parents.iter().try_for_each(|parent| File::open(parent)?.sync_all())
    }
}

/// What a regular file is; `None` where there is none.
pub fn stat_at(folder: &OwnedFd, name: &OsStr) -> io::Result<Option<Stat>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::RegularFile => Ok(Some(Stat {
            size: found.st_size as u64,
            mtime_ns: nanoseconds(found.st_mtime, found.st_mtime_nsec as i64),
            inode: found.st_ino,
            ctime_ns: nanoseconds(found.st_ctime, found.st_ctime_nsec as i64),
        })),
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Renames, unless the new name is taken. A filesystem that cannot promise that (NFS) is asked before.
pub fn rename_new(from: &OwnedFd, old: &OsStr, to: &OwnedFd, new: &OsStr) -> Result<(), Errno> {
    match renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => match statat(to, new, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => renameat(from, old, to, new),
            Err(error) => Err(error),
        },
        renamed => renamed,
    }
}

/// A name that nobody has and no inbox looks at: `.frame.fits.4711-0.anomalyd`.
pub fn hidden(folder: &OwnedFd, base: &OsStr) -> io::Result<OsString> {
    let kept = &base.as_bytes()[..base.len().min(KEPT)];
    loop {
        let ending = format!(".{}-{}.anomalyd", std::process::id(), HIDDEN.fetch_add(1, Ordering::Relaxed));
        let name = OsString::from_vec([b".", kept, ending.as_bytes()].concat());
        match statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(name),
            // Left by a process of the same number that was killed.
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The names that are tried: `frame.fits`, `frame.1.fits`, `frame.2.fits`, ...
pub fn numbered(base: &OsStr, number: u32) -> OsString {
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

/// Reads a file piece by piece, each of which is a step; BLAKE3 of it.
pub fn each_piece(
    file: &mut File,
    step: &dyn Fn(),
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<[u8; 32]> {
    let (mut hasher, mut piece) = (blake3::Hasher::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(*hasher.finalize().as_bytes()),
            read => {
                hasher.update(&piece[..read]);
                take(&piece[..read])?;
                step();
            }
        }
    }
}

fn sync(folder: &OwnedFd) -> io::Result<()> {
    File::from(openat(folder, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?).sync_all()
}

/// It is no failure that there is nothing to be deleted.
pub fn gone(deleted: Result<(), Errno>) -> io::Result<()> {
    match deleted {
        Err(Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
