//! The syntax of a transaction, step by step in the order that decides which code wins.

use crate::envelope::{self, ParseError, ParsedEnvelope, decode};
use crate::hash::sha256_parts;
use crate::proposal::transaction_id;
use crate::rwset::TxRwSet;
use bytes::Bytes;
use consilium_msp::SignedData;
use consilium_proto::protos::TxValidationCode as Code;
use consilium_proto::{common, protos};

/// What an envelope in a block may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An endorsed chaincode transaction.
    Endorser,
    /// A new channel configuration.
    Config,
    /// A configuration update that was ordered without being applied: refused with
    /// UNSUPPORTED_TX_PAYLOAD after its creator was checked.
    ConfigUpdate,
}

/// An envelope whose common headers are in order. The creator is not checked yet.
#[derive(Debug, Clone)]
pub struct CheckedEnvelope {
    /// The envelope.
    pub parsed: ParsedEnvelope,
    /// What it claims to hold.
    pub kind: Kind,
}

/// Everything before the creator check: the envelope, its payload and both headers parse, the type
/// is one that blocks may hold, epoch is 0, nonce and creator are present.
pub fn check_syntax(envelope_bytes: &Bytes) -> Result<CheckedEnvelope, Code> {
    let envelope: common::Envelope =
        decode("Envelope", envelope_bytes).map_err(|_| Code::InvalidOtherReason)?;
    let parsed = envelope::parse(&envelope).map_err(|error| match error {
        ParseError::Unmarshal {
            message: "Payload", ..
        } => Code::BadPayload,
        _ => Code::BadCommonHeader,
    })?;
    let kind = match parsed.kind() {
        Some(common::HeaderType::EndorserTransaction) => Kind::Endorser,
        Some(common::HeaderType::Config) => Kind::Config,
        Some(common::HeaderType::ConfigUpdate) => Kind::ConfigUpdate,
        _ => return Err(Code::BadCommonHeader),
    };
    if parsed.channel_header.epoch != 0 || !is_complete(&parsed.signature_header) {
        return Err(Code::BadCommonHeader);
    }
    Ok(CheckedEnvelope { parsed, kind })
}

fn is_complete(header: &common::SignatureHeader) -> bool {
    !header.nonce.is_empty() && !header.creator.is_empty()
}

/// The id under which a ledger indexes this envelope: that of its header, else the one computed
/// from nonce and creator, else (when it cannot be parsed that far) the empty string.
pub fn index_id(envelope_bytes: &Bytes) -> String {
    envelope::parse_bytes(envelope_bytes)
        .map(|parsed| parsed.tx_id_or_computed())
        .unwrap_or_default()
}

/// An endorser transaction whose id and proposal hash are right; its content is not looked at yet.
#[derive(Debug, Clone)]
pub struct EndorserTransaction {
    /// The envelope.
    pub envelope: ParsedEnvelope,
    /// The bytes that the endorsements cover.
    pub response_payload: Bytes,
    /// The endorsements, as they came.
    pub endorsements: Vec<protos::Endorsement>,
    /// The encoded `ChaincodeAction`. Go's decoder makes no difference between a byte field that is
    /// absent and one that is empty (`protobuf-go: internal/impl/codec_gen.go` consumeBytesNoZero).
    action: Bytes,
}

/// The steps after the creator check and before the ledger is asked for a duplicate: transaction id
/// (BAD_PROPOSAL_TXID), then one complete action whose proposal hash matches
/// (INVALID_ENDORSER_TRANSACTION).
pub fn check_endorser_transaction(checked: &CheckedEnvelope) -> Result<EndorserTransaction, Code> {
    let envelope = &checked.parsed;
    let signature_header = &envelope.signature_header;
    if envelope.channel_header.tx_id
        != transaction_id(&signature_header.nonce, &signature_header.creator)
    {
        return Err(Code::BadProposalTxid);
    }
    let invalid = |_: ParseError| Code::InvalidEndorserTransaction;
    let transaction: protos::Transaction =
        decode("Transaction", &envelope.data).map_err(invalid)?;
    let [action] = &transaction.actions[..] else {
        return Err(Code::InvalidEndorserTransaction);
    };
    let action_header: common::SignatureHeader =
        decode("SignatureHeader", &action.header).map_err(invalid)?;
    let payload: protos::ChaincodeActionPayload =
        decode("ChaincodeActionPayload", &action.payload).map_err(invalid)?;
    // Without `action` Fabric's peer dereferences nil; it is nothing else than a malformed transaction.
    let endorsed = payload.action.ok_or(Code::InvalidEndorserTransaction)?;
    let response: protos::ProposalResponsePayload = decode(
        "ProposalResponsePayload",
        &endorsed.proposal_response_payload,
    )
    .map_err(invalid)?;
    let hash = sha256_parts(&[
        &envelope.channel_header_bytes,
        &action.header,
        &payload.chaincode_proposal_payload,
    ]);
    if !is_complete(&action_header) || response.proposal_hash != hash[..] {
        return Err(Code::InvalidEndorserTransaction);
    }
    Ok(EndorserTransaction {
        envelope: envelope.clone(),
        response_payload: endorsed.proposal_response_payload,
        endorsements: endorsed.endorsements,
        action: response.extension,
    })
}

