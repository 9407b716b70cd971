//! Report tables: schema, Parquet writer, queries.
