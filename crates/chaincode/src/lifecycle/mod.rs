//! The chaincode lifecycle: packages are installed per peer, definitions are approved per
//! organization and committed per channel, all of it as state of the namespace `_lifecycle`.
//!
//! Start with [`Definition`] and [`definition`], which the validator and the gateway use;
//! then `record` (how a structure becomes keys and values), `agree` (approve, readiness, commit)
//! and `invoke` (the system chaincode's front).
//! (fabric: core/chaincode/lifecycle)

mod agree;
mod approved;
mod checks;
mod collections;
mod definition;
mod error;
mod invoke;
mod policy;
mod query;
mod record;

pub use approved::{Approval, approval};
pub use collections::{
    CollectionLookup, collection, implicit_collection, implicit_collection_policy,
};
pub use definition::{Definition, definition, definitions, sequence};
pub use error::LifecycleError;
pub use policy::{Validation, endorsement_policy, validation};

pub use crate::package::{package_id, package_in_process, package_service, package_service_with};

pub(crate) use collections::lookup;
pub(crate) use definition::read_sequence;
pub(crate) use invoke::invoke;
pub(crate) use record::Public;

/// The namespace of definitions, and the name of the system chaincode that writes it.
pub const NAMESPACE: &str = "_lifecycle";

/// The namespace of chaincodes deployed before the lifecycle existed.
pub(crate) const LEGACY_NAMESPACE: &str = "lscc";
