//! The Gateway service that Fabric's client SDKs speak: evaluate, endorse, submit, commit status,
//! chaincode events.
//!
//! Owns: whom to ask for endorsements ([`plan`]; what they have to be is `consilium-discovery`'s), collecting and comparing their answers, handing
//! transactions to orderers over pooled streams, and telling clients what became of them. Its
//! errors are gRPC statuses whose details name the node that failed.
//!
//! Must not know: how a proposal is checked or run (`consilium-peer`), how transactions are ordered,
//! how TLS connections are made (`consilium-transport`).
//!
//! Start reading at `service.rs`, then follow a transaction: `endorse.rs`, [`plan`], `submit.rs`,
//! `commits.rs`. `fabric: internal/pkg/gateway`.

mod answer;
mod choice;
mod commits;
mod endorse;
mod evaluate;
mod events;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod members;
mod options;
mod orderers;
pub mod plan;
mod request;
mod service;
mod submit;

pub use options::GatewayOptions;
pub use service::{Gateway, GatewayService, OnArrival};
