//! `report.html`: what a training came to, one file that needs no network, no script and no other file.
//!
//! ```text
//! html.rs     writes and escapes        figures.rs  charts of the history, the scores, the latent
//! chart.rs    axes, lines, bars         words.rs    tables and sentences
//! labels.rs   accuracy of the head
//! samples.rs  draws, decoded            gate.rs     what became of the version
//! sealed.rs   the test split            ablation.rs what each option is worth
//! seen.rs     what only the data can show           kept.rs  the same as files of the version
//! known.rs    all of it from a version's folder, to write the page anew               map.rs  tiles in the latent space
//! denoising.rs  images held against clean frames
//! segmentation.rs  what the segmenter finds
//! ```
//! The page is about a version and no part of it: verdicts, promotions, looks at the test split and ablations come after the
//! version is made, and each writes it anew. Its digest is in no manifest.

mod ablation;
mod chart;
mod denoising;
mod figures;
mod gate;
mod html;
mod kept;
mod known;
mod labels;
mod map;
mod samples;
mod sealed;
mod seen;
mod segmentation;
mod words;

#[cfg(test)]
mod tests;

use std::path::Path;

use crate::ablate::Ablation;
use crate::calibrate::Calibration;
use crate::error::{Failure, Result};
use crate::pipeline::Spec;
use crate::segment;
use crate::stats::gaussian::Mahalanobis;
use crate::store::{self, Entry, Manifest};
use crate::train::diagnosis;
use html::{Html, png_address};
pub use kept::write as keep;
pub use known::{Known, renew};
use samples::Samples;
pub use seen::{Latents, Seen};

/// Its name in a version's folder.
pub const FILE: &str = store::PAGE;

const STYLE: &str = include_str!("style.css");
const HEAD: &str = "<!doctype html>\n";
/// Nothing from elsewhere, and no script, whatever a name may hold.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// What a report is made of.
#[derive(Debug)]
pub struct Report<'a> {
    /// The pipeline's name.
    pub name: &'a str,
    /// The version's manifest.
    pub manifest: &'a Manifest,
    /// The pipeline as it was trained.
    pub spec: &'a Spec,
    /// The latents of the training tiles.
    pub latents: &'a Mahalanobis,
    /// Scores of the calibration frames.
    pub calibration: &'a [f64],
    /// What only the data show; none where they are not at hand.
    pub seen: Option<&'a Seen>,
    /// What has happened to the version since.
    pub events: &'a [Entry],
    /// The ablation of its pipeline, where one was run.
    pub ablation: Option<&'a Ablation>,
    /// The version's folder: its pictures and weights.
    pub folder: &'a Path,
}

/// Writes the page.
///
/// # Errors
/// As [`page`]; [`crate::error::Kind::Io`] naming the file.
pub fn write(report: &Report, path: &Path) -> Result<()> {
    std::fs::write(path, page(report)?).map_err(|error| Failure::io(path, error))
}

/// The page.
///
/// # Errors
/// [`crate::error::Kind::Data`] for a calibration too small for its alpha, [`crate::error::Kind::Model`] for weights that
/// cannot be read.
pub fn page(report: &Report) -> Result<String> {
    let calibration = Calibration::new(report.calibration.to_vec(), report.spec.calibration)?;
    let pictures = Pictures::of(report)?;
    let ablation = ablation::Shown::of(report)?;
    let title = format!("{} {}", report.name, report.manifest.version);
    let mut html = Html::default();
    html.constant(HEAD);
    html.element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |html| {
            html.leaf("meta", &[("charset", "utf-8")]);
            html.leaf("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
            html.leaf("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
            html.words("title", &[], &title);
            html.element("style", &[], |html| html.constant(STYLE));
        });
        html.element("body", &[], |html| body(html, report, (&calibration, &pictures, ablation.as_ref())));
    });
    Ok(html.finish())
}

/// PNG pictures; none where there is none.
struct Pictures {
    reconstructions: Option<Vec<u8>>,
    augmentation: Option<Vec<u8>>,
    denoising: Option<Vec<u8>>,
    filters: Option<Vec<u8>>,
    samples: Vec<Samples>,
    segmentation: Option<Vec<u8>>,
}

impl Pictures {
    fn of(report: &Report) -> Result<Self> {
        let read = |name: &str| std::fs::read(report.folder.join(name)).ok();
        let weights = report.folder.join("weights.safetensors");
        let samples = samples::samples(report.name, report.spec, &weights, report.latents)?;
        Ok(Self {
            reconstructions: read("reconstructions.png"),
            augmentation: read("augmentation.png"),
            denoising: read("denoising.png"),
            filters: read("filters.png"),
            samples,
            segmentation: read(segment::SHEET),
        })
    }
}

