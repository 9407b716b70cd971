//! What a model makes of latents drawn from its prior, where it has one, and from its aggregate posterior, which every model has:
//! a VAE and an AE are held side by side by the latter.

use std::path::Path;

use crate::draw::Values;
use crate::draw::colour::GREEN;
use crate::draw::sheet::{Heading, Tile, contact_sheet, thumbnail_as};
use crate::draw::stretch::Stretch;
use crate::error::Result;
use crate::explore::Law;
use crate::model::{Autoencoder, Device};
use crate::pipeline::Spec;
use crate::stats::gaussian::Mahalanobis;

/// Pictures on a sheet, and how many a row.
const COUNT: usize = 24;
const COLUMNS: usize = 8;

/// Samples from one law.
pub struct Samples {
    /// What they are called.
    pub title: &'static str,
    /// What they say.
    pub says: String,
    /// The sheet.
    pub png: Vec<u8>,
}

/// Samples from the prior, unless the model has none, and from the aggregate posterior, fitted to the `latents` of the training
/// tiles.
///
/// # Errors
/// [`crate::error::Kind::Model`] when the weights cannot be read, or the latents are not theirs.
pub fn samples(name: &str, spec: &Spec, weights: &Path, latents: &Mahalanobis) -> Result<Vec<Samples>> {
    let mut model = Autoencoder::load(&spec.model, &spec.input, weights, Device::Cpu)?;
    let fills = "What looks like the instrument's frames says that the posterior fills the prior.";
    let prior = Law::prior(&model).map(|law| ("Samples from the prior", law, fills));
    let every = "Every kind of model has one: a VAE and an AE can be compared by it.";
    let fitted = Law::posterior(name, latents, model.latent_map())?;
    let laws = prior.into_iter().chain([("Samples from the aggregate posterior", fitted, every)]);
    laws.map(|(title, law, meaning)| {
        let png = sheet(title, &law, &mut model, spec.training.seed)?;
        Ok(Samples { title, says: format!("Latents drawn from {}, decoded. {meaning}", law.text()), png })
    })
    .collect()
}

/// Decoded draws from a law as PNG, all under one stretch.
fn sheet(title: &str, law: &Law, model: &mut Autoencoder, seed: u64) -> Result<Vec<u8>> {
    let outputs = model.decode(&law.draw(COUNT, seed))?;
    let (observation, len) = (model.observation(), model.image_len());
    let mut images = vec![0.0; outputs.len()];
    for (output, image) in outputs.chunks_exact(len).zip(images.chunks_exact_mut(len)) {
        observation.reconstruct(output, image);
    }
    let stretch = Stretch::linear(&images);
    let tile = |(index, pixels): (usize, &[f32])| {
        let values = Values { width: model.size(), height: model.size(), channels: model.channels(), pixels };
        let caption = law.class(index).map(str::to_string).into_iter().collect();
        Tile { image: thumbnail_as(values, &stretch, &[]), caption, border: GREEN }
    };
    let heading = Heading {
        title: title.to_lowercase(),
        lines: vec![format!("all under one stretch: {}, in the model's units", stretch.caption())],
        legend: Vec::new(),
    };
    let tiles: Vec<Tile> = images.chunks_exact(len).enumerate().map(tile).collect();
    Ok(contact_sheet(&heading, &tiles, COLUMNS))
}
