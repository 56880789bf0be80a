//! An organization that changes its authorities and revokes certificates, while what they issued is
//! still in use.

use bytes::Bytes;
use consilium_proto::msp::FabricMspConfig;

use super::people::{MEMBERS, People};
use crate::pem;
use crate::{Authority, NodeOu, Organization, Template};

/// The organization that does so: nobody needs its signature to change the channel.
pub(super) const ROTATED: usize = MEMBERS - 1;

/// Who issued a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Issuer {
    /// The authority of an organization that has only one.
    Only,
    OldRoot,
    NewRoot,
    /// Below the old root.
    Intermediate,
}

/// What the configuration says about the organization's certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Whether the first root is there; so it is if the intermediate is.
    pub old_root: bool,
    /// Whether the second root is there.
    pub new_root: bool,
    /// Whether the intermediate is there.
    pub intermediate: bool,
    /// Which certificates are revoked: bits of places in the pool.
    pub revoked: u64,
}

impl Trust {
    /// As the organization begins.
    pub(super) const FIRST: Trust = Trust {
        old_root: true,
        new_root: false,
        intermediate: false,
        revoked: 0,
    };

    /// Whether the organization vouches for a certificate, were it one of its own. What an authority
    /// with another one below it has issued itself is not valid; one list of revocations counts for
    /// one authority. fabric: msp/mspimpl.go getValidationChain, mspimplvalidate.go
    pub(super) fn admits(&self, id: usize, issuer: Issuer) -> bool {
        let is_known = match issuer {
            Issuer::Only => true,
            Issuer::OldRoot => self.old_root && !self.intermediate,
            Issuer::NewRoot => self.new_root,
            Issuer::Intermediate => self.intermediate,
        };
        is_known && self.revoked & (1 << id) == 0
    }
}

/// The authorities of that organization besides its first.
pub(super) struct Authorities {
    new_root: Authority,
    intermediate: Authority,
}

impl Authorities {
    pub(super) fn new(organization: &Organization) -> Self {
        let name = |kind: &str| format!("{kind}.{}", organization.domain());
        Authorities {
            new_root: Authority::root(&name("ca2")),
            intermediate: organization
                .ca()
                .intermediate(&Template::authority(&name("ica"))),
        }
    }

    pub(super) fn of<'a>(
        &'a self,
        organization: &'a Organization,
        issuer: Issuer,
    ) -> &'a Authority {
        match issuer {
            Issuer::Only | Issuer::OldRoot => organization.ca(),
            Issuer::NewRoot => &self.new_root,
            Issuer::Intermediate => &self.intermediate,
        }
    }
}

impl People {
    /// An administrator whom the organization vouches for: its MSP is only changed with its consent.
    pub(super) fn administrator(&self, trust: &Trust) -> usize {
        (0..self.count())
            .find(|id| {
                let person = self.person(*id);
                person.issuer != Issuer::Only
                    && person.unit == NodeOu::Admin
                    && trust.admits(*id, person.issuer)
            })
            .expect("every authority has issued one, and none is revoked")
    }

    /// The organization's MSP as the configuration then has it.
    pub(super) fn msp_config(&self, trust: &Trust) -> FabricMspConfig {
        let organization = &self.organizations[ROTATED];
        let authority = |issuer| self.authorities.of(organization, issuer);
        let certificate = |issuer| Bytes::copy_from_slice(authority(issuer).cert_pem().as_bytes());
        let roots = [
            (trust.old_root, Issuer::OldRoot),
            (trust.new_root, Issuer::NewRoot),
        ];
        let roots = roots.into_iter().filter(|(is_there, _)| *is_there);
        let lists = [Issuer::OldRoot, Issuer::NewRoot, Issuer::Intermediate]
            .into_iter()
            .filter_map(|issuer| {
                let serials: Vec<&[u8]> = (0..self.count())
                    .filter(|id| trust.revoked & (1 << id) != 0)
                    .map(|id| self.person(id))
                    .filter(|person| person.issuer == issuer)
                    .map(|person| person.serial.as_slice())
                    .collect();
                let list = authority(issuer).revocation_list(&serials, true);
                let is_needed = !serials.is_empty();
                is_needed.then(|| Bytes::from(pem::encode("X509 CRL", &list)))
            });
        FabricMspConfig {
            root_certs: roots.map(|(_, issuer)| certificate(issuer)).collect(),
            intermediate_certs: trust
                .intermediate
                .then(|| certificate(Issuer::Intermediate))
                .into_iter()
                .collect(),
            revocation_list: lists.collect(),
            ..organization.msp_config()
        }
    }
}
