//! `anomalyd inspect`: what is in a file, and what a pipeline makes of it.

mod report;
mod sight;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use self::report::FileReport;
use crate::error::{Failure, Kind, Result};
use crate::image::{Frame, npy};
use crate::pipeline::{Input, Pipeline};
use crate::report::names::source_name;
use crate::settings::Settings;

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files to look into.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Also say what this pipeline (a name, or a path to its TOML) makes of each frame.
    #[arg(long, value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// One JSON object a file and line.
    #[arg(long)]
    json: bool,
    /// Write each frame as float32 NPY, in physical units, to `<stem>-<index>.npy` in this folder.
    #[arg(long, value_name = "DIR")]
    npy: Option<PathBuf>,
    /// Draw what the pipeline's encoder sees of each frame, its central tile and the channels of `input.filters`, to
    /// `<stem>-<index>.png` in this folder.
    #[arg(long, value_name = "DIR", requires = "pipeline")]
    png: Option<PathBuf>,
}

/// What is made of each frame besides the report.
struct Wishes<'a> {
    input: Option<&'a Input>,
    npy: Option<&'a Path>,
    png: Option<&'a Path>,
}

/// Runs `inspect`.
///
/// # Errors
/// [`Kind::Data`] when a file, or a frame of it, cannot be decoded; [`Kind::Io`] when a file cannot be written.
pub fn run(args: &Args, settings: &Settings) -> Result<()> {
    let pipeline = args.pipeline.as_ref().map(|given| Pipeline::load(given, &settings.pipelines)).transpose()?;
    let input = pipeline.as_ref().map(|pipeline| &pipeline.spec.input);
    let wishes = Wishes { input, npy: args.npy.as_deref(), png: args.png.as_deref() };
    for folder in [wishes.npy, wishes.png].into_iter().flatten() {
        std::fs::create_dir_all(folder).map_err(|error| Failure::io(folder, error))?;
    }
    let mut rejected = Vec::new();
    for path in &args.files {
        let report = FileReport::of(path, &settings.limits, &wishes)?;
        let text = if args.json { json_line(&report)? } else { report.text() };
        if !write_out(&text)? {
            break;
        }
        rejected.extend(
            report
                .rejection
                .map(|rejection| format!("{}: {}: {}", source_name(path), rejection.reason, rejection.detail)),
        );
    }
    match rejected.as_slice() {
        [] => Ok(()),
        [one] => Err(Failure::new(Kind::Data, one.as_str())),
        many => {
            Err(Failure::new(Kind::Data, format!("{} of {} files:\n{}", many.len(), args.files.len(), many.join("\n"))))
        }
    }
}

/// Where what is made of a frame goes.
fn beside(folder: &Path, source: &Path, index: usize, ending: &str) -> PathBuf {
    let stem = source.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    folder.join(format!("{stem}-{index}.{ending}"))
}

fn write_npy(folder: &Path, source: &Path, frame: &Frame) -> Result<PathBuf> {
    let path = beside(folder, source, frame.index, "npy");
    let write = || npy::write(BufWriter::new(File::create(&path)?), frame);
    write().map_err(|error| Failure::io(&path, error))?;
    Ok(path)
}

fn json_line(report: &FileReport) -> Result<String> {
    let line = serde_json::to_string(report).map_err(|error| Failure::new(Kind::Internal, error.to_string()))?;
    Ok(line + "\n")
}

/// Whether anyone still reads standard output; a closed pipe (`| head`) is no failure.
fn write_out(text: &str) -> Result<bool> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Kind::Io, format!("standard output: {error}"))),
    }
}
