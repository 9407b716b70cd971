//! `input.filters` of a pipeline file: what the encoder sees beside the image's own channels.

use serde::{Deserialize, Serialize};

use super::Input;

/// A fixed filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Sobel's gradient: Gx, Gy, magnitude and angle of each channel (see [`crate::model::sobel`]).
    Sobel,
}

/// The keys that are wrong, and how.
pub(super) fn check(input: &Input, require: &mut impl FnMut(bool, &str, &str)) {
    let once = input.filters.iter().enumerate().all(|(at, filter)| !input.filters[..at].contains(filter));
    require(once, "input.filters", "names a filter twice");
}
