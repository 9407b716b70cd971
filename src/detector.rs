//! A fitted model with its frozen score: from prepared frames to components, reconstructions and residuals.

use rayon::prelude::*;

use crate::components::Component;
use crate::error::Result;
use crate::measure::{Measurement, Shapes, anomaly_map, measure};
use crate::model::device::Device;
use crate::model::supervised::answer;
use crate::model::{Autoencoder, Observation};
use crate::pipeline::Spec;
use crate::prepare::{Mosaic, Prepared};
use crate::reference::Components;
use crate::score::ClassOf;
use crate::store::{Fitted, Version};
use crate::trail::Lines;

/// Tiles on the device at once: throughput is flat from 32 up.
pub const BATCH: usize = 64;

/// The network, and what normal tiles look like to it.
pub struct Detector {
    model: Autoencoder,
    shapes: Shapes,
    wanted: Vec<Component>,
    in_noise_units: bool,
    /// Distributions of normal tiles, and tails.
    pub fitted: Fitted,
}

/// What the detector saw in one frame.
#[derive(Debug, Clone, Default)]
pub struct Examined {
    /// Components of each tile.
    pub tiles: Vec<Components>,
    /// Latent mean of each tile.
    pub latents: Vec<Vec<f32>>,
}

impl Detector {
    /// A detector of a network just fitted.
    pub fn new(model: Autoencoder, fitted: Fitted, spec: &Spec) -> Self {
        let mut detector = Self {
            shapes: shapes(&model),
            model,
            wanted: Vec::new(),
            in_noise_units: spec.input.in_noise_units(),
            fitted,
        };
        detector.want(spec.score.wanted());
        detector
    }

    fn want(&mut self, wanted: Vec<Component>) {
        self.shapes.lines = wanted.contains(&Component::Trail).then(|| Lines::new(self.shapes.size));
        self.wanted = wanted;
    }

    /// Channels, rows and columns of a tile's latent; a vector is `(dim, 1, 1)`.
    pub fn latent_map(&self) -> (usize, usize, usize) {
        self.shapes.latent
    }

    /// From now on computes every component, not only those of the score: for ablations.
    pub fn want_all(&mut self) {
        let available = |component: &Component| self.in_noise_units || !component.needs_noise_units();
        self.want(Component::ALL.into_iter().filter(available).collect());
    }

    /// Loads the weights of a version.
    ///
    /// # Errors
    /// [`crate::error::Kind::Model`] when the weights are of another shape.
    pub fn load(spec: &Spec, version: Version, device: Device) -> Result<Self> {
        let model = Autoencoder::load(&spec.model, &spec.input, &version.weights, device)?;
        Ok(Self::new(model, version.fitted, spec))
    }

    /// Components and latents of every tile of some frames, tiles of several frames batched together.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn examine(&mut self, frames: &[&Prepared]) -> Result<Vec<Examined>> {
        let mut examined = vec![Examined::default(); frames.len()];
        let (reference, wanted) = (&self.fitted.reference, &self.wanted);
        let latent = self.shapes.latent_len();
        let tiles: Vec<Tile> = frames
            .iter()
            .enumerate()
            .flat_map(|(index, &frame)| frame.tiles.iter().map(move |&corner| (index, frame, corner)))
            .collect();
        each_batch(&mut self.model, &self.shapes, &tiles, &mut |batch, measured, inference_mean| {
            let components = reference.components(&measured, wanted);
            for ((&(frame, ..), components), mean) in
                batch.iter().zip(components).zip(inference_mean.chunks_exact(latent))
            {
                examined[frame].tiles.push(components);
                examined[frame].latents.push(mean.to_vec());
            }
        })?;
        if wanted.contains(&Component::SourceShape) {
            for (frame, examined) in frames.iter().zip(&mut examined) {
                let shapes = reference.source_shapes(frame, self.shapes.size);
                for (tile, shape) in examined.tiles.iter_mut().zip(shapes) {
                    tile[Component::SourceShape as usize] = shape;
                }
            }
        }
        Ok(examined)
    }

    /// Reconstructs every tile of a frame: calls `put` with its corner, `x_hat` in scaled units and the
    /// noise-normalised residual, both `[C, S, S]`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn reconstruct(&mut self, frame: &Prepared, put: &mut PutTile) -> Result<()> {
        self.reconstruct_at(frame, &frame.tiles, put)
    }

    fn reconstruct_at(&mut self, frame: &Prepared, corners: &[(usize, usize)], put: &mut PutTile) -> Result<()> {
        let image = self.shapes.image_len();
        let (mut x_hat, mut residual) = (vec![0.0; image], vec![0.0; image]);
        for corners in corners.chunks(BATCH) {
            let batch: Vec<Tile> = corners.iter().map(|&corner| (0, frame, corner)).collect();
            let x = gather(&batch, &self.shapes);
            let inference = self.model.reconstruct(&x)?;
            let observation = self.model.observation();
            for ((&corner, x), output) in
                corners.iter().zip(x.chunks_exact(image)).zip(inference.output.chunks_exact(image))
            {
                observation.reconstruct(output, &mut x_hat);
                observation.residual(x, output, &mut residual);
                put(corner, &x_hat, &residual);
            }
        }
        Ok(())
    }
}

