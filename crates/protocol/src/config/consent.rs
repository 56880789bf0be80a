//! Whose signatures an update still needs: the policies that protect what it changes, opened down to
//! those of organizations.

use super::propose::signed_data;
use super::{ChannelConfig, ConfigError};
use crate::envelope::decode;
use common::policy::PolicyType;
use consilium_msp::{SignedData, dsl, threshold};
use consilium_proto::common;
use std::collections::BTreeMap;

/// A policy that has to be satisfied, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its absolute path.
    pub path: String,
    /// What it asks, in the policy language; a remark in round brackets when it has no words for it.
    pub rule: String,
    /// Whether the signatures satisfy it.
    pub satisfied: bool,
    /// Of an implicit meta policy: how many parts have to be satisfied.
    pub required: usize,
    /// Of an implicit meta policy: the same of each group below.
    pub parts: Vec<Wanted>,
}

impl Wanted {
    /// The policies without parts that are not satisfied and would help to satisfy this one.
    pub fn missing(&self) -> Vec<&Wanted> {
        match (self.satisfied, self.parts.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => vec![self],
            (false, false) => self.parts.iter().flat_map(Wanted::missing).collect(),
        }
    }
}

/// A policy that an update has to satisfy, and the items that it protects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// The policy.
    pub policy: Wanted,
    /// What changes under it, as `[Value]  /Channel/Orderer/BatchSize`.
    pub items: Vec<String>,
}

/// A signature on an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// In the name of which MSP.
    pub msp_id: String,
    /// Common name in the certificate.
    pub name: String,
    /// Why it does not count, if it does not.
    pub fault: Option<String>,
}

impl ChannelConfig {
    /// The policies that an update has to satisfy, and how far its signatures do.
    ///
    /// # Errors
    /// The update is none for this configuration, whoever signs it.
    pub fn consent(
        &self,
        update: &common::ConfigUpdateEnvelope,
    ) -> Result<Vec<Consent>, ConfigError> {
        let mut by_policy: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (item, policy) in self.protected_items(update)? {
            by_policy.entry(policy).or_default().push(item);
        }
        let set = signed_data(update)?;
        Ok(by_policy
            .into_iter()
            .map(|(path, items)| Consent {
                policy: self.wanted(&path, &set),
                items,
            })
            .collect())
    }

    /// Who has signed an update, in order.
    pub fn signatures(
        &self,
        update: &common::ConfigUpdateEnvelope,
    ) -> Result<Vec<Signature>, ConfigError> {
        let signed = signed_data(update)?;
        Ok(signed.iter().map(|one| self.signature(one)).collect())
    }

    fn signature(&self, signed: &SignedData) -> Signature {
        let identity = match self.msps().deserialize(&signed.identity) {
            Ok(identity) => identity,
            Err(error) => {
                let claimed: consilium_proto::msp::SerializedIdentity =
                    decode("SerializedIdentity", &signed.identity).unwrap_or_default();
                return Signature {
                    msp_id: claimed.mspid,
                    name: String::new(),
                    fault: Some(error.to_string()),
                };
            }
        };
        let invalid = self.msps().validate(&identity).err();
        let forged = identity.verify(&signed.data, &signed.signature).err();
        Signature {
            msp_id: identity.msp_id().to_owned(),
            name: identity.certificate().subject_cn().to_owned(),
            fault: invalid
                .map(|error| error.to_string())
                .or_else(|| forged.map(|error| error.to_string())),
        }
    }

    fn wanted(&self, path: &str, set: &[SignedData]) -> Wanted {
        let mut wanted = Wanted {
            path: path.to_owned(),
            rule: "(no such policy)".to_owned(),
            satisfied: self.policies().policy(path).evaluate(set).is_ok(),
            required: 0,
            parts: Vec::new(),
        };
        let Some((group_path, policy, children)) = self.policy_at(path) else {
            return wanted;
        };
        wanted.rule = describe_policy(policy);
        if let Some(implicit) = implicit_meta(policy) {
            wanted.parts = children
                .map(|child| {
                    self.wanted(
                        &format!("{group_path}/{child}/{}", implicit.sub_policy),
                        set,
                    )
                })
                .collect();
            wanted.required = threshold(implicit.rule(), wanted.parts.len());
        }
        wanted
    }

    /// The policy at an absolute path, the path of its group and the names of the groups below that.
    fn policy_at<'a>(
        &'a self,
        path: &'a str,
    ) -> Option<(
        &'a str,
        &'a common::Policy,
        impl Iterator<Item = &'a String>,
    )> {
        let (group_path, name) = path.rsplit_once('/')?;
        let mut names = group_path.strip_prefix('/')?.split('/').skip(1);
        let group = names.try_fold(self.root(), |group, name| group.groups.get(name))?;
        let policy = group.policies.get(name)?.policy.as_ref()?;
        Some((group_path, policy, group.groups.keys()))
    }
}

fn implicit_meta(policy: &common::Policy) -> Option<common::ImplicitMetaPolicy> {
    (policy.r#type == PolicyType::ImplicitMeta as i32)
        .then(|| decode("ImplicitMetaPolicy", &policy.value).ok())
        .flatten()
}

/// A policy in the words of the policy language.
pub fn describe_policy(policy: &common::Policy) -> String {
    if let Some(implicit) = implicit_meta(policy) {
        return dsl::describe_implicit_meta(&implicit);
    }
    if policy.r#type == PolicyType::Signature as i32
        && let Ok(signature) =
            decode::<common::SignaturePolicyEnvelope>("SignaturePolicy", &policy.value)
    {
        return dsl::describe(&signature);
    }
    format!(
        "(policy of type {}, {} bytes)",
        policy.r#type,
        policy.value.len()
    )
}
