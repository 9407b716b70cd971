//! `anomalyd generate`: images drawn from a model's latent space, as a contact sheet and as frames; or one latent unit varied at a
//! time.

mod frames;
mod traverse;

use std::path::{Path, PathBuf};

use serde::Serialize;

use self::frames::FrameFile;
use crate::draw::canvas::Picture;
use crate::draw::colour::FAINT;
use crate::draw::sheet::{Heading, Tile, contact_sheet, picture};
use crate::draw::stretch::Stretch;
use crate::draw::strip::{Row, strip};
use crate::error::{Failure, Result};
use crate::explore::{Law, Source, Subject};
use crate::pipeline::Scaling;
use crate::settings::Settings;

/// Side of a picture on the sheet, at most, in pixels; and of one beside another model's.
const SIDE: usize = 160;
const SIDE_BESIDE: usize = 96;
/// Pictures a row where two models stand one below the other.
const COLUMNS: usize = 12;

/// Arguments of `generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pipeline's name, or the path of its TOML file.
    pipeline: String,
    /// Images to draw.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// Seed of the draws; the same seed gives the same images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the latents are drawn from.
    #[arg(long, value_enum, default_value_t = Source::Prior)]
    from: Source,
    /// Draw from the prior of this class, where the model has one a class (`prior = true` in `[model.labels]`).
    #[arg(long, value_name = "CLASS", conflicts_with = "from")]
    label: Option<String>,
    /// Also draw as many from this pipeline's model, below.
    #[arg(long, value_name = "PIPELINE2")]
    beside: Option<String>,
    /// Instead of drawing, vary one latent unit at a time from -3 to 3 deviations, a row each.
    #[arg(long, conflicts_with_all = ["count", "seed", "beside", "frames", "json"])]
    traverse: bool,
    /// The image whose latent the other units keep: FILE, or FILE#INDEX [default: the mean of what --from names].
    #[arg(long, value_name = "FILE", requires = "traverse")]
    around: Option<String>,
    /// Contact sheet to write [default: `PIPELINE-samples.png`, or `PIPELINE-units.png`].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write each image into this folder, as 16-bit PNG in the instrument's units.
    #[arg(long, value_name = "DIR", conflicts_with = "beside")]
    frames: Option<PathBuf>,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    model: String,
    drawn_from: String,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    beside: Option<Beside>,
    sheet: PathBuf,
    frames: Vec<FrameFile>,
}

/// The other model.
#[derive(Serialize)]
struct Beside {
    model: String,
    drawn_from: String,
}

/// A model, and what it made of latents drawn from a law.
struct Draws {
    subject: Subject,
    law: Law,
    images: Vec<Vec<f32>>,
}

/// Runs `generate`.
///
/// # Errors
/// A wrong pipeline or model, or one without the prior asked for; [`crate::error::Kind::Io`] naming the file that cannot be written.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    if args.traverse {
        return traverse::run(args, settings);
    }
    let draws = draws(&args.pipeline, args, settings)?;
    let other = args.beside.as_ref().map(|pipeline| self::draws(pipeline, args, settings)).transpose()?;
    let sheet = args.out.clone().unwrap_or_else(|| format!("{}-samples.png", draws.subject.pipeline.name).into());
    let drawn = match &other {
        Some(other) => draw_both([&draws, other], args.seed),
        None => draw(&draws, args.seed),
    };
    write(&sheet, &drawn)?;
    let (subject, images) = (&draws.subject, &draws.images);
    let frames = args.frames.as_ref().map_or(Ok(Vec::new()), |folder| frames::write_all(folder, subject, images))?;
    let beside = other.map(|other| Beside { model: other.subject.name(), drawn_from: other.law.text() });
    let made = Made { model: subject.name(), drawn_from: draws.law.text(), seed: args.seed, beside, sheet, frames };
    if args.json {
        sayln!("{}", serde_json::to_string_pretty(&made).unwrap_or_default());
    } else {
        print(&made, args.count);
    }
    Ok(())
}