/// A part of the page, which the list at its top leads to.
fn section(html: &mut Html, (id, title): (&'static str, &str), inner: impl FnOnce(&mut Html)) {
    html.element("section", &[("id", id)], |html| {
        html.words("h2", &[], title);
        inner(html);
    });
}

const PARTS: [(&str, &str); 12] = [
    ("diagnosis", "Diagnosis"),
    ("course", "Course of the training"),
    ("latent", "Latent"),
    ("pictures", "Pictures"),
    ("denoising", "Denoising"),
    ("scores", "Scores and certificate"),
    ("segmentation", "Segmentation"),
    ("gate", "Gate and history"),
    ("test", "Sealed test split"),
    ("regularisation", "Regularisation and augmentation"),
    ("ablation", "Ablation"),
    ("origin", "Data and pipeline"),
];

/// What is made before anything is written.
type Made<'a> = (&'a Calibration, &'a Pictures, Option<&'a ablation::Shown<'a>>);

fn body(html: &mut Html, report: &Report, (calibration, pictures, ablation): Made) {
    words::header(html, report);
    html.element("nav", &[], |html| {
        for (id, title) in PARTS {
            html.words("a", &[("href", &format!("#{id}"))], title);
        }
    });
    let [diagnosis, course, latent, shown, denoised, scores, segmented, gate, test, regularisation, ablated, origin] =
        PARTS;
    section(html, diagnosis, |html| words::findings(html, report));
    section(html, course, |html| html.element("div", &[("class", "grid")], |html| draw_course(html, report)));
    section(html, latent, |html| html.element("div", &[("class", "grid")], |html| draw_latent(html, report)));
    section(html, shown, |html| draw_pictures(html, pictures));
    section(html, denoised, |html| denoising::draw(html, report, pictures.denoising.as_deref()));
    section(html, scores, |html| {
        html.words("p", &[], &figures::certificate(calibration, report.manifest.data.sizes));
        html.element("div", &[("class", "grid")], |html| {
            figures::scores(html, report.calibration, report.seen, calibration.threshold());
        });
        words::validation(html, report.seen, calibration.threshold());
    });
    section(html, segmented, |html| segmentation::section(html, report, pictures.segmentation.as_deref()));
    section(html, gate, |html| gate::events(html, report.events));
    section(html, test, |html| sealed::openings(html, report.manifest.data.test.as_ref()));
    section(html, regularisation, |html| {
        words::regularisation(html, report);
        if let Some(png) = &pictures.augmentation {
            let says = "Training tiles, the first of each pair as it is, under each declared transformation.";
            picture(html, "Augmentation", says, png);
        }
    });
    section(html, ablated, |html| ablation::section(html, report.name, ablation));
    section(html, origin, |html| words::origin(html, report));
}

fn draw_course(html: &mut Html, report: &Report) {
    let history = &report.manifest.history;
    figures::losses(html, report);
    if let Some(gap) = diagnosis::gap(history, report.spec.model.beta) {
        let says = format!("At the kept epoch: {} of the difference.", gap.text());
        figures::gap(html, report, &says);
    }
    labels::accuracy(html, report);
    figures::gradient(html, report);
    if !history.layers.is_empty() {
        figures::gradients(html, report);
    }
}

fn draw_latent(html: &mut Html, report: &Report) {
    if report.spec.model.is_variational() {
        figures::divergence(html, report);
    }
    if !report.manifest.history.latent.variance.is_empty() {
        figures::latent(html, report);
    }
    match report.seen {
        Some(seen) if !seen.latents.is_empty() => map::map(html, report.spec.model.latent, seen),
        _ => words::missing(
            html,
            "This version keeps no latents of its validation frames, which the latent map is drawn from.",
        ),
    }
}

/// A PNG that is wider than a telephone: scrolled there, not shrunk beyond reading.
fn picture(html: &mut Html, title: &str, says: &str, png: &[u8]) {
    figures::figure(html, title, says, |html| {
        let address = png_address(png);
        html.element("div", &[("class", "scroll")], |html| {
            html.leaf("img", &[("alt", title), ("src", &address)]);
        });
    });
}

fn draw_pictures(html: &mut Html, pictures: &Pictures) {
    if let Some(png) = &pictures.filters {
        let says = "Training tiles, and the gradient channels that the encoder sees beside them; the decoder gives back the \
                    tile alone.";
        picture(html, "What the encoder sees", says, png);
    }
    if let Some(png) = &pictures.reconstructions {
        let says = "Validation tiles beside what the model makes of them, each stretched linearly between its own percentiles.";
        picture(html, "Reconstructions", says, png);
    }
    for samples in &pictures.samples {
        picture(html, samples.title, &samples.says, &samples.png);
    }
    if pictures.samples.len() < 2 {
        words::missing(html, "An autoencoder has no prior to draw samples from.");
    }
}
