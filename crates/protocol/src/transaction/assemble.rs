//! From a proposal and its responses to a transaction envelope.

use crate::envelope::{ParseError, decode};
use crate::proposal::without_transient;
use bytes::Bytes;
use consilium_msp::{SignError, Signer};
use consilium_proto::{common, protos};
use prost::Message;
use std::collections::HashSet;
use thiserror::Error;

/// Why responses do not make a transaction.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AssembleError {
    /// No response at all.
    #[error("at least one proposal response is required")]
    NoResponses,
    /// An endorser refused.
    #[error("proposal response was not successful, error code {status}, msg {message}")]
    Unsuccessful {
        /// Status of the response.
        status: i32,
        /// Its text.
        message: String,
    },
    /// Endorsers signed different results.
    #[error("ProposalResponsePayloads do not match")]
    Mismatch,
    /// No response carries an endorsement.
    #[error("no endorsements")]
    NoEndorsements,
    /// The proposal cannot be read.
    #[error(transparent)]
    Proposal(#[from] ParseError),
}

/// Builds the unsigned transaction envelope. All responses must be successful and carry the same
/// payload; repeated endorsements of one endorser are dropped.
pub fn assemble(
    proposal: &protos::SignedProposal,
    responses: &[protos::ProposalResponse],
) -> Result<common::Envelope, AssembleError> {
    let first = responses.first().ok_or(AssembleError::NoResponses)?;
    let proposal: protos::Proposal = decode("Proposal", &proposal.proposal_bytes)?;
    let header: common::Header = decode("Header", &proposal.header)?;
    let payload: protos::ChaincodeProposalPayload =
        decode("ChaincodeProposalPayload", &proposal.payload)?;

    let mut seen = HashSet::new();
    let mut endorsements = Vec::with_capacity(responses.len());
    for response in responses {
        let result = response.response.clone().unwrap_or_default();
        if !(200..400).contains(&result.status) {
            return Err(AssembleError::Unsuccessful {
                status: result.status,
                message: result.message,
            });
        }
        if response.payload != first.payload {
            return Err(AssembleError::Mismatch);
        }
        if let Some(endorsement) = &response.endorsement
            && seen.insert(endorsement.endorser.clone())
        {
            endorsements.push(endorsement.clone());
        }
    }
    if endorsements.is_empty() {
        return Err(AssembleError::NoEndorsements);
    }

    let action = protos::ChaincodeActionPayload {
        chaincode_proposal_payload: without_transient(&payload.input).into(),
        action: Some(protos::ChaincodeEndorsedAction {
            proposal_response_payload: first.payload.clone(),
            endorsements,
        }),
    };
    let transaction = protos::Transaction {
        actions: vec![protos::TransactionAction {
            header: header.signature_header.clone(),
            payload: action.encode_to_vec().into(),
        }],
    };
    let payload = common::Payload {
        header: Some(header),
        data: transaction.encode_to_vec().into(),
    };
    Ok(common::Envelope {
        payload: payload.encode_to_vec().into(),
        signature: Bytes::new(),
    })
}

/// Signs an envelope's payload.
pub fn sign(
    envelope: common::Envelope,
    signer: &dyn Signer,
) -> Result<common::Envelope, SignError> {
    let signature = signer.sign(&envelope.payload)?;
    Ok(common::Envelope {
        payload: envelope.payload,
        signature,
    })
}
