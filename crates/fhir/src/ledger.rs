//! What is asked of a ledger: to commit a call, to answer one, and to prove one.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::StatusCode;
use serde_json::Value;

use crate::Identity;
use crate::outcome::Refusal;

/// A call of a contract's function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The chaincode.
    pub chaincode: &'static str,
    /// The function.
    pub function: &'static str,
    /// Its JSON argument.
    pub args: Value,
    /// Sensitive input, which does not go into the block.
    pub transient: BTreeMap<String, Vec<u8>>,
    /// The caller's id of the request, for repeating it safely.
    pub request_id: Option<String>,
}

impl Call {
    /// A call without transient input.
    pub fn new(chaincode: &'static str, function: &'static str, args: Value) -> Self {
        Call {
            chaincode,
            function,
            args,
            transient: BTreeMap::new(),
            request_id: None,
        }
    }

    /// With a request id, if there is one.
    pub fn request_id(mut self, id: Option<&str>) -> Self {
        self.request_id = id.map(str::to_owned);
        self
    }

    /// With an entry of the transient map.
    pub fn transient(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.transient.insert(name.to_owned(), value.into());
        self
    }
}

/// A committed, valid transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its id.
    pub tx_id: String,
    /// The block it is in.
    pub block: u64,
    /// What the contract answered.
    pub payload: Bytes,
}

/// Who endorsed a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorser {
    /// MSP id.
    pub msp: String,
}

/// Where a transaction is and who answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The transaction.
    pub tx_id: String,
    /// The channel.
    pub channel: String,
    /// The block's number.
    pub block: u64,
    /// Fabric's validation code, for example `VALID`.
    pub validation: String,
    /// When the transaction was proposed, seconds since 1970.
    pub at: i64,
    /// MSP id of the client that signed it.
    pub creator_msp: String,
    /// The endorsers.
    pub endorsers: Vec<Endorser>,
}

/// Why the ledger did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The contract said no; nothing was ordered.
    #[error("{message}")]
    Refused {
        /// The contract's status.
        status: i32,
        /// `CODE: sentence`.
        message: String,
    },
    /// Ordered, and found invalid.
    #[error("transaction {tx_id} is {code}")]
    Invalid {
        /// The transaction.
        tx_id: String,
        /// Fabric's validation code, for example `MVCC_READ_CONFLICT`.
        code: String,
    },
    /// Ordered, and not seen in a block in time.
    #[error("transaction {tx_id} is not committed yet")]
    Pending {
        /// The transaction.
        tx_id: String,
    },
    /// No endorsers, no orderer.
    #[error("{0}")]
    Unavailable(String),
    /// The caller's identity is not accepted.
    #[error("{0}")]
    Denied(String),
    /// There is no such transaction.
    #[error("no transaction {0}")]
    UnknownTransaction(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

impl LedgerError {
    /// Whether another transaction came first, so that trying again helps.
    pub fn is_conflict(&self) -> bool {
        matches!(self, LedgerError::Invalid { code, .. } if code == "MVCC_READ_CONFLICT" || code == "PHANTOM_READ_CONFLICT")
    }
}

impl From<LedgerError> for Box<Refusal> {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Refused { status, message } => Refusal::contract(status, &message),
            LedgerError::Invalid { .. } if error.is_conflict() => Refusal::new(
                StatusCode::CONFLICT,
                "conflict",
                "MVCC",
                format!("{error}: somebody else wrote what was read; try again"),
            ),
            LedgerError::Invalid { .. } => Refusal::new(
                StatusCode::CONFLICT,
                "conflict",
                "INVALID_TRANSACTION",
                error.to_string(),
            ),
            LedgerError::Pending { ref tx_id } => {
                let mut refusal = Refusal::new(
                    StatusCode::ACCEPTED,
                    "transient",
                    "PENDING",
                    format!("{error}: ask for Provenance/{tx_id}"),
                );
                refusal.location = Some(format!("Provenance/{tx_id}"));
                refusal
            }
            LedgerError::Unavailable(sentence) => {
                let mut refusal = Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "transient",
                    "UNAVAILABLE",
                    sentence,
                );
                refusal.retry_after = Some(5);
                refusal
            }
            LedgerError::Denied(sentence) => Refusal::forbidden("IDENTITY", sentence),
            LedgerError::UnknownTransaction(id) => Refusal::not_found("Provenance", &id),
            LedgerError::Failed(reason) => Refusal::internal("the call of the ledger", reason),
        }
    }
}

/// A channel with the health contracts on it.
///
/// Transactions are signed by the caller's identity; which key that is, is the implementation's
/// to know.
pub trait Ledger: Send + Sync {
    /// Endorses, orders and waits until the transaction is in a block and valid.
    ///
    /// # Errors
    /// Every [`LedgerError`]. Of `Pending` nobody knows yet whether it is committed.
    fn submit<'a>(
        &'a self,
        caller: &'a Identity,
        call: Call,
    ) -> BoxFuture<'a, Result<Committed, LedgerError>>;

    /// Asks without committing.
    ///
    /// # Errors
    /// `Refused`, `Unavailable`, `Denied`, `Failed`.
    fn evaluate<'a>(
        &'a self,
        caller: &'a Identity,
        call: Call,
    ) -> BoxFuture<'a, Result<Bytes, LedgerError>>;

    /// Where a transaction is and who endorsed it.
    ///
    /// # Errors
    /// `UnknownTransaction`, `Unavailable`, `Denied`, `Failed`.
    fn proof<'a>(
        &'a self,
        caller: &'a Identity,
        tx_id: &'a str,
    ) -> BoxFuture<'a, Result<Proof, LedgerError>>;
}
