//! The rows of one pipeline that wait for their batch.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use polars::prelude::{DataFrame, PolarsError};
use tracing::{debug, info};

use super::stages::{FileInfo, FrameInfo, Refusal};
use crate::draw::png::{Png16, png16};
use crate::error::{Failure, Kind, Result};
use crate::pipeline::Keep;
use crate::report::names::frame_id;
use crate::report::schema::{self, AnomalyExtra, DenoisedRow, DuplicateRow, RejectedRow, ScoreRow, Table, Void};
use crate::score::{DenoisedBy, Maps, Verdict};

/// What a row costs beside its pictures.
const ROW_BYTES: usize = 512;

/// Rows of each table.
#[derive(Default)]
pub struct Tables {
    scores: Vec<ScoreRow>,
    anomalies: Vec<ScoreRow>,
    extras: Vec<AnomalyExtra>,
    denoised: Vec<DenoisedRow>,
    rejected: Vec<RejectedRow>,
    duplicates: Vec<DuplicateRow>,
}

impl Tables {
    /// Adds a frame judged; `void` says why its certificate is, where it is. Its maps become pictures here, so that they do not wait in
    /// full size. Returns the bytes it takes.
    pub fn score(
        &mut self,
        frame: FrameInfo,
        mut verdict: Verdict,
        scored_at: DateTime<Utc>,
        void: Option<Void>,
    ) -> usize {
        let _inside = frame.span.clone().entered();
        let lane = &frame.file.lane;
        let digest = frame.file.digest.as_ref().map_or_else(|| "".into(), |(_, hex)| hex.clone());
        let maps = verdict.maps.take();
        let keep = match lane.keep {
            Keep::All => true,
            Keep::Flagged => verdict.is_anomaly,
            Keep::None => false,
        };
        let wanted = maps.filter(|_| keep || verdict.is_anomaly);
        let denoised_by = wanted.as_ref().map_or(DenoisedBy::Model, |maps| maps.denoised_by);
        let departures = wanted.as_ref().map(|maps| maps.departures.clone()).unwrap_or_default();
        let mark = wanted.as_ref().and_then(|maps| maps.mark);
        let pictures =
            wanted.map(|maps| ([maps.width, maps.height, maps.channels].map(|side| side as u32), draw(maps)));
        let mut bytes = ROW_BYTES;
        let row = ScoreRow {
            frame_id: frame_id(&digest, frame.index, &lane.identity),
            source: frame.file.source.clone(),
            file_digest: digest,
            frame_index: frame.index,
            observed_at: frame.observed_at,
            received_at: frame.file.received_at,
            scored_at,
            shape: frame.shape,
            identity: lane.identity.clone(),
            stat: frame.file.stat,
            raw: frame.raw,
            void,
            verdict,
        };
        let (score, p_value) = (row.verdict.score, row.verdict.p_value);
        if row.verdict.is_anomaly {
            info!(score, p_value, frame_id = %row.frame_id, "flagged");
        } else {
            debug!(score, p_value, frame_id = %row.frame_id, "scored");
        }
        if let Some((shape, pictures)) = pictures.as_ref().filter(|_| keep) {
            bytes += pictures[1].bytes.len();
            self.denoised.push(DenoisedRow {
                frame_id: row.frame_id.clone(),
                source: row.source.clone(),
                shape: *shape,
                picture: pictures[1].clone(),
                denoised_by,
                departures,
            });
        }
        if row.verdict.is_anomaly {
            bytes += pictures.as_ref().map_or(0, |(_, all)| all.iter().map(|picture| picture.bytes.len()).sum());
            self.extras.push(AnomalyExtra {
                latent_mean: row.verdict.latent_mean.clone(),
                tiles: row.verdict.tiles.clone(),
                named: row.verdict.named.clone(),
                pictures: pictures.map(|(_, all)| all),
                mark,
            });
            self.anomalies.push(row.clone());
        }
        self.scores.push(row);
        bytes
    }

    /// Adds a refusal. Returns the bytes it takes.
    pub fn refuse(&mut self, refusal: &Refusal) -> usize {
        let Refusal { file, index, rejection } = refusal;
        self.rejected.push(RejectedRow {
            source: file.source.clone(),
            file_digest: file.digest.as_ref().map(|(_, hex)| Arc::clone(hex)),
            frame_index: *index,
            reason: rejection.reason.as_str(),
            detail: rejection.detail.clone(),
            received_at: file.received_at,
            stat: file.stat,
            identity: file.lane.identity.clone(),
        });
        ROW_BYTES
    }

    /// Adds a second name of a content. Returns the bytes it takes.
    pub fn duplicate(&mut self, file: &FileInfo, first_source: String) -> usize {
        self.duplicates.push(DuplicateRow {
            source: file.source.clone(),
            file_digest: file.digest.as_ref().map_or_else(|| "".into(), |(_, hex)| hex.clone()),
            first_source,
            received_at: file.received_at,
            stat: file.stat,
            identity: file.lane.identity.clone(),
        });
        ROW_BYTES
    }

    /// Rows of all tables that a reader counts.
    pub fn len(&self) -> usize {
        self.scores.len() + self.rejected.len() + self.duplicates.len()
    }

    /// Scored frames of other sizes than those calibrated on.
    pub fn other_sizes(&self) -> u64 {
        self.scores.iter().filter(|row| row.void == Some(Void::FrameSize)).count() as u64
    }

    /// Scored, flagged and rejected rows.
    pub fn counts(&self) -> [u64; 3] {
        [self.scores.len() as u64, self.anomalies.len() as u64, self.rejected.len() as u64]
    }

    /// Why each rejected row was rejected.
    pub fn reasons(&self) -> impl Iterator<Item = &'static str> {
        self.rejected.iter().map(|row| row.reason)
    }

    /// The last rejection, for `status`.
    pub fn last_rejection(&self) -> Option<String> {
        self.rejected.last().map(|row| format!("{}: {}: {}", row.source, row.reason, row.detail))
    }

    /// The tables that have rows, as frames; the pictures are moved out, so that large ones are not held twice.
    ///
    /// # Errors
    /// [`Kind::Internal`] for a fault of polars.
    pub fn frames(&mut self) -> Result<Vec<(Table, DataFrame)>> {
        let fail = |error: PolarsError| Failure::new(Kind::Internal, format!("cannot make a report table: {error}"));
        let mut frames = Vec::new();
        if !self.scores.is_empty() {
            frames.push((Table::Scores, schema::scores(&self.scores).map_err(fail)?));
        }
        if !self.anomalies.is_empty() {
            frames.push((
                Table::Anomalies,
                schema::anomalies(&self.anomalies, &std::mem::take(&mut self.extras)).map_err(fail)?,
            ));
        }
        if !self.denoised.is_empty() {
            frames.push((Table::Denoised, schema::denoised(&std::mem::take(&mut self.denoised)).map_err(fail)?));
        }
        if !self.rejected.is_empty() {
            frames.push((Table::Rejected, schema::rejected(&self.rejected).map_err(fail)?));
        }
        if !self.duplicates.is_empty() {
            frames.push((Table::Duplicates, schema::duplicates(&self.duplicates).map_err(fail)?));
        }
        Ok(frames)
    }
}

/// Input, denoised image, anomaly map; each is let go as soon as it is a picture.
fn draw(maps: Maps) -> [Png16; 3] {
    let Maps { width, height, channels, input, denoised, anomaly, .. } = maps;
    let picture = |channels: usize, pixels: Vec<f32>| png16(width, height, channels, &pixels);
    [picture(channels, input), picture(channels, denoised), picture(1, anomaly)]
}
