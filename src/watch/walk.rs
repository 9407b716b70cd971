//! The regular files below a folder. Of each folder the names alone are held, so that 100,000 files in one cost a few megabytes.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::rules::is_ignored;

/// Walks a folder and those below it; the files of a folder come before its subfolders, each in the order of their names. Links are
/// not followed, hidden and unfinished names passed over.
#[derive(Debug, Default)]
pub struct Walk {
    folder: PathBuf,
    /// Names in `folder` still to be looked at, the last one first.
    names: Vec<OsString>,
    /// Folders still to be read, the next one last.
    folders: Vec<PathBuf>,
    /// Subfolders of `folder` met so far.
    below: Vec<PathBuf>,
}

impl Walk {
    /// A walk below a folder.
    ///
    /// # Errors
    /// The folder itself cannot be read; a subfolder that cannot is logged and passed over.
    pub fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: folder.to_path_buf(), names: names(folder)?, ..Self::default() })
    }

    /// Goes on to the next folder that can be read; false where there is none.
    fn descend(&mut self) -> bool {
        self.folders.extend(self.below.drain(..).rev());
        while let Some(folder) = self.folders.pop() {
            match names(&folder) {
                Ok(names) => {
                    (self.folder, self.names) = (folder, names);
                    return true;
                }
                Err(error) => report(&folder, &error),
            }
        }
        false
    }
}

impl Iterator for Walk {
    type Item = (PathBuf, Metadata);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(name) = self.names.pop() {
                let path = self.folder.join(name);
                match std::fs::symlink_metadata(&path) {
                    Ok(meta) if meta.is_file() => return Some((path, meta)),
                    Ok(meta) if meta.is_dir() => self.below.push(path),
                    _ => {}
                }
            }
            if !self.descend() {
                return None;
            }
        }
    }
}

/// A folder that cannot be entered hides files; one that has gone, or been replaced by something else since it was met, does not.
pub fn report(folder: &Path, error: &io::Error) {
    if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) {
        warn!(folder = %folder.display(), %error, "cannot look into a folder");
    }
}

/// The names in a folder that count, the last one first.
fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if !is_ignored(Path::new(&name)) {
            names.push(name);
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}