/// A transaction taken apart, ready for policy evaluation and MVCC.
#[derive(Debug, Clone)]
pub struct ParsedTransaction {
    /// The envelope.
    pub envelope: ParsedEnvelope,
    /// The invoked chaincode, as the header extension and the action agree on.
    pub chaincode_name: String,
    /// The bytes that the endorsements cover.
    pub response_payload: Bytes,
    /// The endorsements, as they came.
    pub endorsements: Vec<protos::Endorsement>,
    /// What the chaincode answered.
    pub action: protos::ChaincodeAction,
    /// What it read and wrote.
    pub rwset: TxRwSet,
    /// Its event, if it set one.
    pub event: Option<protos::ChaincodeEvent>,
}

impl EndorserTransaction {
    /// Takes the content apart: header extension, action, read-write set, chaincode name and
    /// version, event, unique namespaces.
    pub fn dispatch(self) -> Result<ParsedTransaction, Code> {
        let extension: protos::ChaincodeHeaderExtension = decode(
            "ChaincodeHeaderExtension",
            &self.envelope.channel_header.extension,
        )
        .map_err(|_| Code::BadHeaderExtension)?;
        if self.action.is_empty() {
            return Err(Code::BadResponsePayload);
        }
        let action: protos::ChaincodeAction =
            decode("ChaincodeAction", &self.action).map_err(|_| Code::BadResponsePayload)?;
        let rwset = TxRwSet::parse(&action.results).map_err(|_| Code::BadRwset)?;
        let (Some(chaincode), Some(executed)) = (extension.chaincode_id, &action.chaincode_id)
        else {
            return Err(Code::InvalidOtherReason);
        };
        if chaincode.name.is_empty()
            || chaincode.name != executed.name
            || executed.version.is_empty()
        {
            return Err(Code::InvalidChaincode);
        }
        let mut event = None;
        if !action.events.is_empty() {
            let parsed: protos::ChaincodeEvent =
                decode("ChaincodeEvent", &action.events).map_err(|_| Code::InvalidOtherReason)?;
            if parsed.chaincode_id != chaincode.name {
                return Err(Code::InvalidOtherReason);
            }
            event = Some(parsed);
        }
        let mut names: Vec<&str> = rwset
            .namespaces
            .iter()
            .map(|namespace| namespace.name.as_str())
            .collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Code::IllegalWriteset);
        }
        Ok(ParsedTransaction {
            envelope: self.envelope,
            chaincode_name: chaincode.name,
            response_payload: self.response_payload,
            endorsements: self.endorsements,
            action,
            rwset,
            event,
        })
    }
}

impl ParsedTransaction {
    /// Transaction id.
    pub fn tx_id(&self) -> &str {
        &self.envelope.channel_header.tx_id
    }

    /// The endorsements as a signature set. Each entry copies the response payload: build it once
    /// per transaction.
    pub fn endorsement_set(&self) -> Vec<SignedData> {
        self.endorsements
            .iter()
            .map(|e| crate::endorsement::signed_data(&self.response_payload, e))
            .collect()
    }

    /// Namespaces whose endorsement policy must hold: the invoked chaincode first, then every other
    /// one that is written to, by name. (Fabric's order is random, so the code that wins among
    /// several failing namespaces is too; a fixed order makes all our peers agree.)
    pub fn namespaces_to_validate(&self) -> Vec<&str> {
        let mut written: Vec<&str> = self
            .rwset
            .namespaces
            .iter()
            .filter(|namespace| namespace.has_writes() && namespace.name != self.chaincode_name)
            .map(|namespace| namespace.name.as_str())
            .collect();
        written.sort_unstable();
        written.insert(0, &self.chaincode_name);
        written
    }
}
