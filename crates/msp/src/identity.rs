//! An identity: a certificate presented in the name of an MSP.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::certificate::Certificate;
use crate::error::MspError;
use crate::pem;
use crate::signature::{HashFamily, SignatureError, is_canonical};

/// A deserialized identity. It belongs to an MSP but is not thereby valid: ask
/// [`Msp::validate`](crate::Msp::validate) or a principal.
#[derive(Debug)]
pub struct Identity {
    pub(crate) msp_id: Arc<str>,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) serialized: Bytes,
    pub(crate) hash_family: HashFamily,
    /// Which [`Msp`](crate::Msp) made this identity, so that its verdict is kept with the identity.
    pub(crate) origin: u64,
    /// From the certificate to its root; empty until sanitizing or validation built it.
    pub(crate) chain: OnceLock<Result<Vec<Arc<Certificate>>, MspError>>,
    pub(crate) validity: OnceLock<Result<(), MspError>>,
}

impl Identity {
    /// The MSP in whose name the identity speaks.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// The certificate, its own signature normalized to low S.
    pub fn certificate(&self) -> &Arc<Certificate> {
        &self.certificate
    }

    /// The `msp.SerializedIdentity` bytes it was read from. These bytes, not the certificate, are what
    /// transaction ids and comparisons of creators use.
    pub fn serialized(&self) -> &Bytes {
        &self.serialized
    }

    /// The hash functions that this identity's signatures use: its MSP's choice.
    pub fn hash_family(&self) -> HashFamily {
        self.hash_family
    }

    /// Verifies a signature over `message` made by this identity.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.verify_parts(&[message], signature)
    }

    /// [`verify`](Self::verify) for a message in several pieces, which are not copied together.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_parts(&self, message: &[&[u8]], signature: &[u8]) -> Result<(), SignatureError> {
        self.certificate
            .public_key()
            .verify(self.hash_family, message, signature)
    }
}

/// Checks the form of a serialized identity more strictly than deserialization does: one `CERTIFICATE`
/// block, nothing after it, and a canonical signature in the certificate. Gossip and deliver ask for it;
/// transaction validation does not (fabric: msp/mspimpl.go IsWellFormed).
///
/// # Errors
/// [`MspError`] with Fabric's text.
pub fn check_well_formed(id_bytes: &[u8]) -> Result<(), MspError> {
    let block = pem::first_block(id_bytes).ok_or(MspError::NotWellFormed(
        "PEM decoding resulted in an empty block",
    ))?;
    if !block.rest.is_empty() {
        return Err(MspError::NotWellFormed("identity has trailing bytes"));
    }
    if !block.label.is_empty() && block.label != "CERTIFICATE" {
        return Err(MspError::NotWellFormed("pem type is not CERTIFICATE"));
    }
    let certificate = Certificate::from_der(&block.contents)?;
    if certificate.is_ecdsa_signed() && !is_canonical(certificate.own_signature()) {
        return Err(MspError::NotWellFormed(
            "identity has a non canonical signature",
        ));
    }
    Ok(())
}
