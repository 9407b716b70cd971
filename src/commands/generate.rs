//! `anomalyd generate`: images drawn from a model's latent space, as a contact sheet and as frames.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::draw::colour::FAINT;
use crate::draw::png::png16;
use crate::draw::sheet::{Heading, Tile, contact_sheet, picture};
use crate::draw::stretch::Stretch;
use crate::error::{Failure, Result};
use crate::explore::{Law, Subject};
use crate::pipeline::Scaling;
use crate::settings::Settings;

/// Side of a picture on the sheet, at most, in pixels.
const SIDE: usize = 160;
/// Offset and scale of each frame, beside the frames.
const TABLE: &str = "frames.csv";

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
    /// Draw from a Gaussian fitted to the training latents, though the model has a prior: only what training made use of.
    #[arg(long)]
    fitted: bool,
    /// Contact sheet to write [default: `PIPELINE-samples.png`].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write each image into this folder, as 16-bit PNG in the instrument's units.
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    model: String,
    drawn_from: &'static str,
    seed: u64,
    sheet: PathBuf,
    frames: Vec<FrameFile>,
}

/// A frame on disk: `value = offset + scale * level`.
#[derive(Serialize)]
struct FrameFile {
    file: PathBuf,
    offset: f64,
    scale: f64,
}

/// Runs `generate`.
///
/// # Errors
/// A wrong pipeline or model; [`crate::error::Kind::Io`] naming the file that cannot be written.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let mut subject = Subject::load(&args.pipeline, settings)?;
    let law = Law::of(&subject, args.fitted)?;
    let latents = law.draw(args.count as usize, args.seed);
    let images = subject.decode(&latents, subject.input().scaling)?;
    let sheet = args.out.clone().unwrap_or_else(|| format!("{}-samples.png", subject.pipeline.name).into());
    write(&sheet, &draw(&subject, &law, &images, args.seed))?;
    let frames = args.frames.as_ref().map_or(Ok(Vec::new()), |folder| write_frames(folder, &subject, &images))?;
    let made = Made { model: subject.name(), drawn_from: law.text(), seed: args.seed, sheet, frames };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&made).unwrap_or_default());
    } else {
        print(&made, args.count);
    }
    Ok(())
}

/// The contact sheet: all images under one stretch, so that a faint one looks faint.
fn draw(subject: &Subject, law: &Law, images: &[Vec<f32>], seed: u64) -> Vec<u8> {
    let stretch = Stretch::of(&images.concat());
    let units =
        if subject.input().scaling == Scaling::PerFrame { "the model's units" } else { "the instrument's units" };
    let why = if subject.has_prior() { "" } else { "; a model of its kind has no prior" };
    let heading = Heading {
        title: format!("{}: {} samples", subject.name(), images.len()),
        lines: vec![
            format!("drawn from {}, seed {seed}{why}", law.text()),
            format!("{}; the decoder's mean, without noise", subject.latent_text()),
            format!("all under one stretch: {} in {units}", stretch.caption()),
        ],
        legend: Vec::new(),
    };
    let tile = |(index, image): (usize, &Vec<f32>)| Tile {
        image: picture(&stretch, subject.values(image), SIDE),
        caption: vec![(index + 1).to_string()],
        border: FAINT,
    };
    contact_sheet(&heading, &images.iter().enumerate().map(tile).collect::<Vec<_>>(), 0)
}

/// Each image as `sample-0001.png`, and a table of their offsets and scales.
fn write_frames(folder: &Path, subject: &Subject, images: &[Vec<f32>]) -> Result<Vec<FrameFile>> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::io(folder, error))?;
    let mut frames = Vec::with_capacity(images.len());
    let mut table = "file,offset,scale\n".to_string();
    for (index, image) in images.iter().enumerate() {
        let name = format!("sample-{:04}.png", index + 1);
        let values = subject.values(image);
        let png = png16(values.width, values.height, values.channels, image);
        let file = folder.join(&name);
        write(&file, &png.bytes)?;
        let Ok(()) = writeln!(table, "{name},{},{}", png.offset, png.scale) else { continue };
        frames.push(FrameFile { file, offset: png.offset, scale: png.scale });
    }
    write(&folder.join(TABLE), table.as_bytes())?;
    Ok(frames)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|error| Failure::io(path, error))
}

fn print(made: &Made, count: u32) {
    println!("model    {}", made.model);
    println!("drawn    {count} images from {}, seed {}", made.drawn_from, made.seed);
    println!("sheet    {}", made.sheet.display());
    if let Some(folder) = made.frames.first().and_then(|frame| frame.file.parent()) {
        println!(
            "frames   {}: value = offset + scale * level; both stand in {TABLE} and in each file's text chunks",
            folder.display()
        );
    }
}
