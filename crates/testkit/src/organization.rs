//! An organization with its authorities, ready to issue what its nodes and users need.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::{Msp, MspVersion, SoftwareSigner};
use consilium_proto::msp::{
    FabricCryptoConfig, FabricMspConfig, FabricNodeOUs, FabricOuIdentifier,
};

use crate::authority::{
    Authority, CLIENT_AUTH, Credential, DIGITAL_SIGNATURE, SERVER_AUTH, Template,
};

/// Key usage: keyEncipherment.
const KEY_ENCIPHERMENT: u8 = 0x20;

/// The organizational unit that says what an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeOu {
    /// `OU=client`.
    Client,
    /// `OU=peer`.
    Peer,
    /// `OU=admin`.
    Admin,
    /// `OU=orderer`.
    Orderer,
}

impl NodeOu {
    /// The unit's name in certificates.
    pub fn name(self) -> &'static str {
        match self {
            NodeOu::Client => "client",
            NodeOu::Peer => "peer",
            NodeOu::Admin => "admin",
            NodeOu::Orderer => "orderer",
        }
    }
}

/// An organization in memory: a root authority for identities and one for TLS.
pub struct Organization {
    msp_id: String,
    domain: String,
    ca: Authority,
    tls_ca: Authority,
}

impl Organization {
    /// An organization with new authorities, for example `("Org1MSP", "org1.example.com")`.
    pub fn new(msp_id: &str, domain: &str) -> Self {
        let authority = |kind: &str| {
            let mut template = Template::authority(&format!("{kind}.{domain}"));
            template.organization = Some(domain.to_owned());
            Authority::root_from(&template)
        };
        Organization {
            msp_id: msp_id.to_owned(),
            domain: domain.to_owned(),
            ca: authority("ca"),
            tls_ca: authority("tlsca"),
        }
    }

    /// Name of the MSP.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// The domain that common names end in.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The authority for identities.
    pub fn ca(&self) -> &Authority {
        &self.ca
    }

    /// The authority for TLS certificates.
    pub fn tls_ca(&self) -> &Authority {
        &self.tls_ca
    }

    /// Enrols an identity: a certificate for signatures with the unit of its kind.
    pub fn issue(&self, common_name: &str, unit: NodeOu) -> Credential {
        self.ca
            .issue(&Template::new(common_name).with_units(&[unit.name()]))
    }

    /// Enrols an identity and makes a signer of it.
    ///
    /// # Panics
    /// When what was just issued cannot be read.
    pub fn signer(&self, common_name: &str, unit: NodeOu) -> Arc<SoftwareSigner> {
        self.signer_of(&self.issue(common_name, unit))
    }

    /// A signer with a credential of this organization.
    ///
    /// # Panics
    /// When the credential cannot be read.
    pub fn signer_of(&self, credential: &Credential) -> Arc<SoftwareSigner> {
        let (certificate, key) = (
            credential.cert_pem.as_bytes(),
            credential.key_pem.as_bytes(),
        );
        Arc::new(
            SoftwareSigner::from_pem(&self.msp_id, certificate, key).expect("an issued credential"),
        )
    }

    /// A TLS certificate for servers and clients, for `hosts` and always localhost and 127.0.0.1.
    pub fn tls(&self, hosts: &[&str]) -> Credential {
        let mut template = Template::new(hosts.first().unwrap_or(&"localhost"));
        template.key_usage = Some(DIGITAL_SIGNATURE | KEY_ENCIPHERMENT);
        template.extended_key_usages = vec![SERVER_AUTH, CLIENT_AUTH];
        template.hosts = hosts
            .iter()
            .chain(&["localhost", "127.0.0.1"])
            .map(|host| (*host).to_owned())
            .collect();
        self.tls_ca.issue(&template)
    }

    /// The TLS root, PEM.
    pub fn tls_root_pem(&self) -> Bytes {
        Bytes::copy_from_slice(self.tls_ca.cert_pem().as_bytes())
    }

    /// The MSP's configuration, with units telling client, peer, admin and orderer apart.
    pub fn msp_config(&self) -> FabricMspConfig {
        let unit = |unit: NodeOu| {
            Some(FabricOuIdentifier {
                certificate: Bytes::new(),
                organizational_unit_identifier: unit.name().to_owned(),
            })
        };
        FabricMspConfig {
            name: self.msp_id.clone(),
            root_certs: vec![Bytes::copy_from_slice(self.ca.cert_pem().as_bytes())],
            tls_root_certs: vec![self.tls_root_pem()],
            crypto_config: Some(FabricCryptoConfig {
                signature_hash_family: "SHA2".into(),
                identity_identifier_hash_function: "SHA256".into(),
            }),
            fabric_node_ous: Some(FabricNodeOUs {
                enable: true,
                client_ou_identifier: unit(NodeOu::Client),
                peer_ou_identifier: unit(NodeOu::Peer),
                admin_ou_identifier: unit(NodeOu::Admin),
                orderer_ou_identifier: unit(NodeOu::Orderer),
            }),
            ..FabricMspConfig::default()
        }
    }

    /// The MSP itself, by the newest rules.
    ///
    /// # Panics
    /// When the configuration above is not acceptable.
    pub fn msp(&self) -> Arc<Msp> {
        Arc::new(
            Msp::new(&self.msp_config(), MspVersion::V3_0).expect("an acceptable configuration"),
        )
    }
}
