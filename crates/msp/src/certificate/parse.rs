//! Reading DER into a [`Certificate`].

use std::sync::OnceLock;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, NameConstraints, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo, X509Name};

use super::{Certificate, CertificateError, Constraints, ExtendedKeyUsage, Names};
use crate::signature::{CertificateHash, CertificateSignature, Curve, PublicKey};

fn malformed(what: impl std::fmt::Display) -> CertificateError {
    CertificateError::Malformed(what.to_string())
}

pub(super) fn parse(input: &[u8]) -> Result<Certificate, CertificateError> {
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
        }
        ParsedExtension::ExtendedKeyUsage(usage) => {
            certificate.extended_key_usage = Some(ExtendedKeyUsage {
                allows_server_auth: usage.any || usage.server_auth,
                allows_client_auth: usage.any || usage.client_auth,
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

/// Text as Go reads it: Teletex strings are Latin-1, BMP strings are 16 bits a character and may end
/// with a zero (go: crypto/x509/parser.go parseASN1String).
fn attribute_text(attribute: &x509_parser::x509::AttributeTypeAndValue<'_>) -> String {
    let bytes = attribute.as_slice();
    match attribute.attr_value().tag() {
        Tag::T61String => bytes.iter().copied().map(char::from).collect(),
        Tag::BmpString => {
            let units: Vec<u16> = bytes
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
                .collect();
            String::from_utf16_lossy(units.strip_suffix(&[0]).unwrap_or(&units))
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
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

impl Names {
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
