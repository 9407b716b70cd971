//! What a candidate is made from: its frames, where each is from, and what is kept from them.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::labelled::{Selection, select};
use super::origin::{self, Origin};
use super::whereabouts::digest_of;
use crate::error::Result;
use crate::gate::Group;
use crate::labels::{Label, NORMAL};
use crate::pipeline::Pipeline;
use crate::segment;
use crate::settings::Settings;
use crate::store::{self, Manifest, Source};
use crate::train::data::{self, Sample, Samples};
use crate::train::seal::Given;

/// What a candidate is made from.
#[derive(Debug, Default)]
pub struct Material {
    /// Normal frames.
    pub samples: Samples,
    /// What the manifest says was given.
    pub given: Vec<PathBuf>,
    /// Folders and files, with what tells normal frames apart in them.
    pub sources: Vec<Source>,
    /// To be sealed: no frame of it is trained on.
    pub test: Given,
    /// What the segmenter is made from; none where the pipeline asks for none.
    pub segmenter: Option<segment::Origin>,
    /// Frames that the service has scored, taken from its inbox.
    pub scored: HashSet<blake3::Hash>,
    /// Frames that a person called normal.
    pub vouched: HashSet<blake3::Hash>,
}

impl Material {
    /// Of paths that were given.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] where there is no normal frame in them, [`crate::error::Kind::Io`] for a path that is not there.
    pub fn of(
        paths: &[PathBuf],
        selection: &Selection,
        clean: &[PathBuf],
        pipeline: &Pipeline,
        settings: &Settings,
    ) -> Result<Self> {
        let samples = data::load(paths, &pipeline.spec.input, &settings.limits)?;
        for (file, rejection) in samples.rejected.iter().take(10) {
            tracing::warn!(file = %file.display(), %rejection, "not used");
        }
        let samples = select(samples, selection, paths)?;
        let sources = vec![origin::source(paths, selection, clean)];
        Ok(Self { samples, sources, given: paths.to_vec(), ..Self::default() })
    }

    /// What a version was made from, as far as it can still be found, and what was put into its folders since.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] where what is there cannot serve, [`crate::error::Kind::Model`] for a list of frames that cannot be read, [`crate::error::Kind::Io`].
    pub fn of_version(folder: &Path, manifest: &Manifest, pipeline: &Pipeline, settings: &Settings) -> Result<Self> {
        let sources = manifest.data.origin();
        let Origin { mut samples, missing } = origin::load(&sources, &pipeline.spec.input, &settings.limits)?;
        for path in &missing {
            tracing::warn!(path = %path.display(), "missing, going on without it");
        }
        let mut given: Vec<PathBuf> = sources.iter().flat_map(|source| source.paths.clone()).collect();
        given.retain(|path| !missing.contains(path));
        let listed = store::read_frames(folder)?.unwrap_or_default();
        let past = origin::load_scored(&listed, manifest, pipeline, &settings.limits)?;
        if !past.frames.is_empty() {
            given.push(format!("{} frames scored before {}", past.frames.len(), manifest.version).into());
        }
        let scored = past.frames.iter().map(|sample| sample.digest).collect();
        origin::merge(&mut samples, past);
        Ok(Self { samples, sources, given, scored, ..Self::default() })
    }

    /// Does what people said of frames: those that they called normal are vouched for, those that they called anomalous go.
    pub fn heed(&mut self, labels: &[Label], pipeline: &str) {
        let (normal, odd): (Vec<&Label>, Vec<&Label>) =
            labels.iter().filter(|label| label.pipeline == pipeline).partition(|label| label.label == NORMAL);
        let digests = |labels: Vec<&Label>| labels.into_iter().filter_map(digest_of).collect::<HashSet<_>>();
        self.vouched = digests(normal);
        let odd = digests(odd);
        self.samples.frames.retain(|sample| !odd.contains(&sample.digest));
    }

