//! The versions of one pipeline: which there are, which one is in use, and the step from one to the other.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{SubsecRound, Utc};

use super::history::{Entry, Event, History};
use super::verdict::Verdict;
use super::{CLASSIFIER, CURRENT, HISTORY, home, load};
use crate::error::{Failure, Kind, Result};

/// The name of the version in use; `None` where there is none.
///
/// # Errors
/// [`Kind::Io`] naming the file.
pub fn current(models: &Path, pipeline: &str) -> Result<Option<String>> {
    let path = current_path(models, pipeline);
    match fs::read_to_string(&path) {
        Ok(name) if name.trim().is_empty() => Ok(None),
        Ok(name) => Ok(Some(name.trim().to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::io(&path, error)),
    }
}

/// When the current version was promoted; `None` where that cannot be told.
pub fn promoted_at(models: &Path, pipeline: &str) -> Option<SystemTime> {
    fs::metadata(current_path(models, pipeline)).and_then(|found| found.modified()).ok()
}

pub(super) fn current_path(models: &Path, pipeline: &str) -> PathBuf {
    home(models, pipeline).join(CURRENT)
}

/// Names of a pipeline's versions, sorted; none where the folder is missing.
///
/// # Errors
/// [`Kind::Io`] naming the folder.
pub fn names(home: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(home) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failure::io(home, error)),
    };
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.') && name != CLASSIFIER).collect();
    names.sort();
    Ok(names)
}

/// The versions of one pipeline, held against other processes that would change them.
#[derive(Debug)]
pub struct Shelf {
    home: PathBuf,
    models: PathBuf,
    name: String,
    verify: Verify,
    _lock: File,
}

/// Checks every file of a version's folder; [`Kind::Model`] naming the one that is missing or damaged.
type Verify = fn(&Path) -> Result<()>;

impl Shelf {
    /// Takes hold of the versions of a pipeline; waits for who has them.
    ///
    /// # Errors
    /// [`Kind::Model`] where there are none, [`Kind::Io`].
    pub fn open(models: &Path, pipeline: &str) -> Result<Self> {
        Self::of(models, pipeline, |folder| load::verified(folder).map(drop)).map_err(|failure| match failure.kind {
            Kind::Model => failure
                .hint(format!("train one: anomalyd train {pipeline} --data DIR, or name another folder with --models")),
            _ => failure,
        })
    }

    /// The same of versions of another sort, which are checked by `verify` before they are promoted.
    ///
    /// # Errors
    /// Those of [`Shelf::open`].
    pub fn of(models: &Path, name: &str, verify: Verify) -> Result<Self> {
        let home = home(models, name);
        if names(&home)?.is_empty() {
            return Err(Failure::new(Kind::Model, format!("{}: no versions", home.display())));
        }
        let path = home.join(".lock");
        let lock = File::create(&path).and_then(|file| file.lock().map(|()| file));
        let lock = lock.map_err(|error| Failure::io(&path, error))?;
        Ok(Self { home, models: models.to_path_buf(), name: name.to_string(), verify, _lock: lock })
    }

    /// The one version that is named so, or whose name begins so; its number may stand without zeros.
    ///
    /// # Errors
    /// [`Kind::Model`] with the names there are.
    pub fn find(&self, given: &str) -> Result<String> {
        find(&self.home, given)
    }

    /// Makes a version the current one and records why; whether it was not that already. Nobody sees anything but the old name or
    /// the new one. Of the current version nothing is recorded, but a service that would not take it looks again.
    ///
    /// # Errors
    /// [`Kind::Model`] for a version that is damaged; [`Kind::Io`] naming the file.
    pub fn promote(&self, version: &str, event: Event, reason: &str, verdict: Option<Verdict>) -> Result<bool> {
        (self.verify)(&self.home.join(version))?;
        let before = current(&self.models, &self.name)?;
        replace(&self.home, CURRENT, &format!("{version}\n"))?;
        let told = History::read(&self.home)?.current().is_some_and(|told| told == version);
        if before.as_deref() == Some(version) && told {
            return Ok(false);
        }
        self.record_after(version, event, before, (reason, verdict))?;
        Ok(true)
    }

    /// Records something that leaves the current version as it is.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the file.
    pub fn record(&self, version: &str, event: Event, reason: &str, verdict: Option<Verdict>) -> Result<()> {
        let now = current(&self.models, &self.name)?;
        self.record_after(version, event, now, (reason, verdict))
    }

    fn record_after(
        &self,
        version: &str,
        event: Event,
        before: Option<String>,
        (reason, verdict): (&str, Option<Verdict>),
    ) -> Result<()> {
        let mut history = History::read(&self.home)?;
        let at = Utc::now().trunc_subsecs(3);
        history.entries.push(Entry { at, event, version: version.into(), before, reason: reason.into(), verdict });
        replace(&self.home, HISTORY, &history.text()?)
    }

    /// Goes back to the version that was promoted before the current one; its name.
    ///
    /// # Errors
    /// [`Kind::Model`] where there is none, or it is gone; [`Kind::Io`].
    pub fn roll_back(&self, reason: &str) -> Result<String> {
        let now = current(&self.models, &self.name)?.unwrap_or_default();
        let before = History::read(&self.home)?.before(&now).ok_or_else(|| {
            Failure::new(Kind::Model, format!("{}: no version was in use before {now}", self.home.display()))
                .hint("see them with `anomalyd models list`, and name one: `anomalyd models promote`")
        })?;
        self.promote(&before, Event::RolledBack, reason, None)?;
        Ok(before)
    }

    /// Deletes a version and records why. First it gets a name that is no version's, so that nobody finds half of it.
    ///
    /// # Errors
    /// [`Kind::Io`] naming the folder.
    pub fn remove(&self, version: &str, reason: &str) -> Result<()> {
        let (folder, gone) = (self.home.join(version), self.home.join(format!(".pruned-{version}")));
        fs::rename(&folder, &gone).map_err(|error| Failure::io(&folder, error))?;
        self.record(version, Event::Pruned, reason, None)?;
        fs::remove_dir_all(&gone).map_err(|error| Failure::io(&gone, error))
    }
}

/// The one version of a pipeline's folder that is named so, or whose name begins so.
///
/// # Errors
/// [`Kind::Model`] with the names there are.
pub fn find(home: &Path, given: &str) -> Result<String> {
    let names = names(home)?;
    let number = given.parse::<u32>().map(|number| format!("{number:04}-")).ok();
    let is = |name: &&String| {
        *name == given || name.starts_with(given) || number.as_ref().is_some_and(|number| name.starts_with(number))
    };
    if let Some(exact) = names.iter().find(|name| *name == given) {
        return Ok(exact.clone());
    }
    match names.iter().filter(is).collect::<Vec<_>>()[..] {
        [one] => Ok(one.clone()),
        [] => Err(Failure::new(Kind::Model, format!("{}: no version {given}", home.display()))
            .hint(format!("there are {}", names.join(", ")))),
        _ => Err(Failure::new(Kind::Model, format!("{}: several versions begin with {given}", home.display()))
            .hint(format!("there are {}", names.join(", ")))),
    }
}

/// Writes a file of a folder anew: its readers see the old one or the new one.
///
/// # Errors
/// [`Kind::Io`] naming the file.
pub fn replace(home: &Path, name: &str, text: &str) -> Result<()> {
    let (draft, target) = (home.join(format!(".{name}")), home.join(name));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &target)?;
        File::open(home)?.sync_all()
    };
    write().map_err(|error| Failure::io(&target, error))
}

#[cfg(test)]
#[path = "versions_tests.rs"]
pub(super) mod tests;
