//! Certificate revocation lists, as an MSP uses them: dates are ignored, and a list counts for an
//! issuer when its authority key identifier is the issuer's key identifier and its signature verifies.

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::certificate::{Certificate, range_in, signature_algorithm, without_leading_zeros};
use crate::error::MspError;
use crate::pem;
use crate::signature::{CertificateSignature, canonical};

/// Serial numbers that a description lists.
const SHOWN: usize = 8;

/// A parsed revocation list.
pub struct RevocationList {
    der: Vec<u8>,
    tbs: std::ops::Range<usize>,
    algorithm: CertificateSignature,
    /// Of an ECDSA key in its canonical form.
    signature: Vec<u8>,
    /// Nothing where the extension is missing; empty where it names the authority otherwise.
    authority_key_id: Option<Vec<u8>>,
    issuer: String,
    serials: HashSet<Vec<u8>>,
}

impl RevocationList {
    /// Parses a list, DER or PEM.
    ///
    /// # Errors
    /// [`MspError::Setup`] when it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, MspError> {
        let failed =
            |reason: String| MspError::setup(format!("could not parse RevocationList: {reason}"));
        let der = match pem::first_block(bytes) {
            Some(block) if block.label == "X509 CRL" => block.contents,
            _ => bytes.to_vec(),
        };
        let (_, list) =
            CertificateRevocationList::from_der(&der).map_err(|error| failed(error.to_string()))?;
        let authority_key_id =
            list.extensions()
                .iter()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::AuthorityKeyIdentifier(id) => Some(
                        id.key_identifier
                            .as_ref()
                            .map_or_else(Vec::new, |id| id.0.to_vec()),
                    ),
                    _ => None,
                });
        let tbs = range_in(&der, list.tbs_cert_list.as_ref());
        let algorithm = signature_algorithm(&list.signature_algorithm);
        let mut signature = list.signature_value.data.to_vec();
        if matches!(algorithm, CertificateSignature::Ecdsa(_)) {
            signature = canonical(&signature).map_err(|error| failed(error.to_string()))?;
        }
        let serials = list
            .iter_revoked_certificates()
            .map(|revoked| without_leading_zeros(revoked.raw_serial()).to_vec())
            .collect();
        Ok(RevocationList {
            tbs,
            algorithm,
            signature,
            authority_key_id,
            issuer: list.issuer().to_string(),
            serials,
            der,
        })
    }

    /// What a person wants to know of it: whose it is and what it revokes.
    pub fn describe(&self) -> String {
        let mut serials: Vec<String> = self.serials.iter().map(hex::encode).collect();
        serials.sort();
        let revoked = match serials.len() {
            0 => "nothing".to_owned(),
            count @ 1..=SHOWN => format!("{count}: {}", serials.join(", ")),
            count => format!("{count}: {}, …", serials[..SHOWN].join(", ")),
        };
        let digest = hex::encode(&Sha256::digest(&self.der)[..10]);
        format!("of {}, revokes {revoked}, SHA-256 {digest}", self.issuer)
    }

    /// Whether this list, being one of `issuer`, names `certificate`.
    ///
    /// # Errors
    /// [`MspError::Invalid`] when the list does not say whose it is.
    pub(crate) fn revokes(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<bool, MspError> {
        let Some(authority) = &self.authority_key_id else {
            return Err(MspError::Invalid(
                "could not obtain Authority Key Identifier for crl: authorityKeyIdentifier not found in certificate"
                    .into(),
            ));
        };
        Ok(Some(authority.as_slice()) == issuer.subject_key_id()
            && !authority.is_empty()
            && self.serials.contains(certificate.serial())
            && self.is_signed_by(issuer))
    }

    /// What the issuer's key usage says about lists does not matter
    /// (go: x509.Certificate.CheckCRLSignature).
    fn is_signed_by(&self, issuer: &Certificate) -> bool {
        issuer.public_key().verify_certificate(
            self.algorithm,
            &self.der[self.tbs.clone()],
            &self.signature,
        )
    }
}
