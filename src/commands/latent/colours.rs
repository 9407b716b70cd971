//! What the points of a map are coloured by.

use std::collections::{BTreeMap, HashMap};

use chrono::DateTime;

use super::Colour;
use crate::draw::plot::{Colouring, MOST_CLASSES};
use crate::draw::stretch::short;
use crate::error::{Failure, Kind, Result};
use crate::explore::chart::Known;
use crate::report::names::source_name;
use crate::train::data::Sample;

/// What is known of each frame.
pub fn known(samples: &[Sample], labels: &HashMap<blake3::Hash, String>, scores: &[f64]) -> Vec<Known> {
    let of = |(sample, &score): (&Sample, &f64)| Known {
        source: source_name(&sample.source),
        frame_index: sample.index as u32,
        label: labels.get(&sample.digest).cloned(),
        score,
        time: sample.observed_at,
    };
    samples.iter().zip(scores).map(of).collect()
}

/// The colours of the points.
///
/// # Errors
/// [`Kind::Data`] where no frame has what the colours are to say.
pub fn colouring(colour: Colour, known: &[Known]) -> Result<Colouring> {
    match colour {
        Colour::Label => classes(known),
        Colour::Score => Ok(Colouring::Values {
            name: "score [nats]".into(),
            of: known.iter().map(|known| known.score).collect(),
            text: |score| short(score as f32),
        }),
        Colour::Time if known.iter().all(|known| known.time.is_none()) => {
            Err(Failure::new(Kind::Data, "--colour time: no frame says when it was observed")
                .hint("FITS files do, by DATE-OBS; colour by score or label"))
        }
        Colour::Time => Ok(Colouring::Values {
            name: "observed (UTC)".into(),
            of: known.iter().map(|known| known.time.map_or(f64::NAN, |time| time.timestamp() as f64)).collect(),
            text: moment,
        }),
    }
}

/// The labels in their order; the rarest, where there are more than can be told apart, are left grey.
fn classes(known: &[Known]) -> Result<Colouring> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    known.iter().filter_map(|known| known.label.as_deref()).for_each(|label| *counts.entry(label).or_default() += 1);
    if counts.is_empty() {
        return Err(Failure::new(Kind::Data, "no frame has a label")
            .hint("the column `file` holds paths as --data finds them, or their ends"));
    }
    let mut frequent: Vec<(&str, usize)> = counts.into_iter().collect();
    frequent.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    frequent.truncate(MOST_CLASSES);
    let mut names: Vec<String> = frequent.iter().map(|(label, _)| label.to_string()).collect();
    names.sort();
    let of = known.iter().map(|known| names.iter().position(|name| Some(name) == known.label.as_ref())).collect();
    Ok(Colouring::Classes { names, of })
}

fn moment(seconds: f64) -> String {
    DateTime::from_timestamp(seconds as i64, 0).map_or(String::new(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}
