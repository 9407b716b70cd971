//! What serde cannot see in a pipeline file: ranges, and keys that must agree with each other.

use crate::components::Component;
use crate::watch::UNFINISHED;

use super::{
    Augment, ExtraNoise, Group, Latent, Likelihood, Model, ModelKind, Reduction, Scaling, Shares, Spec, line_of,
};

/// The keys that are wrong, and how.
pub(super) fn faults(spec: &Spec) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let mut require = |holds: bool, key: &str, wrong: &str| {
        if !holds {
            faults.push((key.to_string(), wrong.to_string()));
        }
    };
    let Spec { input, model, training, score, calibration, watch, .. } = spec;
    require((4..=1024).contains(&input.size), "input.size", "must lie between 4 and 1024 pixels");
    require(matches!(input.channels, 1 | 3), "input.channels", "must be 1 or 3");
    require((0.0..1.0).contains(&input.max_blank), "input.max_blank", "must lie in [0, 1)");
    match input.scaling {
        Scaling::Linear { black, white } => require(white != black, "input.scaling", "needs black and white to differ"),
        Scaling::Asinh { scale, .. } => require(scale > 0.0, "input.scaling", "needs scale above 0"),
        Scaling::Log { black, white, scale } => {
            require(white > black && scale > 0.0, "input.scaling", "needs white above black and scale above 0");
        }
        Scaling::PerFrame => {}
    }
    if let Some(tile) = input.tile {
        require(tile.size == input.size, "input.tile", "must have the size of input.size");
        require((1..=tile.size).contains(&tile.stride), "input.tile", "needs a stride between 1 and its size");
        require(!input.resize, "input.resize", "excludes input.tile");
    }
    super::filter::check(input, &mut require);
    network(model, input.size, &mut require);
    let (Latent::Vector { dim } | Latent::Map { dim }) = model.latent;
    require(dim > 0, "model.latent", "needs dim above 0");
    require(model.beta >= 0.0 && model.beta.is_finite(), "model.beta", "must be 0 or more");
    match model.likelihood {
        Likelihood::Bernoulli => {
            require(input.clip, "input.clip", "must be true: bernoulli takes values in [0, 1] only")
        }
        Likelihood::PoissonGaussian { gain, read_noise, model_error, .. } => {
            let sane = gain > 0.0 && read_noise > 0.0 && model_error >= 0.0;
            require(sane, "model.likelihood", "needs gain and read_noise above 0, model_error 0 or more");
            let fixed = !matches!(input.scaling, Scaling::PerFrame) && !input.clip && !input.resize;
            require(fixed, "model.likelihood", "counts photons: no per_frame scaling, clip or resize before it");
        }
        Likelihood::Gaussian => {}
    }
    require(training.epochs > 0, "training.epochs", "must be above 0");
    require(training.batch_size > 0, "training.batch_size", "must be above 0");
    require(training.learning_rate > 0.0, "training.learning_rate", "must be above 0");
    require(training.weight_decay >= 0.0, "training.weight_decay", "must be 0 or more");
    require(training.l1 >= 0.0 && training.l1.is_finite(), "training.l1", "must be 0 or more");
    require(training.clip_norm > 0.0, "training.clip_norm", "must be above 0");
    require(training.warmup_epochs >= 0.0, "training.warmup_epochs", "must be 0 or more");
    require(training.tiles_per_epoch != Some(0), "training.tiles_per_epoch", "must be above 0");
    let Shares { train, validation, calibration: held_out, test } = training.split;
    let whole = (train + validation + held_out + test - 1.0).abs() < 1e-9
        && [train, validation, held_out].iter().all(|&share| share > 0.0);
    require(whole, "training.split", "needs three or four shares above 0 that add up to 1");
    match &training.group {
        Some(Group::Path(expression)) => {
            let wrong = regex::Regex::new(expression).err().map(|error| format!("is no regular expression: {error}"));
            require(wrong.is_none(), "training.group.path", wrong.as_deref().unwrap_or_default());
        }
        Some(Group::Fits(keyword)) => {
            let is_keyword = (1..=8).contains(&keyword.len())
                && keyword.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-_".contains(&b));
            require(is_keyword, "training.group.fits", "must be a keyword: up to 8 capitals, digits, - and _");
        }
        None => {}
    }
    augment(&training.augment, spec, &mut require);
    super::unet::check(spec, &mut require);
    super::labels::check(spec, &mut require);
    require(!score.components.is_empty(), "score.components", "needs at least one component");
    require(score.weights.values().all(|&weight| weight > 0.0), "score.weights", "must be above 0");
    require(score.frame_weight > 0.0, "score.frame_weight", "must be above 0");
    require(score.reduction != Reduction::TopMean(0), "score.reduction", "needs top_mean above 0");
    let units = input.in_noise_units() || !score.wanted().iter().any(|component| component.needs_noise_units());
    require(units, "score", "asks for trail or source_shape, which need input.scaling asinh and one channel");
    let prior = model.is_variational() || !score.wanted().contains(&Component::Kl);
    require(prior, "score", "asks for kl, which a model without a distribution over its latents does not have");
    let open = |value: f64| value > 0.0 && value < 1.0;
    require(open(calibration.alpha), "calibration.alpha", "must lie in (0, 1)");
    require(open(calibration.delta), "calibration.delta", "must lie in (0, 1)");
    const LONGEST_S: u64 = 30 * 86_400;
    require(watch.rescan_s <= LONGEST_S, "watch.rescan_s", "must be 30 days or less");
    require(watch.settle_ms <= LONGEST_S * 1000, "watch.settle_ms", "must be 30 days or less");
    require(watch.min_age_s <= LONGEST_S, "watch.min_age_s", "must be 30 days or less");
    let unseen = |ending: &str| ending.contains('/') || UNFINISHED.iter().any(|part| ending.ends_with(part));
    let seen = watch.done_marker.as_deref().is_none_or(|ending| !ending.is_empty() && !unseen(ending));
    require(seen, "watch.done_marker", "must be the ending of a finished file's name, such as \".done\"");
    faults
}

