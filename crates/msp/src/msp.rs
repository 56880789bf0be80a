//! One organization's MSP: what it was configured with, and its verdict on identities.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::digest;
use bytes::Bytes;
use consilium_proto::msp::{FabricMspConfig, SerializedIdentity};
use prost::Message as _;

use crate::certificate::Certificate;
use crate::chain::{Authorities, Chain};
use crate::error::MspError;
use crate::identity::Identity;
use crate::revocation::RevocationList;
use crate::signature::{HashFamily, PublicKey};

/// Which rules an MSP follows; the capabilities of a channel choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MspVersion {
    /// No node organizational units.
    V1_0,
    /// Client and peer units.
    V1_1,
    /// Anonymity and combined principals.
    V1_3,
    /// Admin and orderer units; administrators need not be listed.
    V1_4_3,
    /// Ed25519 keys.
    V3_0,
}

/// The kinds of node and user that organizational units tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeRole {
    /// A client application.
    Client,
    /// A peer.
    Peer,
    /// An administrator.
    Admin,
    /// An orderer.
    Orderer,
}

/// A unit name and, when only one certification path may vouch for it, that path's identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitIdentifier {
    pub name: String,
    pub certifiers: Option<Vec<u8>>,
}

/// The configured node units. `None` means that roles are not told apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeUnits {
    pub client: Option<UnitIdentifier>,
    pub peer: Option<UnitIdentifier>,
    pub admin: Option<UnitIdentifier>,
    pub orderer: Option<UnitIdentifier>,
}

impl NodeUnits {
    pub fn get(&self, role: NodeRole) -> Option<&UnitIdentifier> {
        match role {
            NodeRole::Client => self.client.as_ref(),
            NodeRole::Peer => self.peer.as_ref(),
            NodeRole::Admin => self.admin.as_ref(),
            NodeRole::Orderer => self.orderer.as_ref(),
        }
    }

    /// The unit of that name. When two roles share a name, the later of client, peer, admin, orderer
    /// decides about the certification path; before 1.4.3 the client did.
    fn by_name(&self, name: &str, version: MspVersion) -> Option<&UnitIdentifier> {
        let mut units = [&self.orderer, &self.admin, &self.peer, &self.client];
        if version < MspVersion::V1_4_3 {
            units.reverse();
        }
        units.into_iter().flatten().find(|unit| unit.name == name)
    }
}

/// The hash over certification paths (`identity_identifier_hash_function`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentifierHash {
    Sha256,
    Sha384,
    Sha3_256,
    Sha3_384,
}

/// One organization's MSP.
///
/// Immutable; a change of configuration makes a new one. Share it as `Arc<Msp>`.
pub struct Msp {
    pub(crate) name: Arc<str>,
    pub(crate) config: FabricMspConfig,
    pub(crate) version: MspVersion,
    pub(crate) hash_family: HashFamily,
    pub(crate) identifier_hash: IdentifierHash,
    pub(crate) roots: Vec<Arc<Certificate>>,
    pub(crate) intermediates: Vec<Arc<Certificate>>,
    pub(crate) authorities: Authorities,
    /// Authorities with an intermediate below them: they issue no identities.
    pub(crate) internal_nodes: Vec<Arc<Certificate>>,
    pub(crate) admins: Vec<Arc<Certificate>>,
    pub(crate) revocation_lists: Vec<RevocationList>,
    /// `organizational_unit_identifiers`: at least one must fit when there are any.
    pub(crate) units: Vec<UnitIdentifier>,
    pub(crate) node_units: Option<NodeUnits>,
    pub(crate) origin: u64,
}

