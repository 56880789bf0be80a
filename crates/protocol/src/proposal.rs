//! Proposals: what a client signs and sends to endorsers (hashing-and-signing, sections 2 and 3;
//! endorse-validate-commit, sections 1.1 and 1.3).

use crate::envelope::{self, HeaderSpec, ParseError, decode};
use crate::hash::sha256_parts;
use crate::wire::put_bytes;
use bytes::Bytes;
use consilium_msp::{SignError, Signer};
use consilium_proto::{common, protos};
use prost::Message;
use prost_types::Timestamp;
use std::collections::BTreeMap;

/// Lower-case hexadecimal SHA-256 of `nonce` followed by `creator`.
pub fn transaction_id(nonce: &[u8], creator: &[u8]) -> String {
    hex::encode(sha256_parts(&[nonce, creator]))
}

/// What a new proposal asks for.
#[derive(Debug, Clone)]
pub struct NewProposal<'a> {
    /// Channel name; empty for calls that concern the peer itself.
    pub channel: &'a str,
    /// Chaincode to run.
    pub chaincode: &'a str,
    /// Arguments; by habit the first one is the function's name.
    pub args: Vec<Bytes>,
    /// Data for the endorsers that does not go into the transaction.
    pub transient: BTreeMap<String, Bytes>,
    /// Whether this is the initialization that a definition may require.
    pub is_init: bool,
    /// Time of creation.
    pub timestamp: Timestamp,
}

/// Builds and signs a proposal with a fresh nonce. Returns it with its transaction id.
pub fn create(
    proposal: NewProposal<'_>,
    signer: &dyn Signer,
) -> Result<(protos::SignedProposal, String), SignError> {
    let signature_header = envelope::signature_header(signer);
    let tx_id = transaction_id(&signature_header.nonce, &signature_header.creator);
    let chaincode_id = protos::ChaincodeId {
        name: proposal.chaincode.to_owned(),
        ..Default::default()
    };
    let extension = protos::ChaincodeHeaderExtension {
        chaincode_id: Some(chaincode_id.clone()),
    };
    let mut spec = HeaderSpec::new(
        common::HeaderType::EndorserTransaction,
        proposal.channel,
        proposal.timestamp,
    );
    spec.tx_id = tx_id.clone();
    spec.extension = extension.encode_to_vec().into();
    let header = common::Header {
        channel_header: spec.channel_header().encode_to_vec().into(),
        signature_header: signature_header.encode_to_vec().into(),
    };
    let invocation = protos::ChaincodeInvocationSpec {
        chaincode_spec: Some(protos::ChaincodeSpec {
            r#type: protos::chaincode_spec::Type::Golang as i32,
            chaincode_id: Some(chaincode_id),
            input: Some(protos::ChaincodeInput {
                args: proposal.args,
                decorations: BTreeMap::new(),
                is_init: proposal.is_init,
            }),
            timeout: 0,
        }),
    };
    let payload = protos::ChaincodeProposalPayload {
        input: invocation.encode_to_vec().into(),
        transient_map: proposal.transient,
    };
    let proposal = protos::Proposal {
        header: header.encode_to_vec().into(),
        payload: payload.encode_to_vec().into(),
        extension: Bytes::new(),
    };
    let proposal_bytes = Bytes::from(proposal.encode_to_vec());
    let signature = signer.sign(&proposal_bytes)?;
    Ok((
        protos::SignedProposal {
            proposal_bytes,
            signature,
        },
        tx_id,
    ))
}

/// A proposal taken apart once. Byte fields are slices of the received buffer.
#[derive(Debug, Clone)]
pub struct ParsedProposal {
    /// What the client signed.
    pub proposal_bytes: Bytes,
    /// The client's signature over `proposal_bytes`.
    pub signature: Bytes,
    /// The encoded `Header`.
    pub header_bytes: Bytes,
    /// Channel header as received.
    pub channel_header_bytes: Bytes,
    /// Signature header as received.
    pub signature_header_bytes: Bytes,
    /// Channel header.
    pub channel_header: common::ChannelHeader,
    /// Creator and nonce.
    pub signature_header: common::SignatureHeader,
    /// Chaincode to run: the one of the header extension.
    pub chaincode_name: String,
    /// Arguments.
    pub input: protos::ChaincodeInput,
    /// The encoded `ChaincodeInvocationSpec`.
    pub invocation_bytes: Bytes,
    /// Transient data, never to be stored or logged.
    pub transient: BTreeMap<String, Bytes>,
    /// The proposal hash that endorsements commit to.
    pub hash: [u8; 32],
}

