//! Deliver streams against a chain in memory.

mod model;
mod semantics;
mod sessions;
mod subscribers;
mod support;
mod wire;
