//! Frames with known truth.
