//! Frames that belong together: one night or run never stands on both sides of a split.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use regex::Regex;

use crate::error::{Failure, Kind, Result};
use crate::image::{self, Limits};
use crate::pipeline::Group;

/// Bytes of a file that hold its first headers nearly always.
const HEAD_BYTES: u64 = 1 << 20;

/// The group of each file.
#[derive(Debug, Default)]
pub struct Groups {
    of: HashMap<PathBuf, String>,
}

impl Groups {
    /// Looks up the group of every file: what the expression matches in its path (its first parenthesis, where it has one), or
    /// the value of the keyword in its FITS headers.
    ///
    /// # Errors
    /// [`Kind::Data`] naming a file without a group and how many there are.
    pub fn of<'a>(files: impl Iterator<Item = &'a Path>, group: &Group, limits: &Limits) -> Result<Self> {
        let files = distinct(files);
        let groups = Self::find(files.iter().copied(), group, limits)?;
        let without = groups.without(files.iter().copied());
        if let Some(first) = without.first() {
            let (count, all) = (without.len(), files.len());
            let message = format!("{}: in no group by {group}, as {count} of {all} files", first.display());
            return Err(Failure::new(Kind::Data, message).hint("change training.group so that every file is in one"));
        }
        Ok(groups)
    }

    /// The same, but files may be in no group.
    ///
    /// # Errors
    /// [`Kind::Settings`] for an expression that is none.
    pub fn find<'a>(files: impl Iterator<Item = &'a Path>, group: &Group, limits: &Limits) -> Result<Self> {
        let files = distinct(files);
        let found: Vec<Option<String>> = match group {
            Group::Path(expression) => {
                let expression = Regex::new(expression)
                    .map_err(|error| Failure::new(Kind::Settings, format!("training.group.path: {error}")))?;
                files.iter().map(|file| matched(&expression, file)).collect()
            }
            Group::Fits(keyword) => files.par_iter().map(|file| keyword_of(file, keyword, limits)).collect(),
        };
        let of = files.into_iter().zip(found).filter_map(|(file, group)| Some((file.to_path_buf(), group?)));
        Ok(Self { of: of.collect() })
    }

    /// Those of the files that are in none, each once.
    pub fn without<'a>(&self, files: impl Iterator<Item = &'a Path>) -> Vec<&'a Path> {
        distinct(files.filter(|file| self.get(file).is_none()))
    }

    /// The group of a file; none where it was not among those looked up.
    pub fn get(&self, file: &Path) -> Option<&str> {
        self.of.get(file).map(String::as_str)
    }
}

fn distinct<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<&'a Path> {
    let mut files: Vec<&Path> = files.collect();
    files.sort_unstable();
    files.dedup();
    files
}

fn matched(expression: &Regex, file: &Path) -> Option<String> {
    let path = file.to_string_lossy();
    let captures = expression.captures(&path)?;
    captures.get(1).or_else(|| captures.get(0)).map(|found| found.as_str().to_string())
}

/// Looks into the beginning of the file first: frames are large.
fn keyword_of(file: &Path, keyword: &str, limits: &Limits) -> Option<String> {
    let read = |most: u64| {
        let mut bytes = Vec::new();
        std::fs::File::open(file).ok()?.take(most).read_to_end(&mut bytes).ok()?;
        image::fits_keyword(bytes, keyword, limits).ok().flatten()
    };
    read(HEAD_BYTES).or_else(|| read(limits.file_bytes.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::fits::{Exposure, encode};

    fn groups(files: &[&str], expression: &str) -> Result<Groups> {
        let files: Vec<&Path> = files.iter().map(Path::new).collect();
        Groups::of(files.into_iter(), &Group::Path(expression.into()), &Limits::default())
    }

    #[test]
    fn a_path_names_its_group_by_the_parenthesis_or_the_match() {
        let files = ["/data/night-07/a.fits", "/data/night-11/a.fits"];
        let inner = groups(&files, r"night-(\d+)/").unwrap();
        assert_eq!((inner.get(Path::new(files[0])), inner.get(Path::new(files[1]))), (Some("07"), Some("11")));
        let whole = groups(&files, r"night-\d+").unwrap();
        assert_eq!(whole.get(Path::new(files[1])), Some("night-11"));
        assert_eq!(whole.get(Path::new("/data/other")), None);
    }

    #[test]
    fn a_file_without_a_group_is_named() {
        let failure = groups(&["/data/night-07/a.fits", "/data/flat.fits"], r"night-\d+").unwrap_err();
        assert_eq!(failure.kind, Kind::Data);
        assert!(failure.message.contains("/data/flat.fits") && failure.message.contains("1 of 2"), "{failure}");
    }

    #[test]
    fn a_header_names_its_group() {
        let folder = tempfile::tempdir().unwrap();
        let exposure = Exposure { exposure_s: 60.0, gain: 1.0, read_noise: 5.0, saturation: 60000 };
        let files: Vec<PathBuf> = (0..2).map(|at| folder.path().join(format!("{at}.fits"))).collect();
        for (at, file) in files.iter().enumerate() {
            std::fs::write(file, encode(&[7; 64], 8, at as u64, &exposure)).unwrap();
        }
        let of = |keyword: &str| {
            Groups::of(files.iter().map(PathBuf::as_path), &Group::Fits(keyword.into()), &Limits::default())
        };
        assert_eq!(of("DATE-OBS").unwrap().get(&files[1]), Some("2026-01-01T00:01:00.000"));
        std::fs::rename(&files[0], folder.path().join("moved.fits")).unwrap();
        let paths = || files.iter().map(PathBuf::as_path);
        let found = Groups::find(paths(), &Group::Fits("DATE-OBS".into()), &Limits::default()).unwrap();
        assert_eq!(found.without(paths()), [files[0].as_path()], "a file that is gone is in none");
        assert!(of("NIGHT").unwrap_err().message.contains("2 of 2"));
    }
}
