//! What an issued certificate looks like: the profile of Fabric CA and `cryptogen`, as pure
//! functions from a [`Template`] to DER.
//!
//! Subjects keep all organizational units in one relative name (`OU=client+OU=org1`), which is
//! how Go's x509 package writes them and what authorization reads.

use std::net::IpAddr;

use der::asn1::{
    Any, BitString, GeneralizedTime, Ia5String, Int, ObjectIdentifier, OctetString,
    PrintableString, UtcTime, Utf8StringRef,
};
use der::flagset::FlagSet;
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
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};
use x509_cert::time::{Time, Validity};

/// The extension that carries attributes as JSON (fabric-ca: `lib/attrmgr`).
pub(crate) const ATTRIBUTES_OID: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.2.3.4.5.6.7.8.1");

const SERVER_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
pub(crate) const AUTHORITY_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// The parts of a distinguished name that Fabric CA keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// C
    pub country: Vec<String>,
    /// O
    pub organization: Vec<String>,
    /// OU
    pub organizational_units: Vec<String>,
    /// L
    pub locality: Vec<String>,
    /// ST
    pub province: Vec<String>,
    /// CN
    pub common_name: String,
    /// A part of the name, not the certificate's serial number.
    pub serial_number: String,
}

impl Subject {
    /// The name with its attributes in Go's order, several values of a kind in one relative name.
    pub(crate) fn to_name(&self) -> der::Result<Name> {
        let one = |value: &String| match value.as_str() {
            "" => Vec::new(),
            _ => vec![value.clone()],
        };
        let (name, serial) = (one(&self.common_name), one(&self.serial_number));
        let parts: [(&str, &[String]); 7] = [
            ("2.5.4.6", &self.country),
            ("2.5.4.10", &self.organization),
            ("2.5.4.11", &self.organizational_units),
            ("2.5.4.7", &self.locality),
            ("2.5.4.8", &self.province),
            ("2.5.4.3", &name),
            ("2.5.4.5", &serial),
        ];
        let mut sequence = RdnSequence::default();
        for (oid, values) in parts {
            if values.is_empty() {
                continue;
            }
            let oid = ObjectIdentifier::new_unwrap(oid);
            let mut relative = RelativeDistinguishedName::default();
            for value in values {
                let item = AttributeTypeAndValue {
                    oid,
                    value: directory_string(value)?,
                };
                // A repeated value would make the set invalid and says nothing new.
                if !relative.iter().any(|present| *present == item) {
                    relative.insert(item)?;
                }
            }
            sequence.push(relative);
        }
        // A name is a sequence of relative names; only decoding makes one.
        Name::from_der(&sequence.to_der()?)
    }
}

/// PrintableString where its alphabet suffices, else UTF8String, as Go does.
fn directory_string(value: &str) -> der::Result<Any> {
    match PrintableString::new(value) {
        Ok(printable) => Ok(Any::from(&printable)),
        Err(_) => Any::encode_from(&Utf8StringRef::new(value)?),
    }
}

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Usage {
    pub key: FlagSet<KeyUsages>,
    pub extended: Vec<ObjectIdentifier>,
    /// `Some` for a certificate authority, with the number of authorities that may follow below
    /// it, if that is limited.
    pub authority: Option<Option<u8>>,
}

impl Usage {
    /// A certificate authority.
    pub fn authority(path_length: Option<u8>) -> Self {
        Self {
            key: KeyUsages::KeyCertSign | KeyUsages::CRLSign,
            extended: Vec::new(),
            authority: Some(path_length),
        }
    }

    /// Signing transactions: Fabric CA's default profile.
    pub fn enrollment() -> Self {
        Self {
            key: KeyUsages::DigitalSignature.into(),
            extended: Vec::new(),
            authority: None,
        }
    }

    /// TLS on either side: Fabric CA's `tls` profile.
    pub fn tls() -> Self {
        Self {
            key: KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment | KeyUsages::KeyAgreement,
            extended: vec![SERVER_AUTH, CLIENT_AUTH],
            authority: None,
        }
    }

    /// The usages that `names` mean in a signing profile (cfssl: `config`); the name that means
    /// nothing if there is one.
    pub fn named(names: &[String], authority: Option<Option<u8>>) -> Result<Self, &str> {
        let mut usage = Self {
            key: FlagSet::default(),
            extended: Vec::new(),
            authority,
        };
        for name in names {
            match usage_named(name) {
                Some(Named::Key(key)) => usage.key |= key,
                Some(Named::Extended(arc)) => {
                    let oid = ObjectIdentifier::new(arc).map_err(|_| name.as_str())?;
                    if !usage.extended.contains(&oid) {
                        usage.extended.push(oid);
                    }
                }
                None => return Err(name),
            }
        }
        Ok(usage)
    }
}

