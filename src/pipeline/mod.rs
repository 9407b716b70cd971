//! `pipelines/<name>.toml`: everything about one instrument, checked once here and trusted everywhere else.

mod check;
mod filter;
mod input;
mod labels;
mod model;
mod spec;
mod training;
mod unet;
mod watching;

use std::path::{Path, PathBuf};

pub use spec::*;

use crate::error::{Failure, Kind, Result};

/// A pipeline file as it was read, with the name its results go by.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file's stem; results go by it.
    pub name: String,
    /// Where it was read from.
    pub path: PathBuf,
    /// BLAKE3 of the file's text, hex.
    pub digest: String,
    /// The file's text, kept for the manifest.
    pub text: String,
    /// The checked contents.
    pub spec: Spec,
}

impl Pipeline {
    /// Finds `given` (a name in `folder`, or a path to a TOML file), reads and checks it.
    ///
    /// # Errors
    /// [`Kind::Settings`] naming file, line and key.
    pub fn load(given: &str, folder: &Path) -> Result<Self> {
        let path = if given.ends_with(".toml") || given.contains('/') {
            PathBuf::from(given)
        } else {
            folder.join(format!("{given}.toml"))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::new(Kind::Settings, format!("cannot read pipeline {}: {error}", path.display()))
                .hint(format!("name one of {}/*.toml, or give the path of a pipeline file", folder.display()))
        })?;
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_string();
        Self::parse(&name, &path, text)
    }

    /// Reads and checks the text of a pipeline file.
    ///
    /// # Errors
    /// [`Kind::Settings`] naming file, line and key.
    pub fn parse(name: &str, path: &Path, text: String) -> Result<Self> {
        let spec: Spec = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(0, |span| line_of(&text, span.start));
            Failure::new(Kind::Settings, format!("{}:{line}: {}", path.display(), error.message()))
        })?;
        let digest = blake3::hash(text.as_bytes()).to_hex().to_string();
        let pipeline = Self { name: name.to_string(), path: path.to_path_buf(), digest, text, spec };
        pipeline.check()?;
        Ok(pipeline)
    }

    /// Everything serde cannot see: ranges, and keys that must agree with each other. To be asked again after a change.
    ///
    /// # Errors
    /// [`Kind::Settings`] naming file, line and key.
    pub fn check(&self) -> Result<()> {
        if let Some((key, wrong)) = check::faults(&self.spec).into_iter().next() {
            let line = check::locate(&self.text, &key).map_or(String::new(), |line| format!(":{line}"));
            return Err(Failure::new(Kind::Settings, format!("{}{line}: {key} {wrong}", self.path.display())));
        }
        Ok(())
    }
}

/// 1-based line of a byte offset.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/pipelines/digits.toml"));

    fn fault(from: &str, to: &str) -> String {
        assert!(DIGITS.contains(from), "{from}");
        let text = DIGITS.replace(from, to);
        let failure = Pipeline::parse("digits", Path::new("digits.toml"), text).unwrap_err();
        assert_eq!(failure.kind, Kind::Settings);
        failure.message
    }

    fn line(key: &str) -> usize {
        1 + DIGITS.lines().position(|line| line.starts_with(key)).unwrap()
    }

    #[test]
    fn the_pipelines_that_ship_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        for name in ["digits", "telescope", "detector"] {
            assert_eq!(Pipeline::load(name, &folder).unwrap().name, name);
        }
    }

    #[test]
    fn a_fault_names_file_line_and_key() {
        let message = fault("alpha = 0.01", "alpha = 1.5");
        assert!(message.starts_with(&format!("digits.toml:{}: calibration.alpha", line("alpha"))), "{message}");
        let message = fault("clip = true", "clip = false");
        assert!(message.starts_with(&format!("digits.toml:{}: input.clip", line("clip"))), "{message}");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let message = fault("beta = 1.0", "beta = 1.0\nbetta = 2.0");
        assert!(message.starts_with(&format!("digits.toml:{}: ", line("beta") + 1)), "{message}");
        assert!(message.contains("betta"), "{message}");
    }

    #[test]
    fn a_marker_that_would_never_be_seen_is_refused() {
        for marker in ["", "/done", ".done.part"] {
            let watch = format!("[watch]\ndone_marker = {marker:?}\n[calibration]");
            assert!(fault("[calibration]", &watch).contains("watch.done_marker"), "{marker}");
        }
    }

    #[test]
    fn filters_are_known_ones_each_once() {
        let filters = |value: &str| format!("clip = true\nfilters = {value}");
        let message = fault("clip = true", &filters("[\"sobbel\"]"));
        assert!(message.starts_with(&format!("digits.toml:{}: ", line("clip") + 1)), "{message}");
        assert!(message.contains("sobbel") && message.contains("sobel"), "{message}");
        let message = fault("clip = true", &filters("[\"sobel\", \"sobel\"]"));
        assert!(message.contains("input.filters names a filter twice"), "{message}");
        let text = DIGITS.replace("clip = true", &filters("[\"sobel\"]"));
        assert_eq!(
            Pipeline::parse("digits", Path::new("digits.toml"), text).unwrap().spec.input.filters,
            [Filter::Sobel]
        );
    }

    #[test]
    fn a_missing_key_is_named() {
        assert!(fault("delta = 0.05", "").contains("delta"));
    }

    #[test]
    fn a_side_that_cannot_be_halved_is_refused() {
        assert!(fault("channels = [32, 64]", "channels = [32, 64, 64]").contains("model.channels"));
    }
}
