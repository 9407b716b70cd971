#![no_main]

use anomalyd_fuzz::decode;
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|input: &[u8]| -> Corpus {
    // A wrapper of either kind; what is in it is decoded as well.
    if !input.starts_with(&[0x1F, 0x8B]) && !input.starts_with(b"BZh") {
        return Corpus::Reject;
    }
    decode(input, None);
    Corpus::Keep
});
