//! All that is known of a version by now, from its folder and from what stands beside it: enough for its page, without the data.

use std::path::{Path, PathBuf};

use super::seen::Seen;
use super::{FILE, Report, kept, page};
use crate::ablate::Ablation;
use crate::error::{Failure, Kind, Result};
use crate::pipeline::Pipeline;
use crate::store::{self, Entry, Fitted, History, Manifest};

/// All that is known of a version.
#[derive(Debug)]
pub struct Known {
    folder: PathBuf,
    manifest: Manifest,
    pipeline: Pipeline,
    fitted: Fitted,
    calibration: Vec<f64>,
    seen: Option<Seen>,
    events: Vec<Entry>,
    ablation: Option<Ablation>,
}

impl Known {
    /// Gathers it.
    ///
    /// # Errors
    /// [`Kind::Model`] for a version that is missing or damaged; [`Kind::Data`] for an ablation that is; [`Kind::Io`].
    pub fn of(models: &Path, name: &str, version: &str) -> Result<Self> {
        let home = store::home(models, name);
        let folder = home.join(version);
        let manifest = store::read_manifest(&folder)?;
        let pipeline = as_trained(name, &folder, &manifest)?;
        let store::Version { fitted, calibration, .. } = store::load_version(models, &pipeline, version)?;
        let mut events = History::read(&home)?.entries;
        events.retain(|entry| entry.version == version);
        let (seen, ablation) = (kept::read(&folder)?, Ablation::read(&home)?);
        Ok(Self { folder, manifest, pipeline, fitted, calibration, seen, events, ablation })
    }

    /// Writes the page to a file; a reader of it finds the old page or the new one.
    ///
    /// # Errors
    /// [`Kind::Usage`] for the file of a version that counts its page among its own, as those before this one's time do; those of
    /// [`page`]; [`Kind::Io`] naming the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        if self.is_sealed() && is_same(path, &self.folder.join(FILE)) {
            return Err(Failure::new(Kind::Usage, format!("{}: the files of a version never change", path.display()))
                .hint("name another file with --out"));
        }
        let text = page(&Report {
            name: &self.pipeline.name,
            manifest: &self.manifest,
            spec: &self.pipeline.spec,
            latents: self.fitted.reference.latents(),
            calibration: &self.calibration,
            seen: self.seen.as_ref(),
            events: &self.events,
            ablation: self.ablation.as_ref(),
            folder: &self.folder,
        })?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        store::replace(folder, &name, &text)
    }

    /// Whether the page's digest is among those of the manifest.
    fn is_sealed(&self) -> bool {
        !self.manifest.digests.of(FILE).is_empty()
    }
}

/// Writes the page in a version's folder anew; where it is. `None` for a version whose page never changes.
///
/// # Errors
/// Those of [`Known::of`] and [`Known::write`].
pub fn renew(models: &Path, name: &str, version: &str) -> Result<Option<PathBuf>> {
    let known = Known::of(models, name, version)?;
    if known.is_sealed() {
        return Ok(None);
    }
    let path = known.folder.join(FILE);
    known.write(&path)?;
    Ok(Some(path))
}

/// The pipeline that the version was trained with.
fn as_trained(name: &str, folder: &Path, manifest: &Manifest) -> Result<Pipeline> {
    let mut pipeline = Pipeline::parse(name, &folder.join("manifest.toml"), manifest.pipeline.clone())
        .map_err(|failure| Failure::new(Kind::Model, format!("the manifest's pipeline: {}", failure.message)))?;
    if let Some(training) = &manifest.training {
        pipeline.spec.training = training.clone();
    }
    Ok(pipeline)
}

fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().ok();
    real(one).is_some_and(|one| real(other) == Some(one))
}
