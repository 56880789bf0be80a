//! What can go wrong with a chaincode call, in the words that clients see.

/// Why [`Host::execute`](crate::Host::execute) has no response.
///
/// The text of each variant is the whole message of the endorser's response (status 500); nothing
/// needs to be put in front of it. The gateway looks at the ends of these texts, for example
/// `chaincode stream terminated`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChaincodeError {
    /// The name stands for nothing that this peer can run.
    #[error(
        "make sure the chaincode {chaincode} has been successfully defined on channel {channel} and try again: {cause}"
    )]
    Unavailable {
        /// The chaincode's name.
        chaincode: String,
        /// The proposal's channel.
        channel: String,
        /// What is missing.
        cause: String,
    },
    /// The call was begun and failed without a response of the chaincode.
    #[error("error in simulation: failed to execute transaction {tx_id}: {cause}")]
    Failed {
        /// The transaction.
        tx_id: String,
        /// What failed.
        cause: String,
    },
    /// The chaincode ended the transaction with an error message instead of a response.
    #[error("error in simulation: transaction returned with failure: {0}")]
    Refused(String),
    /// The host could not be set up.
    #[error("{0}")]
    Setup(String),
}
