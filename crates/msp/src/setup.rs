//! Setting up an MSP from its configuration: the checks, in Fabric's order and with its texts
//! (fabric: msp/mspimplsetup.go). No clock: whether a node's own certificate has expired is asked there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use consilium_proto::common::msp_role::MspRoleType;
use consilium_proto::msp::{FabricMspConfig, FabricNodeOUs, FabricOuIdentifier, MspConfig};

use crate::certificate::Certificate;
use crate::chain::Authorities;
use crate::error::MspError;
use crate::msp::{IdentifierHash, Msp, MspVersion, NodeRole, NodeUnits, UnitIdentifier};
use crate::principal::role_principal;
use crate::revocation::RevocationList;
use crate::signature::HashFamily;

/// Numbers the MSPs of this process, so that a verdict kept with an identity is only used by its MSP.
static NEXT_ORIGIN: AtomicU64 = AtomicU64::new(1);

impl Msp {
    /// Sets up an X.509 MSP.
    ///
    /// # Errors
    /// [`MspError`], with Fabric's text, when the configuration breaks one of the setup rules.
    pub fn new(config: &FabricMspConfig, version: MspVersion) -> Result<Self, MspError> {
        let mut msp = Msp {
            name: config.name.as_str().into(),
            version,
            hash_family: hash_family(config),
            identifier_hash: identifier_hash(config)?,
            roots: Vec::new(),
            intermediates: Vec::new(),
            authorities: Authorities::default(),
            internal_nodes: Vec::new(),
            admins: Vec::new(),
            revocation_lists: Vec::new(),
            units: Vec::new(),
            node_units: None,
            origin: NEXT_ORIGIN.fetch_add(1, Ordering::Relaxed),
            config: config.clone(),
        };
        msp.set_up_authorities()?;
        msp.revocation_lists = config
            .revocation_list
            .iter()
            .map(|list| RevocationList::parse(list))
            .collect::<Result<_, _>>()?;
        msp.check_authorities()?;
        msp.find_internal_nodes()?;
        msp.check_tls_authorities()?;
        msp.set_up_units()?;
        msp.set_up_node_units()?;
        msp.set_up_admins()?;
        Ok(msp)
    }