enum Named {
    Key(KeyUsages),
    Extended(&'static str),
}

fn usage_named(name: &str) -> Option<Named> {
    Some(match name {
        "signing" | "digital signature" => Named::Key(KeyUsages::DigitalSignature),
        "content commitment" => Named::Key(KeyUsages::NonRepudiation),
        "key encipherment" => Named::Key(KeyUsages::KeyEncipherment),
        "key agreement" => Named::Key(KeyUsages::KeyAgreement),
        "data encipherment" => Named::Key(KeyUsages::DataEncipherment),
        "cert sign" => Named::Key(KeyUsages::KeyCertSign),
        "crl sign" => Named::Key(KeyUsages::CRLSign),
        "encipher only" => Named::Key(KeyUsages::EncipherOnly),
        "decipher only" => Named::Key(KeyUsages::DecipherOnly),
        "any" => Named::Extended("2.5.29.37.0"),
        "server auth" => Named::Extended("1.3.6.1.5.5.7.3.1"),
        "client auth" => Named::Extended("1.3.6.1.5.5.7.3.2"),
        "code signing" => Named::Extended("1.3.6.1.5.5.7.3.3"),
        "email protection" | "s/mime" => Named::Extended("1.3.6.1.5.5.7.3.4"),
        "timestamping" => Named::Extended("1.3.6.1.5.5.7.3.8"),
        "ocsp signing" => Named::Extended("1.3.6.1.5.5.7.3.9"),
        _ => return None,
    })
}

/// Everything that differs between certificates.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pub subject: Name,
    /// SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    /// 1 to 20 bytes, positive when read as a signed number.
    pub serial: Vec<u8>,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
    pub usage: Usage,
    pub hosts: Vec<Host>,
    /// Contents of the attribute extension.
    pub attributes: Option<Vec<u8>>,
}

/// A subject alternative name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Dns(String),
    Ip(IpAddr),
    Email(String),
    Uri(String),
}

impl Host {
    /// Sorts a host of an enrolment request as Fabric CA does: IP, then mail, then URI, else DNS.
    pub fn classify(text: &str) -> Self {
        if let Ok(address) = text.parse() {
            return Host::Ip(address);
        }
        if let Some((user, domain)) = text.split_once('@')
            && !user.is_empty()
            && !domain.is_empty()
            && !text.contains(['/', ' '])
        {
            return Host::Email(text.to_owned());
        }
        if text.starts_with('/') || text.contains("://") {
            return Host::Uri(text.to_owned());
        }
        Host::Dns(text.to_owned())
    }

    fn to_general_name(&self) -> der::Result<GeneralName> {
        Ok(match self {
            Host::Dns(name) => GeneralName::DnsName(Ia5String::new(name)?),
            Host::Ip(address) => GeneralName::from(*address),
            Host::Email(address) => GeneralName::Rfc822Name(Ia5String::new(address)?),
            Host::Uri(uri) => GeneralName::UniformResourceIdentifier(Ia5String::new(uri)?),
        })
    }
}

/// Who signs: its name in DER and its key identifier.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    pub name: Vec<u8>,
    pub key_id: Vec<u8>,
}

#[derive(Sequence)]
struct TbsCertificate {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: Int,
    signature: AlgorithmIdentifierOwned,
    issuer: Any,
    validity: Validity,
    subject: Name,
    public_key: Any,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct SignedCertificate {
    tbs: Any,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

/// The bytes to sign, with the algorithm for it. `issuer` is `None` for a certificate that signs
/// itself.
pub(crate) fn to_be_signed(
    template: &Template,
    issuer: Option<&Issuer>,
    algorithm: &AlgorithmIdentifierOwned,
) -> der::Result<Vec<u8>> {
    let key_id = key_id(&template.public_key)?;
    let (issuer_name, issuer_key_id) = match issuer {
        Some(issuer) => (issuer.name.clone(), issuer.key_id.clone()),
        None => (template.subject.to_der()?, key_id.clone()),
    };
    let mut extensions = Vec::new();
    let mut add = |oid, critical, value: Vec<u8>| -> der::Result<()> {
        extensions.push(Extension {
            extn_id: oid,
            critical,
            extn_value: OctetString::new(value)?,
        });
        Ok(())
    };
    add(KEY_USAGE, true, KeyUsage(template.usage.key).to_der()?)?;
    if !template.usage.extended.is_empty() {
        let purposes = ExtendedKeyUsage(template.usage.extended.clone());
        add(EXTENDED_KEY_USAGE, false, purposes.to_der()?)?;
    }
    let constraints = BasicConstraints {
        ca: template.usage.authority.is_some(),
        path_len_constraint: template.usage.authority.flatten(),
    };
    add(BASIC_CONSTRAINTS, true, constraints.to_der()?)?;
    let own = SubjectKeyIdentifier(OctetString::new(key_id)?);
    add(SUBJECT_KEY_ID, false, own.to_der()?)?;
    if issuer.is_some() {
        let above = AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(issuer_key_id)?),
            authority_cert_issuer: None,
            authority_cert_serial_number: None,
        };
        add(AUTHORITY_KEY_ID, false, above.to_der()?)?;
    }
    if !template.hosts.is_empty() {
        let names = template
            .hosts
            .iter()
            .map(Host::to_general_name)
            .collect::<der::Result<Vec<_>>>()?;
        add(SUBJECT_ALT_NAME, false, SubjectAltName(names).to_der()?)?;
    }
    if let Some(attributes) = &template.attributes {
        // Not DER inside: Fabric puts the JSON into the extension as it is.
        add(ATTRIBUTES_OID, false, attributes.clone())?;
    }
    TbsCertificate {
        version: 2,
        serial: Int::new(&template.serial)?,
        signature: algorithm.clone(),
        issuer: Any::from_der(&issuer_name)?,
        validity: Validity::new(time(template.not_before)?, time(template.not_after)?),
        subject: template.subject.clone(),
        public_key: Any::from_der(&template.public_key)?,
        extensions,
    }
    .to_der()
}

