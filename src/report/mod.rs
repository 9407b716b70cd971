//! Report tables: what a row holds, how a batch becomes Parquet files, how they are queried.
//!
//! ```text
//! rows ─schema→ DataFrame ─writer→ <state>/staging/… ─fsync, rename→ <state>/reports/<table>/pipeline=…/date=…/part-<batch>.parquet
//! ```

pub mod compact;
pub mod gate;
pub mod names;
pub mod part;
pub mod query;
pub mod retention;
pub mod rows;
pub mod schema;
pub mod writer;