    /// Sets up an MSP from the message that lies in channel configurations.
    ///
    /// # Errors
    /// [`MspError::UnsupportedType`] for kinds other than X.509, and as [`Msp::new`].
    pub fn from_config(config: &MspConfig, version: MspVersion) -> Result<Self, MspError> {
        match config.r#type {
            0 => {}
            1 => return Err(MspError::Idemix),
            other => return Err(MspError::UnsupportedType(other)),
        }
        let config: FabricMspConfig = consilium_proto::decode(&config.config).map_err(|error| {
            MspError::setup(format!("failed unmarshalling fabric msp config: {error}"))
        })?;
        Msp::new(&config, version)
    }

    fn set_up_authorities(&mut self) -> Result<(), MspError> {
        let config = self.config.clone();
        if config.root_certs.is_empty() {
            return Err(MspError::setup("expected at least one CA certificate"));
        }
        // Normalizing needs issuers, so the authorities are read twice: as they came, then normalized.
        let roots = parse_all(&config.root_certs)?;
        let intermediates = parse_all(&config.intermediate_certs)?;
        self.authorities = Authorities::new(&roots, &intermediates);
        let sanitize_all = |msp: &Msp, certificates: Vec<Arc<Certificate>>| {
            certificates
                .into_iter()
                .map(|certificate| {
                    msp.sanitize(certificate)
                        .map(|(certificate, _)| certificate)
                })
                .collect::<Result<Vec<_>, _>>()
        };
        self.roots = sanitize_all(self, roots)?;
        self.intermediates = sanitize_all(self, intermediates)?;
        self.authorities = Authorities::new(&self.roots, &self.intermediates);
        Ok(())
    }

    fn check_authorities(&self) -> Result<(), MspError> {
        for certificate in self.authorities() {
            self.check_authority(certificate, &self.authorities)?;
        }
        Ok(())
    }

    fn check_authority(
        &self,
        certificate: &Arc<Certificate>,
        pool: &Authorities,
    ) -> Result<(), MspError> {
        let serial = certificate.serial_hex();
        if !certificate.is_ca() {
            return Err(MspError::setup(format!(
                "CA Certificate did not have the CA attribute, (SN: {serial})"
            )));
        }
        if certificate.subject_key_id().is_none() {
            return Err(MspError::setup(format!(
                "CA Certificate problem with Subject Key Identifier extension, (SN: {serial}): subjectKeyIdentifier not found in certificate"
            )));
        }
        let invalid = |error: MspError| {
            MspError::setup(format!(
                "CA Certificate is not valid, (SN: {serial}): {error}"
            ))
        };
        let chain = pool.unique_chain(certificate).map_err(invalid)?;
        match chain.get(1) {
            Some(issuer) => self.check_revocation(certificate, issuer).map_err(invalid),
            None => Ok(()),
        }
    }

    fn find_internal_nodes(&mut self) -> Result<(), MspError> {
        for intermediate in &self.intermediates {
            for parent in self
                .authorities
                .unique_chain(intermediate)?
                .into_iter()
                .skip(1)
            {
                if !self.internal_nodes.contains(&parent) {
                    self.internal_nodes.push(parent);
                }
            }
        }
        Ok(())
    }

    fn check_tls_authorities(&self) -> Result<(), MspError> {
        let roots = parse_all(&self.config.tls_root_certs)?;
        let intermediates = parse_all(&self.config.tls_intermediate_certs)?;
        let pool = Authorities::new(&roots, &intermediates);
        for certificate in roots.iter().chain(&intermediates) {
            self.check_authority(certificate, &pool)?;
        }
        Ok(())
    }

    fn set_up_units(&mut self) -> Result<(), MspError> {
        for unit in &self.config.organizational_unit_identifiers {
            let certifiers = self
                .certifiers_of_authority(&unit.certificate)
                .map_err(|error| {
                    MspError::setup(format!(
                        "failed getting certificate for [{}]: {error}",
                        unit.organizational_unit_identifier
                    ))
                })?;
            self.units.push(UnitIdentifier {
                name: unit.organizational_unit_identifier.clone(),
                certifiers: Some(certifiers),
            });
        }
        Ok(())
    }

    fn set_up_node_units(&mut self) -> Result<(), MspError> {
        let Some(configured) = &self.config.fabric_node_ous else {
            return Ok(());
        };
        if self.version < MspVersion::V1_1 {
            return Ok(());
        }
        let mut units = NodeUnits {
            client: self.node_unit(configured.client_ou_identifier.as_ref())?,
            peer: self.node_unit(configured.peer_ou_identifier.as_ref())?,
            ..NodeUnits::default()
        };
        if self.version < MspVersion::V1_4_3 {
            check_old_node_units(configured)?;
        } else {
            units.admin = self.node_unit(configured.admin_ou_identifier.as_ref())?;
            units.orderer = self.node_unit(configured.orderer_ou_identifier.as_ref())?;
        }
        let any = [&units.client, &units.peer, &units.admin, &units.orderer]
            .iter()
            .any(|unit| unit.is_some());
        self.node_units = (configured.enable && any).then_some(units);
        Ok(())
    }

    fn node_unit(
        &self,
        configured: Option<&FabricOuIdentifier>,
    ) -> Result<Option<UnitIdentifier>, MspError> {
        let Some(configured) = configured else {
            return Ok(None);
        };
        let certifiers = match configured.certificate.is_empty() {
            true => None,
            false => Some(self.certifiers_of_authority(&configured.certificate)?),
        };
        Ok(Some(UnitIdentifier {
            name: configured.organizational_unit_identifier.clone(),
            certifiers,
        }))
    }

    /// The identifier of the path from one of our authorities (included) to its root.
    fn certifiers_of_authority(&self, pem: &[u8]) -> Result<Vec<u8>, MspError> {
        let (certificate, _) = Certificate::from_pem(pem)
            .map_err(MspError::from)
            .and_then(|certificate| self.sanitize(certificate))
            .map_err(|error| MspError::setup(format!("Failed getting certificate: [{error}]")))?;
        if self.roots.contains(&certificate) {
            return Ok(self.certifiers_identifier(&[certificate]));
        }
        if !self.intermediates.contains(&certificate) {
            return Err(MspError::setup(format!(
                "Failed adding OU. Certificate [{}] not in root or intermediate certs.",
                certificate.subject_cn()
            )));
        }
        let chain = self.authorities.unique_chain(&certificate)?;
        if self.internal_nodes.contains(&certificate) {
            return Err(MspError::setup(format!(
                "invalid validation chain. Parent certificate should be a leaf of the certification tree [{}]",
                certificate.subject_cn()
            )));
        }
        Ok(self.certifiers_identifier(&chain))
    }

    fn set_up_admins(&mut self) -> Result<(), MspError> {
        let identities = self
            .config
            .admins
            .iter()
            .map(|admin| self.identity_of(admin))
            .collect::<Result<Vec<_>, _>>()?;
        let has_admin_unit = self
            .node_units
            .as_ref()
            .is_some_and(|units| units.admin.is_some());
        if self.version >= MspVersion::V1_4_3 && identities.is_empty() && !has_admin_unit {
            return Err(MspError::setup(
                "administrators must be declared when no admin ou classification is set",
            ));
        }
        for (index, admin) in identities.iter().enumerate() {
            let invalid =
                |error: MspError| MspError::setup(format!("admin {index} is invalid: {error}"));
            if self.node_units.is_none() {
                self.validate(admin).map_err(invalid)?;
            } else if self.version < MspVersion::V1_4_3 {
                self.satisfies(admin, &role_principal(&self.name, MspRoleType::Client))
                    .map_err(invalid)?;
            } else if !self.has_issued_unit_of(admin, NodeRole::Client)
                && !self.has_issued_unit_of(admin, NodeRole::Admin)
            {
                return Err(MspError::setup(format!(
                    "admin {index} is invalid [The identity does not contain OU [CLIENT], MSP: [{name}],The identity does not contain OU [ADMIN], MSP: [{name}]]",
                    name = self.name
                )));
            }
        }
        self.admins = identities
            .iter()
            .map(|admin| admin.certificate().clone())
            .collect();
        Ok(())
    }
}

