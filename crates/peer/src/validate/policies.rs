//! Endorsement policies of a channel, compiled once per configuration.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use consilium_chaincode::lifecycle;
use consilium_msp::{Identity, Policy, signature_policy};
use consilium_proto::{
    common,
    protos::{self, application_policy},
};
use consilium_protocol::config::ChannelConfig;
use moka::sync::Cache;

/// Compiled policies kept per configuration.
const COMPILED: u64 = 10_000;

type Compiled = Result<Arc<dyn Policy>, String>;

/// The policies that endorsements are judged by, under one channel configuration.
pub struct Policies {
    config: Arc<ChannelConfig>,
    /// By the encoded `SignaturePolicyEnvelope`; copies, since what is asked with is a slice of a whole record
    /// that must not live on with it.
    signature: Cache<Bytes, Compiled>,
    /// By the encoded `ApplicationPolicy`; copies too.
    application: Cache<Bytes, Compiled>,
    /// Of implicit collections, by the organization's MSP id.
    implicit: BTreeMap<String, Compiled>,
    lifecycle: Compiled,
}

impl Policies {
    /// The policies under `config`.
    pub fn new(config: Arc<ChannelConfig>) -> Self {
        let lifecycle = compile(&config, &lifecycle::endorsement_policy(&config));
        let implicit = config
            .application_orgs()
            .iter()
            .filter_map(|organization| {
                let policy = lifecycle::implicit_collection_policy(&config, &organization.msp_id)?;
                Some((organization.msp_id.clone(), compile(&config, &policy)))
            })
            .collect();
        Self {
            config,
            implicit,
            signature: Cache::new(COMPILED),
            application: Cache::new(COMPILED),
            lifecycle,
        }
    }

    /// The configuration that these policies belong to.
    pub fn config(&self) -> &Arc<ChannelConfig> {
        &self.config
    }

    /// Evaluates an encoded `ApplicationPolicy` (of a definition).
    ///
    /// # Errors
    /// What is wrong with the policy or what it lacks.
    pub fn evaluate_application(&self, policy: &Bytes, by: &[Arc<Identity>]) -> Result<(), String> {
        evaluate(&self.application(policy), by)
    }

    /// The compiled form of an encoded `ApplicationPolicy`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn application(&self, policy: &Bytes) -> Result<Arc<dyn Policy>, String> {
        if let Some(compiled) = self.application.get(policy) {
            return compiled;
        }
        let compiled = consilium_proto::decode(policy)
            .map_err(|error| format!("failed to unmarshal ApplicationPolicy bytes: {error}"))
            .and_then(|parsed| self.compile(&parsed));
        self.application
            .insert(Bytes::copy_from_slice(policy), compiled.clone());
        compiled
    }

    /// Evaluates an encoded `SignaturePolicyEnvelope` (of a key).
    ///
    /// # Errors
    /// What is wrong with the policy or what it lacks.
    pub fn evaluate_signature(&self, policy: &Bytes, by: &[Arc<Identity>]) -> Result<(), String> {
        if let Some(compiled) = self.signature.get(policy) {
            return evaluate(&compiled, by);
        }
        let compiled = consilium_proto::decode(policy)
            .map_err(|error| format!("could not translate policy: {error}"))
            .and_then(|envelope| self.compile_signature(&envelope));
        self.signature
            .insert(Bytes::copy_from_slice(policy), compiled.clone());
        evaluate(&compiled, by)
    }

    /// Evaluates the policy of namespace `_lifecycle`.
    ///
    /// # Errors
    /// What is wrong with the policy or what it lacks.
    pub fn evaluate_lifecycle(&self, by: &[Arc<Identity>]) -> Result<(), String> {
        evaluate(&self.lifecycle, by)
    }

    /// The policy of namespace `_lifecycle`: the channel's LifecycleEndorsement, or a majority of
    /// the organizations' members.
    ///
    /// # Errors
    /// Why there is none.
    pub fn lifecycle(&self) -> Result<Arc<dyn Policy>, String> {
        self.lifecycle.clone()
    }

    /// Whether the channel's application has an organization of this MSP id.
    pub fn has_organization(&self, msp_id: &str) -> bool {
        self.implicit.contains_key(msp_id)
    }

    /// The policy for writes to the implicit collection of an organization.
    ///
    /// # Errors
    /// When no organization of the channel has this MSP id.
    pub fn implicit_collection(&self, msp_id: &str) -> Result<Arc<dyn Policy>, String> {
        self.implicit
            .get(msp_id)
            .cloned()
            .unwrap_or_else(|| Err(format!("no org found in channel with MSPID '{msp_id}'")))
    }

    /// Compiles an `ApplicationPolicy`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile(&self, policy: &protos::ApplicationPolicy) -> Result<Arc<dyn Policy>, String> {
        compile(&self.config, policy)
    }

    /// Compiles a `SignaturePolicyEnvelope`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn compile_signature(
        &self,
        envelope: &common::SignaturePolicyEnvelope,
    ) -> Result<Arc<dyn Policy>, String> {
        compile_signature(&self.config, envelope)
    }
}

fn compile(config: &ChannelConfig, policy: &protos::ApplicationPolicy) -> Compiled {
    match &policy.r#type {
        Some(application_policy::Type::SignaturePolicy(envelope)) => {
            compile_signature(config, envelope)
        }
        Some(application_policy::Type::ChannelConfigPolicyReference(path)) => {
            if config.policies().has(path) {
                Ok(config.policies().policy(path))
            } else {
                Err(format!("failed to retrieve policy for reference {path}"))
            }
        }
        None => Err("unsupported policy type <nil>".to_owned()),
    }
}

fn compile_signature(
    config: &ChannelConfig,
    envelope: &common::SignaturePolicyEnvelope,
) -> Compiled {
    signature_policy(envelope, config.msps().clone()).map_err(|error| error.to_string())
}

fn evaluate(policy: &Compiled, by: &[Arc<Identity>]) -> Result<(), String> {
    policy
        .as_ref()
        .map_err(Clone::clone)?
        .evaluate_identities(by)
        .map_err(|error| error.to_string())
}
