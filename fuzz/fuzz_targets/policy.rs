//! `cargo +nightly fuzz run --sanitizer none policy`; what it does is in `crates/fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    consilium_fuzzing::run("policy", data);
});
