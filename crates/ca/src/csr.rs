//! Reading certificate signing requests that strangers send.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{AttributeTypeAndValue, SubjectPublicKeyInfo};

use crate::certificate::{Host, Subject};

/// Why a request cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CsrError {
    #[error("CSR Decode failed")]
    NotPem,
    #[error("the certificate signing request cannot be read: {0}")]
    Malformed(String),
    #[error("the public key of the certificate signing request is not supported: {0}")]
    UnsupportedKey(String),
    #[error("the signature of the certificate signing request is wrong")]
    BadSignature,
    /// The text names the field and its limit, as Fabric CA's.
    #[error("CSR input validation failed: {0}")]
    TooLong(String),
}

/// A request whose signature was checked.
#[derive(Debug, Clone)]
pub(crate) struct SigningRequest {
    pub subject: Subject,
    /// SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    pub hosts: Vec<Host>,
    /// `Some` if the requester wants to become a certificate authority, with the number of
    /// authorities below it, if it names one.
    pub authority: Option<Option<u8>>,
}

/// Limits of RFC 5280, appendix A, with Fabric CA's words for them.
const LIMITS: [(&str, &str, usize); 7] = [
    ("2.5.4.3", "CN", 64),
    ("2.5.4.5", "serial number", 64),
    ("2.5.4.11", "organizational unit name", 64),
    ("2.5.4.10", "organization name", 64),
    ("2.5.4.6", "country name", 2),
    ("2.5.4.7", "locality name", 128),
    ("2.5.4.8", "state name", 128),
];

impl SigningRequest {
    /// Reads a PEM request and proves that the sender holds the key.
    pub fn from_pem(text: &str) -> Result<Self, CsrError> {
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(text.as_bytes()).map_err(|_| CsrError::NotPem)?;
        if pem.label != "CERTIFICATE REQUEST" && pem.label != "NEW CERTIFICATE REQUEST" {
            return Err(CsrError::Malformed("not a certificate or csr".into()));
        }
        Self::from_der(&pem.contents)
    }

    fn from_der(der: &[u8]) -> Result<Self, CsrError> {
        let (rest, request) = X509CertificationRequest::from_der(der)
            .map_err(|error| CsrError::Malformed(error.to_string()))?;
        if !rest.is_empty() {
            return Err(CsrError::Malformed("trailing data".into()));
        }
        let info = &request.certification_request_info;
        let algorithm = verification(&info.subject_pki, &request.signature_algorithm.algorithm)?;
        UnparsedPublicKey::new(algorithm, &info.subject_pki.subject_public_key.data)
            .verify(info.raw, &request.signature_value.data)
            .map_err(|_| CsrError::BadSignature)?;

        let mut subject = Subject::default();
        for item in info.subject.iter_attributes() {
            add_attribute(&mut subject, item)?;
        }
        let (mut hosts, mut authority) = (Vec::new(), None);
        for extension in request.requested_extensions().into_iter().flatten() {
            match extension {
                ParsedExtension::SubjectAlternativeName(names) => {
                    hosts.extend(names.general_names.iter().filter_map(host));
                }
                ParsedExtension::BasicConstraints(constraints) if constraints.ca => {
                    let length = constraints.path_len_constraint;
                    authority = Some(length.map(|length| u8::try_from(length).unwrap_or(u8::MAX)));
                }
                ParsedExtension::ParseError { error } => {
                    return Err(CsrError::Malformed(error.to_string()));
                }
                // Everything else in a request is a wish that the profile decides.
                _ => {}
            }
        }
        Ok(Self {
            subject,
            public_key: info.subject_pki.raw.to_vec(),
            hosts,
            authority,
        })
    }
}

