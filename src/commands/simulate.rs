//! `anomalyd simulate`: frames with known truth.

use std::path::PathBuf;

use indicatif::ProgressBar;

use crate::error::{Failure, Kind as Fault, Result};
use crate::settings::Settings;
use crate::simulate::{self, Instrument, Kind, Request};

/// Arguments of `simulate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Whose frames to make.
    #[arg(value_enum)]
    pub instrument: Instrument,
    /// How many frames.
    #[arg(long, value_name = "N")]
    pub count: usize,
    /// Seed; the same seed gives the same bytes.
    #[arg(long, value_name = "S")]
    pub seed: u64,
    /// Share of anomalous frames, 0 to 1; each carries one anomaly, at a random place of the sequence.
    #[arg(long, value_name = "F")]
    pub anomalies: f64,
    /// Folder for the frames, truth.parquet and truth.csv; empty or new.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Only this kind of anomaly [default: all in rotation].
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Pixels a side [default: 512 telescope, 256 detector].
    #[arg(long, value_name = "PX")]
    pub size: Option<usize>,
    /// Put frames into normal/ and `anomalous/<kind>/` instead of frames/.
    #[arg(long)]
    pub split: bool,
    /// Write the frames without the instrument's noise too, under clean/: what `train --clean` and `denoise` take.
    #[arg(long)]
    pub clean: bool,
    /// Write the pixels of each anomaly too, as PNG under masks/.
    #[arg(long)]
    pub masks: bool,
}

/// Runs `simulate`.
///
/// # Errors
/// When an argument makes no sense, the folder is not empty, or a file cannot be written.
pub fn run(args: &Args, _settings: &Settings) -> Result<()> {
    let request = Request {
        instrument: args.instrument,
        count: args.count,
        seed: args.seed,
        anomalies: args.anomalies,
        kinds: kinds(args)?,
        size: args.size.unwrap_or_else(|| args.instrument.default_size()),
        split: args.split,
        clean: args.clean,
        masks: args.masks,
        out: args.out.clone(),
    };
    // Drawn on a terminal only.
    let bar = ProgressBar::new(args.count as u64);
    let summary = simulate::make(&request, || bar.inc(1))?;
    bar.finish_and_clear();
    sayln!("{:>7} normal", summary.normal);
    for (kind, count) in summary.anomalous {
        sayln!("{count:>7} {}", kind.as_str());
    }
    sayln!("truth: {}", args.out.join("truth.parquet").display());
    Ok(())
}

/// The kinds asked for: one by name, or all of the instrument's.
fn kinds(args: &Args) -> Result<Vec<Kind>> {
    let all = args.instrument.kinds();
    let Some(name) = &args.kind else { return Ok(all.to_vec()) };
    all.iter().find(|kind| kind.as_str() == name).map(|kind| vec![*kind]).ok_or_else(|| {
        let known: Vec<&str> = all.iter().map(|kind| kind.as_str()).collect();
        Failure::new(Fault::Usage, format!("--kind {name}: no such anomaly of this instrument"))
            .hint(format!("one of {}", known.join(", ")))
    })
}
