//! `cargo +nightly fuzz run --sanitizer none block`; what it does is in `crates/fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    consilium_fuzzing::run("block", data);
});