/// How the request was signed, by its key's algorithm and curve and its signature algorithm.
fn verification(
    key: &SubjectPublicKeyInfo<'_>,
    algorithm: &Oid<'_>,
) -> Result<&'static dyn VerificationAlgorithm, CsrError> {
    let kind = key.algorithm.algorithm.to_id_string();
    let hash = algorithm.to_id_string();
    let curve = key
        .algorithm
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.as_oid().ok())
        .map_or_else(String::new, |curve| curve.to_id_string());
    Ok(match (kind.as_str(), curve.as_str(), hash.as_str()) {
        (ECDSA, "1.2.840.10045.3.1.7", "1.2.840.10045.4.3.2") => &signature::ECDSA_P256_SHA256_ASN1,
        (ECDSA, "1.2.840.10045.3.1.7", "1.2.840.10045.4.3.3") => &signature::ECDSA_P256_SHA384_ASN1,
        (ECDSA, "1.3.132.0.34", "1.2.840.10045.4.3.2") => &signature::ECDSA_P384_SHA256_ASN1,
        (ECDSA, "1.3.132.0.34", "1.2.840.10045.4.3.3") => &signature::ECDSA_P384_SHA384_ASN1,
        (ECDSA, "1.3.132.0.35", "1.2.840.10045.4.3.2") => &signature::ECDSA_P521_SHA256_ASN1,
        (ECDSA, "1.3.132.0.35", "1.2.840.10045.4.3.4") => &signature::ECDSA_P521_SHA512_ASN1,
        (ECDSA, _, _) => {
            return Err(CsrError::UnsupportedKey(format!(
                "curve {curve} with signature algorithm {hash}"
            )));
        }
        (RSA, _, _) => rsa(key, &hash)?,
        _ => {
            return Err(CsrError::UnsupportedKey(format!(
                "algorithm {kind}; use ECDSA on P-256, P-384 or P-521, or RSA with 2048 to 4096 \
                 bits"
            )));
        }
    })
}

const ECDSA: &str = "1.2.840.10045.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";

fn rsa(
    key: &SubjectPublicKeyInfo<'_>,
    hash: &str,
) -> Result<&'static dyn VerificationAlgorithm, CsrError> {
    let bits = match key.parsed() {
        Ok(PublicKey::RSA(key)) => key.key_size(),
        _ => 0,
    };
    // Below it proves little; above, one signature costs a core milliseconds, and nobody needs it.
    if !(2048..=4096).contains(&bits) {
        return Err(CsrError::UnsupportedKey(format!(
            "RSA with {bits} bits; use 2048 to 4096"
        )));
    }
    Ok(match hash {
        "1.2.840.113549.1.1.11" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "1.2.840.113549.1.1.12" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "1.2.840.113549.1.1.13" => &signature::RSA_PKCS1_2048_8192_SHA512,
        _ => {
            return Err(CsrError::UnsupportedKey(format!(
                "RSA with signature algorithm {hash}"
            )));
        }
    })
}

fn add_attribute(subject: &mut Subject, item: &AttributeTypeAndValue<'_>) -> Result<(), CsrError> {
    let value = item
        .as_str()
        .map_err(|_| CsrError::Malformed("the subject holds a value that is not text".into()))?
        .to_owned();
    let oid = item.attr_type().to_id_string();
    if let Some((_, what, limit)) = LIMITS.iter().find(|(known, _, _)| *known == oid)
        && value.len() > *limit
    {
        return Err(CsrError::TooLong(format!(
            "The {what} '{value}' exceeds the maximum character limit of {limit}"
        )));
    }
    match oid.as_str() {
        "2.5.4.3" => subject.common_name = value,
        "2.5.4.5" => subject.serial_number = value,
        "2.5.4.6" => subject.country.push(value),
        "2.5.4.7" => subject.locality.push(value),
        "2.5.4.8" => subject.province.push(value),
        "2.5.4.10" => subject.organization.push(value),
        "2.5.4.11" => subject.organizational_units.push(value),
        _ => {}
    }
    Ok(())
}

fn host(name: &GeneralName<'_>) -> Option<Host> {
    match name {
        GeneralName::DNSName(name) => Some(Host::Dns((*name).to_owned())),
        GeneralName::RFC822Name(address) => Some(Host::Email((*address).to_owned())),
        GeneralName::URI(uri) => Some(Host::Uri((*uri).to_owned())),
        GeneralName::IPAddress(bytes) => {
            if let Ok(four) = <[u8; 4]>::try_from(*bytes) {
                return Some(Host::Ip(IpAddr::V4(Ipv4Addr::from(four))));
            }
            let sixteen = <[u8; 16]>::try_from(*bytes).ok()?;
            Some(Host::Ip(IpAddr::V6(Ipv6Addr::from(sixteen))))
        }
        _ => None,
    }
}
