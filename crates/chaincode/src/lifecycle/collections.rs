//! The collections of a chaincode: explicit ones of its definition, and one implicit collection
//! per organization. (private-data.md §1)

use super::{Definition, LifecycleError, NAMESPACE, policy};
use consilium_ledger::StateReader;
use consilium_proto::protos::{
    ApplicationPolicy, CollectionPolicyConfig, StaticCollectionConfig, collection_config,
    collection_policy_config,
};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::names::implicit_collection as implicit_name;

/// What is known of a collection name of a chaincode.
#[derive(Debug, Clone, PartialEq)]
pub enum CollectionLookup {
    /// It is configured so; implicit collections too.
    Defined(Box<StaticCollectionConfig>),
    /// The chaincode has collections, but none of that name.
    UnknownCollection,
    /// The chaincode is defined without any collection.
    NoCollections,
    /// There is no such chaincode.
    UnknownChaincode,
}

/// Looks a collection up in the committed definition of `chaincode`.
///
/// # Errors
/// [`LifecycleError::Unreadable`] when the definition is garbage.
pub fn collection(
    state: &StateReader,
    chaincode: &str,
    collection: &str,
) -> Result<CollectionLookup, LifecycleError> {
    if chaincode == NAMESPACE {
        return Ok(lookup(None, collection));
    }
    Ok(match super::definition(state, chaincode)? {
        None => CollectionLookup::UnknownChaincode,
        Some(definition) => lookup(Some(&definition), collection),
    })
}

/// The same for a definition at hand; `None` stands for `_lifecycle`, which has implicit ones only.
pub(crate) fn lookup(definition: Option<&Definition>, collection: &str) -> CollectionLookup {
    if let Some(msp_id) = collection.strip_prefix("_implicit_org_") {
        return CollectionLookup::Defined(Box::new(implicit_collection(msp_id)));
    }
    let mut explicit = definition
        .into_iter()
        .flat_map(explicit_collections)
        .peekable();
    if explicit.peek().is_none() {
        return CollectionLookup::NoCollections;
    }
    explicit
        .find(|config| config.name == collection)
        .map_or(CollectionLookup::UnknownCollection, |config| {
            CollectionLookup::Defined(Box::new(config.clone()))
        })
}

pub(super) fn explicit_collections(
    definition: &Definition,
) -> impl Iterator<Item = &StaticCollectionConfig> {
    definition
        .collections
        .config
        .iter()
        .filter_map(|config| config.payload.as_ref())
        .map(|collection_config::Payload::StaticCollectionConfig(config)| config)
}

/// The configuration of the implicit collection of the organization `msp_id`. Its endorsement
/// policy depends on the channel: [`implicit_collection_policy`].
pub fn implicit_collection(msp_id: &str) -> StaticCollectionConfig {
    StaticCollectionConfig {
        name: implicit_name(msp_id),
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(
                policy::members(1, &[msp_id]),
            )),
        }),
        ..StaticCollectionConfig::default()
    }
}

/// Who must endorse writes to the implicit collection of `msp_id`: the organization's Endorsement
/// policy of the channel config, or any of its members where there is none; `None` when the channel
/// has no such organization (a policy failure: "no org found in channel with MSPID '…'").
pub fn implicit_collection_policy(
    config: &ChannelConfig,
    msp_id: &str,
) -> Option<ApplicationPolicy> {
    let group = config.application_org_group(msp_id)?;
    let path = format!("/Channel/Application/{group}/Endorsement");
    Some(if config.policies().has(&path) {
        policy::reference(&path)
    } else {
        policy::of_members(1, &[msp_id])
    })
}
