//! From what a transaction touches to what its endorsers have to be. Pure but for the cache.
//! `fabric: discovery/endorsement/endorsement.go`, `discovery/support/chaincode/support.go`,
//! `core/chaincode/lifecycle/metadata_provider.go`

use std::sync::Arc;

use consilium_msp::{Policy, role_principal};
use consilium_peer::{
    PeerChannel,
    validate::{ChaincodePolicy, Policies},
};
use consilium_proto::{
    common::msp_role::MspRoleType,
    gossip::Chaincode,
    protos::{
        ChaincodeCall, ChaincodeInterest, StaticCollectionConfig, collection_config,
        collection_policy_config,
    },
};
use moka::sync::Cache;
use prost::Message;

use crate::{
    layouts::{self, Layout},
    principal::Held,
};

const LIFECYCLE: &str = "_lifecycle";
const IMPLICIT_COLLECTION: &str = "_implicit_org_";
/// Bytes, about, that a cache of requirements holds.
const CACHED: u64 = 32 << 20;

/// Who can run the chaincodes of an interest and may see what they read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eligibility {
    /// Name and version of every chaincode, as peers that can run it tell.
    pub chaincodes: Vec<(String, String)>,
    /// For each collection whose clear values are read: principals any of which may have them.
    pub readers: Vec<Vec<Held>>,
}

impl Eligibility {
    /// Whether a peer that tells of these chaincodes can run all that are called.
    pub fn can_run(&self, told: &[Chaincode]) -> bool {
        self.chaincodes.iter().all(|(name, version)| {
            let mut told = told.iter();
            told.any(|chaincode| chaincode.name == *name && chaincode.version == *version)
        })
    }

    /// Whether somebody may see every collection that is read; `holds` says what it is.
    pub fn may_read(&self, mut holds: impl FnMut(&Held) -> bool) -> bool {
        self.readers
            .iter()
            .all(|principals| principals.iter().any(&mut holds))
    }
}

/// What endorsers of a transaction have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// What each of them has to be.
    pub eligibility: Eligibility,
    /// Combinations of principals, any of which suffices.
    pub layouts: Vec<Layout<Held>>,
}

/// What a plan depends on: channel, configuration, definitions, interest.
type Key = (String, u64, u64, Vec<u8>);

/// Requirements found before.
pub struct RequirementsCache {
    known: Cache<Key, Arc<Result<Requirements, String>>>,
}

impl Default for RequirementsCache {
    fn default() -> Self {
        let weigh = |key: &Key, value: &Arc<Result<Requirements, String>>| {
            let layouts = match value.as_ref() {
                Ok(found) => found.layouts.iter().map(Vec::len).sum(),
                Err(_) => 1,
            };
            u32::try_from(200 + key.3.len() * 2 + layouts * 100).unwrap_or(u32::MAX)
        };
        Self {
            known: Cache::builder().max_capacity(CACHED).weigher(weigh).build(),
        }
    }
}

impl RequirementsCache {
    /// The requirements of an interest; remembered until configuration or definitions change.
    ///
    /// # Errors
    /// Discovery's text: what is not defined or cannot be satisfied.
    pub fn get(
        &self,
        channel: &PeerChannel,
        interest: &ChaincodeInterest,
    ) -> Arc<Result<Requirements, String>> {
        let key = (
            channel.name().to_owned(),
            channel.config().sequence(),
            channel.definitions_generation(),
            interest.encode_to_vec(),
        );
        if let Some(known) = self.known.get(&key) {
            return known;
        }
        let defined = |name: &str| channel.chaincode_policy(name);
        let found = Arc::new(requirements(&channel.policies(), &defined, interest));
        self.known.insert(key, found.clone());
        found
    }
}

/// Looks up the rules of a chaincode; `None` when it is not defined.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Result<Option<Arc<ChaincodePolicy>>, String>;

