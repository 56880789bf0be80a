//! Certificate authorities that issue whatever a test needs, flawed certificates included.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;

use crate::der;
use crate::key::{Key, KeyKind};
use crate::pem;

/// A certificate and its private key, both PEM.
#[derive(Clone)]
pub struct Credential {
    /// The certificate.
    pub cert_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
}

/// What to put into a certificate. Start from [`Template::new`] and change what the test is about.
#[derive(Debug, Clone)]
pub struct Template {
    /// Common name.
    pub common_name: String,
    /// Organizational units, in order.
    pub units: Vec<String>,
    /// Organization, when there should be one.
    pub organization: Option<String>,
    /// Kind of key.
    pub key_kind: KeyKind,
    /// Start of validity, seconds since 1970.
    pub not_before: i64,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
    /// `Some(path length)` for an authority.
    pub authority: Option<Option<u8>>,
    /// Bits of the key usage extension, first bit highest; `None` leaves the extension away.
    pub key_usage: Option<u8>,
    /// Extended key usages as dotted object identifiers.
    pub extended_key_usages: Vec<&'static str>,
    /// Names and addresses for the subject alternative name extension.
    pub hosts: Vec<String>,
    /// Whether there is a subject key identifier.
    pub has_subject_key_id: bool,
    /// Serial number, big endian; `None` for one that was not used before.
    pub serial: Option<Vec<u8>>,
    /// More extensions: object identifier, critical, DER value.
    pub extensions: Vec<(&'static str, bool, Vec<u8>)>,
}

/// Key usage: digitalSignature.
pub const DIGITAL_SIGNATURE: u8 = 0x80;
/// Key usage: keyCertSign.
pub const KEY_CERT_SIGN: u8 = 0x04;
/// Key usage: cRLSign.
pub const CRL_SIGN: u8 = 0x02;
/// Extended key usage: serverAuth.
pub const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
/// Extended key usage: clientAuth.
pub const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";

impl Template {
    /// A certificate of an identity: valid for ten years from five minutes ago, P-256, for signatures.
    pub fn new(common_name: &str) -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs() as i64);
        Template {
            common_name: common_name.to_owned(),
            units: Vec::new(),
            organization: None,
            key_kind: KeyKind::P256,
            not_before: now - 300,
            not_after: now + 10 * 365 * 86_400,
            authority: None,
            key_usage: Some(DIGITAL_SIGNATURE),
            extended_key_usages: Vec::new(),
            hosts: Vec::new(),
            has_subject_key_id: true,
            serial: None,
            extensions: Vec::new(),
        }
    }

    /// The same with organizational units.
    pub fn with_units(mut self, units: &[&str]) -> Self {
        self.units = units.iter().map(|unit| (*unit).to_owned()).collect();
        self
    }

    /// A certificate of an authority that may sign certificates and revocation lists. It is a day older
    /// than other certificates, so that it can issue them.
    pub fn authority(common_name: &str) -> Self {
        let template = Template::new(common_name);
        Template {
            authority: Some(None),
            key_usage: Some(DIGITAL_SIGNATURE | KEY_CERT_SIGN | CRL_SIGN),
            not_before: template.not_before - 86_400,
            ..template
        }
    }
}

/// An authority: a root or an intermediate.
pub struct Authority {
    key: Key,
    subject: Vec<u8>,
    subject_key_id: Vec<u8>,
    cert_pem: String,
}

static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1);

impl Authority {
    /// A self-signed authority with the usual contents.
    pub fn root(common_name: &str) -> Self {
        Self::root_from(&Template::authority(common_name))
    }

    /// A self-signed authority.
    pub fn root_from(template: &Template) -> Self {
        let key = Key::generate(template.key_kind);
        let subject = name(template);
        let subject_key_id = key_id(&key);
        let der = sign(&key, template, &key, &subject, &subject_key_id);
        Authority {
            cert_pem: pem::encode("CERTIFICATE", &der),
            key,
            subject,
            subject_key_id,
        }
    }

    /// An authority below this one.
    pub fn intermediate(&self, template: &Template) -> Self {
        let key = Key::generate(template.key_kind);
        let der = sign(
            &key,
            template,
            &self.key,
            &self.subject,
            &self.subject_key_id,
        );
        Authority {
            cert_pem: pem::encode("CERTIFICATE", &der),
            subject: name(template),
            subject_key_id: key_id(&key),
            key,
        }
    }

    /// Another certificate for this authority's name and key, self-signed: a renewed root.
    pub fn renewed(&self, template: &Template) -> String {
        let der = sign(
            &self.key,
            template,
            &self.key,
            &self.subject,
            &self.subject_key_id,
        );
        pem::encode("CERTIFICATE", &der)
    }

    /// Issues a certificate with a new key.
    pub fn issue(&self, template: &Template) -> Credential {
        let key = Key::generate(template.key_kind);
        Credential {
            cert_pem: self.certify(template, &key),
            key_pem: key.pem(),
        }
    }

    /// Issues a certificate for a key.
    pub fn certify(&self, template: &Template, key: &Key) -> String {
        let der = sign(
            key,
            template,
            &self.key,
            &self.subject,
            &self.subject_key_id,
        );
        pem::encode("CERTIFICATE", &der)
    }

    /// The authority's own certificate.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The authority's private key, PKCS#8 PEM.
    pub fn key_pem(&self) -> String {
        self.key.pem()
    }