impl Detector {
    /// The reconstruction of a whole frame, `[C, H, W]` in scaled units; overlapping tiles are averaged.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn denoise(&mut self, frame: &Prepared) -> Result<Vec<f32>> {
        let mut mosaic = Mosaic::new(frame, self.shapes.size, frame.channels);
        self.reconstruct(frame, &mut |corner, x_hat, _| mosaic.add(corner, x_hat))?;
        Ok(mosaic.finish())
    }

    /// The smoothed noise-normalised residual of a whole frame, `[H, W]`, at least 0; overlapping tiles are averaged.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn residual_map(&mut self, frame: &Prepared) -> Result<Vec<f32>> {
        let size = self.shapes.size;
        let mut mosaic = Mosaic::new(frame, size, 1);
        self.reconstruct(frame, &mut |corner, _, residual| {
            mosaic.add(corner, &anomaly_map(residual, frame.channels, size));
        })?;
        Ok(mosaic.finish())
    }

    /// The same of the tile at a corner alone, `[S, S]`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn tile_residual(&mut self, frame: &Prepared, corner: (usize, usize)) -> Result<Vec<f32>> {
        let (size, mut map) = (self.shapes.size, Vec::new());
        self.reconstruct_at(frame, &[corner], &mut |_, _, residual| map = anomaly_map(residual, frame.channels, size))?;
        Ok(map)
    }

    /// The class that a tile's latent mean is nearest to; `None` where the model knows no classes.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when the device fails.
    pub fn class_of(&self, latent: &[f32]) -> Result<Option<ClassOf>> {
        if self.model.classes().is_empty() {
            return Ok(None);
        }
        let (class, probability) = answer(&self.model.answers(latent)?);
        let name = self.model.classes().get(class).cloned().unwrap_or_default();
        Ok(Some(ClassOf { name, probability: f64::from(probability) }))
    }

    /// The law of a pixel given the reconstruction.
    pub fn observation(&self) -> Observation {
        self.model.observation()
    }
}

/// Measures some tiles, keeping of each at most `patches` local feature vectors, evenly spread: what a
/// [`crate::reference::Reference`] is fitted on.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the device fails.
pub fn measure_tiles(model: &mut Autoencoder, tiles: &[Tile], patches: usize) -> Result<Vec<Measurement>> {
    let shapes = shapes(model);
    let mut all = Vec::with_capacity(tiles.len());
    each_batch(model, &shapes, tiles, &mut |_, mut measured, _| {
        for measurement in &mut measured {
            thin(&mut measurement.patches, shapes.stage.0, patches);
        }
        all.append(&mut measured);
    })?;
    Ok(all)
}

/// Keeps at most `count` rows of `[rows, width]`, evenly spread.
fn thin(rows: &mut Vec<f32>, width: usize, count: usize) {
    let step = (rows.len() / width).div_ceil(count.max(1)).max(1);
    *rows = rows.chunks_exact(width).step_by(step).flatten().copied().collect();
}

/// Takes a tile's corner, reconstruction and residual.
pub type PutTile<'a> = dyn FnMut((usize, usize), &[f32], &[f32]) + 'a;

/// Takes the tiles of a batch, their measurements and their latent means.
type TakeBatch<'a> = dyn FnMut(&[Tile], Vec<Measurement>, &[f32]) + 'a;

/// A tile on its way through the device: the frame's place in the caller's list, the frame, the corner.
pub type Tile<'a> = (usize, &'a Prepared, (usize, usize));

fn each_batch(model: &mut Autoencoder, shapes: &Shapes, tiles: &[Tile], take: &mut TakeBatch) -> Result<()> {
    for batch in tiles.chunks(BATCH) {
        let x = gather(batch, shapes);
        let inference = model.infer(&x)?;
        let observation = model.observation();
        let measured = (0..batch.len())
            .into_par_iter()
            .map(|index| measure(index, &x, &inference, (&observation, model.prior()), shapes))
            .collect();
        take(batch, measured, &inference.mean);
    }
    Ok(())
}

fn gather(batch: &[Tile], shapes: &Shapes) -> Vec<f32> {
    let image = shapes.image_len();
    let mut x = vec![0.0; batch.len() * image];
    for (&(_, frame, corner), out) in batch.iter().zip(x.chunks_exact_mut(image)) {
        frame.copy_tile(corner, shapes.size, out);
    }
    x
}

fn shapes(model: &Autoencoder) -> Shapes {
    Shapes {
        channels: model.channels(),
        size: model.size(),
        latent: model.latent_map(),
        stage: model.stages().last().copied().unwrap_or((0, 0, 0)),
        lines: None,
    }
}