/// The declared transformations.
fn augment(augment: &Augment, spec: &Spec, require: &mut impl FnMut(bool, &str, &str)) {
    let size = spec.input.size;
    let within = |value: f64, limit: f64| (0.0..=limit).contains(&value);
    require(within(augment.translate, size as f64), "training.augment.translate", "must be 0 to input.size pixels");
    require(within(augment.rotate, 180.0), "training.augment.rotate", "must be 0 to 180 degrees");
    require(within(augment.scale, 1.0), "training.augment.scale", "must lie in [0, 1]");
    require((0.0..1.0).contains(&augment.gain), "training.augment.gain", "must lie in [0, 1)");
    let counts = matches!(spec.model.likelihood, Likelihood::PoissonGaussian { .. });
    match augment.noise {
        Some(ExtraNoise::Instrument(share)) => {
            require(share > 0.0, "training.augment.noise", "needs a share above 0");
            let known = "of the instrument is known from a poisson_gaussian likelihood only: use { gaussian = sigma }";
            require(counts, "training.augment.noise", known);
        }
        Some(ExtraNoise::Gaussian(sigma)) => {
            require(sigma > 0.0, "training.augment.noise", "needs a standard deviation above 0");
        }
        None => {}
    }
    let mask = augment.mask.is_none_or(|mask| mask.count > 0 && (1..=size).contains(&mask.side));
    require(mask, "training.augment.mask", "needs a count above 0 and a side of 1 to input.size pixels");
}

/// The network's keys.
fn network(model: &Model, size: usize, require: &mut impl FnMut(bool, &str, &str)) {
    let blocks = model.blocks();
    let given = [!model.channels.is_empty(), !model.blocks.is_empty(), model.backbone.is_some()];
    let one = given.iter().filter(|&&given| given).count() == 1;
    require(one, "model", "needs one of channels, blocks and backbone");
    let vector = matches!(model.latent, Latent::Vector { .. });
    if model.backbone.is_some() {
        require(vector && model.kind != ModelKind::Dense, "model.backbone", "goes with ae or vae and a latent vector");
        require(
            size.is_multiple_of(4) && size >= 16,
            "model.backbone",
            "needs an input.size of 16 or more, a multiple of 4",
        );
        return;
    }
    let key = if model.blocks.is_empty() { "model.channels" } else { "model.blocks" };
    require(blocks.iter().all(|block| block.channels > 0), key, "needs one width above 0 a stage");
    if model.kind == ModelKind::Dense {
        require(model.blocks.is_empty(), "model.blocks", "is of convolutions: a dense model takes channels");
        require(vector, "model.latent", "must be a vector in a dense model");
        return;
    }
    let windows = blocks.iter().all(|block| block.kernel > 0 && matches!(block.stride, 1 | 2 | 4));
    require(windows, key, "needs kernels above 0, and strides of 1, 2 or 4");
    let factor = blocks.iter().try_fold(1usize, |product, block| product.checked_mul(block.stride.max(1)));
    let divides = factor.is_some_and(|factor| size.is_multiple_of(factor));
    require(divides, key, "divide input.size more often than it can be divided");
}

/// 1-based line of a dotted key.
pub(super) fn locate(text: &str, key: &str) -> Option<usize> {
    let mut table = &toml::de::DeTable::parse(text).ok()?.into_inner();
    let mut line = None;
    for part in key.split('.') {
        let (name, value) = table.iter().find(|(name, _)| name.get_ref().as_ref() == part)?;
        line = Some(line_of(text, name.span().start));
        match value.get_ref() {
            toml::de::DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    line
}
