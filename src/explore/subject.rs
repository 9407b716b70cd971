//! A model under study: images to latents, latents to images in the instrument's units.

use crate::detector::BATCH;
use crate::draw::Values;
use crate::error::Result;
use crate::model::{Autoencoder, device};
use crate::pipeline::{Input, ModelKind, Pipeline, Scaling};
use crate::reference::Reference;
use crate::settings::Settings;
use crate::store;
use crate::train::judge::Latent;

/// The current version of a pipeline's model, and the pipeline.
pub struct Subject {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The version's folder name.
    pub version: String,
    /// What normal tiles look like to the model.
    pub reference: Reference,
    /// What each latent unit carried over the validation tiles; empty in versions that did not record it.
    pub usage: Latent,
    model: Autoencoder,
}

impl Subject {
    /// Loads the current version of a pipeline, given by name or by the path of its file.
    ///
    /// # Errors
    /// Those of [`Pipeline::load`], [`store::load`] and [`Autoencoder::load`].
    pub fn load(given: &str, settings: &Settings) -> Result<Self> {
        let pipeline = Pipeline::load(given, &settings.pipelines)?;
        let version = store::load(&settings.models, &pipeline)?;
        let spec = &pipeline.spec;
        let model = Autoencoder::load(&spec.model, &spec.input, &version.weights, device::pick(&settings.device)?)?;
        let (version, fitted) = (version.manifest, version.fitted);
        Ok(Self {
            version: version.version,
            reference: fitted.reference,
            usage: version.history.latent,
            pipeline,
            model,
        })
    }

    /// How its frames are prepared.
    pub fn input(&self) -> &Input {
        &self.pipeline.spec.input
    }

    /// Pipeline and version, as a title has them.
    pub fn name(&self) -> String {
        format!("{} {}", self.pipeline.name, self.version)
    }

    /// Channels, rows and columns of a latent; a vector is `(dim, 1, 1)`.
    pub fn latent_map(&self) -> (usize, usize, usize) {
        self.model.latent_map()
    }

    /// What kind of model it is: `AE`, or `VAE, beta 4`.
    pub fn kind_text(&self) -> String {
        let model = &self.pipeline.spec.model;
        let dense = if model.kind == ModelKind::Dense { "dense " } else { "" };
        if self.has_prior() { format!("{dense}VAE, beta {}", model.beta) } else { format!("{dense}AE") }
    }

    /// A latent's size in words: `16 latents`, or `4 x 8 x 8 latents` for a map.
    pub fn latent_text(&self) -> String {
        match self.latent_map() {
            (dim, 1, 1) => format!("{dim} latent{}", if dim == 1 { "" } else { "s" }),
            (c, h, w) => format!("{c} x {h} x {w} latents"),
        }
    }

    /// Whether its encoder gives a distribution, held close to a prior in training.
    pub fn has_prior(&self) -> bool {
        self.model.is_variational()
    }

    /// The model itself.
    pub(super) fn model(&self) -> &Autoencoder {
        &self.model
    }

    /// Latent means of tiles `[N, C, S, S]` in the model's units: `[N, latent_len]`.
    ///
    /// # Errors
    /// Those of [`Autoencoder::reconstruct`].
    pub fn encode(&mut self, tiles: &[f32]) -> Result<Vec<f32>> {
        Ok(self.model.reconstruct(tiles)?.mean)
    }

    /// What the decoder makes of latents `[N, latent_len]`: the mean of its law, in the units of `scaling`; one image
    /// `[C, S, S]` a latent.
    ///
    /// # Errors
    /// Those of [`Autoencoder::decode`].
    pub fn decode(&mut self, latents: &[f32], scaling: Scaling) -> Result<Vec<Vec<f32>>> {
        let observation = self.model.observation();
        let mut images = Vec::new();
        for some in latents.chunks(BATCH * self.model.latent_len()) {
            for output in self.model.decode(some)?.chunks_exact(self.model.image_len()) {
                let mut image = vec![0.0; output.len()];
                observation.reconstruct(output, &mut image);
                image.iter_mut().for_each(|value| *value = scaling.unscale(*value));
                images.push(image);
            }
        }
        Ok(images)
    }

    /// One of its images, to draw.
    pub fn values<'a>(&self, pixels: &'a [f32]) -> Values<'a> {
        Values { width: self.model.size(), height: self.model.size(), channels: self.model.channels(), pixels }
    }
}