/// The certificate in DER, from what was signed and the signature.
pub(crate) fn assemble(
    to_be_signed: &[u8],
    algorithm: &AlgorithmIdentifierOwned,
    signature: &[u8],
) -> der::Result<Vec<u8>> {
    SignedCertificate {
        tbs: Any::from_der(to_be_signed)?,
        algorithm: algorithm.clone(),
        signature: BitString::from_bytes(signature)?,
    }
    .to_der()
}

/// SHA-256 of the public point: 32 bytes, also the name of a key's file in a keystore
/// (fabric: `bccsp/sw`).
pub(crate) fn key_id(public_key: &[u8]) -> der::Result<Vec<u8>> {
    let info = spki::SubjectPublicKeyInfoOwned::from_der(public_key)
        .map_err(|_| der::Error::from(der::ErrorKind::Failed))?;
    Ok(Sha256::digest(info.subject_public_key.raw_bytes()).to_vec())
}

/// UTCTime until 2049, GeneralizedTime after (RFC 5280, 4.1.2.5).
pub(crate) fn time(unix: i64) -> der::Result<Time> {
    let seconds = u64::try_from(unix).map_err(|_| der::Error::from(der::ErrorKind::Failed))?;
    let moment = DateTime::from_unix_duration(std::time::Duration::from_secs(seconds))?;
    Ok(if moment.year() < 2050 {
        Time::UtcTime(UtcTime::from_date_time(moment)?)
    } else {
        Time::GeneralTime(GeneralizedTime::from_date_time(moment))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_sorted_as_fabric_ca_sorts_them() {
        let cases = [
            (
                "peer0.org1.example.com",
                Host::Dns("peer0.org1.example.com".into()),
            ),
            ("localhost", Host::Dns("localhost".into())),
            ("127.0.0.1", Host::Ip("127.0.0.1".parse().unwrap())),
            ("::1", Host::Ip("::1".parse().unwrap())),
            ("a@example.com", Host::Email("a@example.com".into())),
            (
                "https://a.example.com/x",
                Host::Uri("https://a.example.com/x".into()),
            ),
            ("*.example.com", Host::Dns("*.example.com".into())),
        ];
        for (text, expected) in cases {
            assert_eq!(Host::classify(text), expected, "{text}");
        }
    }

    #[test]
    fn several_units_stay_in_one_relative_name() {
        let subject = Subject {
            organization: vec!["Hospital".into()],
            organizational_units: vec!["client".into(), "org1".into(), "department1".into()],
            common_name: "Zoë".into(),
            ..Subject::default()
        };
        let name = subject.to_name().unwrap();
        let lengths: Vec<_> = name.iter_rdn().map(|relative| relative.len()).collect();
        assert_eq!(lengths, [1, 3, 1]);
        let text = name.to_string();
        for unit in ["OU=client", "OU=org1", "OU=department1", "CN=Zoë"] {
            assert!(text.contains(unit), "{text}");
        }
    }

    #[test]
    fn a_repeated_unit_is_written_once() {
        let subject = Subject {
            organizational_units: vec!["client".into(), "client".into()],
            common_name: "a".into(),
            ..Subject::default()
        };
        assert_eq!(subject.to_name().unwrap().iter().count(), 2);
    }
}
