//! Who creates, endorses and signs blocks: a fixed pool, since making keys is what costs.

use std::sync::Arc;

use bytes::Bytes;
use consilium_msp::{Signer as _, SoftwareSigner};
use consilium_proto::msp::SerializedIdentity;
use prost::Message as _;

use super::encode::with_unexpected;
use super::trust::{Authorities, Issuer, ROTATED};
use crate::{NodeOu, Organization, Template};

/// Members of the channel's organizations, and one stranger.
pub struct People {
    /// `Org1MSP` to `Org3MSP`, and one that no channel has.
    pub organizations: Vec<Organization>,
    pool: Vec<Person>,
    pub(super) authorities: Authorities,
}

pub(super) struct Person {
    pub(super) msp_id: String,
    pub(super) unit: NodeOu,
    pub(super) issuer: Issuer,
    pub(super) serial: Vec<u8>,
    pub(super) signer: Arc<SoftwareSigner>,
}

/// Organizations that the channel begins with.
pub(super) const MEMBERS: usize = 3;
const UNITS: [NodeOu; 4] = [NodeOu::Peer, NodeOu::Peer, NodeOu::Client, NodeOu::Admin];

impl People {
    /// Makes everybody.
    pub fn new() -> Self {
        let organizations: Vec<Organization> = (1..=MEMBERS + 1)
            .map(|n| Organization::new(&format!("Org{n}MSP"), &format!("org{n}.example.com")))
            .collect();
        let authorities = Authorities::new(&organizations[ROTATED]);
        let mut pool: Vec<Person> = Vec::new();
        let mut add = |organization: &Organization, unit: NodeOu, issuer: Issuer, expired: bool| {
            let name = format!("{}{}", unit.name(), pool.len());
            let mut template = Template::new(&name).with_units(&[unit.name()]);
            let serial = vec![0x41, u8::try_from(pool.len()).expect("few people")];
            template.serial = Some(serial.clone());
            if expired {
                template.not_after = template.not_before + 60;
            }
            let authority = authorities.of(organization, issuer);
            pool.push(Person {
                msp_id: organization.msp_id().to_owned(),
                unit,
                issuer,
                serial,
                signer: organization.signer_of(&authority.issue(&template)),
            });
        };
        for (index, organization) in organizations.iter().enumerate() {
            let issuer = match index {
                ROTATED => Issuer::OldRoot,
                _ => Issuer::Only,
            };
            for unit in UNITS {
                add(organization, unit, issuer, false);
            }
        }
        for issuer in [Issuer::NewRoot, Issuer::Intermediate] {
            for unit in [NodeOu::Peer, NodeOu::Client, NodeOu::Admin] {
                add(&organizations[ROTATED], unit, issuer, false);
            }
        }
        for unit in [NodeOu::Peer, NodeOu::Client] {
            add(&organizations[0], unit, Issuer::Only, true);
        }
        People {
            organizations,
            pool,
            authorities,
        }
    }

    /// Those of newer authorities, and those whose certificates have ended.
    pub(super) fn late(&self) -> std::ops::Range<usize> {
        Self::of(MEMBERS + 1, 0)..self.pool.len()
    }

    /// How many there are, strangers included.
    pub(super) fn count(&self) -> usize {
        self.pool.len()
    }

    pub(super) fn person(&self, id: usize) -> &Person {
        &self.pool[id]
    }

    /// The nth person of an organization with that role.
    pub(super) fn of(organization: usize, nth: usize) -> usize {
        organization * UNITS.len() + nth
    }

    pub(super) fn serialized(&self, id: usize) -> Bytes {
        self.pool[id].signer.serialized().clone()
    }

    /// The same certificate in other bytes.
    pub(super) fn recoded(&self, id: usize) -> Bytes {
        let mut identity =
            SerializedIdentity::decode(self.serialized(id)).expect("an own identity");
        let mut pem = identity.id_bytes.to_vec();
        pem.push(b'\n');
        identity.id_bytes = pem.into();
        identity.encode_to_vec().into()
    }

    /// The same identity and a field that Go's decoder passes over.
    pub(super) fn padded(&self, id: usize) -> Bytes {
        with_unexpected(&self.serialized(id))
    }

    /// The creator's bytes in the transaction with this nonce; sometimes padded.
    pub(super) fn creator(&self, id: usize, nonce: u64) -> Bytes {
        match nonce.is_multiple_of(11) {
            true => self.padded(id),
            false => self.serialized(id),
        }
    }

    pub(super) fn sign(&self, id: usize, message: &[u8]) -> Bytes {
        self.pool[id].signer.sign(message).expect("an own key")
    }
}

impl Default for People {
    fn default() -> Self {
        Self::new()
    }
}
