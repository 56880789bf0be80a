//! The certificate authority of an organization, speaking Fabric CA's REST interface, its client,
//! and the folders that Fabric's tools expect certificates in.
//!
//! This crate owns who may have a certificate and what is in it. It must not know what the
//! certificates are used for: no channels, no policies, no transactions.
//!
//! Start reading at [`CaServer`]: `rest.rs` speaks HTTP, `server.rs` finds the authority that is
//! asked, `ca.rs` sends the request on to `authenticate.rs`, `enroll.rs`, `registration.rs`,
//! `revocation.rs`, `identities.rs`, `affiliations.rs` and `certificates.rs`; `certificate.rs` says
//! what a certificate looks like, `store.rs` remembers. The other side is [`client::CaClient`]. [`folders`] writes and reads `msp/` and `tls/`.
//!
//! Keys are made by whoever enrols and never travel.

mod affiliations;
mod authenticate;
mod authority;
mod ca;
mod certificate;
mod certificates;
pub mod client;
mod crl;
mod csr;
mod enroll;
mod error;
mod files;
pub mod folders;
mod identities;
mod keys;
mod listing;
mod offline;
mod options;
mod registrar;
mod registration;
mod request;
mod rest;
mod revocation;
mod server;
mod store;
#[cfg(test)]
mod tests;
mod token;

pub use authority::{AuthorityError, rotate_root};
pub use certificate::Subject;
pub use keys::{KeyError, KeyKind, SigningKey};
pub use offline::OfflineAuthority;
pub use options::{CaOptions, DatabaseOptions, InitialIdentity, Profile, Profiles, RootOptions};
pub use server::{CaError, CaServer};
pub use store::{Attribute, DatabaseTls, PostgresOptions};
