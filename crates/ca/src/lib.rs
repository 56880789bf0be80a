//! The certificate authority of an organization, speaking Fabric CA's REST interface, its client,
//! and the folders that Fabric's tools expect certificates in.
//!
//! This crate owns who may have a certificate and what is in it. It must not know what the
//! certificates are used for: no channels, no policies, no transactions.
//!
//! Start reading at [`CaServer`]: `rest.rs` speaks HTTP, `server.rs` sends a request on to
//! `authenticate.rs`, `enroll.rs` and `registration.rs`, `certificate.rs` says what a certificate
//! looks like, `store.rs` remembers. The other side is [`client::CaClient`]. [`folders`] writes and reads `msp/` and `tls/`.
//!
//! Keys are made by whoever enrols and never travel.

mod authenticate;
mod authority;
mod certificate;
pub mod client;
mod csr;
mod enroll;
mod error;
mod files;
pub mod folders;
mod keys;
mod offline;
mod registrar;
mod registration;
mod request;
mod rest;
mod server;
mod store;
#[cfg(test)]
mod tests;
mod token;

pub use authority::AuthorityError;
pub use keys::{KeyError, SigningKey};
pub use offline::OfflineAuthority;
pub use server::{CaError, CaOptions, CaServer};
pub use store::Attribute;