/// The requirements of an interest.
pub(crate) fn requirements(
    policies: &Policies,
    defined: Lookup<'_>,
    interest: &ChaincodeInterest,
) -> Result<Requirements, String> {
    let eligibility = eligibility(policies, defined, interest)?;
    let mut alternatives: Vec<Vec<Layout<Held>>> = Vec::new();
    for call in &interest.chaincodes {
        let rules = Rules::of(policies, defined, &call.name)?;
        for policy in rules.policies(policies, call)? {
            let sets = policy.principal_sets();
            if sets.is_empty() {
                return Err("endorsement policy cannot be satisfied".to_owned());
            }
            let held = |set: Vec<_>| set.into_iter().map(Held::of).collect();
            alternatives.push(sets.into_iter().map(held).collect());
        }
    }
    let layouts = layouts::layouts(&alternatives);
    if layouts.is_empty() {
        return Err("endorsement policy cannot be satisfied".to_owned());
    }
    Ok(Requirements {
        eligibility,
        layouts,
    })
}

/// Who can run the chaincodes of an interest and may see what they read.
pub(crate) fn eligibility(
    policies: &Policies,
    defined: Lookup<'_>,
    interest: &ChaincodeInterest,
) -> Result<Eligibility, String> {
    let mut found = Eligibility::default();
    for call in &interest.chaincodes {
        let rules = Rules::of(policies, defined, &call.name)?;
        if !call.no_private_reads {
            for collection in &call.collection_names {
                found.readers.push(rules.readers(&call.name, collection)?);
            }
        }
        let chaincode = (call.name.clone(), rules.version().to_owned());
        if !found.chaincodes.contains(&chaincode) {
            found.chaincodes.push(chaincode);
        }
    }
    Ok(found)
}

/// The rules of a chaincode; `None` stands for `_lifecycle`.
struct Rules(Option<Arc<ChaincodePolicy>>);

impl Rules {
    fn of(policies: &Policies, defined: Lookup<'_>, name: &str) -> Result<Self, String> {
        if name == LIFECYCLE {
            return Ok(Self(None));
        }
        defined(name)?
            .map(|rules| Self(Some(rules)))
            .ok_or_else(|| {
                let channel = policies.config().channel_id();
                format!("No metadata was found for chaincode {name} in channel {channel}")
            })
    }

    fn version(&self) -> &str {
        let defined = self.0.as_ref();
        defined.map_or("1", |rules| rules.advertised_version.as_str())
    }

    /// The policies that a call's endorsements have to satisfy: of a collection its own, else the
    /// chaincode's; of a call without collections the chaincode's; of keys theirs.
    ///
    /// Where Fabric drops whichever policy comes first when it is to disregard the chaincode's, only
    /// the chaincode's is dropped here.
    fn policies(
        &self,
        policies: &Policies,
        call: &ChaincodeCall,
    ) -> Result<Vec<Arc<dyn Policy>>, String> {
        let unusable = |reason: String| format!("policy not found: {reason}");
        let mut found = Vec::new();
        let mut needs_namespace = call.collection_names.is_empty();
        for name in &call.collection_names {
            match self.collection_policy(policies, name).map_err(unusable)? {
                Some(policy) => found.push(policy),
                None => needs_namespace = true,
            }
        }
        for policy in &call.key_policies {
            found.push(policies.compile_signature(policy)?);
        }
        if call.disregard_namespace_policy {
            if found.is_empty() {
                return Err(format!(
                    "requested to disregard chaincode {}'s policy but key and collection policies are missing, either disable DisregardNamespacePolicy or specify at least one key policy or at least one collection policy",
                    call.name
                ));
            }
        } else if needs_namespace {
            let namespace = match &self.0 {
                None => policies.lifecycle(),
                Some(rules) => policies.application(&rules.policy),
            };
            found.push(namespace.map_err(unusable)?);
        }
        Ok(found)
    }

    fn collection_policy(
        &self,
        policies: &Policies,
        name: &str,
    ) -> Result<Option<Arc<dyn Policy>>, String> {
        if let Some(msp_id) = name.strip_prefix(IMPLICIT_COLLECTION) {
            return policies.implicit_collection(msp_id).map(Some);
        }
        let policy = self
            .collection(name)
            .and_then(|collection| collection.endorsement_policy.as_ref());
        policy.map(|policy| policies.compile(policy)).transpose()
    }

