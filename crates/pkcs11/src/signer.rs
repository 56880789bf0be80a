//! A signer whose key is in a token.

use std::sync::Arc;

use aws_lc_rs::digest;
use bytes::Bytes;
use consilium_msp::{Certificate, Curve, SignError, Signer, wire_signature};
use consilium_proto::msp::SerializedIdentity;
use prost::Message as _;
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::pool::Pool;
use crate::{TokenError, TokenOptions};

/// Signs with a key in a token, on threads of its own.
pub struct TokenSigner {
    msp_id: String,
    serialized: Bytes,
    certificate: Arc<Certificate>,
    curve: Curve,
    pool: Pool,
}

impl TokenSigner {
    /// Opens the token and finds the key of the certificate: by Fabric's identifier of it, the SHA-256 of
    /// the point, or by `alt_id`. A trial signature proves that they belong together.
    ///
    /// # Errors
    /// What is wrong with library, token, PIN or key.
    pub fn open(
        options: &TokenOptions,
        msp_id: &str,
        certificate_pem: &[u8],
    ) -> Result<Self, TokenError> {
        let certificate = Certificate::from_pem(certificate_pem)?;
        let name = || certificate.subject_cn().to_owned();
        let (Some(curve), Some(point)) = (certificate.curve(), certificate.public_point()) else {
            return Err(TokenError::NotElliptic(name()));
        };
        let key_id = options.key_id(digest::digest(&digest::SHA256, point).as_ref());
        let identity = SerializedIdentity {
            mspid: msp_id.to_owned(),
            id_bytes: Bytes::from(certificate.pem()),
        };
        let signer = Self {
            msp_id: msp_id.to_owned(),
            serialized: identity.encode_to_vec().into(),
            pool: Pool::open(options, &key_id)?,
            certificate: certificate.clone(),
            curve,
        };
        let trial = b"does the key belong to the certificate?";
        let signature = signer.sign(trial)?;
        if certificate.verify(trial, &signature).is_err() {
            return Err(TokenError::KeyMismatch(name()));
        }
        Ok(signer)
    }
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TokenSigner")
            .field("msp_id", &self.msp_id)
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Signer for TokenSigner {
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
        let digest = digest::digest(&digest::SHA256, message).as_ref().to_vec();
        let signed = off_the_reactor(|| self.pool.sign(digest)).map_err(SignError::Failed)?;
        let signature = wire_signature(self.curve, &signed).ok_or_else(|| {
            let reason = format!("the token gave a signature of {} bytes", signed.len());
            SignError::Failed(reason)
        })?;
        Ok(signature.into())
    }
}

/// Waits without keeping others from the thread, where it is one of a runtime with several.
fn off_the_reactor<T>(wait: impl FnOnce() -> T) -> T {
    let several = Handle::try_current()
        .is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if several {
        tokio::task::block_in_place(wait)
    } else {
        wait()
    }
}
