#![no_main]

use anomalyd_fuzz::{Format, decode};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &[u8]| -> Corpus { if decode(input, Some(Format::Idx)) { Corpus::Keep } else { Corpus::Reject } });
