//! A parsed X.509 certificate: everything that identities and paths need, read once and owned.

mod parse;

pub(crate) use parse::{range_in, signature_algorithm, without_leading_zeros};

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use thiserror::Error;

use crate::pem;
use crate::signature::{
    CertificateSignature, Curve, HashFamily, PublicKey, SignatureError, lowered, push_length,
};

/// Why bytes are not a certificate that can be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// There is no PEM block.
    #[error("could not decode the PEM structure")]
    NoPem,
    /// The contents are no X.509 certificate.
    #[error("failed to parse x509 cert: {0}")]
    Malformed(String),
}

/// The extended key usages of a certificate, as far as path building distinguishes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExtendedKeyUsage {
    /// `anyExtendedKeyUsage` or `serverAuth`: what Go asks for when nothing is asked for.
    pub allows_server_auth: bool,
    /// `anyExtendedKeyUsage` or `clientAuth`.
    pub allows_client_auth: bool,
}

/// The two ends of a TLS connection that a certificate may stand at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsUses {
    /// As a server.
    pub server: bool,
    /// As a client.
    pub client: bool,
}

impl TlsUses {
    /// What both allow: extended key usages nest along a path.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            server: self.server && other.server,
            client: self.client && other.client,
        }
    }
}

/// A set of names of the kinds that name constraints speak about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub dns: Vec<String>,
    pub emails: Vec<String>,
    pub uris: Vec<String>,
    /// 4 or 16 bytes; in constraints address and mask, so 8 or 32.
    pub addresses: Vec<Vec<u8>>,
}

impl Names {
    pub fn is_empty(&self) -> bool {
        self.dns.is_empty()
            && self.emails.is_empty()
            && self.uris.is_empty()
            && self.addresses.is_empty()
    }
}

/// The name constraints of an issuer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Constraints {
    pub permitted: Names,
    pub excluded: Names,
}

/// A parsed X.509 certificate.
///
/// Cheap to share as `Arc<Certificate>`; its public key is parsed, so verifying a signature parses
/// nothing but the signature.
pub struct Certificate {
    der: Bytes,
    /// Where the signed part lies in `der`.
    tbs: std::ops::Range<usize>,
    signature_algorithm: CertificateSignature,
    /// Where the signature algorithm's element lies in `der`.
    algorithm: std::ops::Range<usize>,
    signature: Vec<u8>,
    version3: bool,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    common_name: String,
    organizational_units: Vec<String>,
    not_before: i64,
    not_after: i64,
    serial: Vec<u8>,
    subject_key_id: Option<Vec<u8>>,
    public_key: PublicKey,
    /// `Some` when the basic constraints extension is there: the CA flag and the path length.
    basic_constraints: Option<(bool, Option<u32>)>,
    /// `Some` when the key usage extension is there and not empty: whether keyCertSign is set.
    key_cert_sign: Option<bool>,
    extended_key_usage: Option<ExtendedKeyUsage>,
    alternative_names: Option<Names>,
    constraints: Option<Constraints>,
    unhandled_critical_extension: bool,
    pem: OnceLock<String>,
    digest: [u8; 32],
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Certificate")
            .field("subject", &self.common_name)
            .field("units", &self.organizational_units)
            .field("serial", &self.serial_hex())
            .finish_non_exhaustive()
    }
}

