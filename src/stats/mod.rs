//! Statistics: tails, certificates, distances, metrics. Pure functions, each with its source.
//!
//! Scores to promises: [`conformal`] (p-values, certified thresholds), [`gpd`] and [`tail`] (what one component's value is
//! worth, and estimates beyond the sample). Vectors to distances: [`gaussian`], [`knn`], [`regression`]. Verdicts to
//! figures: [`metrics`]. Statistics are in f64; only the products over many vectors are in f32.

pub mod conformal;
pub mod gpd;
pub mod tail;

pub mod gaussian;
pub mod knn;
pub mod regression;

pub mod metrics;

mod beta;
mod product;
