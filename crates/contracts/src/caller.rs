//! Who signed the proposal: MSP, node role and attributes, read from the certificate.
//!
//! The peer has already verified chain, validity and signature; nothing here decides whether the
//! certificate is good.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_proto::msp::SerializedIdentity;
use prost::Message;
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Fabric CA's certificate extension with attributes, `{"attrs":{"name":"value"}}`
/// (fabric-ca: `lib/attrmgr`).
pub const ATTRIBUTES_OID: &str = "1.2.3.4.5.6.7.8.1";

/// What a certificate's organizational unit makes of its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRole {
    /// An application or a person.
    Client,
    /// A peer.
    Peer,
    /// An administrator of the organization.
    Admin,
    /// An ordering node.
    Orderer,
}

/// Why a creator could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// Not an encoded `msp.SerializedIdentity`.
    #[error("creator is not a serialized identity: {0}")]
    Identity(#[from] prost::DecodeError),
    /// Neither PEM nor DER of a certificate.
    #[error("creator of {msp_id} holds no certificate: {reason}")]
    Certificate {
        /// The MSP that the creator claims.
        msp_id: String,
        /// The parser's reason.
        reason: String,
    },
    /// The attribute extension is not the JSON that Fabric CA writes.
    #[error("attribute extension of {msp_id}'s certificate is not {{\"attrs\":{{…}}}}: {reason}")]
    Attributes {
        /// The MSP that the creator claims.
        msp_id: String,
        /// The parser's reason.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

/// The creator of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    msp_id: String,
    id: String,
    node_role: Option<NodeRole>,
    attributes: BTreeMap<String, String>,
    certificate: Bytes,
}

impl Caller {
    /// Reads a signature header's creator: an encoded `msp.SerializedIdentity` whose `id_bytes`
    /// is a certificate in PEM (or DER).
    ///
    /// # Errors
    /// [`CallerError`] says which layer did not parse.
    pub fn from_serialized(creator: &[u8]) -> Result<Self, CallerError> {
        let identity = SerializedIdentity::decode(creator)?;
        let id_bytes: &[u8] = &identity.id_bytes;
        if id_bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            let (_, pem) = x509_parser::pem::parse_x509_pem(id_bytes).map_err(|error| {
                CallerError::Certificate {
                    msp_id: identity.mspid.clone(),
                    reason: error.to_string(),
                }
            })?;
            Self::from_certificate(&identity.mspid, &pem.contents)
        } else {
            Self::from_certificate(&identity.mspid, id_bytes)
        }
    }

    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`CallerError::Certificate`], [`CallerError::Attributes`].
    pub fn from_certificate(msp_id: &str, der: &[u8]) -> Result<Self, CallerError> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| CallerError::Certificate {
                msp_id: msp_id.to_owned(),
                reason: error.to_string(),
            })?;
        let mut attributes = BTreeMap::new();
        for extension in certificate.extensions() {
            if extension.oid.to_id_string() == ATTRIBUTES_OID {
                let parsed: Attributes =
                    serde_json::from_slice(extension.value).map_err(|error| {
                        CallerError::Attributes {
                            msp_id: msp_id.to_owned(),
                            reason: error.to_string(),
                        }
                    })?;
                attributes = parsed.attrs;
            }
        }
        let node_role = certificate
            .subject()
            .iter_organizational_unit()
            .filter_map(|unit| unit.as_str().ok())
            .find_map(|unit| match unit {
                "client" => Some(NodeRole::Client),
                "peer" => Some(NodeRole::Peer),
                "admin" => Some(NodeRole::Admin),
                "orderer" => Some(NodeRole::Orderer),
                _ => None,
            });
        Ok(Caller {
            msp_id: msp_id.to_owned(),
            id: format!("x509::{}::{}", certificate.subject(), certificate.issuer()),
            node_role,
            attributes,
            certificate: Bytes::copy_from_slice(der),
        })
    }

    /// A caller without a certificate, for tests of contracts.
    pub fn for_tests(msp_id: &str, name: &str, attributes: &[(&str, &str)]) -> Self {
        Caller {
            msp_id: msp_id.to_owned(),
            id: format!("x509::CN={name},OU=client::CN=ca.{msp_id}"),
            node_role: Some(NodeRole::Client),
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            certificate: Bytes::new(),
        }
    }

    /// The same caller with another node role, for tests of contracts.
    pub fn with_node_role(mut self, role: Option<NodeRole>) -> Self {
        self.node_role = role;
        self
    }

    /// The MSP id, for example `HospitalMSP`.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// `x509::<subject>::<issuer>`: stays the same when the certificate is renewed.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The NodeOU role, when the certificate carries one of the four units.
    pub fn node_role(&self) -> Option<NodeRole> {
        self.node_role
    }

    /// An attribute of the certificate, for example `hc.role`.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    /// The certificate in DER; empty for [`Caller::for_tests`].
    pub fn certificate(&self) -> &Bytes {
        &self.certificate
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn certificate(unit: Option<&str>, attributes: Option<&[u8]>) -> rcgen::Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "e-1");
        if let Some(unit) = unit {
            params
                .distinguished_name
                .push(DnType::OrganizationalUnitName, unit);
        }
        if let Some(attributes) = attributes {
            params.custom_extensions = vec![CustomExtension::from_oid_content(
                &[1, 2, 3, 4, 5, 6, 7, 8, 1],
                attributes.to_vec(),
            )];
        }
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap()
    }

    fn serialized(id_bytes: &[u8]) -> Vec<u8> {
        SerializedIdentity {
            mspid: "HospitalMSP".into(),
            id_bytes: Bytes::copy_from_slice(id_bytes),
        }
        .encode_to_vec()
    }

    #[test]
    fn attributes_and_node_role_come_from_the_certificate() {
        let attributes = br#"{"attrs":{"hc.role":"physician","hf.Affiliation":""}}"#;
        let certificate = certificate(Some("client"), Some(attributes));
        for id_bytes in [certificate.pem().into_bytes(), certificate.der().to_vec()] {
            let caller = Caller::from_serialized(&serialized(&id_bytes)).unwrap();
            assert_eq!(caller.msp_id(), "HospitalMSP");
            assert_eq!(caller.attribute("hc.role"), Some("physician"));
            assert_eq!(caller.attribute("hc.sid"), None);
            assert_eq!(caller.node_role(), Some(NodeRole::Client));
            assert!(caller.id().starts_with("x509::") && caller.id().contains("CN=e-1"));
            assert_eq!(caller.certificate(), &certificate.der().to_vec());
        }
    }

    #[test]
    fn a_certificate_without_attributes_has_none() {
        let caller = Caller::from_certificate("M", certificate(None, None).der()).unwrap();
        assert_eq!(
            (caller.attribute("hc.role"), caller.node_role()),
            (None, None)
        );
        let none = certificate(Some("admin"), Some(b"{}"));
        let caller = Caller::from_certificate("M", none.der()).unwrap();
        assert_eq!(caller.node_role(), Some(NodeRole::Admin));
    }

    #[test]
    fn what_does_not_parse_says_which_layer() {
        let certificate = certificate(None, Some(b"attrs"));
        assert!(matches!(
            Caller::from_serialized(b"\xff\xff"),
            Err(CallerError::Identity(_))
        ));
        assert!(matches!(
            Caller::from_serialized(&serialized(b"")),
            Err(CallerError::Certificate { .. })
        ));
        assert!(matches!(
            Caller::from_serialized(&serialized(b"-----BEGIN CERT")),
            Err(CallerError::Certificate { .. })
        ));
        assert!(matches!(
            Caller::from_certificate("M", certificate.der()),
            Err(CallerError::Attributes { .. })
        ));
    }
}
