//! The certificate authority of an organization, speaking Fabric CA's REST interface, its client,
//! and the folders that Fabric's tools expect certificates in.
//!
//! This crate owns who may have a certificate and what is in it. It must not know what the
//! certificates are used for: no channels, no policies, no transactions.
//!
//! Start reading at [`CaServer`] (`server.rs` decides, `rest.rs` speaks HTTP, `certificate.rs`
//! says what a certificate looks like, `store.rs` remembers), or at [`client::CaClient`] for the
//! other side. [`folders`] writes and reads `msp/` and `tls/`.
//!
//! Keys are made by whoever enrols and never travel.

mod authority;
mod certificate;
pub mod client;
mod csr;
mod error;
mod files;
pub mod folders;
mod keys;
mod register;
mod request;
mod rest;
mod server;
mod store;
mod token;

pub use authority::AuthorityError;
pub use keys::KeyError;
pub use server::{CaError, CaOptions, CaServer};
pub use store::Attribute;
