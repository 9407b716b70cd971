//! Report tables: schema, Parquet writer, queries.

pub mod query;
