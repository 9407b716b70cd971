//! One binary for all integration tests; one file an area.

#[path = "integration/decode.rs"]
mod decode;
