//! How a contract says no: a status, a code of its own, and a sentence (healthcare.md R13).

use crate::contract::Response;
use crate::key::KeyError;
use crate::stub::StubError;

/// A refusal that is not a verdict: nothing is ordered, only the client learns of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {sentence}")]
pub struct Failure {
    /// 400 malformed, 403 caller, 404 missing, 409 state or duplicate, 412 version, 422 rule
    /// broken, 500 the peer's own trouble.
    pub status: i32,
    /// Upper case, stable, one per rule.
    pub code: &'static str,
    /// What is wrong, with the values that matter; never a value from the transient map.
    pub sentence: String,
}

impl Failure {
    /// A failure with any status.
    pub fn new(status: i32, code: &'static str, sentence: impl Into<String>) -> Self {
        Failure {
            status,
            code,
            sentence: sentence.into(),
        }
    }

    /// 400 `MALFORMED`: the arguments do not have the expected shape.
    pub fn malformed(sentence: impl Into<String>) -> Self {
        Self::new(400, "MALFORMED", sentence)
    }

    /// 403: the caller may not do this.
    pub fn forbidden(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(403, code, sentence)
    }

    /// 404 `NOT_FOUND`: names what was looked for.
    pub fn not_found(sentence: impl Into<String>) -> Self {
        Self::new(404, "NOT_FOUND", sentence)
    }

    /// 409: a duplicate or a state that does not allow this.
    pub fn conflict(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(409, code, sentence)
    }

    /// 422: a rule of the domain is broken.
    pub fn rule(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(422, code, sentence)
    }
}

impl From<StubError> for Failure {
    fn from(error: StubError) -> Self {
        match error {
            StubError::PrivateDataMissing { .. } => {
                Failure::new(404, "PRIVATE_DATA_NOT_HERE", error.to_string())
            }
            StubError::NoAccess { .. } => Failure::forbidden("NO_ACCESS", error.to_string()),
            StubError::Key(error) => error.into(),
            StubError::Failed { .. } => Failure::new(500, "LEDGER", error.to_string()),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Failure::malformed(error.to_string())
    }
}

impl From<Failure> for Response {
    fn from(failure: Failure) -> Self {
        Response::error(failure.status, failure.to_string())
    }
}
