#![no_main]

use anomalyd_fuzz::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    decode(input, None);
});