    fn collection(&self, name: &str) -> Option<&StaticCollectionConfig> {
        let package = self.0.as_ref()?.collections.as_ref()?;
        package
            .config
            .iter()
            .find_map(|config| match &config.payload {
                Some(collection_config::Payload::StaticCollectionConfig(config)) => {
                    (config.name == name).then_some(config)
                }
                _ => None,
            })
    }

    /// The principals of a collection's member policy. As in Fabric each lets its holder read, whatever
    /// the policy's rule says.
    fn readers(&self, chaincode: &str, name: &str) -> Result<Vec<Held>, String> {
        if let Some(msp_id) = name.strip_prefix(IMPLICIT_COLLECTION) {
            return Ok(vec![Held::of(role_principal(msp_id, MspRoleType::Member))]);
        }
        let collection = self.collection(name).ok_or_else(|| {
            format!(
                "collection {name} doesn't exist in collection config for chaincode {chaincode}"
            )
        })?;
        let policy = collection
            .member_orgs_policy
            .as_ref()
            .ok_or_else(|| format!("MemberOrgsPolicy of {name} is nil"))?;
        let Some(collection_policy_config::Payload::SignaturePolicy(envelope)) = &policy.payload
        else {
            return Err(format!("policy of {name} is nil"));
        };
        Ok(envelope.identities.iter().cloned().map(Held::of).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_msp::dsl;
    use consilium_proto::{
        common::{MspRole, SignaturePolicyEnvelope},
        protos::{
            ApplicationPolicy, CollectionConfig, CollectionConfigPackage, CollectionPolicyConfig,
            application_policy,
        },
    };
    use consilium_testkit::{Organization, network};

    fn signature(text: &str) -> SignaturePolicyEnvelope {
        dsl::parse(text).unwrap()
    }

    fn application(text: &str) -> ApplicationPolicy {
        ApplicationPolicy {
            r#type: Some(application_policy::Type::SignaturePolicy(signature(text))),
        }
    }

    fn collection(name: &str, members: &str, endorsement: Option<&str>) -> CollectionConfig {
        CollectionConfig {
            payload: Some(collection_config::Payload::StaticCollectionConfig(
                StaticCollectionConfig {
                    name: name.to_owned(),
                    member_orgs_policy: Some(CollectionPolicyConfig {
                        payload: Some(collection_policy_config::Payload::SignaturePolicy(
                            signature(members),
                        )),
                    }),
                    endorsement_policy: endorsement.map(application),
                    ..Default::default()
                },
            )),
        }
    }

    fn rules(policy: ApplicationPolicy) -> Arc<ChaincodePolicy> {
        let config = vec![
            collection("plain", "OR('Org1MSP.member','Org2MSP.member')", None),
            collection("own", "OR('Org2MSP.member')", Some("OR('Org3MSP.peer')")),
            collection("too", "OR('Org2MSP.member')", Some("OR('Org2MSP.peer')")),
            collection("bad", "OR('Org2MSP.member')", Some("OR('Org2MSP.peer')")),
        ];
        let mut package = CollectionConfigPackage { config };
        if let Some(collection_config::Payload::StaticCollectionConfig(bad)) =
            &mut package.config[3].payload
        {
            bad.endorsement_policy = Some(ApplicationPolicy::default());
        }
        Arc::new(ChaincodePolicy {
            plugin: "vscc".to_owned(),
            policy: policy.encode_to_vec().into(),
            collections: Some(package),
            advertised_version: "3".to_owned(),
        })
    }

    fn defined(name: &str) -> Result<Option<Arc<ChaincodePolicy>>, String> {
        Ok(match name {
            "kv" => Some(rules(application("AND('Org1MSP.peer','Org2MSP.peer')"))),
            "any" => Some(rules(application("OR('Org1MSP.peer','Org3MSP.peer')"))),
            "default" => Some(rules(ApplicationPolicy {
                r#type: Some(application_policy::Type::ChannelConfigPolicyReference(
                    "/Channel/Application/Endorsement".to_owned(),
                )),
            })),
            "damaged" => Some(rules(ApplicationPolicy::default())),
            "broken" => return Err("cannot read".to_owned()),
            _ => None,
        })
    }

