//! Principals: what a policy asks of one identity (fabric: msp/mspimpl.go SatisfiesPrincipal).

use bytes::Bytes;
use consilium_proto::common::msp_identity_anonymity::MspIdentityAnonymityType;
use consilium_proto::common::msp_principal::Classification;
use consilium_proto::common::msp_role::MspRoleType;
use consilium_proto::common::{
    CombinedPrincipal, MspIdentityAnonymity, MspPrincipal, MspRole, OrganizationUnit,
};
use consilium_proto::decode;
use prost::Message as _;

use crate::error::MspError;
use crate::identity::Identity;
use crate::msp::{Msp, MspVersion, NodeRole};

/// A principal, decoded once; policies keep it in this form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Principal {
    Role {
        msp_id: String,
        role: i32,
    },
    Unit(OrganizationUnit),
    Identity(Bytes),
    Anonymous(i32),
    /// Flattened; never empty.
    Combined(Vec<Principal>),
}

impl Principal {
    pub fn decode(principal: &MspPrincipal) -> Result<Self, MspError> {
        let bytes = &principal.principal;
        let unreadable = |what: &str, error: prost::DecodeError| {
            MspError::principal(format!(
                "could not unmarshal {what} from principal: {error}"
            ))
        };
        match Classification::try_from(principal.principal_classification) {
            Ok(Classification::Role) => {
                let role =
                    decode::<MspRole>(bytes).map_err(|error| unreadable("MSPRole", error))?;
                Ok(Principal::Role {
                    msp_id: role.msp_identifier,
                    role: role.role,
                })
            }
            Ok(Classification::OrganizationUnit) => decode(bytes)
                .map(Principal::Unit)
                .map_err(|error| unreadable("OrganizationUnit", error)),
            Ok(Classification::Identity) => Ok(Principal::Identity(bytes.clone())),
            Ok(Classification::Anonymity) => decode(bytes)
                .map(|anonymity: MspIdentityAnonymity| {
                    Principal::Anonymous(anonymity.anonymity_type)
                })
                .map_err(|error| unreadable("MSPIdentityAnonymity", error)),
            Ok(Classification::Combined) => {
                let combined: CombinedPrincipal =
                    decode(bytes).map_err(|error| unreadable("CombinedPrincipal", error))?;
                let mut flat = Vec::new();
                for inner in &combined.principals {
                    match Principal::decode(inner)? {
                        Principal::Combined(nested) => flat.extend(nested),
                        single => flat.push(single),
                    }
                }
                if flat.is_empty() {
                    return Err(MspError::principal("No principals in CombinedPrincipal"));
                }
                Ok(Principal::Combined(flat))
            }
            Err(_) => Err(invalid_type(principal.principal_classification)),
        }
    }
}

fn invalid_type(classification: i32) -> MspError {
    MspError::principal(format!("invalid principal type {classification}"))
}

/// The principal that asks for `role` in the MSP `msp_id`.
pub fn role_principal(msp_id: &str, role: MspRoleType) -> MspPrincipal {
    let role = MspRole {
        msp_identifier: msp_id.to_owned(),
        role: role.into(),
    };
    MspPrincipal {
        principal_classification: Classification::Role.into(),
        principal: role.encode_to_vec().into(),
    }
}

impl Msp {
    /// Whether `identity` satisfies `principal`.
    ///
    /// # Errors
    /// [`MspError`] says why not.
    pub fn satisfies(&self, identity: &Identity, principal: &MspPrincipal) -> Result<(), MspError> {
        self.satisfies_decoded(identity, &Principal::decode(principal)?)
    }

