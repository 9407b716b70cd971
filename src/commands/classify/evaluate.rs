//! `anomalyd classify evaluate`.

use std::path::PathBuf;

use super::given::Given;
use super::print;
use crate::classify::figures::figures;
use crate::classify::{Classifier, card};
use crate::draw::plot::classes_svg;
use crate::error::{Failure, Kind, Result};
use crate::model::device;
use crate::pipeline::Pipeline;
use crate::settings::Settings;
use crate::train::overlap::Overlap;

/// Tiles classified at once.
const BATCH: usize = 256;

/// Arguments of `classify evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    given: Given,
    /// Write confusion.svg here.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `classify evaluate`.
///
/// # Errors
/// A wrong pipeline or model, unusable data, a full disk.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let pipeline = Pipeline::load(&args.given.pipeline, &settings.pipelines)?;
    let device = device::pick(&settings.device)?;
    let Some(classifier) = Classifier::load(&settings.models, &pipeline, device)? else {
        return Err(Failure::new(Kind::Model, format!("pipeline {} has no classifier", pipeline.name))
            .hint(format!("train one: anomalyd classify train {} --data DIR --network lenet5", pipeline.name)));
    };
    let labelled = args.given.gather(&pipeline, settings)?;
    let card = &classifier.card;
    let folder = card::home(&settings.models, &pipeline.name).join(&card.version);
    let overlap = Overlap::find(&folder, &labelled.frames)?;
    let mut logits = Vec::with_capacity(labelled.frames.len() * card.classes.len());
    let all: Vec<usize> = (0..labelled.frames.len()).collect();
    for some in all.chunks(BATCH) {
        let tiles: Vec<f32> = some.iter().flat_map(|&at| labelled.tile(at, pipeline.spec.input.size)).collect();
        logits.extend(classifier.logits(&tiles)?);
    }
    let kinds: Vec<&str> = labelled.kinds.iter().map(String::as_str).collect();
    let found = figures(&card.classes, &logits, &kinds, &card.answer);
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(|error| Failure::io(folder, error))?;
        let path = folder.join("confusion.svg");
        let svg = classes_svg(&format!("classifier {} of {}", card.version, pipeline.name), &found.confusion)?;
        std::fs::write(&path, svg).map_err(|error| Failure::io(&path, error))?;
    }
    if args.json {
        sayln!("{}", serde_json::to_string_pretty(&found).unwrap_or_default());
    } else {
        sayln!("classifier   {}", card.version);
        sayln!("left out     {}", labelled.left);
        if let Some(warning) = overlap.and_then(|overlap| overlap.warning()) {
            sayln!("warning      {warning}");
        }
        if let Some(said) = &labelled.said {
            sayln!("labels       {}", said.text());
        }
        print("frames", &found);
    }
    Ok(())
}
