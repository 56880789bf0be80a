//! Principals of policies, as far as plans have to understand them.
//! `fabric: common/policies/inquire/compare.go`

use consilium_proto::{
    common::{
        MspPrincipal, MspRole, OrganizationUnit, msp_principal::Classification,
        msp_role::MspRoleType,
    },
    msp::SerializedIdentity,
};

use crate::layouts::Principal;

/// What a policy asks of one endorser.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    msp_id: String,
    role: Option<i32>,
    principal: MspPrincipal,
}

impl Held {
    /// Reads a principal. One that cannot be read belongs to no organization, and nobody holds it.
    pub fn of(principal: MspPrincipal) -> Self {
        let bytes = &principal.principal;
        let (msp_id, role) = match Classification::try_from(principal.principal_classification) {
            Ok(Classification::Role) => consilium_proto::decode::<MspRole>(bytes)
                .map(|role| (role.msp_identifier, Some(role.role)))
                .unwrap_or_default(),
            Ok(Classification::OrganizationUnit) => {
                consilium_proto::decode::<OrganizationUnit>(bytes)
                    .map(|unit| (unit.msp_identifier, None))
                    .unwrap_or_default()
            }
            Ok(Classification::Identity) => consilium_proto::decode::<SerializedIdentity>(bytes)
                .map(|identity| (identity.mspid, None))
                .unwrap_or_default(),
            _ => Default::default(),
        };
        Self {
            msp_id,
            role,
            principal,
        }
    }

    /// MSP id of the organization that it speaks of; empty when it names none.
    pub fn msp_id(&self) -> &str {
        &self.msp_id
    }

    /// The `MSPRoleType`, if it is a role in its organization.
    pub fn role(&self) -> Option<i32> {
        self.role
    }

    /// As policies have it.
    pub fn principal(&self) -> &MspPrincipal {
        &self.principal
    }
}

impl Principal for Held {
    fn implies(&self, other: &Self) -> bool {
        // Whatever else somebody is in an organization, it is a member.
        self == other
            || other.role == Some(MspRoleType::Member as i32)
                && !other.msp_id.is_empty()
                && self.msp_id == other.msp_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use prost::Message;

    fn principal(classification: Classification, bytes: impl Into<Bytes>) -> Held {
        Held::of(MspPrincipal {
            principal_classification: classification as i32,
            principal: bytes.into(),
        })
    }

    fn role(msp_id: &str, role: MspRoleType) -> Held {
        let role = MspRole {
            msp_identifier: msp_id.to_owned(),
            role: role as i32,
        };
        principal(Classification::Role, role.encode_to_vec())
    }

    #[test]
    fn members_are_implied_by_whatever_their_organization_has() {
        let unit = OrganizationUnit {
            msp_identifier: "A".to_owned(),
            ..Default::default()
        };
        let unit = principal(Classification::OrganizationUnit, unit.encode_to_vec());
        let identity = SerializedIdentity {
            mspid: "A".to_owned(),
            id_bytes: Bytes::from_static(b"x"),
        };
        let identity = principal(Classification::Identity, identity.encode_to_vec());
        let member = role("A", MspRoleType::Member);
        let peer = role("A", MspRoleType::Peer);
        for (one, other, implied) in [
            (&peer, &member, true),
            (&unit, &member, true),
            (&identity, &member, true),
            (&member, &member, true),
            (&member, &peer, false),
            (&unit, &peer, false),
            (&peer, &unit, false),
            (&peer, &role("B", MspRoleType::Member), false),
            (&peer, &role("A", MspRoleType::Admin), false),
        ] {
            assert_eq!(one.implies(other), implied, "{one:?} {other:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_in_no_organization() {
        for classification in [
            Classification::Role,
            Classification::Identity,
            Classification::Anonymity,
        ] {
            let garbage = principal(classification, &b"\xff\xff"[..]);
            assert_eq!((garbage.msp_id(), garbage.role()), ("", None));
            assert!(!garbage.implies(&principal(Classification::Role, &b""[..])));
        }
    }
}
