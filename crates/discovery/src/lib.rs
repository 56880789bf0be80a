//! The Discovery service that Fabric's client SDKs and its `discover` tool ask: the channel's
//! configuration, its peers, and which of them together can endorse.
//!
//! Owns: what endorsers of a transaction have to be ([`Requirements`], which the gateway plans with as
//! well), the answers to discovery's queries, and who may ask.
//!
//! Must not know: how peers find one another (`consilium-gossip`), how policies are evaluated
//! (`consilium-msp`), how endorsements are collected (`consilium-gateway`).
//!
//! Start reading at `service.rs`; every answer is made by a pure function: [`layouts`],
//! `requirements.rs`, `descriptor.rs`, `members.rs`, `config.rs`. `fabric: discovery`.

mod access;
mod config;
mod descriptor;
mod layouts;
mod members;
mod principal;
mod request;
mod requirements;
mod service;

pub use access::AuthCacheOptions;
pub use layouts::{Layout, Principal, layouts, matching};
pub use principal::Held;
pub use requirements::{Eligibility, Requirements, RequirementsCache};
pub use service::{Discovery, DiscoveryOptions, DiscoveryService};
