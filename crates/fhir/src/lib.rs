//! The FHIR R4 surface: an axum router over a ledger, a vault and a local store.
//!
//! **Owns**: what a request means ([`Interaction`]), which resources are valid, how they are
//! sealed, registered, found and read again, and how every refusal is told (OperationOutcome).
//!
//! **Must not know**: sockets, TLS, RocksDB, how a caller proves who it is ([`Authenticator`]) and
//! how a transaction is committed ([`Ledger`]).
//!
//! **Start reading** at `server` (one request from end to end), then `register` (how a resource
//! becomes a record), then `access` (how it is read again). What is served is in `docs/fhir.md`.

mod access;
mod audit;
mod bundle;
mod capability;
mod code_digits;
mod consent;
mod dates;
mod definitions;
mod devices;
mod element;
mod everything;
mod identity;
mod import;
mod index;
mod interaction;
mod ledger;
mod operation;
mod outcome;
mod provenance;
mod reactor;
mod read;
mod references;
mod register;
mod repeat;
mod request;
mod search;
mod server;
mod store;
mod subject;
pub mod testing;
mod turns;
mod update;
mod validate;
mod vault;

pub use identity::{Action, Authenticator, Identity, Scope, Unauthenticated};
pub use import::{Import, ImportError, Progress};
pub use interaction::Interaction;
pub use ledger::{Call, Committed, Endorser, Ledger, LedgerError, Proof};
pub use outcome::{Issue, Refusal, Severity};
pub use server::{Custodian, Fhir, Settings};
pub use store::{Store, StoreError};
pub use subject::Pseudonyms;
pub use vault::Vault;

/// Everything that is wrong with a resource by R4's definitions and this server's rules, told as
/// issues with paths; empty when nothing is.
pub fn check(resource: &serde_json::Value) -> Vec<Issue> {
    let kind = resource["resourceType"].as_str().unwrap_or("Resource");
    validate::check(resource, kind)
}

/// The system of the codes in `OperationOutcome.issue.details`, and of everything else that FHIR
/// wants a system for and this project defines.
pub const SYSTEM: &str = "urn:consilium";
