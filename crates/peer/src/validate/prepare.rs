//! The part of validation that needs no state: syntax, and every signature once.

use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::mvcc::TxContent;
use consilium_msp::{Identity, MspManager};
use consilium_proto::{common, protos::TxValidationCode};
use consilium_protocol::{
    block,
    config::ChannelConfig,
    transaction::{self, CheckedEnvelope, Kind, ParsedTransaction},
};
use rayon::prelude::*;

use crate::crypto::{Payload, SignatureMemory};

/// Transactions from which waking other threads costs less than it gains.
pub(crate) const WORTH_SPREADING: usize = 3;

/// A block whose transactions are parsed and whose signatures are checked.
pub struct Prepared {
    /// The block as it came, metadata of peers cleared.
    pub block: common::Block,
    /// One per transaction, in order.
    pub transactions: Vec<PreparedTransaction>,
}

/// A transaction after [`prepare`].
pub enum PreparedTransaction {
    /// It failed before anything about its content mattered.
    Rejected {
        /// Id in its header, as far as readable.
        tx_id: String,
        /// The code that it gets.
        code: TxValidationCode,
    },
    /// A configuration transaction by an entitled creator.
    Config {
        /// Encoded `common.ConfigEnvelope`.
        envelope: Bytes,
    },
    /// An endorser transaction with a good creator and id.
    Endorser {
        /// Its id.
        tx_id: String,
        /// What it carries, or the code for content that cannot be read. The id is looked up in the
        /// ledger before that code counts.
        content: Result<Box<Content>, TxValidationCode>,
    },
}

/// A readable endorser transaction.
pub struct Content {
    /// The parsed layers.
    pub transaction: ParsedTransaction,
    /// Who validly endorsed it: deduplicated, in the order of the endorsements.
    pub endorsers: Vec<Arc<Identity>>,
}

impl PreparedTransaction {
    /// Who validly endorsed it; `None` if its content was never looked at or cannot be read.
    pub(crate) fn endorsers(&self) -> Option<Vec<Arc<Identity>>> {
        match self {
            Self::Endorser {
                content: Ok(content),
                ..
            } => Some(content.endorsers.clone()),
            _ => None,
        }
    }

    /// What the ledger needs to commit it; only what did not get through validation's parser is
    /// parsed again.
    pub(crate) fn into_commit(self, envelope: &Bytes) -> consilium_ledger::PreparedTransaction {
        match self {
            Self::Endorser {
                tx_id,
                content: Ok(content),
            } => consilium_ledger::PreparedTransaction {
                tx_id,
                kind: common::HeaderType::EndorserTransaction.as_str_name(),
                chaincode: content.transaction.chaincode_name,
                content: TxContent::Endorsed(content.transaction.rwset),
            },
            _ => consilium_ledger::PreparedTransaction::parse(envelope),
        }
    }
}

/// Parses the transactions of `block` and checks their signatures; in parallel on the current rayon
/// pool unless there are only a few.
pub fn prepare(block: common::Block, config: &ChannelConfig, memory: &SignatureMemory) -> Prepared {
    let envelopes = block::envelopes(&block);
    let prepare = |envelope| prepare_transaction(envelope, config, memory);
    let transactions = if envelopes.len() < WORTH_SPREADING {
        envelopes.iter().map(prepare).collect()
    } else {
        envelopes.par_iter().map(prepare).collect()
    };
    Prepared {
        block,
        transactions,
    }
}

fn prepare_transaction(
    bytes: &Bytes,
    config: &ChannelConfig,
    memory: &SignatureMemory,
) -> PreparedTransaction {
    let checked = match transaction::check_syntax(bytes) {
        Ok(checked) => checked,
        Err(code) => {
            return PreparedTransaction::Rejected {
                tx_id: String::new(),
                code,
            };
        }
    };
    let tx_id = checked.parsed.channel_header.tx_id.clone();
    if !is_signed_by_creator(&checked, config) {
        return PreparedTransaction::Rejected {
            tx_id,
            code: TxValidationCode::BadCreatorSignature,
        };
    }
    match checked.kind {
        Kind::ConfigUpdate => PreparedTransaction::Rejected {
            tx_id,
            code: TxValidationCode::UnsupportedTxPayload,
        },
        Kind::Config if checked.parsed.data.is_empty() => PreparedTransaction::Rejected {
            tx_id,
            code: TxValidationCode::InvalidConfigTransaction,
        },
        Kind::Config => PreparedTransaction::Config {
            envelope: checked.parsed.data.clone(),
        },
        Kind::Endorser => match transaction::check_endorser_transaction(&checked) {
            Err(code) => PreparedTransaction::Rejected { tx_id, code },
            Ok(whole) => PreparedTransaction::Endorser {
                tx_id,
                content: whole.dispatch().map(|transaction| {
                    let endorsers = endorsers(config.msps(), &transaction, memory);
                    Box::new(Content {
                        transaction,
                        endorsers,
                    })
                }),
            },
        },
    }
}

/// Whether the creator is a valid identity of the channel and signed the payload.
///
/// An envelope for another channel fails as well: its MSPs are not ours to ask.
fn is_signed_by_creator(checked: &CheckedEnvelope, config: &ChannelConfig) -> bool {
    let envelope = &checked.parsed;
    if envelope.channel_header.channel_id != config.channel_id() {
        return false;
    }
    let msps = config.msps();
    let Ok(creator) = msps.deserialize(&envelope.signature_header.creator) else {
        return false;
    };
    // Not through the memory: nobody signs the same envelope twice, and what is remembered of creators would
    // crowd out endorsements, which come twice at every endorser.
    msps.validate(&creator).is_ok()
        && creator
            .verify(&envelope.payload, &envelope.signature)
            .is_ok()
}

/// The identities that validly signed, in the order of the endorsements and each once.
///
/// As `consilium_msp::verified_identities`, except that no signature is verified twice
/// (`fabric: common/policies/policy.go` SignatureSetToValidIdentities).
fn endorsers(
    msps: &MspManager,
    transaction: &ParsedTransaction,
    memory: &SignatureMemory,
) -> Vec<Arc<Identity>> {
    let payload = Payload::new(&transaction.response_payload);
    let mut valid: Vec<Arc<Identity>> = Vec::with_capacity(transaction.endorsements.len());
    for endorsement in &transaction.endorsements {
        let Ok(identity) = msps.deserialize(&endorsement.endorser) else {
            continue;
        };
        if valid.iter().any(|other| is_same(other, &identity)) {
            continue;
        }
        // An endorsement covers the payload and the endorser.
        let (endorser, signature) = (&endorsement.endorser, &endorsement.signature);
        if memory.verify(&identity, &payload, endorser, signature) {
            valid.push(identity);
        }
    }
    valid
}

/// Two encodings of one certificate are one endorser.
fn is_same(one: &Arc<Identity>, other: &Arc<Identity>) -> bool {
    Arc::ptr_eq(one, other)
        || (one.msp_id() == other.msp_id()
            && one.certificate().digest() == other.certificate().digest())
}
