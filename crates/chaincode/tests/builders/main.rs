//! Packages that external builders build and run: shell scripts as builders, and a chaincode that the
//! test plays with what `chaincode.json` gives it.

#[path = "../support/mod.rs"]
mod support;

mod building;
mod development;
mod running;
mod site;
