//! A parsed X.509 certificate: everything that identities and paths need, read once and owned.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, NameConstraints, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

use crate::pem;
use crate::signature::{
    CertificateHash, CertificateSignature, Curve, HashFamily, PublicKey, SignatureError, lowered,
    push_length,
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

    /// Adds `name`; false when it is of a kind that is not looked at.
    fn add(&mut self, name: &GeneralName<'_>) -> bool {
        match name {
            GeneralName::DNSName(value) => self.dns.push((*value).to_owned()),
            GeneralName::RFC822Name(value) => self.emails.push((*value).to_owned()),
            GeneralName::URI(value) => self.uris.push((*value).to_owned()),
            GeneralName::IPAddress(value) => self.addresses.push(value.to_vec()),
            _ => return false,
        }
        true
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
    /// As `key_cert_sign`, for cRLSign.
    crl_sign: Option<bool>,
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
        parse(der).map(Arc::new)
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

    /// Verifies a signature over `message` made by this certificate's key: DER ECDSA with low S over
    /// SHA-256, or Ed25519 over the message itself.
    ///
    /// # Errors
    /// [`SignatureError`] says whether the signature is unreadable, of the wrong half or wrong.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        self.public_key.verify(HashFamily::Sha2, message, signature)
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

    pub(crate) fn may_sign_lists(&self) -> bool {
        self.crl_sign != Some(false)
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

fn malformed(what: impl std::fmt::Display) -> CertificateError {
    CertificateError::Malformed(what.to_string())
}

fn parse(input: &[u8]) -> Result<Certificate, CertificateError> {
    let der = Bytes::copy_from_slice(input);
    let (rest, certificate) = X509Certificate::from_der(input).map_err(malformed)?;
    if !rest.is_empty() {
        return Err(malformed("trailing data"));
    }
    let tbs = range_in(input, certificate.tbs_certificate.as_ref());
    let signature = certificate.signature_value.data.to_vec();
    let algorithm =
        tbs.end..element_end(input, tbs.end).ok_or_else(|| malformed("signature algorithm"))?;

    let mut parsed = Certificate {
        tbs,
        algorithm,
        signature,
        signature_algorithm: signature_algorithm(&certificate.signature_algorithm),
        version3: certificate.version().0 == 2,
        issuer: certificate.issuer().as_raw().to_vec(),
        subject: certificate.subject().as_raw().to_vec(),
        common_name: common_name(certificate.subject()),
        organizational_units: organizational_units(certificate.subject()),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        serial: without_leading_zeros(certificate.raw_serial()).to_vec(),
        public_key: public_key(certificate.public_key()),
        subject_key_id: None,
        basic_constraints: None,
        key_cert_sign: None,
        crl_sign: None,
        extended_key_usage: None,
        alternative_names: None,
        constraints: None,
        unhandled_critical_extension: false,
        pem: OnceLock::new(),
        digest: Sha256::digest(input).into(),
        der,
    };
    certificate
        .tbs_certificate
        .extensions_map()
        .map_err(|_| malformed("certificate contains duplicate extensions"))?;
    for extension in certificate.extensions() {
        read_extension(
            &mut parsed,
            extension.parsed_extension(),
            extension.critical,
        )
        .map_err(|what| {
            malformed(format!(
                "extension {}: {what}",
                extension.oid.to_id_string()
            ))
        })?;
    }
    Ok(parsed)
}

fn read_extension(
    certificate: &mut Certificate,
    extension: &ParsedExtension<'_>,
    critical: bool,
) -> Result<(), String> {
    let mut handled = true;
    match extension {
        ParsedExtension::ParseError { error } => return Err(error.to_string()),
        ParsedExtension::SubjectKeyIdentifier(id) => {
            certificate.subject_key_id = Some(id.0.to_vec())
        }
        ParsedExtension::BasicConstraints(constraints) => {
            certificate.basic_constraints = Some((constraints.ca, constraints.path_len_constraint));
        }
        ParsedExtension::KeyUsage(usage) if usage.flags != 0 => {
            certificate.key_cert_sign = Some(usage.key_cert_sign());
            certificate.crl_sign = Some(usage.crl_sign());
        }
        ParsedExtension::ExtendedKeyUsage(usage) => {
            certificate.extended_key_usage = Some(ExtendedKeyUsage {
                allows_server_auth: usage.any || usage.server_auth,
            });
        }
        ParsedExtension::SubjectAlternativeName(names) => {
            let mut read = Names::default();
            for name in &names.general_names {
                read.add(name);
            }
            handled = !read.is_empty();
            certificate.alternative_names = Some(read);
        }
        ParsedExtension::NameConstraints(constraints) => {
            let (read, complete) = name_constraints(constraints);
            handled = complete;
            certificate.constraints = Some(read);
        }
        ParsedExtension::KeyUsage(_)
        | ParsedExtension::AuthorityKeyIdentifier(_)
        | ParsedExtension::CertificatePolicies(_)
        | ParsedExtension::PolicyMappings(_)
        | ParsedExtension::PolicyConstraints(_)
        | ParsedExtension::InhibitAnyPolicy(_)
        | ParsedExtension::AuthorityInfoAccess(_)
        | ParsedExtension::CRLDistributionPoints(_) => {}
        _ => handled = false,
    }
    certificate.unhandled_critical_extension |= critical && !handled;
    Ok(())
}

fn name_constraints(constraints: &NameConstraints<'_>) -> (Constraints, bool) {
    let mut complete = true;
    let mut read = |subtrees: &Option<Vec<x509_parser::extensions::GeneralSubtree<'_>>>| {
        let mut names = Names::default();
        for subtree in subtrees.iter().flatten() {
            complete &= names.add(&subtree.base);
        }
        names
    };
    let constraints = Constraints {
        permitted: read(&constraints.permitted_subtrees),
        excluded: read(&constraints.excluded_subtrees),
    };
    (constraints, complete)
}

fn common_name(name: &X509Name<'_>) -> String {
    name.iter_common_name()
        .last()
        .map(attribute_text)
        .unwrap_or_default()
}

fn organizational_units(name: &X509Name<'_>) -> Vec<String> {
    name.iter_organizational_unit()
        .map(attribute_text)
        .collect()
}

fn attribute_text(attribute: &x509_parser::x509::AttributeTypeAndValue<'_>) -> String {
    match attribute.as_str() {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(attribute.as_slice()).into_owned(),
    }
}

fn public_key(info: &SubjectPublicKeyInfo<'_>) -> PublicKey {
    let bits = info.subject_public_key.data.as_ref();
    match info.algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.10045.2.1" => {
            let curve = info
                .algorithm
                .parameters
                .as_ref()
                .and_then(|any| any.as_oid().ok());
            match curve.map(|oid| oid.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => PublicKey::ecdsa(Curve::P256, bits),
                Some("1.3.132.0.34") => PublicKey::ecdsa(Curve::P384, bits),
                Some("1.3.132.0.35") => PublicKey::ecdsa(Curve::P521, bits),
                other => PublicKey::Unsupported(format!(
                    "unsupported curve {}",
                    other.unwrap_or("(none)")
                )),
            }
        }
        "1.3.101.112" => PublicKey::ed25519(bits),
        "1.2.840.113549.1.1.1" => PublicKey::Rsa(bits.to_vec()),
        other => PublicKey::Unsupported(format!("algorithm {other}")),
    }
}