    fn policies() -> Policies {
        let organizations = [1, 2, 3]
            .map(|n| Organization::new(&format!("Org{n}MSP"), &format!("org{n}.example.com")));
        let [one, two, three] = &organizations;
        Policies::new(network::config("mychannel", &[one, two, three]))
    }

    /// `chaincode:collection,collection`; `!` before a collection: no private reads; `-` before the
    /// chaincode: disregard its policy.
    fn call(text: &str) -> ChaincodeCall {
        let (name, collections) = text.split_once(':').unwrap_or((text, ""));
        ChaincodeCall {
            name: name.trim_start_matches('-').to_owned(),
            collection_names: collections
                .split(',')
                .filter(|name| !name.is_empty())
                .map(|name| name.trim_start_matches('!').to_owned())
                .collect(),
            no_private_reads: collections.starts_with('!'),
            disregard_namespace_policy: name.starts_with('-'),
            ..Default::default()
        }
    }

    fn interest(text: &str) -> ChaincodeInterest {
        ChaincodeInterest {
            chaincodes: text.split_whitespace().map(call).collect(),
        }
    }

    fn shown(requirements: &Requirements) -> String {
        let name = |held: &Held| {
            let role = MspRole::decode(held.principal().principal.clone()).unwrap();
            let role = role.role().as_str_name().to_lowercase();
            format!("{}.{role}", held.msp_id().trim_end_matches("MSP"))
        };
        let mut layouts: Vec<String> = requirements
            .layouts
            .iter()
            .map(|layout| {
                let mut names: Vec<String> = layout.iter().map(name).collect();
                names.sort();
                names.join("+")
            })
            .collect();
        layouts.sort();
        layouts.join(" ")
    }

    #[test]
    fn what_is_called_decides_which_policies_count() {
        let policies = policies();
        let kv = "Org1.peer+Org2.peer";
        for (asked, expected) in [
            ("kv", Ok(kv)),
            ("any", Ok("Org1.peer Org3.peer")),
            ("kv any", Ok(kv)),
            ("any kv", Ok(kv)),
            ("kv:plain", Ok(kv)),
            ("any:own", Ok("Org3.peer")),
            ("any:own,plain", Ok("Org3.peer")),
            ("kv:own", Ok("Org3.peer")),
            ("kv:own,plain", Ok("Org1.peer+Org2.peer+Org3.peer")),
            ("kv:own kv", Ok("Org1.peer+Org2.peer+Org3.peer")),
            ("any:too", Ok("Org2.peer")),
            ("any:own,too", Ok("Org2.peer+Org3.peer")),
            ("-any:own", Ok("Org3.peer")),
            ("-any:own,plain", Ok("Org3.peer")),
            ("any:_implicit_org_Org2MSP", Ok("Org2.peer")),
            ("any:!nowhere", Ok("Org1.peer Org3.peer")),
            (
                "default",
                Ok("Org1.peer+Org2.peer Org1.peer+Org3.peer Org2.peer+Org3.peer"),
            ),
            (
                "_lifecycle",
                Ok("Org1.peer+Org2.peer Org1.peer+Org3.peer Org2.peer+Org3.peer"),
            ),
            (
                "nope",
                Err("No metadata was found for chaincode nope in channel mychannel"),
            ),
            (
                "kv nope",
                Err("No metadata was found for chaincode nope in channel mychannel"),
            ),
            (
                "qscc",
                Err("No metadata was found for chaincode qscc in channel mychannel"),
            ),
            ("broken", Err("cannot read")),
            (
                "damaged",
                Err("policy not found: unsupported policy type <nil>"),
            ),
            (
                "kv:bad",
                Err("policy not found: unsupported policy type <nil>"),
            ),
            (
                "kv:nowhere",
                Err("collection nowhere doesn't exist in collection config for chaincode kv"),
            ),
            (
                "any:_implicit_org_NoMSP",
                Err("policy not found: no org found in channel with MSPID 'NoMSP'"),
            ),
            (
                "-kv:plain",
                Err(
                    "requested to disregard chaincode kv's policy but key and collection policies are missing, either disable DisregardNamespacePolicy or specify at least one key policy or at least one collection policy",
                ),
            ),
        ] {
            let found = requirements(&policies, &defined, &interest(asked));
            let shown = found.as_ref().map(shown).map_err(String::as_str);
            assert_eq!(shown, expected.map(str::to_owned), "{asked}");
        }
    }

