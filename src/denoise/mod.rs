//! The denoised image by a U-Net of its own: learnt from frames with noise added, or from pairs with and without noise.
//!
//! Where no clean frame was at hand, the network has learnt the frame `y` from a noisier one `z`. It then passes on a share
//! `r` of the noise it sees; with noise of `a` times the frame's own amplitude added that is `1 / (1 + a^2)` for a perfect
//! network (Moran, Schmidt, Zhong & Coady 2020, Noisier2Noise, arXiv:1910.11908, eq. 5), and less for one that smooths more. The
//! share is measured, as the network's mean response to the noise added, and taken off: `(f(y) - r y) / (1 - r)`.

pub mod classical;
pub mod compare;
pub mod departures;
pub mod fidelity;
mod lesson;
mod overlap;

pub use lesson::{Pairs, fit};

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Kind, Result};
use crate::model::device::Device;
use crate::model::feedforward::Chain;
use crate::model::unet::beside;
use crate::model::{FeedForward, Observation};
use crate::pipeline::{self, ExtraNoise, Scaling, Spec, Use};
use crate::prepare::Prepared;
use crate::store::Version;
use crate::train::chain::History;
use overlap::Overlap;

/// Its weights in a version's folder.
pub const WEIGHTS: &str = "denoiser.safetensors";
/// Tiles on the device at once.
const BATCH: usize = 32;

/// What a version's manifest says of its denoiser.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Trained values.
    pub parameters: usize,
    /// Learnt from pairs of frames with and without noise; else from frames with noise added.
    pub pairs: bool,
    /// Share of a frame's noise that it passes on and that is taken off; none where it learnt from pairs, or where the
    /// noise of a frame is not known.
    pub passed: Option<f32>,
    /// What it has where the model's reconstruction comes nearer to clean frames, which is then kept as the denoised image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worse: Option<String>,
    /// Every epoch.
    pub history: History,
}

/// A fitted network for the denoised image.
pub struct Denoiser {
    network: FeedForward,
    law: Observation,
    size: usize,
    noisier: Option<Noisier>,
}

/// The network passes noise on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Noisier {
    passed: f32,
    scaling: Scaling,
}

impl Denoiser {
    /// The denoiser of a version that makes the denoised image; none where the pipeline asks for none, or where the model does better.
    ///
    /// # Errors
    /// [`Kind::Model`] when the version has none, or one of another shape.
    pub fn in_use(spec: &Spec, version: &Version, device: Device) -> Result<Option<Self>> {
        let worse = version.manifest.denoiser.as_ref().is_some_and(|record| record.worse.is_some());
        let left = |denoiser: &pipeline::Denoiser| worse && denoiser.used == Use::IfBetter;
        if spec.denoiser.as_ref().is_some_and(left) { Ok(None) } else { Self::load(spec, version, device) }
    }

    /// The denoiser of a version, whether it is used or not; none where the pipeline asks for none.
    ///
    /// # Errors
    /// [`Kind::Model`] when the version has none, or one of another shape.
    pub fn load(spec: &Spec, version: &Version, device: Device) -> Result<Option<Self>> {
        let Some(denoiser) = &spec.denoiser else { return Ok(None) };
        let Some(record) = &version.manifest.denoiser else {
            let message = format!("model {} has no denoiser, the pipeline asks for one", version.manifest.version);
            return Err(Failure::new(Kind::Model, message)
                .hint("train again (anomalyd train), or take [denoiser] out of the pipeline file"));
        };
        let weights = version.weights.with_file_name(WEIGHTS);
        let network = FeedForward::load(chain(spec, denoiser)?, &weights, device)?;
        Ok(Some(Self::new(network, spec, denoiser, record.passed)))
    }

    fn new(network: FeedForward, spec: &Spec, denoiser: &pipeline::Denoiser, passed: Option<f32>) -> Self {
        let noisier = passed.map(|passed| Noisier { passed, scaling: spec.input.scaling });
        Self { network, law: law(spec, denoiser), size: spec.input.size, noisier }
    }

    /// Writes the weights.
    ///
    /// # Errors
    /// [`Kind::Io`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.network.save(path, HashMap::new())
    }

    /// The denoised frame, `[C, H, W]` in scaled units; from tiles that overlap, whatever `input.tile` says.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the device fails.
    pub fn apply(&self, frame: &Prepared) -> Result<Vec<f32>> {
        let image = frame.channels * self.size * self.size;
        let mut whole = Overlap::new(frame, self.size);
        let mut x_hat = vec![0.0; image];
        for corners in whole.corners().chunks(BATCH) {
            let mut x = vec![0.0; corners.len() * image];
            for (&corner, x) in corners.iter().zip(x.chunks_exact_mut(image)) {
                frame.copy_tile(corner, self.size, x);
            }
            let output = self.network.forward(&x)?;
            for ((&corner, x), output) in corners.iter().zip(x.chunks_exact(image)).zip(output.chunks_exact(image)) {
                self.law.reconstruct(output, &mut x_hat);
                if let Some(noisier) = self.noisier {
                    noisier.correct(x, &mut x_hat);
                }
                whole.add(corner, &x_hat);
            }
        }
        Ok(whole.finish())
    }
}

impl Noisier {
    /// Takes off the share of the noise that was passed on, in physical units.
    fn correct(self, x: &[f32], x_hat: &mut [f32]) {
        for (x_hat, &x) in x_hat.iter_mut().zip(x) {
            let (f, y) = (self.scaling.unscale(*x_hat), self.scaling.unscale(x));
            *x_hat = self.scaling.scale((f - self.passed * y) / (1.0 - self.passed));
        }
    }
}

/// The network of a pipeline.
fn chain(spec: &Spec, denoiser: &pipeline::Denoiser) -> Result<Chain> {
    beside(spec, &denoiser.unet(spec), spec.input.channels)
}

/// What a pixel of its output is worth: the output is a mean, of clean frames as of noisy ones. A Gaussian one has the noise
/// that is added, or a unit's.
fn law(spec: &Spec, denoiser: &pipeline::Denoiser) -> Observation {
    let sigma = match (denoiser.noise, spec.input.scaling) {
        (Some(ExtraNoise::Gaussian(sigma)), Scaling::Linear { black, white }) => sigma / (white - black).abs(),
        _ => 1.0,
    };
    let log_var = vec![2.0 * sigma.ln(); spec.input.channels];
    Observation::of_means(spec.model.likelihood, spec.input.scaling, spec.input.channels, &log_var)
}

#[cfg(test)]
mod tests;
