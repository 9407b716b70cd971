//! What tells one version of a file from the next.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A version of a file. Size, time of modification and inode can be what they were though the content is another (a rewrite in
/// place whose time is put back); the time of the last change of either cannot be set. It also moves with a `chmod`, a rename or
/// a new hard link: then the file is read once more and found to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Time of last modification, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Time of the last change of content or metadata, nanoseconds since 1970; 0 where a ledger of an older version did not keep it.
    pub ctime_ns: i64,
}

impl Stat {
    /// As far as a ledger of an older version remembers it.
    pub fn without_ctime(self) -> Self {
        Self { ctime_ns: 0, ..self }
    }

    /// Whether this is the version that is remembered, as far as it is.
    pub fn is(self, remembered: Self) -> bool {
        self == remembered || self.without_ctime() == remembered
    }

    /// Whether this may be the version it was `before` a rename, which sets the time of the last change.
    pub fn is_renamed(self, before: Self) -> bool {
        self.without_ctime() == before.without_ctime()
    }
}

impl From<&Metadata> for Stat {
    fn from(meta: &Metadata) -> Self {
        Self {
            size: meta.len(),
            mtime_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            inode: meta.ino(),
            ctime_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A time as one number; where it is beyond what that holds, which a file's time may be, the nearest.
pub fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// What a regular file is now; `None` where there is none.
pub fn stat_of(path: &Path) -> Option<Stat> {
    std::fs::symlink_metadata(path).ok().filter(|meta| meta.is_file()).map(|meta| Stat::from(&meta))
}
