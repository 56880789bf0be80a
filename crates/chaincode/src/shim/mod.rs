//! The peer's side of the chaincode shim protocol.
//!
//! `stream` keeps one connection: registration, then many transactions side by side.
//! `requests` answers what a chaincode asks while it runs; `iterators` batches query results in
//! exactly Fabric's portions, because how far an iterator is pulled decides what the read set says.
//! (chaincode-shim.md; fabric: core/chaincode/handler.go)

mod exchange;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod iterators;
mod requests;
mod stream;

pub(crate) use exchange::{Exchange, Limits};
pub(crate) use stream::{Link, OUTGOING, ShimStream, registered_name};
