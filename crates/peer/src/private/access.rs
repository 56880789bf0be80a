//! Who is a member of a collection. fabric: core/common/privdata

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use consilium_chaincode::lifecycle;
use consilium_ledger::{LedgerError, StateReader};
use consilium_msp::{Identity, Policy, signature_policy};
use consilium_proto::{
    common::{self, msp_principal::Classification},
    msp::SerializedIdentity,
    protos::{self, StaticCollectionConfig, collection_config, collection_policy_config},
};
use consilium_protocol::{config::ChannelConfig, names::implicit_collection_org};
use prost::Message;

use super::options::DisseminationPolicy;

/// Someone whom a collection's policy admits or not.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) msp_id: String,
    /// As the channel's MSPs read it; `None` if none does.
    pub(crate) identity: Option<Arc<Identity>>,
}

/// A collection with its member policy compiled.
pub(crate) struct Access {
    pub(crate) config: StaticCollectionConfig,
    /// MSP ids that the policy names.
    pub(crate) organizations: BTreeSet<String>,
    policy: Option<Arc<dyn Policy>>,
}

impl Access {
    /// Compiles a collection's member policy; one that does not compile admits nobody.
    pub(crate) fn new(config: StaticCollectionConfig, channel: &ChannelConfig) -> Self {
        let policy = member_policy(&config).and_then(|envelope| {
            signature_policy(envelope, channel.msps().clone())
                .inspect_err(|error| {
                    tracing::warn!(collection = config.name, %error, "member policy does not compile");
                })
                .ok()
        });
        Self {
            organizations: organizations(&config),
            policy,
            config,
        }
    }

    /// Whether the member policy is satisfied by this identity alone.
    pub(crate) fn admits(&self, member: &Member) -> bool {
        match (&self.policy, &member.identity) {
            (Some(policy), Some(identity)) => policy
                .evaluate_identities(std::slice::from_ref(identity))
                .is_ok(),
            _ => false,
        }
    }

    /// Whether a peer keeps this collection's data: its organization is named, or the policy admits
    /// it all the same.
    pub(crate) fn is_kept_by(&self, member: &Member) -> bool {
        self.organizations.contains(&member.msp_id) || self.admits(member)
    }

    pub(crate) fn required(&self) -> usize {
        usize::try_from(self.config.required_peer_count).unwrap_or(0)
    }

    pub(crate) fn maximum(&self) -> usize {
        usize::try_from(self.config.maximum_peer_count).unwrap_or(0)
    }
}

fn member_policy(config: &StaticCollectionConfig) -> Option<&common::SignaturePolicyEnvelope> {
    let policy = config.member_orgs_policy.as_ref()?;
    let collection_policy_config::Payload::SignaturePolicy(envelope) = policy.payload.as_ref()?;
    Some(envelope)
}

/// MSP ids that a collection's member policy names.
pub(crate) fn organizations(config: &StaticCollectionConfig) -> BTreeSet<String> {
    let principals = member_policy(config).map(|policy| &policy.identities[..]);
    let principals = principals.unwrap_or_default().iter();
    principals.filter_map(organization).collect()
}

/// The MSP that a principal belongs to.
fn organization(principal: &common::MspPrincipal) -> Option<String> {
    let bytes = principal.principal.clone();
    match principal.principal_classification() {
        Classification::Role => Some(common::MspRole::decode(bytes).ok()?.msp_identifier),
        Classification::OrganizationUnit => {
            Some(common::OrganizationUnit::decode(bytes).ok()?.msp_identifier)
        }
        Classification::Identity => Some(SerializedIdentity::decode(bytes).ok()?.mspid),
        _ => None,
    }
}

/// The collections of a channel under one configuration, each compiled once.
pub(crate) struct Collections {
    channel: Arc<ChannelConfig>,
    own_msp: String,
    implicit: DisseminationPolicy,
    known: BTreeMap<(String, String), Option<Arc<Access>>>,
}

impl Collections {
    pub(crate) fn new(
        channel: Arc<ChannelConfig>,
        own_msp: &str,
        implicit: DisseminationPolicy,
    ) -> Self {
        Self {
            channel,
            own_msp: own_msp.to_owned(),
            implicit,
            known: BTreeMap::new(),
        }
    }

    /// A collection as defined in `state`; `None` if there is no such collection.
    pub(crate) fn get(
        &mut self,
        state: &StateReader,
        namespace: &str,
        collection: &str,
    ) -> Result<Option<Arc<Access>>, LedgerError> {
        let key = (namespace.to_owned(), collection.to_owned());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let config = match implicit_collection_org(collection) {
            Some(msp_id) => self.implicit(msp_id),
            None => match state.collections(namespace) {
                Ok(package) => package.and_then(|package| find(&package, collection)),
                // A definition that cannot be read defines nothing; the ledger itself is well.
                Err(LedgerError::Refused(reason)) => {
                    tracing::warn!(namespace, collection, reason, "collection is unreadable");
                    None
                }
                Err(error) => return Err(error),
            },
        };
        let access = config.map(|config| Arc::new(Access::new(config, &self.channel)));
        self.known.insert(key, access.clone());
        Ok(access)
    }

    /// A collection of a package that came from elsewhere.
    pub(crate) fn in_package(
        &self,
        package: &protos::CollectionConfigPackage,
        collection: &str,
    ) -> Option<Access> {
        let config = match implicit_collection_org(collection) {
            // Not what somebody says about it.
            Some(msp_id) => self.implicit(msp_id),
            None => find(package, collection),
        };
        config.map(|config| Access::new(config, &self.channel))
    }

    fn implicit(&self, msp_id: &str) -> Option<StaticCollectionConfig> {
        self.channel.application_org_group(msp_id)?;
        let mut config = lifecycle::implicit_collection(msp_id);
        if msp_id == self.own_msp {
            config.required_peer_count = i32::try_from(self.implicit.required).unwrap_or(i32::MAX);
            config.maximum_peer_count = i32::try_from(self.implicit.maximum).unwrap_or(i32::MAX);
        }
        Some(config)
    }
}

fn find(
    package: &protos::CollectionConfigPackage,
    collection: &str,
) -> Option<StaticCollectionConfig> {
    package
        .config
        .iter()
        .filter_map(|config| config.payload.as_ref())
        .map(|collection_config::Payload::StaticCollectionConfig(config)| config)
        .find(|config| config.name == collection)
        .cloned()
}

/// A collection as the one entry of a package, as it travels with its data.
pub(crate) fn package_of(config: &StaticCollectionConfig) -> protos::CollectionConfigPackage {
    protos::CollectionConfigPackage {
        config: vec![protos::CollectionConfig {
            payload: Some(collection_config::Payload::StaticCollectionConfig(
                config.clone(),
            )),
        }],
    }
}

/// SHA-256 of a set is the one in the block.
pub(crate) fn is_agreed(set: &Bytes, hash: &[u8]) -> bool {
    consilium_protocol::hash::sha256(set)[..] == *hash
}
