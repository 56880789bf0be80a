//! What a committed block tells those who wait for it.

use bytes::Bytes;
use consilium_proto::{
    common,
    protos::{ChaincodeEvent, TxValidationCode},
};
use consilium_protocol::{
    block,
    transaction::{self, CheckedEnvelope, EndorserTransaction, Kind},
};

use crate::validate::PreparedTransaction;

/// A block that is in the ledger.
#[derive(Debug)]
pub struct CommittedBlock {
    /// Its number.
    pub number: u64,
    /// One per transaction, in order.
    pub transactions: Vec<CommittedTransaction>,
}

/// A transaction of a [`CommittedBlock`].
#[derive(Clone, Debug, PartialEq)]
pub struct CommittedTransaction {
    /// The id in its header; empty when unreadable.
    pub tx_id: String,
    /// Its fate.
    pub code: TxValidationCode,
    /// The event of the invoked chaincode, also of an invalid transaction.
    pub event: Option<ChaincodeEvent>,
}

impl CommittedBlock {
    /// Reads a stored block again. Transactions that cannot be parsed have no id and no event.
    pub fn from_block(stored: &common::Block) -> Self {
        let flags = block::flags(stored);
        let transactions = stored.data.as_ref().map_or_else(Vec::new, |data| {
            data.data
                .iter()
                .enumerate()
                .map(|(index, envelope)| {
                    let code = flags
                        .get(index)
                        .and_then(|&flag| TxValidationCode::try_from(i32::from(flag)).ok())
                        .unwrap_or(TxValidationCode::NotValidated);
                    read_transaction(envelope, code)
                })
                .collect()
        });
        Self {
            number: stored.header.as_ref().map_or(0, |header| header.number),
            transactions,
        }
    }
}

fn read_transaction(envelope: &Bytes, code: TxValidationCode) -> CommittedTransaction {
    let Ok(checked) = transaction::check_syntax(envelope) else {
        return CommittedTransaction {
            tx_id: String::new(),
            code,
            event: None,
        };
    };
    CommittedTransaction {
        tx_id: checked.parsed.channel_header.tx_id.clone(),
        code,
        event: event_of(&checked),
    }
}

fn event_of(checked: &CheckedEnvelope) -> Option<ChaincodeEvent> {
    if checked.kind != Kind::Endorser {
        return None;
    }
    transaction::check_endorser_transaction(checked)
        .and_then(EndorserTransaction::dispatch)
        .ok()?
        .event
}

/// What the transactions of a block tell, from what validation parsed; codes are not final yet.
pub(crate) fn told(prepared: &[PreparedTransaction]) -> Vec<CommittedTransaction> {
    prepared
        .iter()
        .map(|transaction| {
            let (tx_id, event) = match transaction {
                PreparedTransaction::Rejected { tx_id, .. } => (tx_id.clone(), None),
                PreparedTransaction::Config { .. } => (String::new(), None),
                PreparedTransaction::Endorser { tx_id, content } => (
                    tx_id.clone(),
                    content
                        .as_ref()
                        .ok()
                        .and_then(|content| content.transaction.event.clone()),
                ),
            };
            CommittedTransaction {
                tx_id,
                code: TxValidationCode::NotValidated,
                event,
            }
        })
        .collect()
}
