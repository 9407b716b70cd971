//! `[model.labels]` of a pipeline file: what the classes of normal frames do to the latent space.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Spec;

/// What labels add to an autoencoder. The classes are those of the training frames (`--labels`, or a folder a class); a frame
/// without one takes part without the terms that need it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Supervision {
    /// Weight of the cross-entropy of a classification head on the latent mean, as alpha in Kingma et al. 2014
    /// (arXiv:1406.5298, eq. 9); no head where 0.
    pub head: f32,
    /// Width of the head's hidden layer [default: none, the head is linear].
    pub hidden: Option<usize>,
    /// Whether the prior is a Gaussian a class, `p(z | y) = N(mu_y, I)` with learned means (Sohn et al. 2015; Jiang et al. 2016,
    /// arXiv:1611.05148).
    pub prior: bool,
    /// The classes in their order [default: all labels of the training frames, sorted]; other labels count as none.
    pub classes: Vec<String>,
}

/// The keys that are wrong, and how.
pub(super) fn check(spec: &Spec, require: &mut impl FnMut(bool, &str, &str)) {
    let Some(labels) = &spec.model.labels else { return };
    require(labels.head >= 0.0 && labels.head.is_finite(), "model.labels.head", "must be 0 or more");
    require(labels.head > 0.0 || labels.prior, "model.labels", "needs head above 0, prior = true, or both");
    require(labels.hidden != Some(0), "model.labels.hidden", "must be above 0");
    require(labels.hidden.is_none() || labels.head > 0.0, "model.labels.hidden", "goes with head above 0");
    let point = labels.prior && !spec.model.is_variational();
    require(!point, "model.labels.prior", "needs a variational model: a point in latent space has no prior");
    let distinct = labels.classes.iter().collect::<BTreeSet<_>>().len() == labels.classes.len();
    require(distinct && labels.classes.len() != 1, "model.labels.classes", "needs two names or more, none twice");
}
