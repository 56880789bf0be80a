//! Collection configurations for tests.

use consilium_msp::dsl;
use consilium_proto::common::SignaturePolicyEnvelope;
use consilium_proto::protos::{
    CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig, StaticCollectionConfig,
    collection_config, collection_policy_config,
};

fn policy(gate: &str, msp_ids: &[&str]) -> SignaturePolicyEnvelope {
    let principals: Vec<String> = msp_ids.iter().map(|id| format!("'{id}.member'")).collect();
    dsl::parse(&format!("{gate}({})", principals.join(","))).expect("a policy")
}

/// Any member of these organizations.
pub fn members(msp_ids: &[&str]) -> SignaturePolicyEnvelope {
    policy("OR", msp_ids)
}

/// A member of each of these organizations.
pub fn all_of(msp_ids: &[&str]) -> SignaturePolicyEnvelope {
    policy("AND", msp_ids)
}

pub fn of(name: &str, members: SignaturePolicyEnvelope) -> StaticCollectionConfig {
    StaticCollectionConfig {
        name: name.to_owned(),
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(members)),
        }),
        maximum_peer_count: 1,
        ..StaticCollectionConfig::default()
    }
}

pub fn package(collections: Vec<StaticCollectionConfig>) -> CollectionConfigPackage {
    let config = collections
        .into_iter()
        .map(|config| CollectionConfig {
            payload: Some(collection_config::Payload::StaticCollectionConfig(config)),
        })
        .collect();
    CollectionConfigPackage { config }
}
