//! Keys and certificates with what Fabric's cryptogen puts into them.
//! fabric: internal/cryptogen/ca, internal/cryptogen/csp

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use consilium_ca::SigningKey;
use consilium_msp::Certificate;
use der::asn1::{Any, BitString, Ia5String, Int, ObjectIdentifier, OctetString, PrintableString};
use der::asn1::{UtcTime, Utf8StringRef};
use der::pem::LineEnding;
use der::{DateTime, Decode, Encode, Sequence};
use sha2::{Digest, Sha256};
use spki::AlgorithmIdentifierOwned;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages,
    SubjectAltName, SubjectKeyIdentifier,
};
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};
use x509_cert::time::{Time, Validity};
use zeroize::Zeroizing;

use super::specification::Node;

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// Ten years of 365 days.
const VALIDITY: u64 = 3650 * 86_400;

/// A private key.
pub enum Key {
    /// ECDSA; those made here are on P-256.
    Ecdsa(Box<SigningKey>),
    /// Ed25519.
    Ed25519(Box<Ed25519KeyPair>),
}

impl Key {
    /// A new key, and its PKCS#8 PEM.
    ///
    /// # Errors
    /// An algorithm that is neither `ecdsa` nor `ed25519`.
    pub fn generate(algorithm: &str) -> anyhow::Result<(Self, Zeroizing<String>)> {
        match algorithm {
            "ecdsa" => {
                let (key, pem) = SigningKey::generate()?;
                Ok((Self::Ecdsa(Box::new(key)), pem))
            }
            "ed25519" => {
                let key = Ed25519KeyPair::generate()?;
                let pem = pem("PRIVATE KEY", key.to_pkcs8v1()?.as_ref())?;
                Ok((Self::Ed25519(Box::new(key)), Zeroizing::new(pem)))
            }
            other => {
                anyhow::bail!("unsupported key algorithm {other:?}; expected ecdsa or ed25519")
            }
        }
    }

    /// A key out of PKCS#8 PEM.
    ///
    /// # Errors
    /// It is no such key.
    pub fn from_pem(text: &[u8]) -> anyhow::Result<Self> {
        let text = std::str::from_utf8(text)?;
        let (_, document) = der::Document::from_pem(text)?;
        if let Ok(key) = Ed25519KeyPair::from_pkcs8(document.as_bytes()) {
            return Ok(Self::Ed25519(Box::new(key)));
        }
        Ok(Self::Ecdsa(Box::new(SigningKey::from_pem(
            text.as_bytes(),
        )?)))
    }

    /// `SubjectPublicKeyInfo`, DER.
    fn public(&self) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Ecdsa(key) => key.public_key()?,
            Self::Ed25519(key) => {
                let public: PublicKeyX509Der<'_> = key.public_key().as_der()?;
                public.as_ref().to_vec()
            }
        })
    }

    fn algorithm(&self) -> AlgorithmIdentifierOwned {
        match self {
            Self::Ecdsa(key) => key.signature_algorithm(),
            Self::Ed25519(_) => AlgorithmIdentifierOwned {
                oid: ED25519,
                parameters: None,
            },
        }
    }

    fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Ecdsa(key) => key.sign(message)?,
            Self::Ed25519(key) => key.sign(message).as_ref().to_vec(),
        })
    }
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To issue others.
    Authority,
    /// To sign as a member.
    Identity,
    /// For connections.
    Tls,
}

/// Signs certificates.
pub struct Authority {
    /// Name of its files.
    pub name: String,
    /// Its certificate, PEM.
    pub certificate_pem: String,
    key: Key,
    subject: Vec<u8>,
    key_id: Option<Vec<u8>>,
    place: Place,
}

/// What all subjects of an authority share.
#[derive(Debug, Clone)]
struct Place {
    country: String,
    province: String,
    locality: String,
    unit: Option<String>,
    street: Option<String>,
    postal_code: Option<String>,
}

