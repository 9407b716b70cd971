//! The values of each option, and the pipeline with one of them changed.

use serde::{Deserialize, Serialize};

use crate::components::Component;
use crate::pipeline::{Augment, Block, Downsample, Filter, Model, ModelKind, Norm, Pipeline, Spec, Upsample};

/// Strengths that are tried beside none and the pipeline's own. AdamW's steps are about as long as the step size where the
/// gradient keeps its sign: L1 takes this share of that away, so it empties weights whose gradient does so less clearly.
const L1: f32 = 0.1;
const WEIGHT_DECAY: f32 = 0.1;
/// Pixels, where no augmentation is declared: the mildest that every instrument's pointing has.
const TRANSLATE: f64 = 1.0;

/// An option of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Choice {
    /// `model.norm`.
    Norm,
    /// `model.biases`.
    Biases,
    /// `training.l1`, off and on.
    L1,
    /// `training.weight_decay`, off and on.
    WeightDecay,
    /// `training.augment`, off and on.
    Augment,
    /// `model.beta`: 0, 1, 4 and the pipeline's own.
    Beta,
    /// `model.blocks.downsample`, in every stage that divides the side.
    Downsample,
    /// `model.upsample`.
    Upsample,
    /// `model.kind`.
    Kind,
    /// `input.filters`, none and Sobel's.
    Filters,
}

/// One option at one value, all else as in the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Which option.
    pub option: Choice,
    /// Its value, as the pipeline file has it.
    pub value: String,
    /// It is the pipeline's own.
    pub own: bool,
}

/// Every value of every option asked for, each with its pipeline's contents.
pub fn variants(spec: &Spec, choices: &[Choice]) -> Vec<(Variant, Spec)> {
    choices.iter().flat_map(|&option| values(spec, option)).collect()
}

/// Why a variant cannot be trained, where it cannot.
pub fn refusal(variant: &Variant, pipeline: &Pipeline) -> Option<String> {
    if variant.own {
        return None;
    }
    let model = &pipeline.spec.model;
    if variant.option == Choice::Upsample && model.kind == ModelKind::Dense {
        return Some("a dense model doubles no side".into());
    }
    if variant.option == Choice::Downsample && (model.kind == ModelKind::Dense || model.backbone.is_some()) {
        return Some("the encoder has no stages that divide the side as they are told".into());
    }
    if variant.option == Choice::Beta && !model.is_variational() {
        return Some("a model that is not variational has no KL term".into());
    }
    pipeline.check().err().map(|failure| failure.message)
}

fn values(spec: &Spec, option: Choice) -> Vec<(Variant, Spec)> {
    let mut found = Vec::new();
    let mut add = |value: String, own: bool, change: &dyn Fn(&mut Spec)| {
        let mut changed = spec.clone();
        if !own {
            change(&mut changed);
            without_prior(&mut changed);
        }
        found.push((Variant { option, value, own }, changed));
    };
    let (model, training) = (&spec.model, &spec.training);
    match option {
        Choice::Norm => {
            for (name, norm) in [("none", Norm::None), ("layer", Norm::Layer), ("group", Norm::Group)] {
                add(name.into(), model.norm == norm, &|spec| spec.model.norm = norm);
            }
        }
        Choice::Biases => {
            for on in [false, true] {
                add(on.to_string(), model.biases == on, &|spec| spec.model.biases = on);
            }
        }
        Choice::L1 => {
            for strength in off_and_on(training.l1, L1) {
                add(number(strength), training.l1 == strength, &|spec| spec.training.l1 = strength);
            }
        }
        Choice::WeightDecay => {
            for strength in off_and_on(training.weight_decay, WEIGHT_DECAY) {
                let own = training.weight_decay == strength;
                add(number(strength), own, &|spec| spec.training.weight_decay = strength);
            }
        }
        Choice::Augment => {
            let declared = training.augment != Augment::default();
            let on = if declared { training.augment } else { Augment { translate: TRANSLATE, ..Augment::default() } };
            for (augment, own) in [(Augment::default(), !declared), (on, declared)] {
                add(augment.words(), own, &|spec| spec.training.augment = augment);
            }
        }
        Choice::Beta => {
            for beta in rising(vec![0.0, 1.0, 4.0, model.beta]) {
                add(number(beta), model.beta == beta, &|spec| spec.model.beta = beta);
            }
        }
        Choice::Downsample => {
            let how =
                [("stride", Downsample::Stride), ("max_pool", Downsample::MaxPool), ("avg_pool", Downsample::AvgPool)];
            let own = downsample(model);
            if own.is_none() {
                add("mixed".into(), true, &|_| ());
            }
            for (name, kind) in how {
                add(name.into(), own == Some(kind), &|spec| pooled(&mut spec.model, kind));
            }
        }
        Choice::Upsample => {
            for (name, kind) in [
                ("transposed", Upsample::Transposed),
                ("nearest", Upsample::Nearest),
                ("bilinear", Upsample::Bilinear),
                ("pixel_shuffle", Upsample::PixelShuffle),
            ] {
                add(name.into(), model.upsample == kind, &|spec| spec.model.upsample = kind);
            }
        }
        Choice::Kind => {
            for (name, kind) in [("dense", ModelKind::Dense), ("ae", ModelKind::Ae), ("vae", ModelKind::Vae)] {
                add(name.into(), model.kind == kind, &|spec| spec.model.kind = kind);
            }
        }
        Choice::Filters => {
            for (name, filters) in [("none", vec![]), ("sobel", vec![Filter::Sobel])] {
                add(name.into(), spec.input.filters == filters, &|spec| spec.input.filters = filters.clone());
            }
        }
    }
    found
}

