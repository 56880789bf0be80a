//! A target under libFuzzer, chosen by the environment variable `FUZZ_TARGET`. Built by
//! `cargo xtask fuzz`, which adds the coverage that libFuzzer follows.
#![no_main]

use std::sync::OnceLock;

use consilium_fuzzing::{Target, by_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        by_name(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is no target"))
    });
    (target.run)(data);
});