impl Place {
    fn of(node: &Node) -> Self {
        let or = |given: &str, default: &str| match given {
            "" => default.to_owned(),
            given => given.to_owned(),
        };
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Self {
            country: or(&node.country, "US"),
            province: or(&node.province, "California"),
            locality: or(&node.locality, "San Francisco"),
            unit: given(&node.organizational_unit),
            street: given(&node.street_address),
            postal_code: given(&node.postal_code),
        }
    }

    /// The subject of a certificate, in the order in which Go writes it.
    fn subject(
        &self,
        name: &str,
        organization: Option<&str>,
        unit: Option<&str>,
    ) -> der::Result<RdnSequence> {
        let units: Vec<&str> = self.unit.as_deref().into_iter().chain(unit).collect();
        let parts: [(&str, Vec<&str>); 8] = [
            ("2.5.4.6", vec![&self.country]),
            ("2.5.4.8", vec![&self.province]),
            ("2.5.4.7", vec![&self.locality]),
            ("2.5.4.9", self.street.as_deref().into_iter().collect()),
            (
                "2.5.4.17",
                self.postal_code.as_deref().into_iter().collect(),
            ),
            ("2.5.4.10", organization.into_iter().collect()),
            ("2.5.4.11", units),
            ("2.5.4.3", vec![name]),
        ];
        let mut subject = RdnSequence::default();
        for (oid, values) in parts.iter().filter(|(_, values)| !values.is_empty()) {
            let mut relative = RelativeDistinguishedName::default();
            for value in values {
                let item = AttributeTypeAndValue {
                    oid: ObjectIdentifier::new_unwrap(oid),
                    value: match PrintableString::new(value) {
                        Ok(printable) => Any::from(&printable),
                        Err(_) => Any::encode_from(&Utf8StringRef::new(value)?)?,
                    },
                };
                if !relative.iter().any(|present| *present == item) {
                    relative.insert(item)?;
                }
            }
            subject.push(relative);
        }
        Ok(subject)
    }
}

/// What is asked of an authority.
pub struct Request<'a> {
    /// Common name.
    pub name: &'a str,
    /// Organizational unit besides the authority's own.
    pub unit: Option<&'a str>,
    /// Names and addresses.
    pub hosts: &'a [String],
    /// Whose certificate it is.
    pub key: &'a Key,
    /// What for.
    pub usage: Use,
}

impl Authority {
    /// A new root, and its private key in PEM.
    ///
    /// # Errors
    /// The key's algorithm is unknown, or a name cannot be written.
    pub fn create(
        organization: &str,
        name: &str,
        node: &Node,
    ) -> anyhow::Result<(Self, Zeroizing<String>)> {
        let (key, key_pem) = Key::generate(&node.public_key_algorithm)?;
        let place = Place::of(node);
        let subject = place.subject(name, Some(organization), None)?.to_der()?;
        let mut authority = Self {
            name: name.to_owned(),
            certificate_pem: String::new(),
            key_id: Some(key_id(&key)?),
            key,
            place,
            subject: subject.clone(),
        };
        authority.certificate_pem = authority.certify(
            &subject,
            &authority.key,
            Use::Authority,
            // A root names no key above it.
            None,
            &[],
        )?;
        Ok((authority, key_pem))
    }

    /// One that was made before.
    ///
    /// # Errors
    /// Its certificate or key cannot be read, or they do not belong together.
    pub fn open(
        name: &str,
        node: &Node,
        certificate_pem: &[u8],
        key_pem: &[u8],
    ) -> anyhow::Result<Self> {
        let certificate = Certificate::from_pem(certificate_pem)?;
        let key = Key::from_pem(key_pem).context("private key")?;
        let parsed = x509_cert::Certificate::from_der(certificate.der())?;
        let public = parsed.tbs_certificate().subject_public_key_info().to_der();
        anyhow::ensure!(
            public? == key.public()?,
            "the private key does not belong to the certificate"
        );
        Ok(Self {
            name: name.to_owned(),
            certificate_pem: certificate.pem(),
            key,
            subject: certificate.subject_der().to_vec(),
            key_id: certificate.subject_key_id().map(<[u8]>::to_vec),
            place: Place::of(node),
        })
    }

