//! The ledger: what has been scored, and which batch is on its way to disk (SQLite).