/// Two certificates are equal when their DER is.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl Certificate {
    /// Parses the first PEM block of `text`, of whatever type; what surrounds it is ignored.
    ///
    /// # Errors
    /// [`CertificateError`] when there is no block or it holds no certificate.
    pub fn from_pem(text: &[u8]) -> Result<Arc<Self>, CertificateError> {
        let block = pem::first_block(text).ok_or(CertificateError::NoPem)?;
        Self::from_der(&block.contents)
    }

    /// Parses all `CERTIFICATE` blocks of `text`, in order; an empty text gives an empty list.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`] when a block holds no certificate.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Arc<Self>>, CertificateError> {
        pem::blocks(text, "CERTIFICATE")
            .iter()
            .map(|der| Self::from_der(der))
            .collect()
    }

    /// Parses a DER certificate. Trailing bytes are refused.
    ///
    /// # Errors
    /// [`CertificateError::Malformed`].
    pub fn from_der(der: &[u8]) -> Result<Arc<Self>, CertificateError> {
        parse::parse(der).map(Arc::new)
    }

    /// The DER bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate as one PEM block of 64 columns with line feeds.
    pub fn pem(&self) -> String {
        self.pem
            .get_or_init(|| pem::encode("CERTIFICATE", &self.der))
            .clone()
    }

    /// SHA-256 of the DER bytes.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The last common name of the subject, empty when there is none.
    pub fn subject_cn(&self) -> &str {
        &self.common_name
    }

    /// The organizational units of the subject, in order.
    pub fn subject_ous(&self) -> &[String] {
        &self.organizational_units
    }

    /// What a person tells it by, and what makes two of them different: common name, serial number,
    /// end of validity, beginning of its digest.
    pub fn describe(&self) -> String {
        let until = x509_parser::time::ASN1Time::from_timestamp(self.not_after).map_or_else(
            |_| self.not_after.to_string(),
            |time| {
                let time = time.to_datetime();
                let month = u8::from(time.month());
                format!("{}-{month:02}-{:02}", time.year(), time.day())
            },
        );
        format!(
            "CN={}, serial {}, until {until}, SHA-256 {}",
            self.common_name,
            self.serial_hex(),
            hex::encode(&self.digest[..10])
        )
    }

    /// The subject as DER, comparable byte by byte.
    pub fn subject_der(&self) -> &[u8] {
        &self.subject
    }

    /// The issuer as DER, comparable byte by byte.
    pub fn issuer_der(&self) -> &[u8] {
        &self.issuer
    }

    /// Start of validity, seconds since 1970 in UTC.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// End of validity, seconds since 1970 in UTC, inclusive.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The serial number, big endian without leading zeros.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The serial number in lower-case hexadecimal, two digits for each byte.
    pub fn serial_hex(&self) -> String {
        hex::encode(&self.serial)
    }

    /// Contents of the subject key identifier extension.
    pub fn subject_key_id(&self) -> Option<&[u8]> {
        self.subject_key_id.as_deref()
    }

    /// Whether the certificate says that it is one of an authority.
    pub fn is_ca(&self) -> bool {
        matches!(self.basic_constraints, Some((true, _)))
    }

    /// Whether the public key is one that identities may have; `ed25519` also needs the channel's leave.
    pub(crate) fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Whether both certificates are over the same public key: a renewed certificate may keep it.
    pub fn same_public_key(&self, other: &Certificate) -> bool {
        self.public_key == other.public_key
    }

    /// The curve of an elliptic curve public key.
    pub fn curve(&self) -> Option<Curve> {
        match &self.public_key {
            PublicKey::Ecdsa { curve, .. } => Some(*curve),
            _ => None,
        }
    }

    /// The public key as a point of its elliptic curve, uncompressed: what Fabric's key identifiers are
    /// hashes of.
    pub fn public_point(&self) -> Option<&[u8]> {
        match &self.public_key {
            PublicKey::Ecdsa { key, .. } => Some((**key).as_ref()),
            _ => None,
        }
    }

    /// Verifies a signature over `message` made by this certificate's key: DER ECDSA with low S over
    /// SHA-256, or Ed25519 over the message itself.
    ///
    /// # Errors
    /// [`SignatureError`] says whether the signature is unreadable, of the wrong half or wrong.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.public_key
            .verify(HashFamily::Sha2, &[message], signature)
    }

    /// Whether this certificate was signed by the key of `issuer`, and `issuer` may sign certificates
    /// (go: x509.Certificate.CheckSignatureFrom).
    pub fn is_signed_by(&self, issuer: &Certificate) -> bool {
        let may_sign = match issuer.basic_constraints {
            Some((ca, _)) => ca,
            None => !issuer.version3,
        };
        may_sign
            && issuer.key_cert_sign != Some(false)
            && issuer.public_key.verify_certificate(
                self.signature_algorithm,
                &self.der[self.tbs.clone()],
                &self.signature,
            )
    }

    /// Whether the certificate itself is signed with ECDSA.
    pub(crate) fn is_ecdsa_signed(&self) -> bool {
        matches!(self.signature_algorithm, CertificateSignature::Ecdsa(_))
    }

    pub(crate) fn own_signature(&self) -> &[u8] {
        &self.signature
    }

    /// The path length constraint, if the certificate has one.
    pub(crate) fn path_length(&self) -> Option<u32> {
        self.basic_constraints.and_then(|(_, length)| length)
    }

    /// What its extended key usages allow in TLS; both where it has none.
    pub fn tls_uses(&self) -> TlsUses {
        TlsUses {
            server: self
                .extended_key_usage
                .is_none_or(|usage| usage.allows_server_auth),
            client: self
                .extended_key_usage
                .is_none_or(|usage| usage.allows_client_auth),
        }
    }

    pub(crate) fn extended_key_usage(&self) -> Option<ExtendedKeyUsage> {
        self.extended_key_usage
    }

    pub(crate) fn alternative_names(&self) -> Option<&Names> {
        self.alternative_names.as_ref()
    }

    pub(crate) fn constraints(&self) -> Option<&Constraints> {
        self.constraints.as_ref()
    }

    pub(crate) fn has_unhandled_critical_extension(&self) -> bool {
        self.unhandled_critical_extension
    }

    /// DNS names of the subject alternative name extension.
    pub fn dns_names(&self) -> &[String] {
        self.alternative_names
            .as_ref()
            .map_or(&[], |names| &names.dns)
    }

    /// IP addresses of the subject alternative name extension, 4 or 16 bytes each.
    pub fn ip_addresses(&self) -> &[Vec<u8>] {
        self.alternative_names
            .as_ref()
            .map_or(&[], |names| &names.addresses)
    }

    /// This certificate with its own signature's S in the lower half of `issuer`'s group order, so that
    /// every encoding of one certificate has one identifier. `None` when it already is.
    pub(crate) fn sanitized(&self, issuer: &Certificate) -> Option<Arc<Certificate>> {
        if !self.is_ecdsa_signed() {
            return None;
        }
        let signature = lowered(issuer.curve()?, &self.signature)?;
        let mut body = Vec::with_capacity(self.der.len() + 2);
        body.extend_from_slice(&self.der[self.tbs.clone()]);
        body.extend_from_slice(&self.der[self.algorithm.clone()]);
        body.push(0x03);
        push_length(&mut body, signature.len() + 1);
        body.push(0);
        body.extend_from_slice(&signature);
        let mut der = vec![0x30];
        push_length(&mut der, body.len());
        der.extend_from_slice(&body);
        // It was parsed before, and only the signature's contents changed.
        Certificate::from_der(&der).ok()
    }
}