    /// Frames by where they are from: the folder that was given, the service, a person's word.
    pub fn by_origin(&self, frames: Vec<Sample>) -> Vec<Group> {
        let roots: Vec<&PathBuf> = self.sources.iter().flat_map(|source| &source.paths).collect();
        let mut groups: BTreeMap<(bool, String), Vec<Sample>> = BTreeMap::new();
        for sample in frames {
            let vouched = self.vouched.contains(&sample.digest);
            let origin = if vouched {
                "frames labelled normal".to_string()
            } else if self.scored.contains(&sample.digest) {
                "frames that were scored and not flagged".to_string()
            } else {
                root_of(&sample.source, &roots).display().to_string()
            };
            groups.entry((vouched, origin)).or_default().push(sample);
        }
        groups.into_iter().map(|((vouched, origin), frames)| Group { origin, vouched, frames }).collect()
    }

    /// The clean twins of the frames, for the denoiser and the report; `None` where none were given, or not of every frame.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] where they cannot be read.
    pub fn clean(&self, pipeline: &Pipeline, settings: &Settings) -> Result<Option<Vec<Sample>>> {
        let paths: Vec<PathBuf> = self.sources.iter().flat_map(|source| source.clean.clone()).collect();
        if paths.is_empty() {
            return Ok(None);
        }
        // Of the other frames one without its twin is an error that names it.
        let without = self.scored.len();
        if without > 0 {
            tracing::warn!(without, "scored frames have no clean twins: a denoiser learns from noise added instead");
            return Ok(None);
        }
        Ok(Some(data::load_clean(&paths, &pipeline.spec.input, &settings.limits)?.frames))
    }
}

/// The folder given that a file lies in; that of the file itself where the file was given.
fn root_of<'a>(file: &'a Path, roots: &[&'a PathBuf]) -> &'a Path {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    let given = roots.iter().find(|root| absolute.starts_with(root) && absolute != ***root);
    given.map_or_else(|| file.parent().unwrap_or(file), |root| root.as_path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Scaling;
    use crate::prepare::Prepared;

    fn sample(source: &str) -> Sample {
        let scaling = Scaling::Linear { black: 0.0, white: 1.0 };
        let prepared = Prepared {
            width: 1,
            height: 1,
            channels: 1,
            pixels: vec![0.0],
            tiles: vec![(0, 0)],
            in_file: [1, 1],
            scaling,
        };
        Sample { source: source.into(), index: 0, digest: blake3::hash(source.as_bytes()), observed_at: None, prepared }
    }

    #[test]
    fn each_frame_has_one_origin() {
        let names = ["/data/old/a/1.png", "/data/new/2.png", "/data/files/3.png", "/inbox/4.png", "/inbox/5.png"];
        let frames: Vec<Sample> = names.iter().map(|name| sample(name)).collect();
        let paths = ["/data/old", "/data/new", "/data/files/3.png"].map(PathBuf::from).to_vec();
        let material = Material {
            sources: vec![Source { paths, ..Source::default() }],
            scored: [frames[3].digest, frames[4].digest].into(),
            vouched: [frames[4].digest].into(),
            ..Material::default()
        };
        let found: Vec<(String, bool, usize)> = material
            .by_origin(frames)
            .into_iter()
            .map(|group| (group.origin, group.vouched, group.frames.len()))
            .collect();
        let expected = [
            ("/data/files", false),
            ("/data/new", false),
            ("/data/old", false),
            ("frames that were scored and not flagged", false),
            ("frames labelled normal", true),
        ];
        assert_eq!(found, expected.map(|(origin, vouched)| (origin.to_string(), vouched, 1)));
    }

    #[test]
    fn what_people_said_is_done() {
        let file = blake3::hash(b"a file");
        let said = |frame_index: u32, pipeline: &str, label: &str| Label {
            pipeline: pipeline.into(),
            file_digest: file.to_hex().to_string(),
            frame_index,
            frame_id: String::new(),
            source: "a.npy".into(),
            label: label.into(),
            at: chrono::DateTime::UNIX_EPOCH,
        };
        let labels = [said(0, "spots", NORMAL), said(1, "spots", "trail"), said(2, "stars", "trail")];
        let digests: Vec<_> = labels.iter().filter_map(digest_of).collect();
        let mut material = Material::default();
        material.samples.frames = digests.iter().map(|&digest| Sample { digest, ..sample("a.npy") }).collect();
        material.heed(&labels, "spots");
        assert_eq!(material.vouched, [digests[0]].into());
        let left: Vec<_> = material.samples.frames.iter().map(|sample| sample.digest).collect();
        assert_eq!(left, [digests[0], digests[2]], "of another pipeline nothing was said");
    }
}