impl std::fmt::Debug for Msp {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Msp")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Msp {
    /// The MSP's name, which identities carry.
    pub fn id(&self) -> &str {
        &self.name
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &FabricMspConfig {
        &self.config
    }

    /// The rules it follows.
    pub fn version(&self) -> MspVersion {
        self.version
    }

    /// TLS roots and intermediates as PEM, for trust stores.
    pub fn tls_root_pems(&self) -> Vec<Bytes> {
        let config = &self.config;
        config
            .tls_root_certs
            .iter()
            .chain(&config.tls_intermediate_certs)
            .cloned()
            .collect()
    }

    /// Root and intermediate authorities for identities.
    pub fn authorities(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.roots.iter().chain(&self.intermediates)
    }

    /// The certificates listed as administrators.
    pub fn admins(&self) -> &[Arc<Certificate>] {
        &self.admins
    }

    /// Whether organizational units tell clients, peers, administrators and orderers apart.
    pub fn has_node_roles(&self) -> bool {
        self.node_units.is_some()
    }

    /// Reads `msp.SerializedIdentity` bytes of this MSP. The result need not be valid.
    ///
    /// A certificate signed with ECDSA must lead to exactly one root, because its signature is normalized
    /// against the issuer's key before it is identified.
    ///
    /// # Errors
    /// [`MspError`] when the bytes are none, of another MSP, or lead nowhere.
    pub fn deserialize(&self, serialized: &Bytes) -> Result<Identity, MspError> {
        let identity = consilium_proto::decode::<SerializedIdentity>(serialized)
            .map_err(|error| MspError::NotAnIdentity(error.to_string()))?;
        if identity.mspid != *self.name {
            return Err(MspError::OtherMsp {
                expected: self.name.to_string(),
                received: identity.mspid,
            });
        }
        self.identity(&identity.id_bytes, Bytes::copy_from_slice(serialized))
    }

    /// The identity of `certificate_pem` in this MSP, as [`Msp::deserialize`] would read it.
    ///
    /// # Errors
    /// As [`Msp::deserialize`].
    pub fn identity_of(&self, certificate_pem: &[u8]) -> Result<Identity, MspError> {
        let id_bytes = Bytes::copy_from_slice(certificate_pem);
        let serialized = SerializedIdentity {
            mspid: self.name.to_string(),
            id_bytes,
        }
        .encode_to_vec();
        self.identity(certificate_pem, serialized.into())
    }

    fn identity(&self, id_bytes: &[u8], serialized: Bytes) -> Result<Identity, MspError> {
        let (certificate, chain) = self.sanitize(Certificate::from_pem(id_bytes)?)?;
        Ok(Identity {
            msp_id: self.name.clone(),
            certificate,
            serialized,
            hash_family: self.hash_family,
            origin: self.origin,
            chain: chain.map_or_else(OnceLock::new, |chain| OnceLock::from(Ok(chain))),
            validity: OnceLock::new(),
        })
    }

    /// Normalizes the signature of a certificate, which for ECDSA needs (and gives) its path.
    pub(crate) fn sanitize(
        &self,
        certificate: Arc<Certificate>,
    ) -> Result<(Arc<Certificate>, Option<Chain>), MspError> {
        if !certificate.is_ecdsa_signed() {
            return Ok((certificate, None));
        }
        let mut chain = if certificate.is_ca() && certificate.is_signed_by(&certificate) {
            vec![certificate.clone()]
        } else {
            self.authorities.unique_chain(&certificate)?
        };
        let issuer = chain.get(1).unwrap_or(&certificate).clone();
        match certificate.sanitized(&issuer) {
            None => Ok((certificate, Some(chain))),
            Some(sanitized) => {
                chain[0] = sanitized.clone();
                Ok((sanitized, Some(chain)))
            }
        }
    }

    /// Whether `identity` is valid in this MSP. The verdict is kept with the identity, so asking again
    /// costs nothing.
    ///
    /// # Errors
    /// [`MspError`] with the reason.
    pub fn validate(&self, identity: &Identity) -> Result<(), MspError> {
        if identity.origin == self.origin {
            identity
                .validity
                .get_or_init(|| self.judge(identity))
                .clone()
        } else {
            self.judge(identity)
        }
    }

    /// The role of a valid identity, when roles are told apart and it has exactly one; listed
    /// administrators are administrators in any case.
    pub fn role(&self, identity: &Identity) -> Option<NodeRole> {
        if self.admins.contains(&identity.certificate) {
            return Some(NodeRole::Admin);
        }
        self.node_units.as_ref()?;
        self.validate(identity).ok()?;
        [
            NodeRole::Client,
            NodeRole::Peer,
            NodeRole::Admin,
            NodeRole::Orderer,
        ]
        .into_iter()
        .find(|role| self.has_unit_of(&identity.certificate, *role))
    }

    /// Whether the identity's units count at all, which they do under an authority that may issue
    /// identities, and one of them is that of `role`. Says nothing about revocation and other units.
    pub(crate) fn has_issued_unit_of(&self, identity: &Identity, role: NodeRole) -> bool {
        !identity.certificate.is_ca()
            && self.has_unit_of(&identity.certificate, role)
            && self
                .chain_of(identity)
                .is_ok_and(|chain| self.issuer_in(&chain).is_ok())
    }

    /// Whether the certificate names the unit of `role`; says nothing about validity.
    pub(crate) fn has_unit_of(&self, certificate: &Certificate, role: NodeRole) -> bool {
        self.node_units
            .as_ref()
            .and_then(|units| units.get(role))
            .is_some_and(|unit| certificate.subject_ous().contains(&unit.name))
    }

    fn judge(&self, identity: &Identity) -> Result<(), MspError> {
        if *identity.msp_id != *self.name {
            return Err(MspError::OtherMsp {
                expected: self.name.to_string(),
                received: identity.msp_id.to_string(),
            });
        }
        let certificate = &identity.certificate;
        match certificate.public_key() {
            PublicKey::Ecdsa { .. } => {}
            PublicKey::Ed25519(_) if self.version >= MspVersion::V3_0 => {}
            PublicKey::Ed25519(_) => return Err(MspError::Invalid(
                "the supplied identity is not valid: Ed25519 keys need the channel capability V3_0"
                    .into(),
            )),
            PublicKey::Rsa(_) => return Err(MspError::Invalid("RSA is not supported".into())),
            PublicKey::Unsupported(what) => {
                return Err(MspError::Invalid(format!(
                    "the public key is not supported: {what}"
                )));
            }
        }
        if certificate.is_ca() {
            return Err(MspError::Invalid(
                "An X509 certificate with Basic Constraint: Certificate Authority equals true cannot be used as an identity"
                    .into(),
            ));
        }
        let chain = self.chain_of(identity)?;
        let issuer = self.issuer_in(&chain)?;
        self.check_revocation(certificate, issuer)?;
        self.check_units(certificate, &chain)
            .map_err(MspError::OrganizationalUnits)
    }

    fn chain_of(&self, identity: &Identity) -> Result<Chain, MspError> {
        let build = || self.authorities.unique_chain(&identity.certificate);
        if identity.origin == self.origin {
            identity.chain.get_or_init(build).clone()
        } else {
            build()
        }
    }

    fn issuer_in<'a>(&self, chain: &'a Chain) -> Result<&'a Arc<Certificate>, MspError> {
        let Some(issuer) = chain.get(1) else {
            return Err(MspError::Invalid(
                "expected a chain of length at least 2, got 1".into(),
            ));
        };
        if self.internal_nodes.contains(issuer) {
            return Err(MspError::Invalid(
                "invalid validation chain. Parent certificate should be a leaf of the certification tree".into(),
            ));
        }
        Ok(issuer)
    }

    pub(crate) fn check_revocation(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
    ) -> Result<(), MspError> {
        for list in &self.revocation_lists {
            if list.revokes(certificate, issuer)? {
                return Err(MspError::Revoked);
            }
        }
        Ok(())
    }

    fn check_units(&self, certificate: &Certificate, chain: &Chain) -> Result<(), String> {
        let certifiers = self.certifiers_identifier(&chain[1..]);
        let names = certificate.subject_ous();
        let listed = || describe_units(names, &certifiers);
        self.check_listed_units(names, &certifiers)?;
        let Some(units) = &self.node_units else {
            return Ok(());
        };
        let mut count = 0;
        for unit in names
            .iter()
            .filter_map(|name| units.by_name(name, self.version))
        {
            if unit
                .certifiers
                .as_ref()
                .is_some_and(|expected| *expected != certifiers)
            {
                return Err(format!(
                    "certifiersIdentifier does not match: {}, MSP: [{}]",
                    listed(),
                    self.name
                ));
            }
            count += 1;
        }
        let reason = match (count, self.version >= MspVersion::V1_4_3) {
            (1, _) => return Ok(()),
            (0, false) => "the identity does not have an OU that resolves to client or peer",
            (0, true) => {
                "the identity does not have an OU that resolves to client, peer, orderer, or admin role"
            }
            (_, false) => {
                "the identity must be a client or a peer identity to be valid, not a combination of them"
            }
            (_, true) => {
                "the identity must have a client, a peer, an orderer, or an admin OU role to be valid, not a combination of them"
            }
        };
        Err(format!("{reason}. OUs: {}, MSP: [{}]", listed(), self.name))
    }

    /// One of the listed units must fit when any are listed, whether roles are told apart or not.
    fn check_listed_units(&self, names: &[String], certifiers: &[u8]) -> Result<(), String> {
        let fits = |unit: &UnitIdentifier| {
            names.contains(&unit.name) && unit.certifiers.as_deref() == Some(certifiers)
        };
        if self.units.is_empty() || self.units.iter().any(fits) {
            Ok(())
        } else if names.is_empty() {
            Err("the identity certificate does not contain an Organizational Unit (OU)".into())
        } else {
            Err(format!(
                "none of the identity's organizational units {} are in MSP {}",
                describe_units(names, certifiers),
                self.name
            ))
        }
    }

    /// The identifier of the path that vouches for an identity's units, or `None` when there is no path.
    pub fn certifiers_of(&self, identity: &Identity) -> Option<Vec<u8>> {
        let chain = self.chain_of(identity).ok()?;
        Some(self.certifiers_identifier(chain.get(1..)?))
    }

    /// Hash over the certificates of a path, issuer first, root last.
    pub(crate) fn certifiers_identifier(&self, path: &[Arc<Certificate>]) -> Vec<u8> {
        let algorithm = match self.identifier_hash {
            IdentifierHash::Sha256 => &digest::SHA256,
            IdentifierHash::Sha384 => &digest::SHA384,
            IdentifierHash::Sha3_256 => &digest::SHA3_256,
            IdentifierHash::Sha3_384 => &digest::SHA3_384,
        };
        let mut context = digest::Context::new(algorithm);
        for certificate in path {
            context.update(certificate.der());
        }
        context.finish().as_ref().to_vec()
    }
}

/// Units as Fabric prints them: name and the first eight bytes of the path's identifier.
fn describe_units(names: &[String], certifiers: &[u8]) -> String {
    let prefix = hex::encode_upper(&certifiers[..certifiers.len().min(8)]);
    let units: Vec<String> = names
        .iter()
        .map(|name| format!("{name}({prefix})"))
        .collect();
    format!("[{}]", units.join(" "))
}
