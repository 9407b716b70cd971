//! Rows on their way into the report tables.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::classify::Named;
use crate::denoise::departures::Departures;
use crate::draw::png::Png16;
use crate::drift::RawStatistics;
use crate::score::{DenoisedBy, FlaggedTile, Identity, Verdict};
use crate::segment::Mark;
use crate::watch::Stat;

/// A frame scored.
#[derive(Debug, Clone)]
pub struct ScoreRow {
    /// See [`super::names::frame_id`].
    pub frame_id: String,
    /// The file, as [`super::names::source_name`] writes it.
    pub source: Arc<str>,
    /// BLAKE3 of the file, hex.
    pub file_digest: Arc<str>,
    /// Position of the frame in its file.
    pub frame_index: u32,
    /// When the frame was taken, where its header says so.
    pub observed_at: Option<DateTime<Utc>>,
    /// When the file was found.
    pub received_at: DateTime<Utc>,
    /// When the verdict was reached.
    pub scored_at: DateTime<Utc>,
    /// Width, height and channels of the frame in its file.
    pub shape: [u32; 3],
    /// The verdict; its maps are taken out.
    pub verdict: Verdict,
    /// By what it was judged.
    pub identity: Arc<Identity>,
    /// What the file was when it was read.
    pub stat: Stat,
    /// What is said of it without a model.
    pub raw: RawStatistics,
    /// Why nothing is certified; none where the certificate holds.
    pub void: Option<Void>,
}

/// Why the certificate does not hold for a frame. Where both are so, its size is said: that alone is the frame's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Void {
    /// Frames had drifted away from the calibration by then.
    Drift,
    /// It is of another size than the calibration frames.
    FrameSize,
}

impl Void {
    /// The word of the column `void_reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::FrameSize => "frame_size",
        }
    }
}

/// What `anomalies` holds beside the columns of `scores`.
#[derive(Debug, Clone)]
pub struct AnomalyExtra {
    /// Latent mean.
    pub latent_mean: Vec<f32>,
    /// Tiles that stand out.
    pub tiles: Vec<FlaggedTile>,
    /// What the pipeline's classifier says; `None` where it has none.
    pub named: Option<Named>,
    /// Input, denoised image and anomaly map.
    pub pictures: Option<[Png16; 3]>,
    /// What a segmenter marks in the anomaly map; none where that is a residual.
    pub mark: Option<Mark>,
}

/// A denoised image kept.
#[derive(Debug, Clone)]
pub struct DenoisedRow {
    /// See [`super::names::frame_id`].
    pub frame_id: String,
    /// The file.
    pub source: Arc<str>,
    /// Width, height and channels of the image.
    pub shape: [u32; 3],
    /// The image.
    pub picture: Png16,
    /// What made it.
    pub denoised_by: DenoisedBy,
    /// Where it departs from the input by more than noise does.
    pub departures: Departures,
}

/// A file or frame that could not be scored.
#[derive(Debug, Clone)]
pub struct RejectedRow {
    /// The file.
    pub source: Arc<str>,
    /// BLAKE3 of the file, hex, where it could be read.
    pub file_digest: Option<Arc<str>>,
    /// The frame; `None` for the whole file.
    pub frame_index: Option<u32>,
    /// The stable word of [`crate::image::Reason`].
    pub reason: &'static str,
    /// What exactly was wrong.
    pub detail: String,
    /// When the file was found.
    pub received_at: DateTime<Utc>,
    /// What the file was when it was read, or found where it could not be read.
    pub stat: Stat,
    /// By what it would have been judged.
    pub identity: Arc<Identity>,
}

/// A file whose content had been scored under another name.
#[derive(Debug, Clone)]
pub struct DuplicateRow {
    /// The file.
    pub source: Arc<str>,
    /// BLAKE3 of the file, hex.
    pub file_digest: Arc<str>,
    /// The name under which the content was scored, or begun.
    pub first_source: String,
    /// When the file was found.
    pub received_at: DateTime<Utc>,
    /// What the file was when it was read.
    pub stat: Stat,
    /// By what the content was judged.
    pub identity: Arc<Identity>,
}
