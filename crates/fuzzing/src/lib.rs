//! What the fuzz targets do with their inputs: each is a plain function of bytes that calls a
//! decoder as a node does and panics where something does not hold that must hold for any bytes.
//!
//! Owns: the targets ([`TARGETS`]), the mutations that an ordinary test makes of known inputs
//! ([`mutate`]), and the making of those inputs ([`seeds`]). Must not know: libFuzzer; the folder
//! `fuzz/` hands each target's function to it.
//!
//! Start reading at [`TARGETS`], then `docs/fuzzing.md`.

mod agree;
mod block;
mod block_file;
mod config;
mod envelope;
mod gossip;
mod identity;
mod input;
mod mango;
pub mod mutate;
mod package;
mod policy;
mod proposal;
mod raft;
mod records;
mod rwset;
pub mod seeds;
mod shim;
mod snapshot;
mod world;

/// A decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name: of the libFuzzer binary and of its folders of inputs.
    pub name: &'static str,
    /// What is done with an input. Whether the decoder took it: what is said of kept inputs, so that
    /// they go on to reach what they were made for.
    pub run: fn(&[u8]) -> bool,
}

/// All targets, by name.
pub const TARGETS: [Target; 16] = [
    target("block", block::run),
    target("block_file", block_file::run),
    target("config", config::run),
    target("envelope", envelope::run),
    target("form", raft::form),
    target("gossip", gossip::run),
    target("identity", identity::run),
    target("mango", mango::run),
    target("package", package::run),
    target("policy", policy::run),
    target("proposal", proposal::run),
    target("raft", raft::run),
    target("records", records::run),
    target("rwset", rwset::run),
    target("shim", shim::run),
    target("snapshot", snapshot::run),
];

const fn target(name: &'static str, run: fn(&[u8]) -> bool) -> Target {
    Target { name, run }
}

/// Runs the target of that name; whether its decoder took the input.
///
/// # Panics
/// When there is none, and where the target does.
pub fn run(name: &str, data: &[u8]) -> bool {
    let target = by_name(name).unwrap_or_else(|| panic!("there is no target {name}"));
    (target.run)(data)
}

/// The target of that name.
pub fn by_name(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
