//! Where an inbox is: whether it is still the folder that was opened, and on what kind of filesystem.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::statfs;

/// Kinds of filesystems on which other machines may write: no notifications, and another clock. The numbers are those of
/// `statfs(2)`: NFS, SMB, SMB2, CIFS, FUSE, Ceph, AFS, 9P, Lustre, GPFS, BeeGFS, GFS2, OCFS2, Coda.
const REMOTE: [u32; 14] = [
    0x6969,
    0x517B,
    0xFE53_4D42,
    0xFF53_4D42,
    0x6573_5546,
    0x00C3_6400,
    0x5346_414F,
    0x0102_1997,
    0x0BD0_0BD3,
    0x4750_4653,
    0x1983_0326,
    0x0116_1970,
    0x7461_636F,
    0x7375_7245,
];

/// A folder as it was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    device: u64,
    inode: u64,
    is_mount: bool,
}

impl Place {
    /// What is there now.
    ///
    /// # Errors
    /// There is no folder, or it does not answer.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let meta = std::fs::metadata(folder)?;
        if !meta.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let above = folder.parent().map(std::fs::metadata).transpose()?;
        let is_mount = above.is_some_and(|above| above.dev() != meta.dev());
        Ok(Self { device: meta.dev(), inode: meta.ino(), is_mount })
    }

    /// Checks that the folder is still the same.
    ///
    /// # Errors
    /// It is gone, or another one stands there.
    pub fn check(self, folder: &Path) -> io::Result<()> {
        let meta = std::fs::metadata(folder)?;
        if (meta.dev(), meta.ino()) == (self.device, self.inode) {
            return Ok(());
        }
        Err(io::Error::other("another folder stands in its place"))
    }

    /// What stands where this was; the bare folder below a filesystem that is no longer mounted is not it.
    ///
    /// # Errors
    /// Those of [`Self::of`]; the filesystem is not mounted.
    pub fn again(self, folder: &Path) -> io::Result<Self> {
        let place = Self::of(folder)?;
        if self.is_mount && !place.is_mount {
            return Err(io::Error::other("its filesystem is not mounted any more"));
        }
        Ok(place)
    }
}

/// Whether other machines may write there unnoticed.
pub fn is_remote(folder: &Path) -> bool {
    statfs(folder).is_ok_and(|found| REMOTE.contains(&(found.f_type as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_replaced_is_another_place() {
        let root = tempfile::tempdir().unwrap();
        let inbox = root.path().join("inbox");
        assert_eq!(Place::of(&inbox).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::create_dir(&inbox).unwrap();
        let place = Place::of(&inbox).unwrap();
        place.check(&inbox).unwrap();
        std::fs::rename(&inbox, root.path().join("moved")).unwrap();
        assert!(place.check(&inbox).is_err());
        std::fs::create_dir(&inbox).unwrap();
        assert!(place.check(&inbox).is_err());
        place.again(&inbox).unwrap();
    }

    #[test]
    fn a_mount_point_without_its_filesystem_is_not_the_inbox() {
        let root = tempfile::tempdir().unwrap();
        let mounted = Place { is_mount: true, ..Place::of(root.path()).unwrap() };
        assert!(mounted.again(root.path()).is_err());
        assert!(Place::of(Path::new("/proc")).unwrap().is_mount);
        assert!(!is_remote(Path::new("/proc")));
    }
}
