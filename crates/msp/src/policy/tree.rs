//! The policies of a channel, by their path in its configuration tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use consilium_proto::common::policy::PolicyType;
use consilium_proto::common::{ConfigGroup, ImplicitMetaPolicy, SignaturePolicyEnvelope};
use consilium_proto::decode;

use super::implicit_meta::{ImplicitMeta, threshold};
use super::{Missing, Policy, PolicyError, signature_policy};
use crate::msps::MspManager;

/// Name of the root group in paths.
const ROOT: &str = "Channel";

/// All policies of one channel configuration. Cheap to clone.
#[derive(Clone)]
pub struct PolicyManager {
    /// By absolute path, for example `/Channel/Application/Writers`.
    policies: Arc<BTreeMap<String, Arc<dyn Policy>>>,
}

impl std::fmt::Debug for PolicyManager {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.policies.keys()).finish()
    }
}

impl PolicyManager {
    /// Compiles the policies of `root` (the channel group) and of all groups below.
    ///
    /// # Errors
    /// [`PolicyError`] when one does not compile, naming it and its path.
    pub fn new(root: &ConfigGroup, msps: Arc<MspManager>) -> Result<Self, PolicyError> {
        let mut policies = BTreeMap::new();
        compile_group(ROOT, root, &msps, &mut policies)?;
        Ok(PolicyManager {
            policies: Arc::new(policies),
        })
    }

    /// The policy at `path`: absolute, or relative to the channel group. A path that leads nowhere gives a
    /// policy that rejects everything with [`PolicyError::NotFound`].
    pub fn policy(&self, path: &str) -> Arc<dyn Policy> {
        match self.policies.get(absolute(path).as_ref()) {
            Some(policy) => policy.clone(),
            None => Arc::new(Missing(path.to_owned())),
        }
    }

    /// Whether there is a policy at `path`.
    pub fn has(&self, path: &str) -> bool {
        self.policies.contains_key(absolute(path).as_ref())
    }

    /// The absolute paths of all policies, in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.policies.keys().map(String::as_str)
    }
}

fn absolute(path: &str) -> std::borrow::Cow<'_, str> {
    match path.starts_with('/') {
        true => path.into(),
        false => format!("/{ROOT}/{path}").into(),
    }
}

fn compile_group(
    path: &str,
    group: &ConfigGroup,
    msps: &Arc<MspManager>,
    policies: &mut BTreeMap<String, Arc<dyn Policy>>,
) -> Result<(), PolicyError> {
    for (name, child) in &group.groups {
        compile_group(&format!("{path}/{name}"), child, msps, policies)?;
    }
    for (name, configured) in &group.policies {
        let Some(policy) = &configured.policy else {
            return Err(PolicyError::Malformed(format!(
                "policy {name} at path {path} was nil"
            )));
        };
        let does_not_compile = |kind, source| PolicyError::DoesNotCompile {
            kind,
            name: name.clone(),
            path: path.to_owned(),
            source: Box::new(source),
        };
        let compiled: Arc<dyn Policy> = match PolicyType::try_from(policy.r#type) {
            Ok(PolicyType::Signature) => decode::<SignaturePolicyEnvelope>(&policy.value)
                .map_err(|error| {
                    PolicyError::Malformed(format!(
                        "Error unmarshalling to SignaturePolicy: {error}"
                    ))
                })
                .and_then(|envelope| signature_policy(&envelope, msps.clone()))
                .map_err(|error| does_not_compile("policy", error))?,
            Ok(PolicyType::ImplicitMeta) => {
                let children = group.groups.keys().map(|child| format!("/{path}/{child}"));
                let compiled = implicit_meta(&policy.value, children, msps, policies)
                    .map_err(|error| does_not_compile("implicit policy", error))?;
                Arc::new(compiled)
            }
            Ok(PolicyType::Unknown | PolicyType::Msp) | Err(_) => {
                return Err(PolicyError::Malformed(format!(
                    "policy {name} at path {path} has unknown policy type: {}",
                    policy.r#type
                )));
            }
        };
        policies.insert(format!("/{path}/{name}"), compiled);
    }
    Ok(())
}

fn implicit_meta(
    value: &bytes::Bytes,
    children: impl Iterator<Item = String>,
    msps: &Arc<MspManager>,
    policies: &BTreeMap<String, Arc<dyn Policy>>,
) -> Result<ImplicitMeta, PolicyError> {
    let definition: ImplicitMetaPolicy = decode(value).map_err(|error| {
        PolicyError::Malformed(format!(
            "error unmarshalling to ImplicitMetaPolicy: {error}"
        ))
    })?;
    let rule = consilium_proto::common::implicit_meta_policy::Rule::try_from(definition.rule)
        .map_err(|_| PolicyError::Malformed(format!("unknown rule {}", definition.rule)))?;
    let sub_policies: Vec<Arc<dyn Policy>> = children
        .map(|child| {
            // An absolute path is one child's; the others do not find it.
            let path = match definition.sub_policy.strip_prefix(&child) {
                Some(rest) if rest.starts_with('/') => definition.sub_policy.clone(),
                _ => format!("{child}/{}", definition.sub_policy),
            };
            policies
                .get(&path)
                .cloned()
                .unwrap_or_else(|| Arc::new(Missing(definition.sub_policy.clone())))
        })
        .collect();
    Ok(ImplicitMeta {
        required: threshold(rule, sub_policies.len()),
        sub_policies,
        name: definition.sub_policy,
        msps: msps.clone(),
    })
}
