//! Opening a sealed test split: once, or with a reason; on record in the version's manifest before its figures are seen.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use chrono::Utc;

use super::seal::{Opening, Sealed, TestFigures};
use crate::error::{Failure, Kind, Result};
use crate::store::Manifest;

const MANIFEST: &str = "manifest.toml";

/// A manifest with one opening more, not on record yet.
#[derive(Debug)]
pub struct Permit(Manifest);

/// Asks to open the test split; `why` says why once more.
///
/// # Errors
/// [`Kind::Model`] for a version without a test split, or without a normal frame in it; [`Kind::Usage`] where it was opened before
/// and nobody says why once more.
pub fn permit(manifest: &Manifest, why: Option<&str>) -> Result<Permit> {
    let mut manifest = manifest.clone();
    let version = manifest.version.clone();
    let why = why.map(str::trim).filter(|why| !why.is_empty());
    let sealed = sealed_mut(&mut manifest)?;
    if sealed.normal == 0 {
        let message = format!(
            "the test split of version {version} has {} anomalous frames and no normal one: its figures cannot be told, and it \
             stays sealed",
            sealed.anomalous
        );
        return Err(Failure::new(Kind::Model, message)
            .hint("train a version with normal frames in --test, or with a fourth share in training.split"));
    }
    let openings = &mut sealed.openings;
    let refuse = |message: String, hint: &str| Err(Failure::new(Kind::Usage, message).hint(hint));
    match (openings.last(), why) {
        (Some(last), None) => {
            let count = openings.len();
            return refuse(
                format!("the test split of version {version} was opened {count} time(s), last on {last}"),
                "figures by which one has chosen are no test any more: seal new frames with another version, or \
                 --reopen \"WHY\", which every later report shows",
            );
        }
        (None, Some(_)) => {
            return refuse(format!("the test split of version {version} was never opened"), "leave --reopen out");
        }
        _ => {}
    }
    openings.push(Opening { at: Utc::now(), why: why.map(str::to_string), version: None, figures: None });
    Ok(Permit(manifest))
}

impl Permit {
    /// What is to be opened.
    ///
    /// # Errors
    /// [`Kind::Model`] for a version without a test split.
    pub fn sealed(&self) -> Result<&Sealed> {
        self.0.data.test.as_ref().ok_or_else(|| none(&self.0.version))
    }

    /// Records the opening, before anything is scored. Returns the manifest as it is now.
    ///
    /// # Errors
    /// [`Kind::Io`] when it cannot be recorded.
    pub fn record(self, folder: &Path) -> Result<Manifest> {
        rewrite(folder, &self.0)?;
        Ok(self.0)
    }
}

/// Records what the last opening showed.
///
/// # Errors
/// [`Kind::Io`] when it cannot be recorded.
pub fn record(folder: &Path, manifest: &mut Manifest, figures: TestFigures) -> Result<()> {
    if let Some(opening) = sealed_mut(manifest)?.openings.last_mut() {
        opening.figures = Some(figures);
    }
    rewrite(folder, manifest)
}

fn sealed_mut(manifest: &mut Manifest) -> Result<&mut Sealed> {
    let none = none(&manifest.version);
    manifest.data.test.as_mut().ok_or(none)
}

fn none(version: &str) -> Failure {
    Failure::new(Kind::Model, format!("version {version} has no test split"))
        .hint("give training.split a fourth share, or train with --test PATH")
}

/// Puts another manifest in the old one's place at once: a reader sees either.
fn rewrite(folder: &Path, manifest: &Manifest) -> Result<()> {
    let text = toml::to_string_pretty(manifest)
        .map_err(|error| Failure::new(Kind::Internal, format!("cannot serialise the manifest: {error}")))?;
    let (draft, path) = (folder.join(format!(".manifest-{}", std::process::id())), folder.join(MANIFEST));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| Failure::io(&path, error))
}
