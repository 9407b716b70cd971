//! The program from the outside, one file an area.

#[path = "integration/simulate.rs"]
mod simulate;
