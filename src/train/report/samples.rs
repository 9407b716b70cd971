//! What a variational model makes of its prior: latents drawn from standard normals, about the means of the classes where it
//! has any, decoded.

use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::labels::turn;
use crate::draw::Values;
use crate::draw::colour::GREEN;
use crate::draw::sheet::{Heading, Tile, contact_sheet, thumbnail};
use crate::error::Result;
use crate::model::{Autoencoder, Device};
use crate::pipeline::Spec;

/// Pictures on the sheet, and how many a row.
const COUNT: usize = 24;
const COLUMNS: usize = 8;

/// A sheet of samples as PNG; `None` for a model without a prior.
///
/// # Errors
/// [`crate::error::Kind::Model`] when the weights cannot be read.
pub fn sheet(spec: &Spec, weights: &Path) -> Result<Option<Vec<u8>>> {
    if !spec.model.is_variational() {
        return Ok(None);
    }
    let mut model = Autoencoder::load(&spec.model, &spec.input, weights, Device::Cpu)?;
    let random = ChaCha8Rng::seed_from_u64(spec.training.seed);
    let mut z: Vec<f32> = StandardNormal.sample_iter(random).take(COUNT * model.latent_len()).collect();
    let mut captions = vec![Vec::new(); COUNT];
    for (index, (z, caption)) in z.chunks_exact_mut(model.latent_len()).zip(&mut captions).enumerate() {
        let Some((class, name)) = turn(&model, index) else { break };
        let mean = model.prior().mean(class).unwrap_or_default();
        z.iter_mut().zip(mean).for_each(|(z, mean)| *z += mean);
        caption.push(name.to_string());
    }
    let outputs = model.decode(&z)?;
    let observation = model.observation();
    let (side, channels) = (model.size(), model.channels());
    let mut pixels = vec![0.0; model.image_len()];
    let draw = |(output, caption): (&[f32], Vec<String>)| {
        observation.reconstruct(output, &mut pixels);
        let values = Values { width: side, height: side, channels, pixels: &pixels };
        Tile { image: thumbnail(values), caption, border: GREEN }
    };
    let tiles: Vec<Tile> = outputs.chunks_exact(model.image_len()).zip(captions).map(draw).collect();
    let heading = Heading { title: "samples from the prior".into(), ..Heading::default() };
    Ok(Some(contact_sheet(&heading, &tiles, COLUMNS)))
}