fn parse_all(pems: &[Bytes]) -> Result<Vec<Arc<Certificate>>, MspError> {
    pems.iter()
        .map(|pem| Certificate::from_pem(pem).map_err(MspError::from))
        .collect()
}

/// Before 1.4.3 client and peer units were both mandatory.
fn check_old_node_units(configured: &FabricNodeOUs) -> Result<(), MspError> {
    let named = |unit: &Option<FabricOuIdentifier>| {
        unit.as_ref()
            .is_some_and(|unit| !unit.organizational_unit_identifier.is_empty())
    };
    if !named(&configured.client_ou_identifier) {
        return Err(MspError::setup(
            "Failed setting up NodeOUs. ClientOU must be different from nil.",
        ));
    }
    if !named(&configured.peer_ou_identifier) {
        return Err(MspError::setup(
            "Failed setting up NodeOUs. PeerOU must be different from nil.",
        ));
    }
    Ok(())
}

/// A family that nobody knows sets up, as in Fabric; then no signature of its identities verifies.
fn hash_family(config: &FabricMspConfig) -> HashFamily {
    match config
        .crypto_config
        .as_ref()
        .map_or("", |crypto| &crypto.signature_hash_family)
    {
        "" | "SHA2" => HashFamily::Sha2,
        "SHA3" => HashFamily::Sha3,
        _ => HashFamily::Unknown,
    }
}

fn identifier_hash(config: &FabricMspConfig) -> Result<IdentifierHash, MspError> {
    match config
        .crypto_config
        .as_ref()
        .map_or("", |crypto| &crypto.identity_identifier_hash_function)
    {
        "" | "SHA256" => Ok(IdentifierHash::Sha256),
        "SHA384" => Ok(IdentifierHash::Sha384),
        "SHA3_256" => Ok(IdentifierHash::Sha3_256),
        "SHA3_384" => Ok(IdentifierHash::Sha3_384),
        other => Err(MspError::setup(format!(
            "failed getting hash function options: hash function not recognized [{other}]"
        ))),
    }
}