pub(crate) fn signature_algorithm(algorithm: &AlgorithmIdentifier<'_>) -> CertificateSignature {
    use CertificateHash::{Sha256, Sha384, Sha512};
    match algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.10045.4.3.2" => CertificateSignature::Ecdsa(Sha256),
        "1.2.840.10045.4.3.3" => CertificateSignature::Ecdsa(Sha384),
        "1.2.840.10045.4.3.4" => CertificateSignature::Ecdsa(Sha512),
        "1.3.101.112" => CertificateSignature::Ed25519,
        "1.2.840.113549.1.1.11" => CertificateSignature::Rsa(Sha256),
        "1.2.840.113549.1.1.12" => CertificateSignature::Rsa(Sha384),
        "1.2.840.113549.1.1.13" => CertificateSignature::Rsa(Sha512),
        "1.2.840.113549.1.1.10" => pss_hash(algorithm).map_or(
            CertificateSignature::Unsupported,
            CertificateSignature::RsaPss,
        ),
        _ => CertificateSignature::Unsupported,
    }
}

/// The hash of an RSASSA-PSS algorithm, told apart by the object identifiers in its parameters.
fn pss_hash(algorithm: &AlgorithmIdentifier<'_>) -> Option<CertificateHash> {
    let parameters = algorithm.parameters.as_ref()?.data;
    [
        (1, CertificateHash::Sha256),
        (2, CertificateHash::Sha384),
        (3, CertificateHash::Sha512),
    ]
    .into_iter()
    .find(|(last, _)| {
        let oid = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, *last];
        parameters.windows(oid.len()).any(|window| window == oid)
    })
    .map(|(_, hash)| hash)
}

pub(crate) fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

/// Position of `part`, a slice of `whole`, within it.
pub(crate) fn range_in(whole: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let start = (part.as_ptr() as usize)
        .saturating_sub(whole.as_ptr() as usize)
        .min(whole.len());
    start..(start + part.len()).min(whole.len())
}

/// End of the DER element that starts at `start`.
fn element_end(der: &[u8], start: usize) -> Option<usize> {
    let (_, rest) = der.get(start..)?.split_first()?;
    let (&first, _) = rest.split_first()?;
    let (header, length) = match first {
        0..=0x7f => (2, usize::from(first)),
        0x81 => (3, usize::from(*der.get(start + 2)?)),
        0x82 => (
            4,
            usize::from(*der.get(start + 2)?) << 8 | usize::from(*der.get(start + 3)?),
        ),
        _ => return None,
    };
    let end = start + header + length;
    (end <= der.len()).then_some(end)
}
