//! Fabric CA's authorization tokens: a certificate and a signature over the request.
//!
//! `base64(certificate) "." base64(signature)`, where the signature covers
//! `method "." base64(uri) "." base64(body) "." base64(certificate)`; before version 1.4 it
//! covered `base64(body) "." base64(certificate)` only (fabric-ca: `util/util.go`).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use consilium_msp::Certificate;

use crate::keys::{KeyError, SigningKey};

/// The request that a token is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    pub method: &'a str,
    /// Path and query as they stand in the request line.
    pub uri: &'a str,
    pub body: &'a [u8],
}

impl Signed<'_> {
    fn payload(&self, certificate: &str) -> String {
        format!(
            "{}.{}.{}.{certificate}",
            self.method,
            STANDARD.encode(self.uri),
            STANDARD.encode(self.body)
        )
    }

    fn legacy_payload(&self, certificate: &str) -> String {
        format!("{}.{certificate}", STANDARD.encode(self.body))
    }
}

/// The token for a request, in the name of the certificate (PEM) that `key` belongs to.
pub(crate) fn create(
    request: Signed<'_>,
    certificate_pem: &[u8],
    key: &SigningKey,
) -> Result<String, KeyError> {
    let certificate = STANDARD.encode(certificate_pem);
    let signature = key.sign_as_member(request.payload(&certificate).as_bytes())?;
    Ok(format!("{certificate}.{}", STANDARD.encode(signature)))
}

/// The certificate whose key signed the request; the reason if the token proves nothing.
///
/// Who issued the certificate, and whether it still counts, is for the caller to decide.
pub(crate) fn verify(
    token: &str,
    request: Signed<'_>,
    accept_legacy: bool,
) -> Result<Arc<Certificate>, String> {
    let (certificate_text, signature) = match token.split('.').collect::<Vec<_>>()[..] {
        [certificate, signature] => (certificate, signature),
        _ => return Err("Invalid token format; expecting 2 parts separated by '.'".into()),
    };
    let pem = STANDARD
        .decode(certificate_text)
        .map_err(|error| format!("Failed to decode base64 encoded x509 cert: {error}"))?;
    let certificate = Certificate::from_pem(&pem)
        .map_err(|error| format!("Error in parsing x509 certificate given block bytes: {error}"))?;
    let signature = STANDARD
        .decode(signature)
        .map_err(|error| format!("Invalid base64 encoded signature in token: {error}"))?;
    let proves = |payload: String| certificate.verify(payload.as_bytes(), &signature).is_ok();
    if proves(request.payload(certificate_text))
        || accept_legacy && proves(request.legacy_payload(certificate_text))
    {
        return Ok(certificate);
    }
    Err("Token signature validation failed".into())
}
