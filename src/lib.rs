//! anomalyd watches folders for images, knows what normal images of each instrument look like, and says which ones
//! are not, with a false-alarm rate it can certify.
//!
//! In reading order, the way of an image: [`watch`] finds files, [`image`] decodes them to frames, [`prepare`] scales and
//! tiles them, [`score`] judges them with a [`model`] and its calibration, [`report`] writes Parquet, [`ledger`] remembers.

pub mod cli;
pub mod error;
pub mod interrupt;
pub mod observe;
pub mod pipeline;
pub mod settings;

pub mod image;
pub mod prepare;

pub mod model;
pub mod stats;

pub mod calibrate;
pub mod classify;
pub mod components;
pub mod denoise;
pub mod detector;
pub mod drift;
pub mod evaluate;
pub mod evidence;
pub mod explore;
pub mod frame_size;
pub mod measure;
pub mod reference;
pub mod score;
pub mod segment;
pub mod sources;
pub mod trail;

pub mod ablate;
pub mod gate;
pub mod store;
pub mod train;

pub mod daemon;
pub mod disk;
pub mod labels;
pub mod ledger;
pub mod report;
pub mod watch;

pub mod draw;
pub mod simulate;

pub mod commands;
