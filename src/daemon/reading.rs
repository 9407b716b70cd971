//! From a file that was found to its bytes, if it is still what was found.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::image::{Limits, Reason, Rejection};
use crate::watch::{Stat, stat_of};

/// Bytes read at once: between two of them an inbox has shown that it answers.
const PIECE: u64 = 4 << 20;

/// How reading a file went.
pub enum Reading {
    /// Its bytes, and what it was before and after they were read.
    Whole(Vec<u8>, Stat),
    /// It changed meanwhile.
    Changed,
    /// There is no such regular file any more.
    Gone,
    /// It cannot be read now; later it may.
    Later(io::Error),
    /// It will not be read as it is.
    Refused(Rejection),
}

/// Where a file lies: in an inbox, by its name there, or anywhere.
pub struct Place<'a> {
    /// The whole path.
    pub path: &'a Path,
    /// The inbox and the name in it: then no part of the name may be a link.
    pub inside: Option<(&'a Path, &'a Path)>,
}

/// Reads a file whole, and looks whether it is still the same afterwards. `step` is called whenever the filesystem has answered.
pub fn read(place: &Place<'_>, limits: &Limits, step: &dyn Fn()) -> Reading {
    let (file, meta) = match open(place).and_then(|file| Ok((file.metadata()?, file))) {
        Ok((meta, file)) if meta.is_file() => (file, meta),
        Ok(_) => return Reading::Gone,
        Err(error) => return refuse(error),
    };
    step();
    let before = Stat::from(&meta);
    if before.size > limits.file_bytes {
        let detail = format!("{} bytes, over the limit of {} (limits.file_bytes)", before.size, limits.file_bytes);
        return Reading::Refused(Rejection::new(Reason::TooLarge, detail));
    }
    let read = read_bytes(&file, before.size, step).and_then(|bytes| Ok((bytes, file.metadata()?)));
    let (bytes, after) = match read {
        Ok(read) => read,
        Err(error) => return refuse(error),
    };
    if Stat::from(&after) == before && bytes.len() as u64 == before.size && stat_of(place.path) == Some(before) {
        Reading::Whole(bytes, before)
    } else {
        Reading::Changed
    }
}

/// Opens for reading; a pipe put in place of the file is not waited for, a link not followed.
fn open(place: &Place<'_>) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Some((inbox, name)) = place.inside else {
        return Ok(openat(CWD, place.path, flags, Mode::empty())?.into());
    };
    let folder = openat(CWD, inbox, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(&folder, name, flags, Mode::empty(), resolve) {
        // A kernel before 5.6, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => Ok(openat(&folder, name, flags, Mode::empty())?.into()),
        opened => Ok(opened?.into()),
    }
}

/// The file's bytes, and one more where it has grown.
fn read_bytes(mut file: &File, size: u64, step: &dyn Fn()) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size as usize + 1).map_err(|_| io::Error::from(ErrorKind::OutOfMemory))?;
    loop {
        let left = (size + 1).saturating_sub(bytes.len() as u64).min(PIECE);
        if left == 0 || file.by_ref().take(left).read_to_end(&mut bytes)? == 0 {
            return Ok(bytes);
        }
        step();
    }
}

/// Readings after which an error that may pass counts as the file's own: soon where it is about its rights, after a quarter of an
/// hour where it may be the server's, the disk's or this process's.
pub fn readings(error: &io::Error) -> u32 {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ACCESS | Errno::PERM) => 3,
        _ => 8,
    }
}

fn refuse(error: io::Error) -> Reading {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        // Gone, or replaced by a link, a folder, a socket.
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO | Errno::ISDIR) => Reading::Gone,
        Some(
            Errno::ACCESS
            | Errno::PERM
            | Errno::IO
            | Errno::STALE
            | Errno::TIMEDOUT
            | Errno::NOMEM
            | Errno::MFILE
            | Errno::NFILE
            | Errno::AGAIN
            | Errno::INTR
            | Errno::REMOTEIO
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::NOTCONN
            | Errno::BUSY,
        ) => Reading::Later(error),
        None if error.kind() == ErrorKind::OutOfMemory => Reading::Later(error),
        _ => Reading::Refused(Rejection::new(Reason::Unreadable, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn place<'a>(root: &'a Path, name: &'a str, path: &'a Path) -> Place<'a> {
        Place { path, inside: Some((root, Path::new(name))) }
    }

    fn word(root: &Path, name: &str, step: &dyn Fn()) -> &'static str {
        match read(&place(root, name, &root.join(name)), &Limits::default(), step) {
            Reading::Whole(..) => "whole",
            Reading::Changed => "changed",
            Reading::Gone => "gone",
            Reading::Later(_) => "later",
            Reading::Refused(_) => "refused",
        }
    }

    #[test]
    fn only_what_lies_in_the_inbox_itself_is_read() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret"), b"secret").unwrap();
        std::fs::create_dir(root.path().join("night")).unwrap();
        std::fs::write(root.path().join("night/a"), b"a").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), root.path().join("night/b")).unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("dusk")).unwrap();
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(CWD, root.path().join("pipe"), kind, 0o600.into(), 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
        for (name, wanted) in [
            ("night/a", "whole"),
            ("night/b", "gone"),
            ("dusk/secret", "gone"),
            ("night/../night/a", "whole"),
            ("../secret", "gone"),
            ("pipe", "gone"),
            ("socket", "gone"),
            ("night", "gone"),
            ("nowhere", "gone"),
        ] {
            assert_eq!(word(root.path(), name, &|| ()), wanted, "{name}");
        }
    }

    #[test]
    fn a_rewrite_meanwhile_is_noticed_though_size_and_time_are_put_back() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        std::fs::write(&path, b"before").unwrap();
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        let steps = Cell::new(0);
        let rewrite = || {
            steps.set(steps.get() + 1);
            if steps.get() == 1 {
                std::fs::write(&path, b"after.").unwrap();
                std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            }
        };
        assert_eq!(word(root.path(), "a", &rewrite), "changed");
        assert_eq!(word(root.path(), "a", &|| ()), "whole");
        let replace = || {
            std::fs::write(root.path().join("b"), b"another").unwrap();
            std::fs::rename(root.path().join("b"), &path).unwrap();
        };
        assert_eq!(word(root.path(), "a", &replace), "changed", "another file has its name now");
        assert_eq!(word(root.path(), "a", &|| drop(std::fs::remove_file(&path))), "changed");
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for errno in [Errno::ACCESS, Errno::IO, Errno::STALE, Errno::TIMEDOUT, Errno::NOMEM, Errno::MFILE, Errno::NFILE]
        {
            assert!(matches!(refuse(errno.into()), Reading::Later(_)), "{errno}");
        }
        assert!(
            readings(&Errno::ACCESS.into()) < readings(&Errno::STALE.into()),
            "a server that is away is waited for"
        );
        assert!(matches!(refuse(Errno::OVERFLOW.into()), Reading::Refused(_)));
    }
}
