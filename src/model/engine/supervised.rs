//! What labels add to a chunk of samples on the CPU: the head's cross-entropy, the pull towards the means of the classes.

use std::ops::Range;

use super::autoencoder::Task;
use super::core::Workspace;
use super::feedforward::cross_entropy;
use crate::model::prior::toward;
use crate::model::supervised::Supervised;

const HEAD: usize = 2;

impl Task<'_> {
    /// The labelled terms of a chunk, summed: the divergence of the means from the prior (0 where that is the standard one),
    /// and the cross-entropy. Leaves the gradient in the means, times `weight`, in `space.pull`.
    pub(super) fn guide(
        &self,
        supervised: &Supervised,
        classes: &[Option<u32>],
        gradient: &mut [f32],
        space: &mut Workspace,
    ) -> (f64, f64) {
        let n = classes.len();
        self.copy_means(n, space);
        let cross_entropy = match supervised.head {
            Some(head) => self.head(head, classes, gradient, space),
            None => {
                space.pull.fill(0.0);
                0.0
            }
        };
        let beta = self.weight * self.beta;
        let latent = self.architecture.latent.len();
        let Workspace { mean, pull, .. } = space;
        let values = n * latent;
        match supervised.prior {
            Some(parameter) => {
                let range = self.core.range(parameter);
                let means = self.core.values(parameter);
                (attract((&mean[..values], pull), means, classes, beta, &mut gradient[range]), cross_entropy)
            }
            None if self.architecture.is_variational => {
                pull.iter_mut().zip(&mean[..values]).for_each(|(pull, mean)| *pull += beta * mean);
                (0.0, cross_entropy)
            }
            None => (0.0, cross_entropy),
        }
    }

    /// The means, channels last, without the log-variances beside them.
    fn copy_means(&self, n: usize, space: &mut Workspace) {
        let (dim, moments) = (self.architecture.latent.c, self.architecture.moments());
        let posterior = self.core.stacks[0].last(&space.activations[0], n);
        for (to, from) in space.mean.chunks_exact_mut(dim).zip(posterior.chunks_exact(moments * dim)) {
            to.copy_from_slice(&from[..dim]);
        }
    }

    /// Runs the head forward and backward; returns the cross-entropy, summed.
    fn head(&self, head: f32, classes: &[Option<u32>], gradient: &mut [f32], space: &mut Workspace) -> f64 {
        let (core, n) = (self.core, classes.len());
        let Workspace { mean, pull, activations, scratch, .. } = space;
        let stack = &core.stacks[HEAD];
        stack.forward(&core.weights, mean, n, &mut activations[HEAD], scratch);
        let logits = stack.last(&activations[HEAD], n);
        let width = logits.len() / n;
        let rows = logits.chunks_exact(width).zip(scratch.upper.chunks_exact_mut(width)).zip(classes);
        let of = |((logits, slope), class): ((&[f32], &mut [f32]), &Option<u32>)| match class {
            Some(class) => cross_entropy(logits, *class, self.weight * head, slope),
            None => {
                slope.fill(0.0);
                0.0
            }
        };
        let total = rows.map(of).sum();
        stack.backward(&core.weights, (mean, n), &mut activations[HEAD], scratch, gradient, true);
        let values = n * self.architecture.latent.len();
        pull[..values].copy_from_slice(&scratch.upper[..values]);
        total
    }
}

/// The divergence of means from those of their classes, summed; adds its gradient, times `weight`, to both.
fn attract(
    (mean, pull): (&[f32], &mut [f32]),
    means: &[f32],
    classes: &[Option<u32>],
    weight: f32,
    gradient: &mut [f32],
) -> f64 {
    let latent = mean.len() / classes.len();
    let mut shares = vec![0.0; means.len() / latent];
    let mut total = 0.0;
    for ((mean, pull), class) in mean.chunks_exact(latent).zip(pull.chunks_exact_mut(latent)).zip(classes) {
        total += toward(mean, means, *class, &mut shares);
        let each = means.chunks_exact(latent).zip(gradient.chunks_exact_mut(latent));
        for (&share, (centre, slope)) in shares.iter().zip(each).filter(|(share, _)| **share > 0.0) {
            for (((mean, centre), pull), slope) in mean.iter().zip(centre).zip(pull.iter_mut()).zip(slope) {
                let force = weight * share * (mean - centre);
                *pull += force;
                *slope -= force;
            }
        }
    }
    total
}

/// The classes of some images of a batch; unknown where the batch names none.
pub(super) fn classes_of(classes: &[Option<u32>], range: Range<usize>) -> Vec<Option<u32>> {
    range.map(|index| classes.get(index).copied().flatten()).collect()
}
