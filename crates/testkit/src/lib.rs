//! Identities and fixtures for tests, made at run time: nothing here is a key that somebody else knows.
//!
//! Owns: in-memory organizations with their authorities, certificates of every (also flawed) form, their
//! folders on disk, genesis blocks of channels over them ([`network`]), random chains with a reference
//! implementation of validation ([`validation`]), an orderer that delivers given blocks ([`Orderer`]), a disk
//! that can be filled ([`SmallDisk`]), and the way to a channel that Fabric recorded ([`recorded`]).
//! Must not be used outside of tests and demonstrations: it panics where a test would fail anyway, and guards
//! no key.
//!
//! Start reading at [`Organization`]; tests about certificates themselves use [`Authority`] and
//! [`Template`].

mod authority;
mod der;
mod folders;
mod key;
pub mod network;
mod orderer;
mod organization;
mod pem;
pub mod recorded;
mod small_disk;
pub mod validation;

pub use authority::{
    Authority, CLIENT_AUTH, CRL_SIGN, Credential, DIGITAL_SIGNATURE, KEY_CERT_SIGN, SERVER_AUTH,
    Template,
};
pub use key::{Key, KeyKind};
pub use orderer::Orderer;
pub use organization::{NodeOu, Organization};
pub use small_disk::SmallDisk;
