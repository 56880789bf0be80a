//! X.509 identities, MSPs, principals and policies, as pure functions.
//!
//! Owns: reading certificates and private keys, signing and verifying, an MSP's setup rules and its verdict
//! on identities, principals, signature and implicit meta policies, and the policy language.
//! Must not know: files, clocks, threads' runtimes, envelopes, blocks, or how a channel's configuration is
//! laid out beyond the policies in its tree.
//!
//! Start reading at [`Msp`] (one organization) and [`MspManager`] (a channel's), then [`Policy`].
//! The behaviour is Fabric's to the byte, since nodes must agree on what is valid: paths follow Go's x509
//! rules at a fixed moment (`chain`), signatures follow Go's reading of DER (`signature`), and
//! signature policies are matched greedily in order.

mod cache;
mod certificate;
mod chain;
pub mod dsl;
mod error;
mod identity;
mod local;
mod msp;
mod msps;
mod pem;
mod policy;
mod principal;
mod revocation;
mod setup;
mod signature;
mod signer;
mod signing;

pub use certificate::{Certificate, CertificateError, TlsUses};
pub use error::MspError;
pub use identity::{Identity, check_well_formed};
pub use local::LocalMsp;
pub use msp::{Msp, MspVersion, NodeRole};
pub use msps::MspManager;
pub use policy::{
    Policy, PolicyError, PolicyManager, SignedData, signature_policy, threshold,
    verified_identities,
};
pub use principal::role_principal;
pub use revocation::RevocationList;
pub use signature::{Curve, HashFamily, SignatureError, low_s, wire_signature};
pub use signer::{SignError, Signer, SoftwareSigner};
pub use signing::SigningIdentity;
