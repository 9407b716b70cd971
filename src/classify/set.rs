//! Labelled frames: which kind each is, and where in it is looked at.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::error::{Failure, Kind, Result};
use crate::interrupt;
use crate::prepare::Prepared;
use crate::score::Scorer;
use crate::train::data::{Sample, Samples};

/// Frames examined at once.
const FRAMES_AT_ONCE: usize = 64;

/// Frames with their kinds.
#[derive(Debug, Default)]
pub struct Labelled {
    /// The frames.
    pub frames: Vec<Sample>,
    /// The kind of each.
    pub kinds: Vec<String>,
    /// The top-left corner of the tile that stands for each.
    pub corners: Vec<(usize, usize)>,
    /// What was left out.
    pub left: Left,
    /// What people's labels gave, where they were asked for.
    pub said: Option<Said>,
}

/// What people's labels gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    /// The state folder that holds them.
    pub state: String,
    /// Frames of this pipeline that somebody gave a kind.
    pub labelled: usize,
    /// Frames that somebody found to be normal: none of them is used.
    pub normal: usize,
    /// The labelled ones whose content is nowhere to be found any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// A labelled frame that was not found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// The scoring that was looked at.
    pub frame_id: String,
    /// The file's name in the reports.
    pub source: String,
    /// What it was said to be.
    pub kind: String,
}

impl Said {
    /// For people: how many were found, and which not.
    pub fn text(&self) -> String {
        let Self { state, labelled, normal, missing } = self;
        let mut text = format!("{} of {labelled} frames that people gave a kind found", labelled - missing.len());
        text.push_str(&format!("; {normal} said to be normal, not used ({state})"));
        for Missing { frame_id, source, kind } in missing {
            text.push_str(&format!(
                "\n             not found: {source} ({kind}, {})",
                frame_id.get(..12).unwrap_or(frame_id)
            ));
        }
        text
    }
}

/// Frames that were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// Could not be read or prepared.
    pub rejected: usize,
    /// Have no label.
    pub unlabelled: usize,
    /// Copies of others.
    pub copies: usize,
    /// Of a tiled pipeline: not flagged by its model, so that no classifier would be asked.
    pub unflagged: usize,
    /// The kinds that lost frames so: how many are kept, of how many.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<String, [usize; 2]>,
}

impl Labelled {
    /// Keeps the frames that `kind` knows, and chooses their tiles. With a scorer (a tiled pipeline's) the window around what is
    /// odd in each flagged frame stands for it, as in use; without, a frame is its tile.
    ///
    /// # Errors
    /// [`Kind::Data`] when nothing is left; [`Kind::Internal`] when the device fails.
    pub fn gather(
        samples: Samples,
        kind: &dyn Fn(&Sample) -> Option<String>,
        scorer: Option<&mut Scorer>,
    ) -> Result<Self> {
        let mut labelled =
            Self { left: Left { rejected: samples.rejected.len(), ..Left::default() }, ..Self::default() };
        let mut seen = HashSet::new();
        for sample in samples.frames {
            match kind(&sample) {
                None => labelled.left.unlabelled += 1,
                Some(_) if !seen.insert(sample.digest) => labelled.left.copies += 1,
                Some(kind) => {
                    labelled.kinds.push(kind);
                    labelled.frames.push(sample);
                }
            }
        }
        match scorer {
            None => labelled.corners = vec![(0, 0); labelled.frames.len()],
            Some(scorer) => labelled.look(scorer)?,
        }
        if labelled.frames.is_empty() {
            return Err(Failure::new(Kind::Data, format!("no frame has a kind: {}", labelled.left))
                .hint(
                "kinds are folders (DIR/KIND/frame), --labels FILE with the columns file and kind, or given by `anomalyd label` \
                 (--from-labels)",
            ));
        }
        Ok(labelled)
    }

    /// Keeps the flagged frames, with their windows; says which kinds lose frames.
    fn look(&mut self, scorer: &mut Scorer) -> Result<()> {
        let mut corners = Vec::with_capacity(self.frames.len());
        for some in self.frames.chunks(FRAMES_AT_ONCE) {
            interrupt::check()?;
            let prepared: Vec<&Prepared> = some.iter().map(|sample| &sample.prepared).collect();
            corners.extend(scorer.flagged_windows(&prepared)?);
        }
        let flagged: Vec<bool> = corners.iter().map(Option::is_some).collect();
        self.left.unflagged = flagged.iter().filter(|&&is| !is).count();
        for (kind, &is_flagged) in self.kinds.iter().zip(&flagged) {
            let [kept, all] = self.left.kept.entry(kind.clone()).or_default();
            (*kept, *all) = (*kept + usize::from(is_flagged), *all + 1);
        }
        self.left.kept.retain(|_, [kept, all]| kept < all);
        let (mut keep_frame, mut keep_kind) = (flagged.iter(), flagged.iter());
        self.frames.retain(|_| keep_frame.next() == Some(&true));
        self.kinds.retain(|_| keep_kind.next() == Some(&true));
        self.corners = corners.into_iter().flatten().collect();
        Ok(())
    }

    /// The kinds, sorted.
    pub fn classes(&self) -> Vec<String> {
        self.kinds.iter().cloned().collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// Whether a frame is larger than what stands for it.
    pub fn has_room(&self, size: usize) -> bool {
        self.frames.iter().any(|frame| frame.prepared.width > size || frame.prepared.height > size)
    }

    /// The tile that stands for a frame, `[C, size, size]`.
    pub fn tile(&self, at: usize, size: usize) -> Vec<f32> {
        let prepared = &self.frames[at].prepared;
        let mut tile = vec![0.0; prepared.channels * size * size];
        prepared.copy_tile(self.corners[at], size, &mut tile);
        tile
    }
}

impl Left {
    /// The kinds of which no frame is left.
    pub fn lost(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().filter(|(_, [kept, _])| *kept == 0).map(|(kind, _)| kind.as_str())
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [
            (self.rejected, "rejected"),
            (self.unlabelled, "without a label"),
            (self.copies, "copies of others"),
            (self.unflagged, "not flagged by the pipeline's model"),
        ];
        let said: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let kept: Vec<String> =
            self.kept.iter().map(|(kind, [kept, all])| format!("{kind}: {kept} of {all} kept")).collect();
        match (said.is_empty(), kept.is_empty()) {
            (true, _) => write!(f, "no frame was left out"),
            (_, true) => write!(f, "{}", said.join(", ")),
            _ => write!(f, "{} ({})", said.join(", "), kept.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_that_lose_frames_are_named() {
        let kept = [("bleed", [0, 2]), ("trail", [3, 4])].map(|(kind, counts)| (kind.to_string(), counts)).into();
        let left = Left { copies: 1, unflagged: 3, kept, ..Left::default() };
        let said = "1 copies of others, 3 not flagged by the pipeline's model (bleed: 0 of 2 kept, trail: 3 of 4 kept)";
        assert_eq!(left.to_string(), said);
        assert_eq!(left.lost().collect::<Vec<_>>(), ["bleed"]);
        assert_eq!(Left::default().to_string(), "no frame was left out");
    }
}