fn draws(pipeline: &str, args: &Args, settings: &Settings) -> Result<Draws> {
    let mut subject = Subject::load(pipeline, settings)?;
    let law = Law::of(&subject, args.from, args.label.as_deref())?;
    let latents = law.draw(args.count as usize, args.seed);
    let images = subject.decode(&latents, subject.input().scaling)?;
    Ok(Draws { subject, law, images })
}

/// The contact sheet: all images under one stretch, so that a faint one looks faint.
fn draw(draws: &Draws, seed: u64) -> Vec<u8> {
    let Draws { subject, law, images } = draws;
    let stretch = Stretch::under(subject.input().scaling, &images.concat());
    let heading = Heading {
        title: format!("{} ({}): {} samples", subject.name(), subject.kind_text(), images.len()),
        lines: vec![
            format!("drawn from {}, seed {seed}", law.text()),
            format!("{}; the decoder's mean, without noise", subject.latent_text()),
            format!("all under one stretch: {} in {}", stretch.caption(), units(subject)),
        ],
        legend: Vec::new(),
    };
    let tile = |(index, image): (usize, &Vec<f32>)| Tile {
        image: picture(&stretch, subject.values(image), SIDE),
        caption: vec![caption(law, index)],
        border: FAINT,
    };
    contact_sheet(&heading, &images.iter().enumerate().map(tile).collect::<Vec<_>>(), 0)
}

/// Two models one below the other, each under its own stretch: their instruments may differ.
fn draw_both(both: [&Draws; 2], seed: u64) -> Vec<u8> {
    let stretches = both.map(|draws| Stretch::under(draws.subject.input().scaling, &draws.images.concat()));
    let rows: Vec<Row> = both.iter().zip(&stretches).flat_map(|(draws, stretch)| rows(draws, stretch)).collect();
    let title = format!("samples of {} and of {}", both[0].subject.name(), both[1].subject.name());
    let [above, below] = stretches.map(|stretch| stretch.caption());
    let lines = [
        format!("seed {seed}; the decoder's mean, without noise"),
        format!("each model under one stretch: above {above}, below {below}"),
    ];
    strip(&title, &lines, &rows).png()
}

/// The images of a model, the first row under its name.
fn rows(draws: &Draws, stretch: &Stretch) -> Vec<Row> {
    let Draws { subject, law, images } = draws;
    let drawn = |(index, image): (usize, &Vec<f32>)| {
        (picture(stretch, subject.values(image), SIDE_BESIDE), caption(law, index))
    };
    let pictures: Vec<_> = images.iter().enumerate().map(drawn).collect();
    let title = format!("{} ({}): {}", subject.name(), subject.kind_text(), law.text());
    let row = |(row, some): (usize, &[(Picture, String)])| Row {
        title: if row == 0 { title.clone() } else { String::new() },
        pictures: some.to_vec(),
    };
    pictures.chunks(COLUMNS).enumerate().map(row).collect()
}

/// The class of an image, or its number.
fn caption(law: &Law, index: usize) -> String {
    law.class(index).map_or_else(|| (index + 1).to_string(), str::to_string)
}

fn units(subject: &Subject) -> &'static str {
    if subject.input().scaling == Scaling::PerFrame { "the model's units" } else { "the instrument's units" }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Failure::io(path, error))
}

fn print(made: &Made, count: u32) {
    sayln!("model    {}", made.model);
    sayln!("drawn    {count} images from {}, seed {}", made.drawn_from, made.seed);
    if let Some(beside) = &made.beside {
        sayln!("beside   {}: {count} images from {}", beside.model, beside.drawn_from);
    }
    sayln!("sheet    {}", made.sheet.display());
    if let Some(folder) = made.frames.first().and_then(|frame| frame.file.parent()) {
        sayln!(
            "frames   {}: value = offset + scale * level; both stand in {} and in each file's text chunks",
            folder.display(),
            frames::TABLE
        );
    }
}
