//! Integration tests: one binary, one file an area, a fresh folder a test.

mod integration {
    mod draw;
    mod query;
}
