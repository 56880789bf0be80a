//! Why a message is not ordered, as Broadcast answers it.

use consilium_proto::common::Status;

/// A refusal: a status other than SUCCESS and its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{info}")]
pub struct Refusal {
    /// What the client gets as status.
    pub status: Status,
    /// What the client gets as info.
    pub info: String,
}

impl Refusal {
    /// The message itself is wrong.
    pub fn bad_request(info: impl Into<String>) -> Self {
        Self {
            status: Status::BadRequest,
            info: info.into(),
        }
    }

    /// A policy is not satisfied.
    pub fn forbidden(info: impl Into<String>) -> Self {
        Self {
            status: Status::Forbidden,
            info: info.into(),
        }
    }

    /// This node cannot order now; the client may try again.
    pub fn unavailable(info: impl Into<String>) -> Self {
        Self {
            status: Status::ServiceUnavailable,
            info: info.into(),
        }
    }

    /// The same refusal with `context: ` in front of its text.
    pub fn within(self, context: &str) -> Self {
        Self {
            status: self.status,
            info: format!("{context}: {}", self.info),
        }
    }
}