    /// Issues a certificate, PEM.
    ///
    /// # Errors
    /// A name cannot be written into a certificate.
    pub fn issue(&self, request: &Request<'_>) -> anyhow::Result<String> {
        let subject = self.place.subject(request.name, None, request.unit)?;
        self.certify(
            &subject.to_der()?,
            request.key,
            request.usage,
            self.key_id.as_deref(),
            request.hosts,
        )
    }

    fn certify(
        &self,
        subject: &[u8],
        key: &Key,
        usage: Use,
        above: Option<&[u8]>,
        hosts: &[String],
    ) -> anyhow::Result<String> {
        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        // To the nearest minute, and five minutes back for clocks that are late.
        let begin = ((now + 30) / 60 * 60).saturating_sub(5 * 60);
        let to_be_signed = ToBeSigned {
            version: 2,
            serial: Int::new(&positive(&serial))?,
            signature: self.key.algorithm(),
            issuer: Any::from_der(&self.subject)?,
            validity: Validity::new(time(begin)?, time(begin + VALIDITY)?),
            subject: Any::from_der(subject)?,
            public_key: Any::from_der(&key.public()?)?,
            extensions: extensions(key, usage, above, hosts)?,
        }
        .to_der()?;
        let certificate = Signed {
            algorithm: self.key.algorithm(),
            signature: BitString::from_bytes(&self.key.sign(&to_be_signed)?)?,
            to_be_signed: Any::from_der(&to_be_signed)?,
        };
        pem("CERTIFICATE", &certificate.to_der()?)
    }
}

#[derive(Sequence)]
struct ToBeSigned {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: Int,
    signature: AlgorithmIdentifierOwned,
    issuer: Any,
    validity: Validity,
    subject: Any,
    public_key: Any,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Signed {
    to_be_signed: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

fn extensions(
    key: &Key,
    usage: Use,
    above: Option<&[u8]>,
    hosts: &[String],
) -> anyhow::Result<Vec<Extension>> {
    let mut list = Vec::new();
    let mut add = |oid, critical, value: Vec<u8>| -> der::Result<()> {
        list.push(Extension {
            extn_id: ObjectIdentifier::new_unwrap(oid),
            critical,
            extn_value: OctetString::new(value)?,
        });
        Ok(())
    };
    let (usages, purposes) = match usage {
        Use::Authority => (
            KeyUsages::DigitalSignature
                | KeyUsages::KeyEncipherment
                | KeyUsages::KeyCertSign
                | KeyUsages::CRLSign,
            vec![CLIENT_AUTH, SERVER_AUTH],
        ),
        Use::Identity => (KeyUsages::DigitalSignature.into(), Vec::new()),
        Use::Tls => (
            KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment,
            vec![SERVER_AUTH, CLIENT_AUTH],
        ),
    };
    add("2.5.29.15", true, KeyUsage(usages).to_der()?)?;
    if !purposes.is_empty() {
        add("2.5.29.37", false, ExtendedKeyUsage(purposes).to_der()?)?;
    }
    let constraints = BasicConstraints {
        ca: usage == Use::Authority,
        path_len_constraint: None,
    };
    add("2.5.29.19", true, constraints.to_der()?)?;
    if usage == Use::Authority {
        let own = SubjectKeyIdentifier(OctetString::new(key_id(key)?)?);
        add("2.5.29.14", false, own.to_der()?)?;
    }
    if let Some(above) = above {
        let above = AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(above)?),
            authority_cert_issuer: None,
            authority_cert_serial_number: None,
        };
        add("2.5.29.35", false, above.to_der()?)?;
    }
    if !hosts.is_empty() {
        add("2.5.29.17", false, names(hosts)?.to_der()?)?;
    }
    Ok(list)
}

