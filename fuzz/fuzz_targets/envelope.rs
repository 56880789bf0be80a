//! `cargo +nightly fuzz run --sanitizer none envelope`; what it does is in `crates/fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    consilium_fuzzing::run("envelope", data);
});