    /// A revocation list, DER, naming the serial numbers (big endian). `with_key_id` false leaves away
    /// whose list it is.
    pub fn revocation_list(&self, serials: &[&[u8]], with_key_id: bool) -> Vec<u8> {
        self.revocation_list_signed_by(&self.key, serials, with_key_id)
    }

    /// A revocation list in this authority's name that another key signed.
    pub fn forged_revocation_list(&self, serials: &[&[u8]]) -> Vec<u8> {
        self.revocation_list_signed_by(&Key::generate(KeyKind::P256), serials, true)
    }

    fn revocation_list_signed_by(
        &self,
        key: &Key,
        serials: &[&[u8]],
        with_key_id: bool,
    ) -> Vec<u8> {
        let revoked: Vec<Vec<u8>> = serials
            .iter()
            .map(|serial| der::sequence(&[der::integer(serial), der::time(1_000_000_000)]))
            .collect();
        let mut parts = vec![
            der::integer(&[1]),
            key.signature_algorithm(),
            self.subject.clone(),
            der::time(1_000_000_000),
            der::time(1_000_000_001),
        ];
        if !revoked.is_empty() {
            parts.push(der::sequence(&revoked));
        }
        if with_key_id {
            let id = der::sequence(&[der::element(0x80, &self.subject_key_id)]);
            let extensions = der::sequence(&[extension("2.5.29.35", false, &id)]);
            parts.push(der::element(0xa0, &extensions));
        }
        signed(key, der::sequence(&parts))
    }
}

/// SHA-256 of the public key's bits: 32 bytes, as Fabric's tools make it.
fn key_id(key: &Key) -> Vec<u8> {
    digest::digest(&digest::SHA256, key.public_bits())
        .as_ref()
        .to_vec()
}

fn name(template: &Template) -> Vec<u8> {
    let attribute = |oid: &str, text: &str| {
        der::element(0x31, &der::sequence(&[der::oid(oid), der::utf8(text)]))
    };
    let organization = template
        .organization
        .iter()
        .map(|text| attribute("2.5.4.10", text));
    let units = template
        .units
        .iter()
        .map(|unit| attribute("2.5.4.11", unit));
    let common_name = std::iter::once(attribute("2.5.4.3", &template.common_name));
    der::sequence(
        &organization
            .chain(units)
            .chain(common_name)
            .collect::<Vec<_>>(),
    )
}

fn extension(oid: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![der::oid(oid)];
    if critical {
        parts.push(der::boolean(true));
    }
    parts.push(der::octets(value));
    der::sequence(&parts)
}

fn sign(
    key: &Key,
    template: &Template,
    issuer_key: &Key,
    issuer: &[u8],
    issuer_key_id: &[u8],
) -> Vec<u8> {
    let mut extensions = Vec::new();
    if let Some(usage) = template.key_usage {
        let unused = usage.trailing_zeros().min(7) as u8;
        extensions.push(extension(
            "2.5.29.15",
            true,
            &der::element(0x03, &[unused, usage]),
        ));
    }
    if let Some(path_length) = template.authority {
        let mut parts = vec![der::boolean(true)];
        parts.extend(path_length.map(|length| der::integer(&[length])));
        extensions.push(extension("2.5.29.19", true, &der::sequence(&parts)));
    }
    if !template.extended_key_usages.is_empty() {
        let usages: Vec<Vec<u8>> = template
            .extended_key_usages
            .iter()
            .map(|usage| der::oid(usage))
            .collect();
        extensions.push(extension("2.5.29.37", false, &der::sequence(&usages)));
    }
    if !template.hosts.is_empty() {
        let names: Vec<Vec<u8>> = template
            .hosts
            .iter()
            .map(|host| general_name(host))
            .collect();
        extensions.push(extension("2.5.29.17", false, &der::sequence(&names)));
    }
    if template.has_subject_key_id {
        extensions.push(extension("2.5.29.14", false, &der::octets(&key_id(key))));
    }
    let authority_id = der::sequence(&[der::element(0x80, issuer_key_id)]);
    extensions.push(extension("2.5.29.35", false, &authority_id));
    for (oid, critical, value) in &template.extensions {
        extensions.push(extension(oid, *critical, value));
    }

    let fresh = || {
        [
            &[0x01][..],
            &NEXT_SERIAL.fetch_add(1, Ordering::Relaxed).to_be_bytes(),
        ]
        .concat()
    };
    let serial = template.serial.clone().unwrap_or_else(fresh);
    let tbs = der::sequence(&[
        der::element(0xa0, &der::integer(&[2])),
        der::integer(&serial),
        issuer_key.signature_algorithm(),
        issuer.to_vec(),
        der::sequence(&[
            der::time(template.not_before),
            der::time(template.not_after),
        ]),
        name(template),
        key.public_info(),
        der::element(0xa3, &der::sequence(&extensions)),
    ]);
    signed(issuer_key, tbs)
}

fn general_name(host: &str) -> Vec<u8> {
    match host.parse() {
        Ok(IpAddr::V4(address)) => der::element(0x87, &address.octets()),
        Ok(IpAddr::V6(address)) => der::element(0x87, &address.octets()),
        Err(_) => der::element(0x82, host.as_bytes()),
    }
}

fn signed(key: &Key, tbs: Vec<u8>) -> Vec<u8> {
    let signature = key.sign(&tbs);
    der::sequence(&[tbs, key.signature_algorithm(), der::bits(&signature)])
}