/// Names before addresses, as Go writes them.
fn names(hosts: &[String]) -> anyhow::Result<SubjectAltName> {
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    for host in hosts {
        match host.parse::<IpAddr>() {
            Ok(address) => addresses.push(GeneralName::from(address)),
            Err(_) => {
                let name = Ia5String::new(host)
                    .with_context(|| format!("{host:?} cannot be a host's name"))?;
                names.push(GeneralName::DnsName(name));
            }
        }
    }
    names.append(&mut addresses);
    Ok(SubjectAltName(names))
}

/// RFC 7093, method 4 as Fabric reads it: SHA-256 of the public key's bits.
fn key_id(key: &Key) -> anyhow::Result<Vec<u8>> {
    let public = key.public()?;
    let info = spki::SubjectPublicKeyInfoOwned::from_der(&public)?;
    Ok(Sha256::digest(info.subject_public_key.raw_bytes()).to_vec())
}

/// A number as DER has it: no leading zeros, and one where the first bit is set.
fn positive(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0);
    let digits = first.map_or(&[0][..], |first| &bytes[first..]);
    let mut number = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_some_and(|byte| byte & 0x80 != 0) {
        number.push(0);
    }
    number.extend_from_slice(digits);
    number
}

fn time(seconds: u64) -> der::Result<Time> {
    let moment = DateTime::from_unix_duration(std::time::Duration::from_secs(seconds))?;
    Ok(match UtcTime::from_date_time(moment) {
        Ok(time) => Time::UtcTime(time),
        Err(_) => Time::GeneralTime(der::asn1::GeneralizedTime::from_date_time(moment)),
    })
}

fn pem(label: &'static str, document: &[u8]) -> anyhow::Result<String> {
    Ok(der::pem::encode_string(label, LineEnding::LF, document)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(algorithm: &str) -> Node {
        Node {
            public_key_algorithm: algorithm.to_owned(),
            organizational_unit: "Care".to_owned(),
            ..Node::default()
        }
    }

    #[test]
    fn certificates_are_issued_with_both_algorithms_and_read_again() {
        for algorithm in ["ecdsa", "ed25519"] {
            let node = node(algorithm);
            let (made, key_pem) =
                Authority::create("example.com", "ca.example.com", &node).unwrap();
            let opened = Authority::open(
                "ca.example.com",
                &node,
                made.certificate_pem.as_bytes(),
                key_pem.as_bytes(),
            )
            .unwrap();
            let (key, _) = Key::generate(algorithm).unwrap();
            let request = Request {
                name: "peer0.example.com",
                unit: Some("peer"),
                hosts: &["127.0.0.1".to_owned(), "peer0".to_owned()],
                key: &key,
                usage: Use::Tls,
            };
            let root = Certificate::from_pem(made.certificate_pem.as_bytes()).unwrap();
            let issued = opened.issue(&request).unwrap();
            let issued = Certificate::from_pem(issued.as_bytes()).unwrap();
            assert!(root.is_ca() && !issued.is_ca());
            assert!(root.is_signed_by(&root) && issued.is_signed_by(&root));
            assert_eq!(issued.subject_ous(), ["Care", "peer"]);
            assert_eq!(issued.dns_names(), ["peer0"]);
            assert_eq!(issued.ip_addresses(), [[127, 0, 0, 1]]);
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let node = node("ecdsa");
        let (one, _) = Authority::create("a", "ca.a", &node).unwrap();
        let (_, key) = Authority::create("b", "ca.b", &node).unwrap();
        let opened = Authority::open(
            "ca.a",
            &node,
            one.certificate_pem.as_bytes(),
            key.as_bytes(),
        );
        assert!(opened.is_err());
        assert!(Key::generate("rsa").is_err());
    }

    #[test]
    fn serial_numbers_are_positive_and_short() {
        for (bytes, expected) in [
            (&[0, 0][..], &[0][..]),
            (&[0, 1], &[1]),
            (&[0x80, 1], &[0, 0x80, 1]),
            (&[0x7f], &[0x7f]),
        ] {
            assert_eq!(positive(bytes), expected);
        }
    }
}
