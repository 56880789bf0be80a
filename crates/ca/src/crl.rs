//! Lists of revoked certificates, as pure functions to DER.

use der::asn1::{Any, Int, OctetString};
use der::{Decode, Encode, Sequence};
use spki::AlgorithmIdentifierOwned;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;
use x509_cert::time::Time;

use crate::certificate::{AUTHORITY_KEY_ID, Issuer, time};

/// A list to be signed.
#[derive(Debug, Clone)]
pub(crate) struct CrlTemplate {
    /// Unix seconds.
    pub this_update: i64,
    /// Unix seconds.
    pub next_update: i64,
    pub revoked: Vec<Revoked>,
}

/// A certificate that no longer counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revoked {
    /// Hex, leading zeros left out.
    pub serial: String,
    /// Unix seconds.
    pub at: i64,
}

#[derive(Sequence)]
struct TbsCertList {
    version: u8,
    signature: AlgorithmIdentifierOwned,
    issuer: Any,
    this_update: Time,
    next_update: Time,
    #[asn1(optional = "true")]
    revoked: Option<Vec<Entry>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Entry {
    serial: Int,
    at: Time,
}

/// The bytes to sign, with the algorithm for it.
pub(crate) fn crl_to_be_signed(
    template: &CrlTemplate,
    issuer: &Issuer,
    algorithm: &AlgorithmIdentifierOwned,
) -> der::Result<Vec<u8>> {
    let failed = || der::Error::from(der::ErrorKind::Failed);
    let entry = |revoked: &Revoked| {
        let digits = &revoked.serial;
        let padding = if digits.len().is_multiple_of(2) {
            ""
        } else {
            "0"
        };
        let bytes = hex::decode(format!("{padding}{digits}")).map_err(|_| failed())?;
        Ok(Entry {
            serial: positive(&bytes)?,
            at: time(revoked.at)?,
        })
    };
    let revoked: Vec<_> = template
        .revoked
        .iter()
        .map(entry)
        .collect::<der::Result<_>>()?;
    let above = AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(issuer.key_id.clone())?),
        authority_cert_issuer: None,
        authority_cert_serial_number: None,
    };
    TbsCertList {
        version: 1,
        signature: algorithm.clone(),
        issuer: Any::from_der(&issuer.name)?,
        this_update: time(template.this_update)?,
        next_update: time(template.next_update)?,
        // The list is left out where it is empty (RFC 5280, 5.1.2.6).
        revoked: Some(revoked).filter(|list| !list.is_empty()),
        extensions: vec![Extension {
            extn_id: AUTHORITY_KEY_ID,
            critical: false,
            extn_value: OctetString::new(above.to_der()?)?,
        }],
    }
    .to_der()
}

/// A positive number of its bytes, big end first.
fn positive(bytes: &[u8]) -> der::Result<Int> {
    let mut number = Vec::with_capacity(bytes.len() + 1);
    if bytes.first().is_none_or(|first| *first > 0x7f) {
        number.push(0);
    }
    number.extend_from_slice(bytes);
    Int::new(&number)
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

    use super::*;
    use crate::certificate::{Subject, assemble};
    use crate::keys::SigningKey;

    #[test]
    fn a_list_names_what_was_revoked_and_when() {
        let subject = Subject {
            common_name: "ca".into(),
            ..Subject::default()
        };
        let issuer = Issuer {
            name: subject.to_name().unwrap().to_der().unwrap(),
            key_id: vec![1, 2, 3],
        };
        for serials in [&["1", "fedcba", "7f00"][..], &[]] {
            let revoked = serials.iter().map(|serial| Revoked {
                serial: (*serial).into(),
                at: 1_700_000_000,
            });
            let template = CrlTemplate {
                this_update: 1_800_000_000,
                next_update: 1_800_086_400,
                revoked: revoked.collect(),
            };
            let (key, _) = SigningKey::generate().unwrap();
            let algorithm = key.signature_algorithm();
            let bytes = crl_to_be_signed(&template, &issuer, &algorithm).unwrap();
            let crl = assemble(&bytes, &algorithm, &[0x30, 0]).unwrap();
            let (rest, read) = CertificateRevocationList::from_der(&crl).unwrap();
            assert!(rest.is_empty());
            assert_eq!(read.version().unwrap().0, 1);
            assert_eq!(read.issuer().to_string(), "CN=ca");
            assert_eq!(read.last_update().timestamp(), 1_800_000_000);
            assert_eq!(read.next_update().unwrap().timestamp(), 1_800_086_400);
            let listed: Vec<_> = read
                .iter_revoked_certificates()
                .map(|one| {
                    assert_eq!(one.revocation_date.timestamp(), 1_700_000_000);
                    one.serial().to_str_radix(16)
                })
                .collect();
            assert_eq!(listed, serials);
        }
    }
}
