//! What labels add to an autoencoder: a classification head on the latent mean, and a Gaussian prior a class.
//!
//! The loss of a labelled image is `nll + beta KL(q || p(z | y)) + head CE(y)`, that of another `nll + beta KL(q || p(z))` (see
//! [`super::prior`]). `CE` is the cross-entropy of the head's softmax.

use std::path::Path;

use super::autoencoder::{Autoencoder, Executor, StepLoss, whole};
use super::graph::{Builder, Layer, Node, Shape};
use super::parameters::{Init, Packing, Parameter, Trains, add};
use super::prior::Prior;
use super::{Step, weights};
use crate::error::{Failure, Kind, Result};
use crate::pipeline::{Model, Supervision};

/// Means of the classes start uniform within this bound of zero: apart from each other, inside of the standard prior.
const START: f32 = 1.0;
/// Where a weights file names the classes.
const CLASSES: &str = "classes";

/// The supervised parts of an architecture.
#[derive(Debug, Clone)]
pub struct Supervised {
    /// Number of classes.
    pub classes: usize,
    /// Weight of the head's cross-entropy, where there is a head: the third list of the network.
    pub head: Option<f32>,
    /// The means of the classes' priors, where these are learned: the index of their parameter.
    pub prior: Option<usize>,
}

impl Supervised {
    /// Appends the parameters of head and prior, and the head's list. `None` without labels, or while the classes are not known.
    pub(super) fn build(
        model: &Model,
        latent: Shape,
        parameters: &mut Vec<Parameter>,
        lists: &mut Vec<Vec<Node>>,
    ) -> Option<Self> {
        let Supervision { head, hidden, prior, classes } = model.labels.as_ref()?;
        let classes = Some(classes.len()).filter(|&count| count > 1)?;
        if *head > 0.0 {
            lists.push(head_list(latent, *hidden, classes, parameters));
        }
        let prior = prior.then(|| means(latent, classes, parameters));
        Some(Self { classes, head: Some(*head).filter(|&head| head > 0.0), prior })
    }
}

/// From the latent mean to logits; linear, or with one hidden layer.
fn head_list(latent: Shape, hidden: Option<usize>, classes: usize, parameters: &mut Vec<Parameter>) -> Vec<Node> {
    let mut head = Builder::new("head", latent, true, parameters);
    if let Some(width) = hidden {
        head.linear(width);
        head.same(Layer::Relu);
    }
    head.linear(classes);
    head.nodes
}

/// `[classes, dim]`, or `[classes, dim, h, w]` of a map.
fn means(latent: Shape, classes: usize, parameters: &mut Vec<Parameter>) -> usize {
    let mut shape = vec![classes, latent.c];
    if latent.pixels() > 1 {
        shape.extend([latent.h, latent.w]);
    }
    let packing = Packing { channels: latent.c, pixels: latent.pixels(), inner: 1 };
    add(parameters, "prior.mean".into(), shape, false, Init::Uniform(START), packing, Trains::Whole)
}

/// The model with the classes that a weights file names.
///
/// # Errors
/// [`Kind::Model`] where the file names none, or others than the pipeline does.
pub(super) fn with_classes_of(model: &Model, path: &Path) -> Result<Model> {
    let mut model = model.clone();
    let Some(labels) = &mut model.labels else { return Ok(model) };
    let refuse = |reason: String| Failure::new(Kind::Model, format!("{}: {reason}", path.display()));
    let hint =
        "train from scratch (anomalyd train, or retrain --from scratch): a head and priors go with their classes";
    let named = weights::metadata(path, CLASSES)?
        .ok_or_else(|| refuse("its weights were trained without labels".into()).hint(hint))?;
    let named = parsed(path, &named)?;
    if !labels.classes.is_empty() && labels.classes != named {
        let (old, new) = (named.join(", "), labels.classes.join(", "));
        return Err(refuse(format!("its classes are {old}, those asked for {new}")).hint(hint));
    }
    labels.classes = named;
    Ok(model)
}

