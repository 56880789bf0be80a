//! Signing with keys that never leave a PKCS#11 token: a hardware security module, or SoftHSM.
//!
//! Owns: the token's library, sessions and key lookup under Fabric's rules (`BCCSP.PKCS11`). Must not know:
//! what is signed. Start reading at [`TokenSigner`]. The library is loaded when the first signer opens, so
//! programs run without one.
//!
//! fabric: bccsp/pkcs11

mod library;
mod pool;
mod signer;

use std::path::PathBuf;

use consilium_msp::{CertificateError, SignError};
use zeroize::Zeroizing;

pub use signer::TokenSigner;

/// Which key of which token, as `BCCSP.PKCS11` of `core.yaml` and `orderer.yaml` says.
#[derive(Clone)]
pub struct TokenOptions {
    /// The token's library, a shared object.
    pub library: PathBuf,
    /// Label of the token.
    pub label: String,
    /// PIN of its user.
    pub pin: Zeroizing<String>,
    /// `CKA_ID` of the key, where it is not the identifier that Fabric makes of the public key.
    pub alt_id: Option<Vec<u8>>,
    /// `CKA_ID`s of single keys, by Fabric's identifiers in hexadecimal; they go before `alt_id`.
    pub key_ids: Vec<(String, Vec<u8>)>,
    /// Sessions, each with a thread of its own, that sign at the same time.
    pub sessions: usize,
}

impl TokenOptions {
    /// `CKA_ID` of the key with this identifier. fabric: bccsp/factory/pkcs11factory.go
    fn key_id(&self, ski: &[u8]) -> Vec<u8> {
        let name = hex::encode(ski);
        let mapped = self.key_ids.iter().find(|(known, _)| *known == name);
        let mapped = mapped.map(|(_, id)| id.clone());
        mapped
            .or_else(|| self.alt_id.clone())
            .unwrap_or_else(|| ski.to_vec())
    }
}

impl std::fmt::Debug for TokenOptions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The PIN stays out of logs.
        formatter
            .debug_struct("TokenOptions")
            .field("library", &self.library)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// Why a token cannot sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The library cannot be loaded or started.
    #[error("cannot use the PKCS#11 library {path}: {reason}")]
    Library {
        /// Its file.
        path: PathBuf,
        /// The loader's, or the library's, complaint.
        reason: String,
    },
    /// No token has that label.
    #[error("no PKCS#11 token is labelled {label:?}; there are: {found}")]
    NoToken {
        /// What was asked for.
        label: String,
        /// The labels that there are.
        found: String,
    },
    /// The token refuses the PIN.
    #[error("the PKCS#11 token {label:?} does not let us in: {reason}")]
    LogIn {
        /// The token.
        label: String,
        /// Its answer.
        reason: String,
    },
    /// The key is not there.
    #[error(
        "the PKCS#11 token {label:?} has no private key with CKA_ID {id} (BCCSP.PKCS11.AltID names another)"
    )]
    NoKey {
        /// The token.
        label: String,
        /// The identifier in hexadecimal.
        id: String,
    },
    /// The key is there, but it is not that of the certificate.
    #[error("the key in the PKCS#11 token does not belong to the certificate of {0}")]
    KeyMismatch(String),
    /// Only elliptic curve keys sign in Fabric.
    #[error("the certificate of {0} is not over an elliptic curve key")]
    NotElliptic(String),
    /// The certificate cannot be read.
    #[error("signer's certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The token failed.
    #[error("the PKCS#11 token failed: {0}")]
    Token(String),
    /// A signature for trial failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}