/// What divides the side; `None` where the stages differ.
fn downsample(model: &Model) -> Option<Downsample> {
    let blocks = model.blocks();
    let mut dividing = blocks.iter().filter(|block| block.stride > 1).map(|block| block.downsample);
    let first = dividing.next().unwrap_or_default();
    dividing.all(|other| other == first).then_some(first)
}

/// The same stages, divided otherwise.
fn pooled(model: &mut Model, kind: Downsample) {
    let divided = |block: Block| Block { downsample: if block.stride > 1 { kind } else { block.downsample }, ..block };
    model.blocks = model.blocks().into_iter().map(divided).collect();
    model.channels = Vec::new();
}

/// A model without a distribution over its latents has no KL to score by.
fn without_prior(spec: &mut Spec) {
    if spec.model.is_variational() {
        return;
    }
    let score = &mut spec.score;
    for components in [&mut score.components, &mut score.frame_means, &mut score.frame_spreads] {
        components.retain(|component| *component != Component::Kl);
    }
}

/// None, the pipeline's own where it has one, and a strong one.
fn off_and_on(own: f32, strong: f32) -> Vec<f32> {
    rising(vec![0.0, own, strong])
}

fn rising(mut values: Vec<f32>) -> Vec<f32> {
    values.sort_by(f32::total_cmp);
    values.dedup();
    values
}

fn number(value: f32) -> String {
    if value == 0.0 || value >= 0.01 { format!("{value}") } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn digits() -> Pipeline {
        Pipeline::load("digits", &Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines")).unwrap()
    }

    #[test]
    fn each_option_has_one_value_of_the_pipelines_own_and_others_that_it_takes() {
        let pipeline = digits();
        for &option in clap::ValueEnum::value_variants() {
            let found = variants(&pipeline.spec, &[option]);
            assert_eq!(found.iter().filter(|(variant, _)| variant.own).count(), 1, "{option:?}");
            assert!(found.len() > 1);
            for (variant, spec) in found {
                assert_eq!(refusal(&variant, &Pipeline { spec, ..pipeline.clone() }), None, "{variant:?}");
            }
        }
    }

    #[test]
    fn stages_are_divided_by_pooling_where_they_divide_the_side() {
        let mut spec = digits().spec;
        spec.model.channels = Vec::new();
        spec.model.blocks =
            [(8, 2), (8, 1), (16, 2)].map(|(channels, stride)| Block { channels, stride, ..Block::default() }).into();
        let of = |spec: &Spec| spec.model.blocks.iter().map(|block| block.downsample).collect::<Vec<_>>();
        let found = variants(&spec, &[Choice::Downsample]);
        let (_, pooled) = found.iter().find(|(variant, _)| variant.value == "max_pool").unwrap();
        assert_eq!(of(pooled), [Downsample::MaxPool, Downsample::Stride, Downsample::MaxPool]);
        spec.model.blocks[0].downsample = Downsample::AvgPool;
        let mixed = variants(&spec, &[Choice::Downsample]);
        assert_eq!(
            mixed.iter().filter(|(variant, _)| variant.own).map(|(own, _)| &*own.value).collect::<Vec<_>>(),
            ["mixed"]
        );
    }
}
