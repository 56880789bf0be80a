//! Collection configuration files, as `peer lifecycle chaincode --collections-config` reads them.
//! (fabric: internal/peer/chaincode/common.go)

use anyhow::Context;
use consilium_msp::dsl;
use consilium_proto::protos::{
    ApplicationPolicy, CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig,
    StaticCollectionConfig, application_policy, collection_config, collection_policy_config,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Collection {
    name: String,
    policy: String,
    #[serde(default)]
    required_peer_count: i32,
    #[serde(default = "one")]
    max_peer_count: i32,
    #[serde(default)]
    block_to_live: u64,
    #[serde(default)]
    member_only_read: bool,
    #[serde(default)]
    member_only_write: bool,
    endorsement_policy: Option<EndorsementPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EndorsementPolicy {
    #[serde(default)]
    signature_policy: String,
    #[serde(default)]
    channel_config_policy: String,
}

fn one() -> i32 {
    1
}

/// The collections that a file describes, in the form that a definition holds.
///
/// # Errors
/// It is not JSON of that form (unknown fields are refused, so that a misspelt one is noticed), or
/// a policy in it is malformed.
pub fn parse(json: &[u8]) -> anyhow::Result<CollectionConfigPackage> {
    let collections: Vec<Collection> =
        serde_json::from_slice(json).context("could not parse the collection configuration")?;
    let config = collections.into_iter().map(|collection| {
        let name = collection.name.clone();
        let config = config(collection).with_context(|| format!("collection {name}"))?;
        Ok(CollectionConfig {
            payload: Some(collection_config::Payload::StaticCollectionConfig(config)),
        })
    });
    Ok(CollectionConfigPackage {
        config: config.collect::<anyhow::Result<_>>()?,
    })
}

fn config(collection: Collection) -> anyhow::Result<StaticCollectionConfig> {
    let members = dsl::parse(&collection.policy)
        .with_context(|| format!("invalid policy {}", collection.policy))?;
    let endorsement_policy = match collection.endorsement_policy {
        None => None,
        Some(policy) => application_policy(&policy).context("invalid endorsement policy")?,
    };
    Ok(StaticCollectionConfig {
        name: collection.name,
        member_orgs_policy: Some(CollectionPolicyConfig {
            payload: Some(collection_policy_config::Payload::SignaturePolicy(members)),
        }),
        required_peer_count: collection.required_peer_count,
        maximum_peer_count: collection.max_peer_count,
        block_to_live: collection.block_to_live,
        member_only_read: collection.member_only_read,
        member_only_write: collection.member_only_write,
        endorsement_policy,
    })
}

fn application_policy(policy: &EndorsementPolicy) -> anyhow::Result<Option<ApplicationPolicy>> {
    let (signature, channel) = (&policy.signature_policy, &policy.channel_config_policy);
    let r#type = match (signature.as_str(), channel.as_str()) {
        ("", "") => return Ok(None),
        (signature, "") => application_policy::Type::SignaturePolicy(
            dsl::parse(signature)
                .with_context(|| format!("invalid signature policy: {signature}"))?,
        ),
        ("", channel) => application_policy::Type::ChannelConfigPolicyReference(channel.to_owned()),
        _ => anyhow::bail!("cannot specify both signaturePolicy and channelConfigPolicy"),
    };
    Ok(Some(ApplicationPolicy {
        r#type: Some(r#type),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(json: &str) -> StaticCollectionConfig {
        let mut package = parse(json.as_bytes()).unwrap();
        assert_eq!(package.config.len(), 1);
        match package.config.remove(0).payload.unwrap() {
            collection_config::Payload::StaticCollectionConfig(config) => config,
        }
    }

    #[test]
    fn what_a_file_leaves_out_has_fabrics_defaults() {
        let config = only(r#"[{"name": "pair", "policy": "OR('A.member')"}]"#);
        assert_eq!(config.name, "pair");
        assert_eq!(
            (config.required_peer_count, config.maximum_peer_count),
            (0, 1)
        );
        assert_eq!(config.block_to_live, 0);
        assert!(!config.member_only_read && !config.member_only_write);
        assert_eq!(config.endorsement_policy, None);
        assert!(config.member_orgs_policy.is_some());
    }

    #[test]
    fn every_field_of_a_file_is_taken_over() {
        let config = only(
            r#"[{"name": "pair", "policy": "OR('A.member','B.member')", "requiredPeerCount": 1,
                 "maxPeerCount": 3, "blockToLive": 7, "memberOnlyRead": true, "memberOnlyWrite": true,
                 "endorsementPolicy": {"channelConfigPolicy": "Admins"}}]"#,
        );
        assert_eq!(
            (config.required_peer_count, config.maximum_peer_count),
            (1, 3)
        );
        assert_eq!(config.block_to_live, 7);
        assert!(config.member_only_read && config.member_only_write);
        let policy = config.endorsement_policy.unwrap().r#type.unwrap();
        let expected = application_policy::Type::ChannelConfigPolicyReference("Admins".into());
        assert_eq!(policy, expected);
    }

    #[test]
    fn a_malformed_file_is_refused_with_its_place() {
        for (json, reason) in [
            ("{}", "could not parse the collection configuration"),
            (
                r#"[{"name": "c", "policy": "OR('A.member')", "memberOnlyReed": true}]"#,
                "unknown field `memberOnlyReed`",
            ),
            (
                r#"[{"name": "c", "policy": "OR("}]"#,
                "collection c: invalid policy OR(",
            ),
            (
                r#"[{"name": "c", "policy": "OR('A.member')",
                     "endorsementPolicy": {"signaturePolicy": "OR('A.peer')", "channelConfigPolicy": "x"}}]"#,
                "cannot specify both",
            ),
        ] {
            let error = format!("{:#}", parse(json.as_bytes()).unwrap_err());
            assert!(error.contains(reason), "{json}: {error}");
        }
    }
}
