//! What can be wrong with an MSP or an identity. The texts are Fabric's where people meet them in logs.

use thiserror::Error;

use crate::certificate::CertificateError;

/// Why an MSP cannot be set up, or an identity is not accepted. Cheap to keep beside a cached identity.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MspError {
    /// A certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The bytes are no `msp.SerializedIdentity`.
    #[error("could not deserialize a SerializedIdentity: {0}")]
    NotAnIdentity(String),
    /// The bytes violate the stricter form that gossip and deliver ask for.
    #[error("{0}")]
    NotWellFormed(&'static str),
    /// The identity was given to an MSP of another name.
    #[error("expected MSP ID {expected}, received {received}")]
    OtherMsp {
        /// Name of the MSP that was asked.
        expected: String,
        /// Name in the identity.
        received: String,
    },
    /// No MSP of that name is part of the channel.
    #[error("MSP {0} is not defined on channel")]
    UnknownMsp(String),
    /// A second MSP of the same name was given to a manager.
    #[error("MSP {0} is defined more than once")]
    DuplicateMsp(String),
    /// `msp.MSPConfig` names a kind of MSP that is not supported.
    #[error("Setup error: unsupported msp type {0}")]
    UnsupportedType(i32),
    /// `msp.MSPConfig` of type 1.
    #[error(
        "Setup error: unsupported msp type 1 (Idemix): identities are X.509 certificates here; give the organization an MSP of type 0"
    )]
    Idemix,
    /// The configuration of the MSP is not acceptable.
    #[error("{0}")]
    Setup(String),
    /// No path leads from the certificate to a root of the MSP.
    #[error("the supplied identity is not valid: {0}")]
    NoChain(String),
    /// Several paths lead to roots.
    #[error("this MSP only supports a single validation chain, got {0}")]
    SeveralChains(usize),
    /// The certificate is not acceptable as that of an identity.
    #[error("{0}")]
    Invalid(String),
    /// The issuer has revoked the certificate.
    #[error(
        "could not validate identity against certification chain: The certificate has been revoked"
    )]
    Revoked,
    /// The identity's organizational units do not fit the MSP's rules.
    #[error("could not validate identity's OUs: {0}")]
    OrganizationalUnits(String),
    /// The identity does not satisfy a principal.
    #[error("{0}")]
    Principal(String),
}

impl MspError {
    pub(crate) fn setup(text: impl Into<String>) -> Self {
        MspError::Setup(text.into())
    }

    pub(crate) fn principal(text: impl Into<String>) -> Self {
        MspError::Principal(text.into())
    }
}