    pub(crate) fn satisfies_decoded(
        &self,
        identity: &Identity,
        principal: &Principal,
    ) -> Result<(), MspError> {
        match principal {
            Principal::Role { msp_id, role } => {
                self.check_name(msp_id, identity)?;
                self.satisfies_role(identity, *role)
            }
            Principal::Unit(unit) => {
                self.check_name(&unit.msp_identifier, identity)?;
                self.validate(identity)?;
                let has_unit = identity
                    .certificate()
                    .subject_ous()
                    .contains(&unit.organizational_unit_identifier);
                if has_unit
                    && self.certifiers_of(identity).as_deref() == Some(&unit.certifiers_identifier)
                {
                    Ok(())
                } else {
                    Err(MspError::principal("The identities do not match"))
                }
            }
            Principal::Identity(serialized) => {
                let named = self.deserialize(serialized).map_err(|error| {
                    MspError::principal(format!(
                        "invalid identity principal, not a certificate: {error}"
                    ))
                })?;
                if named.certificate() == identity.certificate() {
                    self.validate(identity)
                } else {
                    Err(MspError::principal("The identities do not match"))
                }
            }
            Principal::Anonymous(_) if self.version < MspVersion::V1_3 => {
                Err(invalid_type(Classification::Anonymity.into()))
            }
            Principal::Anonymous(kind) => match MspIdentityAnonymityType::try_from(*kind) {
                Ok(MspIdentityAnonymityType::Nominal) => Ok(()),
                Ok(MspIdentityAnonymityType::Anonymous) => Err(MspError::principal(
                    "principal is anonymous, but X.509 MSP does not support anonymous identities",
                )),
                Err(_) => Err(MspError::principal(format!(
                    "unknown principal anonymity type: {kind}"
                ))),
            },
            Principal::Combined(_) if self.version < MspVersion::V1_3 => {
                Err(invalid_type(Classification::Combined.into()))
            }
            Principal::Combined(all) => all
                .iter()
                .try_for_each(|principal| self.satisfies_decoded(identity, principal)),
        }
    }

    fn check_name(&self, msp_id: &str, identity: &Identity) -> Result<(), MspError> {
        if *msp_id == *self.name {
            return Ok(());
        }
        Err(MspError::principal(format!(
            "the identity is a member of a different MSP (expected {msp_id}, got {})",
            identity.msp_id()
        )))
    }

    fn satisfies_role(&self, identity: &Identity, role: i32) -> Result<(), MspError> {
        let newer = self.version >= MspVersion::V1_4_3 && self.node_units.is_some();
        match MspRoleType::try_from(role) {
            Ok(MspRoleType::Member) => self.validate(identity),
            Ok(MspRoleType::Admin) if self.admins.contains(identity.certificate()) => Ok(()),
            Ok(MspRoleType::Admin) if newer => self.valid_with_unit(
                identity,
                NodeRole::Admin,
                "The identity is not an admin under this MSP",
            ),
            Ok(MspRoleType::Admin) => Err(MspError::principal("This identity is not an admin")),
            Ok(MspRoleType::Client) => self.valid_with_unit(
                identity,
                NodeRole::Client,
                "The identity is not a [CLIENT] under this MSP",
            ),
            Ok(MspRoleType::Peer) => self.valid_with_unit(
                identity,
                NodeRole::Peer,
                "The identity is not a [PEER] under this MSP",
            ),
            Ok(MspRoleType::Orderer) if newer => self.valid_with_unit(
                identity,
                NodeRole::Orderer,
                "The identity is not a [ORDERER] under this MSP",
            ),
            Ok(MspRoleType::Orderer) | Err(_) => {
                Err(MspError::principal(format!("invalid MSP role type {role}")))
            }
        }
    }

    fn valid_with_unit(
        &self,
        identity: &Identity,
        role: NodeRole,
        refusal: &str,
    ) -> Result<(), MspError> {
        self.validate(identity).map_err(|error| {
            MspError::principal(format!(
                "The identity is not valid under this MSP [{}]: {error}",
                self.name
            ))
        })?;
        let reason = match &self.node_units {
            None => "NodeOUs not activated. Cannot tell apart identities.".to_owned(),
            Some(_) if self.has_unit_of(identity.certificate(), role) => return Ok(()),
            Some(units) => {
                let label = match role {
                    NodeRole::Client => "CLIENT",
                    NodeRole::Peer => "PEER",
                    NodeRole::Admin => "ADMIN",
                    NodeRole::Orderer => "ORDERER",
                };
                match units.get(role) {
                    Some(_) => format!(
                        "The identity does not contain OU [{label}], MSP: [{}]",
                        self.name
                    ),
                    None => format!(
                        "cannot test for classification, node ou for type [{label}], not defined, msp: [{}]",
                        self.name
                    ),
                }
            }
        };
        Err(MspError::principal(format!(
            "{refusal} [{}]: {reason}",
            self.name
        )))
    }
}
