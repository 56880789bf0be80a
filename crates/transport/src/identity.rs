//! A TLS certificate with its key, trust anchors, and what can be wrong with them.

use std::sync::Arc;

use bytes::Bytes;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};

/// What is wrong with TLS material.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text holds no certificate in PEM.
    #[error("no PEM certificate found in the {what}")]
    NoCertificate {
        /// Which input: "TLS certificate chain" or "trusted root".
        what: &'static str,
    },
    /// A PEM block is damaged.
    #[error("the {what} is not valid PEM: {reason}")]
    BadPem {
        /// Which input.
        what: &'static str,
        /// The reader's complaint.
        reason: String,
    },
    /// The key is missing or of a kind that TLS cannot use.
    #[error("the TLS private key cannot be used: {reason}")]
    BadKey {
        /// Why.
        reason: String,
    },
    /// Key and certificate are not a pair.
    #[error("the TLS private key does not belong to the TLS certificate")]
    KeyMismatch,
    /// A trusted root cannot serve as one.
    #[error("trusted TLS root {index} cannot be used: {reason}")]
    BadRoot {
        /// Position among the certificates that were given, from 0.
        index: usize,
        /// Why.
        reason: String,
    },
    /// A configuration was refused by the TLS library.
    #[error("TLS configuration refused: {reason}")]
    Configuration {
        /// The library's complaint.
        reason: String,
    },
}

/// A certificate chain (leaf first) and the private key of its leaf.
#[derive(Clone)]
pub struct TlsIdentity {
    key: Arc<CertifiedKey>,
    leaf: Bytes,
}

impl TlsIdentity {
    /// Reads a chain of PEM certificates, leaf first, and a PEM key (PKCS#8, SEC1 or PKCS#1).
    ///
    /// # Errors
    /// If either cannot be read, or the key does not belong to the leaf.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain, "TLS certificate chain")?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::BadKey {
            reason: error.to_string(),
        })?;
        let leaf = Bytes::copy_from_slice(&chain[0]);
        let key =
            CertifiedKey::from_der(chain, key, &crate::provider()).map_err(
                |error| match error {
                    rustls::Error::InconsistentKeys(_) => TlsError::KeyMismatch,
                    other => TlsError::BadKey {
                        reason: describe(&other),
                    },
                },
            )?;
        Ok(Self {
            key: Arc::new(key),
            leaf,
        })
    }

    /// The leaf certificate in DER.
    pub fn leaf_der(&self) -> &[u8] {
        &self.leaf
    }

    /// SHA-256 of the leaf's DER: the `tls_cert_hash` that binds a request to this connection.
    pub fn leaf_hash(&self) -> [u8; 32] {
        Sha256::digest(&self.leaf).into()
    }

    pub(crate) fn certified_key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of logs.
        f.debug_struct("TlsIdentity")
            .field("leaf_bytes", &self.leaf.len())
            .finish_non_exhaustive()
    }
}

/// Reads trust anchors strictly: every entry must hold at least one usable certificate.
///
/// For configuration that a person wrote. Roots that arrive in channel configuration are read
/// leniently by [`crate::ServerTls::set_client_roots`] and [`crate::ClientTls::set_roots`], so
/// that one organization's odd certificate does not cut off the others.
///
/// # Errors
/// Names the first entry that cannot be used.
pub fn check_roots(roots: &[Bytes]) -> Result<(), TlsError> {
    let mut store = RootCertStore::empty();
    for (index, root) in roots.iter().enumerate() {
        for certificate in certificates(root, "trusted root")? {
            store.add(certificate).map_err(|error| TlsError::BadRoot {
                index,
                reason: describe(&error),
            })?;
        }
    }
    Ok(())
}

/// Trust anchors from PEM entries, each of which may hold several certificates.
///
/// Intermediates are anchors too, as in the pools that Fabric builds. What cannot be used is
/// logged and left out.
pub(crate) fn anchors(roots: &[Bytes]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    for (index, root) in roots.iter().enumerate() {
        match certificates(root, "trusted root") {
            Ok(found) => {
                for certificate in found {
                    if let Err(error) = store.add(certificate) {
                        tracing::warn!(index, error = %describe(&error), "left out a TLS root");
                    }
                }
            }
            Err(error) => tracing::warn!(index, %error, "left out a TLS root"),
        }
    }
    store
}

/// At least one certificate, or an error.
fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::BadPem {
            what,
            reason: error.to_string(),
        })?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { what });
    }
    Ok(found)
}

/// A sentence for a TLS failure, for logs and errors that people read.
pub(crate) fn describe(error: &rustls::Error) -> String {
    use rustls::{CertificateError, Error, PeerIncompatible};
    match error {
        Error::NoCertificatesPresented => {
            "the client presented no certificate, and one is required".into()
        }
        Error::InvalidCertificate(reason) => match reason {
            CertificateError::UnknownIssuer => {
                "the certificate was not issued by any of the trusted TLS roots".into()
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                format!("the certificate has expired ({reason})")
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate is not valid yet ({reason})")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "the certificate does not name this host among its subject alternative names \
                     ({reason})"
                )
            }
            CertificateError::BadSignature => "the certificate's signature is wrong".into(),
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                format!("the certificate's extended key usage does not allow this use ({reason})")
            }
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                "a CA certificate was presented as a host's own certificate".into()
            }
            CertificateError::Other(other)
                if other.to_string().contains("UnsupportedCertVersion") =>
            {
                "the certificate is X.509 version 1; version 3 is required".into()
            }
            other => format!("the certificate is not acceptable: {other}"),
        },
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "no TLS cipher suite in common".into()
        }
        Error::InvalidMessage(_) => "what arrived is not TLS".into(),
        other => other.to_string(),
    }
}
