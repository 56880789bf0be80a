//! What can go wrong between an application and the network.

use consilium_proto::{common::Status, gateway::ErrorDetail, google, protos::TxValidationCode};
use prost::Message;

/// The step of a transaction that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `gateway.Gateway/Evaluate`
    Evaluate,
    /// `gateway.Gateway/Endorse`
    Endorse,
    /// `gateway.Gateway/Submit`
    Submit,
    /// `gateway.Gateway/CommitStatus`
    CommitStatus,
    /// `gateway.Gateway/ChaincodeEvents`
    Events,
    /// `protos.Endorser/ProcessProposal`
    Proposal,
    /// `protos.Snapshot`
    Snapshot,
    /// `discovery.Discovery/Discover`
    Discover,
    /// `protos.Deliver` and `orderer.AtomicBroadcast/Deliver`
    Deliver,
    /// `orderer.AtomicBroadcast/Broadcast`
    Broadcast,
}

/// Failure of a call, with what the node said.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node answered with a gRPC status.
    #[error("{step:?} failed: {} {message}{}", code_name(*code), show(details))]
    Refused {
        /// Which step was refused.
        step: Step,
        /// gRPC code.
        code: tonic::Code,
        /// The node's message.
        message: String,
        /// One entry per endpoint that failed, if the gateway sent any.
        details: Vec<ErrorDetail>,
    },
    /// The transaction is in a block, but was found invalid there.
    #[error("transaction {tx_id} is invalid in block {block}: {}", code.as_str_name())]
    Invalid {
        /// Transaction id.
        tx_id: String,
        /// Validation code of the peer.
        code: TxValidationCode,
        /// Number of the block.
        block: u64,
    },
    /// An endorser answered a proposal with an error status.
    #[error("the peer refused the proposal: {status} {message}")]
    Proposal {
        /// Status of the response, 400 and above.
        status: i32,
        /// Its message.
        message: String,
    },
    /// The orderer did not take an envelope.
    #[error("the orderer answered {}: {info}", status.as_str_name())]
    NotOrdered {
        /// The orderer's status.
        status: Status,
        /// Its words.
        info: String,
    },
    /// A node ended a stream of blocks with a status.
    #[error("the node answered {} instead of a block", .0.as_str_name())]
    NotDelivered(Status),
    /// Signing failed.
    #[error("cannot sign: {0}")]
    Sign(#[from] consilium_msp::SignError),
    /// The node's answer does not parse.
    #[error("the node's answer is malformed: {0}")]
    Malformed(String),
}

impl ClientError {
    /// Whether sending the same request again may succeed: nobody answered in time, or the
    /// endorsers stood at different blocks.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { code, details, .. } => match code {
                tonic::Code::Unavailable
                | tonic::Code::ResourceExhausted
                | tonic::Code::DeadlineExceeded => true,
                tonic::Code::Aborted => details
                    .iter()
                    .any(|detail| detail.message == "ProposalResponsePayloads do not match"),
                _ => false,
            },
            _ => false,
        }
    }

    pub(crate) fn refused(step: Step, status: &tonic::Status) -> Self {
        let details = google::rpc::Status::decode(status.details())
            .map(|decoded| {
                decoded
                    .details
                    .iter()
                    .filter(|any| any.type_url.ends_with("gateway.ErrorDetail"))
                    .filter_map(|any| ErrorDetail::decode(any.value.as_ref()).ok())
                    .collect()
            })
            .unwrap_or_default();
        Self::Refused {
            step,
            code: status.code(),
            message: status.message().to_owned(),
            details,
        }
    }
}

fn code_name(code: tonic::Code) -> String {
    format!("{code:?}")
}

fn show(details: &[ErrorDetail]) -> String {
    details
        .iter()
        .map(|detail| {
            format!(
                "\n  {} ({}): {}",
                detail.address, detail.msp_id, detail.message
            )
        })
        .collect()
}
