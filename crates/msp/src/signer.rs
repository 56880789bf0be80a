//! Signing in the name of an identity.

use std::sync::Arc;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as aws, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use consilium_proto::msp::SerializedIdentity;
use prost::Message as _;
use thiserror::Error;

use crate::certificate::{Certificate, CertificateError};
use crate::pem;
use crate::signature::{Curve, PublicKey, low_s};

/// Why nothing could be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignError {
    /// The certificate of the signer cannot be read.
    #[error("signer's certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The private key cannot be read: neither PKCS#8 nor SEC1, encrypted, or of an unsupported kind.
    #[error("private key: {0}")]
    Key(String),
    /// The private key is not that of the certificate.
    #[error("the private key does not belong to the certificate of {0}")]
    KeyMismatch(String),
    /// The device or library that holds the key failed.
    #[error("signing failed: {0}")]
    Failed(String),
    /// A node's signer may change, its organization may not.
    #[error("a signer of {found} cannot follow one of {expected}")]
    OtherMsp {
        /// The MSP so far.
        expected: String,
        /// That of the new signer.
        found: String,
    },
}

/// Someone who signs: a node or a client. One method does the work, so that a hardware module can be one.
pub trait Signer: Send + Sync {
    /// The MSP that the signer belongs to.
    fn msp_id(&self) -> &str;
    /// The signer as `msp.SerializedIdentity` bytes, ready to be a creator or endorser.
    fn serialized(&self) -> &Bytes;
    /// The signer's certificate.
    fn certificate(&self) -> &Arc<Certificate>;
    /// Signs `message`: DER ECDSA with low S over its SHA-256, or Ed25519 over the message itself.
    ///
    /// # Errors
    /// [`SignError::Failed`] when the holder of the key fails.
    fn sign(&self, message: &[u8]) -> Result<Bytes, SignError>;
}

/// A signer whose key is in memory.
pub struct SoftwareSigner {
    msp_id: String,
    serialized: Bytes,
    certificate: Arc<Certificate>,
    key: Key,
}

enum Key {
    Ecdsa(Curve, EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl std::fmt::Debug for SoftwareSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SoftwareSigner")
            .field("msp_id", &self.msp_id)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl SoftwareSigner {
    /// A signer from a certificate and its private key, PKCS#8 or SEC1, both PEM.
    ///
    /// The identity carries the certificate as Go's PEM encoder prints it, whatever surrounds it in
    /// `certificate_pem`.
    ///
    /// # Errors
    /// [`SignError`] when either cannot be read or they do not belong together.
    pub fn from_pem(
        msp_id: &str,
        certificate_pem: &[u8],
        key_pem: &[u8],
    ) -> Result<Self, SignError> {
        let certificate = Certificate::from_pem(certificate_pem)?;
        let key = Key::from_pem(key_pem, certificate.public_key())?;
        if !key.belongs_to(certificate.public_key()) {
            return Err(SignError::KeyMismatch(certificate.subject_cn().to_owned()));
        }
        let identity = SerializedIdentity {
            mspid: msp_id.to_owned(),
            id_bytes: Bytes::from(certificate.pem()),
        };
        Ok(SoftwareSigner {
            msp_id: msp_id.to_owned(),
            serialized: identity.encode_to_vec().into(),
            certificate,
            key,
        })
    }
}

impl Signer for SoftwareSigner {
    fn msp_id(&self) -> &str {
        &self.msp_id
    }

    fn serialized(&self) -> &Bytes {
        &self.serialized
    }

    fn certificate(&self) -> &Arc<Certificate> {
        &self.certificate
    }

    fn sign(&self, message: &[u8]) -> Result<Bytes, SignError> {
        self.key.sign(message).map(Bytes::from)
    }
}

impl Key {
    fn from_pem(text: &[u8], public: &PublicKey) -> Result<Self, SignError> {
        let mut rest = text;
        while let Some(block) = pem::first_block(rest) {
            if block.label.ends_with("PRIVATE KEY") {
                if block.has_headers || block.label.starts_with("ENCRYPTED") {
                    return Err(SignError::Key("it is encrypted".into()));
                }
                return Self::from_der(&block.contents, public);
            }
            rest = block.rest;
        }
        Err(SignError::Key("no PEM block of a private key".into()))
    }

    fn from_der(der: &[u8], public: &PublicKey) -> Result<Self, SignError> {
        let unreadable = |error: aws_lc_rs::error::KeyRejected| SignError::Key(error.to_string());
        match public {
            PublicKey::Ecdsa { curve, .. } => {
                let algorithm = match curve {
                    Curve::P256 => &aws::ECDSA_P256_SHA256_ASN1_SIGNING,
                    Curve::P384 => &aws::ECDSA_P384_SHA384_ASN1_SIGNING,
                    Curve::P521 => &aws::ECDSA_P521_SHA256_ASN1_SIGNING,
                };
                let pair =
                    EcdsaKeyPair::from_private_key_der(algorithm, der).map_err(unreadable)?;
                Ok(Key::Ecdsa(*curve, pair))
            }
            PublicKey::Ed25519(_) => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map(Key::Ed25519)
                .map_err(unreadable),
            PublicKey::Rsa(_) => Err(SignError::Key("RSA is not supported".into())),
            PublicKey::Unsupported(what) => Err(SignError::Key(what.clone())),
        }
    }

    fn belongs_to(&self, public: &PublicKey) -> bool {
        match (self, public) {
            (Key::Ecdsa(_, pair), PublicKey::Ecdsa { key, .. }) => {
                let point: &[u8] = (**key).as_ref();
                pair.public_key().as_ref() == point
            }
            (Key::Ed25519(pair), PublicKey::Ed25519(key)) => {
                let bytes: &[u8] = (**key).as_ref();
                pair.public_key().as_ref() == bytes
            }
            _ => false,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |error: aws_lc_rs::error::Unspecified| SignError::Failed(error.to_string());
        let (curve, signature) = match self {
            Key::Ed25519(pair) => return Ok(pair.sign(message).as_ref().to_vec()),
            Key::Ecdsa(Curve::P384, pair) => {
                // The library signs P-384 with 48 byte digests only. Leading zeros do not change the
                // number that ECDSA makes of a digest, so a padded SHA-256 signs as SHA-256.
                let mut padded = [0; 48];
                padded[16..].copy_from_slice(digest::digest(&digest::SHA256, message).as_ref());
                let digest = Digest::import_less_safe(&padded, &digest::SHA384).map_err(failed)?;
                (Curve::P384, pair.sign_digest(&digest).map_err(failed)?)
            }
            Key::Ecdsa(curve, pair) => (
                *curve,
                pair.sign(&SystemRandom::new(), message).map_err(failed)?,
            ),
        };
        Ok(low_s(curve, signature.as_ref()))
    }
}