fn parsed(path: &Path, text: &str) -> Result<Vec<String>> {
    let refuse = |error| Failure::new(Kind::Model, format!("{}: its classes cannot be read: {error}", path.display()));
    serde_json::from_str(text).map_err(refuse)
}

impl Autoencoder {
    /// The names of the classes; none without supervision.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Weight of the head's cross-entropy in the loss; `None` without a head.
    pub fn head(&self) -> Option<f32> {
        self.architecture.supervised.as_ref()?.head
    }

    /// What the latents are held close to, by the present weights.
    pub fn prior(&self) -> &Prior {
        &self.prior
    }

    /// What the head says of latent means `[N, latent_len]`: the logits of the classes, `[N, classes]`. Without a head those of
    /// `p(y | z)`, where the prior knows classes; nothing without supervision.
    ///
    /// # Errors
    /// [`Kind::Internal`] for a length that is no number of latents, or when the device fails.
    pub fn answers(&self, mean: &[f32]) -> Result<Vec<f32>> {
        whole("mean", mean, self.latent_len())?;
        match (&self.executor, self.head()) {
            (_, None) => Ok(mean.chunks_exact(self.latent_len()).flat_map(|z| self.prior.logits(z)).collect()),
            (Executor::Engine(engine), _) => Ok(engine.answers(mean)),
            (Executor::Autograd(autograd), _) => autograd.answers(mean),
        }
    }

    /// [`Autoencoder::train_step`] on images whose classes are known, or not.
    ///
    /// # Errors
    /// As there; also for another number of classes than of images, or a class that does not exist.
    pub fn train_labelled(
        &mut self,
        (x, classes): (&[f32], &[Option<u32>]),
        target: &[f32],
        noise: &[f32],
        step: &Step,
    ) -> Result<StepLoss> {
        let count = self.classes.len() as u32;
        let images = x.len() / self.image_len();
        if classes.len() != images || classes.iter().flatten().any(|&class| class >= count) {
            let message = format!("{} labels of {count} classes for {images} images", classes.len());
            return Err(Failure::new(Kind::Internal, message));
        }
        self.step((x, classes), target, noise, step)
    }

    /// The classes that a weights file names; none without supervision.
    ///
    /// # Errors
    /// [`Kind::Model`] for a file that cannot be read.
    pub fn classes_on_disk(path: &Path) -> Result<Vec<String>> {
        let named = weights::metadata(path, CLASSES)?;
        named.map_or(Ok(Vec::new()), |text| parsed(path, &text))
    }

    /// What a weights file says of the classes; nothing without supervision.
    pub(super) fn class_names(&self) -> Option<(String, String)> {
        let names = || serde_json::Value::from(self.classes.clone()).to_string();
        (!self.classes.is_empty()).then(|| (CLASSES.to_string(), names()))
    }
}

/// The most probable class of logits `[classes]`, and its probability under their softmax.
pub fn answer(logits: &[f32]) -> (usize, f32) {
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap_or(0);
    let sum: f32 = logits.iter().map(|logit| (logit - logits[best]).exp()).sum();
    (best, 1.0 / sum)
}

/// Cross-entropy of the softmax of logits, nats.
pub fn cross_entropy(logits: &[f32], class: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    f64::from(sum.ln() + largest - logits[class])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `F.softmax(torch.tensor([1., 3., 2.]), 0)` and `F.cross_entropy(...)` of class 2.
    #[test]
    fn answers_are_pytorchs() {
        let (class, p) = answer(&[1.0, 3.0, 2.0]);
        assert!(class == 1 && (p - 0.665_240_94).abs() < 1e-6, "{class} {p}");
        assert!((cross_entropy(&[1.0, 3.0, 2.0], 2) - 1.407_606).abs() < 1e-6);
    }
}
