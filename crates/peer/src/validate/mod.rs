//! Validation of a block: from envelopes to one code per transaction.
//!
//! Two steps. [`prepare`] needs only the channel's configuration: it parses every transaction and
//! checks every signature, in parallel, and may run while the block before is being committed.
//! [`decide`] needs the state that the block before left: duplicates in the ledger, chaincode
//! definitions, key-level policies. It is cheap, and goes through the transactions in order, so
//! that it gives the same codes on every peer, also where Fabric iterates a map at random.
//!
//! Read-write conflicts come later, in the ledger. The order of checks, and so which code wins when
//! several apply, is Fabric's (`fabric: core/committer/txvalidator/v20`).

mod dispatch;
mod keylevel;
mod policies;
mod prepare;
mod state;

use std::collections::HashSet;

use consilium_proto::{common, protos::TxValidationCode};
use consilium_protocol::config::ChannelConfig;
use keylevel::ChangedMetadata;
use rayon::prelude::*;

pub use policies::Policies;
pub(crate) use prepare::WORTH_SPREADING;
pub use prepare::{Content, Prepared, PreparedTransaction, prepare};
pub use state::{ChaincodePolicy, CommittedState, Definitions, LedgerState, Lookup};

/// Why a block cannot be committed at all; the channel stops.
#[derive(Debug, thiserror::Error)]
pub enum Terminal {
    /// Committed state could not be read.
    #[error("cannot read committed state: {0}")]
    State(String),
    /// A configuration transaction does not follow from the current configuration.
    #[error("configuration transaction {index} is invalid: {reason}")]
    Config {
        /// Index in the block.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A chaincode's definition names a validation plugin that this peer does not have.
    #[error("plugin with name {plugin} wasn't found, needed by chaincode {chaincode}")]
    Plugin {
        /// Plugin name in the definition.
        plugin: String,
        /// Chaincode that is defined so.
        chaincode: String,
    },
}

/// What validation says about a block.
pub struct Decision {
    /// One code per transaction, in order.
    pub codes: Vec<TxValidationCode>,
    /// The configuration that is in force from the next block on, if the block changes it.
    pub config: Option<ChannelConfig>,
}

/// Gives every prepared transaction its code, short of read-write conflicts.
///
/// # Errors
/// [`Terminal`] when the block must not be committed.
pub fn decide(
    prepared: &Prepared,
    state: &dyn CommittedState,
    policies: &Policies,
) -> Result<Decision, Terminal> {
    let mut decided = Decision {
        codes: Vec::with_capacity(prepared.transactions.len()),
        config: None,
    };
    let mut seen = HashSet::new();
    let judged = judge_endorsers(&prepared.transactions, state, policies);
    for ((index, transaction), judged) in prepared.transactions.iter().enumerate().zip(judged) {
        let code = match transaction {
            PreparedTransaction::Rejected { code, .. } => *code,
            PreparedTransaction::Config { envelope } => {
                decided.config = Some(apply_config(policies.config(), envelope, index)?);
                TxValidationCode::Valid
            }
            PreparedTransaction::Endorser { tx_id, .. } => {
                let code = judged?;
                // Among transactions valid so far, the first of an id wins; an invalid first
                // occurrence does not make the second a duplicate.
                if code == TxValidationCode::Valid
                    && !tx_id.is_empty()
                    && !seen.insert(tx_id.as_str())
                {
                    TxValidationCode::DuplicateTxid
                } else {
                    code
                }
            }
        };
        decided.codes.push(code);
    }
    Ok(decided)
}

/// Codes of the endorser transactions, each for itself; what others get does not matter.
///
/// A transaction that changes a key's policy can make later ones of the block fail, so a block with
/// such a transaction is gone through in order. Without one the order does not matter, and large
/// blocks are spread over the current rayon pool.
fn judge_endorsers(
    transactions: &[PreparedTransaction],
    state: &dyn CommittedState,
    policies: &Policies,
) -> Vec<Result<TxValidationCode, Terminal>> {
    let judge =
        |(index, transaction): (usize, &PreparedTransaction), metadata: &mut _| match transaction {
            PreparedTransaction::Endorser { tx_id, content } => {
                dispatch::endorser_transaction(index, tx_id, content, state, policies, metadata)
            }
            PreparedTransaction::Rejected { .. } | PreparedTransaction::Config { .. } => {
                Ok(TxValidationCode::NotValidated)
            }
        };
    let in_order = transactions.len() < WORTH_SPREADING || transactions.iter().any(sets_metadata);
    if in_order {
        let mut metadata = ChangedMetadata::default();
        let transactions = transactions.iter().enumerate();
        transactions.map(|one| judge(one, &mut metadata)).collect()
    } else {
        let transactions = transactions.par_iter().enumerate();
        transactions
            .map(|one| judge(one, &mut ChangedMetadata::default()))
            .collect()
    }
}

fn sets_metadata(transaction: &PreparedTransaction) -> bool {
    let PreparedTransaction::Endorser {
        content: Ok(content),
        ..
    } = transaction
    else {
        return false;
    };
    content
        .transaction
        .rwset
        .namespaces
        .iter()
        .any(|namespace| {
            let collections = &namespace.collections;
            !namespace.metadata_writes.is_empty()
                || collections.iter().any(|c| !c.metadata_writes.is_empty())
        })
}

/// Whether a block writes where chaincode definitions and approvals are, so that remembered ones may be stale.
pub(crate) fn may_define(transactions: &[PreparedTransaction]) -> bool {
    transactions.iter().any(|transaction| match transaction {
        PreparedTransaction::Endorser {
            content: Ok(content),
            ..
        } => content
            .transaction
            .rwset
            .namespaces
            .iter()
            .any(|namespace| {
                // Approvals are in collections, and a collection without a name is the public part.
                let collections = &namespace.collections;
                matches!(namespace.name.as_str(), "_lifecycle" | "lscc")
                    && (!namespace.writes.is_empty()
                        || collections.iter().any(|c| !c.hashed_writes.is_empty()))
            }),
        _ => false,
    })
}

fn apply_config(
    current: &ChannelConfig,
    envelope: &bytes::Bytes,
    index: usize,
) -> Result<ChannelConfig, Terminal> {
    let invalid = |reason: String| Terminal::Config { index, reason };
    let envelope: common::ConfigEnvelope =
        consilium_proto::decode(envelope).map_err(|error| invalid(error.to_string()))?;
    current
        .validate(&envelope)
        .map_err(|error| invalid(error.to_string()))
}
