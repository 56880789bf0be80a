//! Fabric CA's error codes and how they reach a client (fabric-ca: `lib/caerrors`).
//!
//! Authentication and authorization failures tell the client only that they happened; the log
//! says why.

use crate::csr::CsrError;
use crate::store::StoreError;

/// Fabric CA's codes, as far as this server answers them.
pub(crate) mod code {
    pub const UNKNOWN: i64 = 0;
    pub const METHOD_NOT_ALLOWED: i64 = 1;
    pub const NO_AUTHORIZATION_HEADER: i64 = 2;
    pub const READING_BODY: i64 = 3;
    pub const EMPTY_BODY: i64 = 4;
    pub const BAD_BODY: i64 = 5;
    pub const NOT_REVOKER: i64 = 7;
    pub const CERTIFICATE_TO_REVOKE_NOT_FOUND: i64 = 8;
    pub const CERTIFICATE_OF_ANOTHER: i64 = 9;
    pub const IDENTITY_TO_REVOKE_NOT_FOUND: i64 = 10;
    pub const MISSING_REVOKE_ARGUMENTS: i64 = 15;
    pub const AFFILIATION_NOT_FOUND: i64 = 16;
    pub const CA_NOT_FOUND: i64 = 19;
    pub const AUTHENTICATION_FAILURE: i64 = 20;
    pub const NO_USER_AND_PASSWORD: i64 = 21;
    pub const ENROLL_DISABLED: i64 = 22;
    pub const INVALID_USER: i64 = 23;
    pub const INVALID_PASSWORD: i64 = 24;
    pub const INVALID_TOKEN: i64 = 25;
    pub const UNTRUSTED_CERTIFICATE: i64 = 26;
    pub const CERTIFICATE_EXPIRED: i64 = 27;
    pub const CERTIFICATE_REVOKED: i64 = 28;
    pub const CERTIFICATE_NOT_FOUND: i64 = 30;
    pub const BAD_CSR: i64 = 31;
    pub const NO_GENCRL_AUTHORITY: i64 = 35;
    pub const INVALID_REVOKED_AFTER: i64 = 36;
    pub const INVALID_EXPIRE_AFTER: i64 = 37;
    pub const GENERATING_CRL: i64 = 41;
    pub const REGISTERING_ATTRIBUTE: i64 = 42;
    pub const MISSING_REGISTRAR_ATTRIBUTE: i64 = 43;
    pub const CALLER_NOT_AFFILIATED: i64 = 44;
    pub const NO_CRL_SIGN_USAGE: i64 = 46;
    pub const GETTING_USER: i64 = 49;
    pub const ADDING_IDENTITY: i64 = 52;
    pub const REMOVING_IDENTITY: i64 = 56;
    pub const MODIFYING_IDENTITY: i64 = 58;
    pub const MISSING_ROLE: i64 = 59;
    pub const ADDING_AFFILIATION: i64 = 60;
    pub const REMOVING_AFFILIATION: i64 = 61;
    pub const NOT_IN_DATABASE: i64 = 63;
    pub const MODIFYING_AFFILIATION: i64 = 64;
    pub const CERTIFICATE_ALREADY_REVOKED: i64 = 66;
    pub const GETTING_CERTIFICATES: i64 = 67;
    pub const REVOKED_IDENTITY: i64 = 70;
    pub const AUTHORIZATION_FAILURE: i64 = 71;
    pub const PASSWORD_ATTEMPTS: i64 = 73;
    pub const DUPLICATE_IDENTITY: i64 = 74;
    pub const REGISTERING_IDENTITY: i64 = 75;
    pub const REGISTRAR_NOT_AUTHORIZED: i64 = 76;
    pub const COMMON_NAME_MISMATCH: i64 = 77;
    pub const MISSING_ATTRIBUTE: i64 = 78;
    pub const INVALID_BOOLEAN: i64 = 79;
    pub const CSR_INPUT: i64 = 80;
    pub const INVALID_MAX_ENROLLMENTS: i64 = 82;
}

/// A refusal: what the client hears and what the log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub status: u16,
    /// Code and message for the log.
    pub local: (i64, String),
    /// Code and message for the client.
    pub remote: (i64, String),
}

impl Refusal {
    /// The client hears what the log says.
    pub fn new(status: u16, code: i64, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            local: (code, message.clone()),
            remote: (code, message),
        }
    }

    /// 401; the client does not hear why.
    pub fn authentication(code: i64, message: impl Into<String>) -> Self {
        Self {
            status: 401,
            local: (code, message.into()),
            remote: (
                code::AUTHENTICATION_FAILURE,
                "Authentication failure".into(),
            ),
        }
    }

    /// 403; the client does not hear why.
    pub fn authorization(code: i64, message: impl Into<String>) -> Self {
        Self {
            status: 403,
            local: (code, message.into()),
            remote: (code::AUTHORIZATION_FAILURE, "Authorization failure".into()),
        }
    }

    /// 404 for what the database does not have, in the words that Fabric CA takes from it.
    pub fn not_found(what: &str) -> Self {
        Self::new(404, code::NOT_IN_DATABASE, not_found(what))
    }

    /// 500; what failed inside is for the log.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self {
            status: 500,
            local: (code::UNKNOWN, message.to_string()),
            remote: (code::UNKNOWN, "Internal server error".into()),
        }
    }
}

/// How Fabric CA says that its database has no such `what`.
pub(crate) fn not_found(what: &str) -> String {
    format!("Failed to get {what}: sql: no rows in result set")
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unfit(_) => Self::new(400, code::UNKNOWN, error.to_string()),
            _ => Self::internal(error),
        }
    }
}

impl From<CsrError> for Refusal {
    fn from(error: CsrError) -> Self {
        let code = match error {
            CsrError::TooLong(_) => code::CSR_INPUT,
            _ => code::BAD_CSR,
        };
        Self::new(400, code, error.to_string())
    }
}
