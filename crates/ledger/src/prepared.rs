//! What the commit of a block needs to know of each transaction, so that a validator that has
//! parsed them already can hand that over.

use bytes::Bytes;
use consilium_proto::common;
use consilium_protocol::envelope;
use consilium_protocol::transaction::{self, Kind, ParsedTransaction};

use crate::mvcc::TxContent;
use crate::tx_index;

/// One transaction of a block, parsed as far as commit needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct PreparedTransaction {
    /// The id under which it is indexed: claimed by its header, else computed, else empty.
    pub tx_id: String,
    /// Reads and writes.
    pub content: TxContent,
    /// Header type as Fabric names it in metrics, for example `ENDORSER_TRANSACTION`.
    pub kind: &'static str,
    /// The invoked chaincode, empty if there is none.
    pub chaincode: String,
}

impl PreparedTransaction {
    /// Parses an encoded envelope. Never fails: what cannot be parsed has no reads and no writes.
    pub fn parse(envelope: &Bytes) -> Self {
        let mut prepared = PreparedTransaction {
            tx_id: tx_index::id_of(envelope),
            content: TxContent::Nothing,
            kind: "unknown",
            chaincode: String::new(),
        };
        let Ok(checked) = transaction::check_syntax(envelope) else {
            return prepared;
        };
        match checked.kind {
            Kind::Endorser => {
                prepared.kind = common::HeaderType::EndorserTransaction.as_str_name();
                let parsed = transaction::check_endorser_transaction(&checked)
                    .and_then(|endorsed| endorsed.dispatch());
                if let Ok(parsed) = parsed {
                    prepared.chaincode = parsed.chaincode_name;
                    prepared.content = TxContent::Endorsed(parsed.rwset);
                }
            }
            Kind::Config => {
                prepared.kind = common::HeaderType::Config.as_str_name();
                prepared.content = TxContent::Config(checked.parsed.data);
            }
            Kind::ConfigUpdate => {
                prepared.kind = common::HeaderType::ConfigUpdate.as_str_name();
            }
        }
        prepared
    }

    /// The transaction of a genesis block, which nobody has created or signed: its header has no
    /// creator, so that [`Self::parse`] would refuse it.
    pub(crate) fn parse_genesis(envelope: &Bytes) -> Self {
        let mut prepared = Self::parse(envelope);
        if let Ok(parsed) = envelope::parse_bytes(envelope)
            && parsed.kind() == Some(common::HeaderType::Config)
        {
            prepared.kind = common::HeaderType::Config.as_str_name();
            prepared.content = TxContent::Config(parsed.data);
        }
        prepared
    }

    /// From a transaction that was parsed before.
    pub fn from_parsed(parsed: &ParsedTransaction) -> Self {
        PreparedTransaction {
            tx_id: parsed.tx_id().into(),
            content: TxContent::Endorsed(parsed.rwset.clone()),
            kind: common::HeaderType::EndorserTransaction.as_str_name(),
            chaincode: parsed.chaincode_name.clone(),
        }
    }
}