impl ParsedProposal {
    /// Channel name, possibly empty.
    pub fn channel(&self) -> &str {
        &self.channel_header.channel_id
    }

    /// Transaction id of the header (checked by [`check_headers`]).
    pub fn tx_id(&self) -> &str {
        &self.channel_header.tx_id
    }

    /// Proposal bytes, creator and signature, for policy evaluation.
    pub fn signed_data(&self) -> consilium_msp::SignedData {
        consilium_msp::SignedData {
            data: self.proposal_bytes.clone(),
            identity: self.signature_header.creator.clone(),
            signature: self.signature.clone(),
        }
    }
}

/// Takes a signed proposal apart and computes its hash.
pub fn parse(signed: &protos::SignedProposal) -> Result<ParsedProposal, ParseError> {
    let proposal: protos::Proposal = decode("Proposal", &signed.proposal_bytes)?;
    let header: common::Header = decode("Header", &proposal.header)?;
    let channel_header: common::ChannelHeader = decode("ChannelHeader", &header.channel_header)?;
    let signature_header: common::SignatureHeader =
        decode("SignatureHeader", &header.signature_header)?;
    let extension: protos::ChaincodeHeaderExtension =
        decode("ChaincodeHeaderExtension", &channel_header.extension)?;
    let chaincode_name = extension
        .chaincode_id
        .ok_or(ParseError::NoChaincodeId)?
        .name;
    if chaincode_name.is_empty() {
        return Err(ParseError::EmptyChaincodeName);
    }
    let payload: protos::ChaincodeProposalPayload =
        decode("ChaincodeProposalPayload", &proposal.payload)?;
    let invocation: protos::ChaincodeInvocationSpec =
        decode("ChaincodeInvocationSpec", &payload.input)?;
    let spec = invocation
        .chaincode_spec
        .ok_or(ParseError::NoChaincodeSpec)?;
    let input = spec.input.ok_or(ParseError::NoChaincodeInput)?;
    let hash = sha256_parts(&[
        &header.channel_header,
        &header.signature_header,
        &without_transient(&payload.input),
    ]);
    Ok(ParsedProposal {
        proposal_bytes: signed.proposal_bytes.clone(),
        signature: signed.signature.clone(),
        header_bytes: proposal.header,
        channel_header_bytes: header.channel_header,
        signature_header_bytes: header.signature_header,
        channel_header,
        signature_header,
        chaincode_name,
        input,
        invocation_bytes: payload.input,
        transient: payload.transient_map,
        hash,
    })
}

/// The `ChaincodeProposalPayload` that goes into the transaction and into the proposal hash: `input`
/// alone, whatever else the client's message held.
pub(crate) fn without_transient(input: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(input.len() + 8);
    put_bytes(&mut payload, 1, input);
    payload
}

/// The checks that need no identity: header type, epoch, nonce, creator, transaction id, presence of
/// proposal and signature, in this order. Endorsers prefix the texts with
/// `error validating proposal: `.
pub fn check_headers(proposal: &ParsedProposal) -> Result<(), ParseError> {
    match common::HeaderType::try_from(proposal.channel_header.r#type) {
        // CONFIG is let through by Fabric as well, by accident; the later checks refuse its content.
        Ok(common::HeaderType::EndorserTransaction | common::HeaderType::Config) => {}
        _ => {
            return Err(ParseError::HeaderType(envelope::header_type_name(
                proposal.channel_header.r#type,
            )));
        }
    }
    if proposal.channel_header.epoch != 0 {
        return Err(ParseError::Epoch);
    }
    if proposal.signature_header.nonce.is_empty() {
        return Err(ParseError::EmptyNonce);
    }
    if proposal.signature_header.creator.is_empty() {
        return Err(ParseError::EmptyCreator);
    }
    let want = transaction_id(
        &proposal.signature_header.nonce,
        &proposal.signature_header.creator,
    );
    if proposal.channel_header.tx_id != want {
        return Err(ParseError::TransactionId {
            got: proposal.channel_header.tx_id.clone(),
            want,
        });
    }
    if proposal.proposal_bytes.is_empty() {
        return Err(ParseError::EmptyProposal);
    }
    if proposal.signature.is_empty() {
        return Err(ParseError::EmptySignature);
    }
    Ok(())
}