    #[test]
    fn key_policies_come_on_top_or_in_place() {
        let policies = policies();
        for (disregard, key_policies, expected) in [
            (
                false,
                vec!["OR('Org2MSP.peer')"],
                Ok("Org1.peer+Org2.peer Org2.peer+Org3.peer"),
            ),
            (true, vec!["OR('Org2MSP.peer')"], Ok("Org2.peer")),
            (
                true,
                vec!["OR('Org2MSP.member')", "OR('Org2MSP.peer')"],
                Ok("Org2.peer"),
            ),
            (
                true,
                vec![
                    "OR('Org2MSP.peer','Org1MSP.peer')",
                    "OR('Org3MSP.peer','Org1MSP.peer')",
                ],
                Ok("Org1.peer Org2.peer+Org3.peer"),
            ),
        ] {
            let mut interest = interest("any");
            interest.chaincodes[0].key_policies =
                key_policies.iter().map(|text| signature(text)).collect();
            interest.chaincodes[0].disregard_namespace_policy = disregard;
            let found = requirements(&policies, &defined, &interest);
            let shown = found.as_ref().map(shown).map_err(String::as_str);
            assert_eq!(shown, expected.map(str::to_owned), "{key_policies:?}");
        }
        let mut interest = interest("any");
        interest.chaincodes[0].key_policies = vec![SignaturePolicyEnvelope::default()];
        assert!(requirements(&policies, &defined, &interest).is_err());
    }

    #[test]
    fn who_reads_collections_is_a_member_of_all_of_them() {
        let policies = policies();
        for (asked, readers) in [
            ("kv", "1 2 3"),
            ("kv:plain", "1 2"),
            ("kv:plain any:own", "2"),
            ("kv:plain,own", "2"),
            ("kv:!plain,own", "1 2 3"),
            ("kv:!plain any:own", "2"),
            ("kv:_implicit_org_Org3MSP", "3"),
            ("kv:_implicit_org_Org3MSP kv:own", ""),
        ] {
            let found = eligibility(&policies, &defined, &interest(asked)).unwrap();
            let may_read = |n: &&str| {
                let msp_id = format!("Org{n}MSP");
                found.may_read(|held| held.msp_id() == msp_id)
            };
            let allowed: Vec<&str> = ["1", "2", "3"].into_iter().filter(may_read).collect();
            assert_eq!(allowed.join(" "), readers, "{asked}");
        }
    }

    #[test]
    fn peers_have_to_tell_of_every_chaincode_in_its_version() {
        let found = eligibility(&policies(), &defined, &interest("kv _lifecycle kv any")).unwrap();
        let told = |chaincodes: &[(&str, &str)]| -> Vec<Chaincode> {
            let told = chaincodes.iter().map(|(name, version)| Chaincode {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                ..Default::default()
            });
            told.collect()
        };
        for (chaincodes, can_run) in [
            (&[("_lifecycle", "1"), ("kv", "3"), ("any", "3")][..], true),
            (
                &[("_lifecycle", "1"), ("kv", "3"), ("any", "2"), ("any", "3")],
                true,
            ),
            (&[("_lifecycle", "1"), ("kv", "3"), ("any", "2")], false),
            (&[("kv", "3"), ("any", "3")], false),
            (&[], false),
        ] {
            assert_eq!(found.can_run(&told(chaincodes)), can_run, "{chaincodes:?}");
        }
    }
}
