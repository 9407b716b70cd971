//! Integration tests: one binary, one file an area, a fresh folder a test.

mod integration {
    mod ablate;
    mod check;
    mod classify;
    mod compact;
    mod decode;
    mod demo;
    mod denoise;
    mod draw;
    mod drift;
    mod explore;
    mod filters;
    mod frame_size;
    mod frames;
    mod interrupt;
    mod labels;
    mod ledger;
    mod observe;
    mod packaging;
    mod promote;
    mod query;
    mod retrain;
    mod score;
    mod segment;
    mod show;
    mod simulate;
    mod status;
    mod train;
    mod watch;
    mod workshop;
}
