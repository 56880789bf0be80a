//! Policies: what a set of signatures has to show.
//!
//! [`signature`](self) policies name principals, implicit meta policies count sub-policies of child groups,
//! and [`PolicyManager`] finds both by their path in a channel's configuration tree.

mod implicit_meta;
mod sets;
mod signature;
mod tree;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::common;
use thiserror::Error;

use crate::error::MspError;
use crate::identity::Identity;
use crate::msps::MspManager;

pub use implicit_meta::threshold;
pub use signature::signature_policy;
pub use tree::PolicyManager;

/// A signature, what it covers, and who is said to have made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedData {
    /// The signed bytes.
    pub data: Bytes,
    /// `msp.SerializedIdentity` bytes of the signer.
    pub identity: Bytes,
    /// The signature.
    pub signature: Bytes,
}

/// Why a policy cannot be used or is not satisfied.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// The signatures do not satisfy the signature policy.
    #[error("signature set did not satisfy policy")]
    NotSatisfied,
    /// Too few child groups are satisfied.
    #[error(
        "implicit policy evaluation failed - {satisfied} sub-policies were satisfied, but this policy requires {required} of the '{sub_policy}' sub-policies to be satisfied"
    )]
    TooFewSubPolicies {
        /// How many are satisfied.
        satisfied: usize,
        /// How many have to be.
        required: usize,
        /// Name of the policy that each child group was asked for.
        sub_policy: String,
    },
    /// There is no policy at that path.
    #[error("no such policy: '{0}'")]
    NotFound(String),
    /// The policy's definition is not acceptable.
    #[error("{0}")]
    Malformed(String),
    /// A policy in the configuration tree does not compile.
    #[error("{kind} {name} at path {path} did not compile: {source}")]
    DoesNotCompile {
        /// `policy` or `implicit policy`.
        kind: &'static str,
        /// Its name in the group.
        name: String,
        /// Path of the group.
        path: String,
        /// What is wrong with it.
        source: Box<PolicyError>,
    },
}

impl PolicyError {
    /// Whether the policy does not exist, which callers tell apart from one that is not satisfied.
    pub fn is_not_found(&self) -> bool {
        matches!(self, PolicyError::NotFound(_))
    }
}

/// A compiled policy. Immutable and safe to evaluate from many threads.
pub trait Policy: Send + Sync {
    /// Whether the signatures satisfy the policy. Signatures that do not verify, and repeated ones of an
    /// identity, do not count.
    ///
    /// # Errors
    /// [`PolicyError`] says what was missing.
    fn evaluate(&self, set: &[SignedData]) -> Result<(), PolicyError>;

    /// Whether identities whose signatures are known to be good satisfy the policy. Order matters: see
    /// the greedy match of signature policies. Each identity is given once.
    ///
    /// # Errors
    /// [`PolicyError`] says what was missing.
    fn evaluate_identities(&self, identities: &[Arc<Identity>]) -> Result<(), PolicyError>;

    /// Sets of principals any of which satisfies the policy when each principal is held by a different
    /// identity; none contains another. The number of sets is bounded, so a policy over many
    /// organizations may have more. An empty list means that nothing satisfies the policy.
    fn principal_sets(&self) -> Vec<Vec<common::MspPrincipal>>;
}

/// The distinct identities of `set` whose signatures verify, in the order of the set. Whether their
/// certificates are valid is left to the principals (fabric: common/policies SignatureSetToValidIdentities).
pub fn verified_identities(msps: &MspManager, set: &[SignedData]) -> Vec<Arc<Identity>> {
    let mut seen = HashSet::new();
    let mut identities = Vec::with_capacity(set.len());
    for signed in set {
        let Ok(identity) = msps.deserialize(&signed.identity) else {
            continue;
        };
        let key = (
            identity.msp_id().to_owned(),
            *identity.certificate().digest(),
        );
        if seen.contains(&key) || identity.verify(&signed.data, &signed.signature).is_err() {
            continue;
        }
        seen.insert(key);
        identities.push(identity);
    }
    identities
}

/// Whether `identity` satisfies a decoded principal, as its own MSP judges.
fn holds(
    msps: &MspManager,
    identity: &Identity,
    principal: &crate::principal::Principal,
) -> Result<(), MspError> {
    msps.msp(identity.msp_id())
        .ok_or_else(|| MspError::UnknownMsp(identity.msp_id().to_owned()))?
        .satisfies_decoded(identity, principal)
}

/// What stands in for a policy that does not exist: it rejects everything.
struct Missing(String);

impl Policy for Missing {
    fn evaluate(&self, _: &[SignedData]) -> Result<(), PolicyError> {
        Err(PolicyError::NotFound(self.0.clone()))
    }

    fn evaluate_identities(&self, _: &[Arc<Identity>]) -> Result<(), PolicyError> {
        Err(PolicyError::NotFound(self.0.clone()))
    }

    fn principal_sets(&self) -> Vec<Vec<common::MspPrincipal>> {
        Vec::new()
    }
}
