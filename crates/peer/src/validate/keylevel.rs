//! Endorsement of one namespace: key-level policies, collection policies, the chaincode's policy.
//!
//! `fabric: core/common/validation/statebased/v20.go`, `core/handlers/validation/builtin/v20`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use consilium_msp::Identity;
use consilium_proto::{
    kvrwset,
    protos::{MetaDataKeys, StaticCollectionConfig, collection_config},
};
use consilium_protocol::rwset::NsRwSet;
use prost::Message;

use super::{ChaincodePolicy, CommittedState, Policies, Terminal};

const IMPLICIT_COLLECTION: &str = "_implicit_org_";

/// Where the rules of a namespace come from.
pub(super) enum NamespaceRules<'a> {
    /// `_lifecycle` itself: the channel's policy.
    Lifecycle,
    /// A defined chaincode.
    Chaincode(&'a ChaincodePolicy),
}

/// Keys whose metadata earlier transactions of the block change, when those were found valid for
/// the namespace. Whether they later meet a read conflict does not matter.
#[derive(Default)]
pub(super) struct ChangedMetadata {
    by_namespace: HashMap<String, HashMap<(String, Bytes), usize>>,
}

impl ChangedMetadata {
    /// Notes the metadata writes of transaction `index` in a namespace that it is valid for.
    pub(super) fn record(&mut self, index: usize, namespace: &str, writes: &NsRwSet) {
        let public = writes
            .metadata_writes
            .iter()
            .map(|write| (String::new(), Bytes::from(write.key.clone())));
        let hashed = writes.collections.iter().flat_map(|collection| {
            collection
                .metadata_writes
                .iter()
                .map(|write| (collection.name.clone(), write.key_hash.clone()))
        });
        let mut keys = public.chain(hashed).peekable();
        if keys.peek().is_none() {
            return;
        }
        let changed = self.by_namespace.entry(namespace.to_owned()).or_default();
        for key in keys {
            changed.entry(key).or_insert(index);
        }
    }

    fn changed_by(&self, namespace: &str, collection: &str, key: &[u8]) -> Option<usize> {
        // The common case: nobody changes metadata.
        let changed = self.by_namespace.get(namespace)?;
        changed
            .get(&(collection.to_owned(), Bytes::copy_from_slice(key)))
            .copied()
    }
}

/// Whether the endorsers suffice for what the transaction does in `namespace`; the inner error says
/// what is missing.
pub(super) fn judge(
    namespace: &str,
    writes: Option<&NsRwSet>,
    rules: &NamespaceRules<'_>,
    endorsers: &[Arc<Identity>],
    state: &dyn CommittedState,
    policies: &Policies,
    metadata: &ChangedMetadata,
) -> Result<Result<(), String>, Terminal> {
    let mut judge = Judge {
        namespace,
        rules,
        endorsers,
        state,
        policies,
        metadata,
        checked_any: false,
        checked_namespace: false,
        checked_collections: HashSet::new(),
    };
    match judge.run(writes) {
        Ok(()) => Ok(Ok(())),
        Err(Failure::Policy(reason)) => Ok(Err(reason)),
        Err(Failure::State(error)) => Err(Terminal::State(error)),
    }
}

/// A collection without a name is the public part of the namespace, in Fabric's checks as in its
/// updates of state.
fn named(collection: &str) -> Option<&str> {
    (!collection.is_empty()).then_some(collection)
}

enum Failure {
    Policy(String),
    State(String),
}

struct Judge<'a> {
    namespace: &'a str,
    rules: &'a NamespaceRules<'a>,
    endorsers: &'a [Arc<Identity>],
    state: &'a dyn CommittedState,
    policies: &'a Policies,
    metadata: &'a ChangedMetadata,
    checked_any: bool,
    checked_namespace: bool,
    checked_collections: HashSet<&'a str>,
}

impl<'a> Judge<'a> {
    fn run(&mut self, writes: Option<&'a NsRwSet>) -> Result<(), Failure> {
        if let Some(writes) = writes {
            for write in &writes.writes {
                self.key(None, write.key.as_bytes())?;
            }
            for write in &writes.metadata_writes {
                self.key(None, write.key.as_bytes())?;
            }
            for collection in &writes.collections {
                for write in &collection.hashed_writes {
                    self.key(named(&collection.name), &write.key_hash)?;
                }
            }
            for collection in &writes.collections {
                for write in &collection.metadata_writes {
                    self.key(named(&collection.name), &write.key_hash)?;
                }
            }
        }
        if self.checked_any {
            Ok(())
        } else {
            self.namespace_policy()
        }
    }

    fn key(&mut self, collection: Option<&'a str>, key: &[u8]) -> Result<(), Failure> {
        let collection_name = collection.unwrap_or_default();
        if let Some(index) = self
            .metadata
            .changed_by(self.namespace, collection_name, key)
        {
            return Err(Failure::Policy(format!(
                "validation parameters for key [{}] in namespace [{}:{collection_name}] have been changed in transaction {index} of this block",
                String::from_utf8_lossy(key),
                self.namespace,
            )));
        }
        // Fabric's ledger gives no metadata of a collection that is not defined (any more), and the
        // transaction is judged as if the key had no policy.
        let is_defined = match collection {
            None => true,
            Some(name) => self.is_defined(name),
        };
        let stored = if is_defined {
            self.state
                .key_metadata(self.namespace, collection, key)
                .map_err(Failure::State)?
        } else {
            None
        };
        if let Some(policy) = stored.map(key_policy).transpose()?.flatten() {
            self.policies
                .evaluate_signature(&policy, self.endorsers)
                .map_err(Failure::Policy)?;
            self.checked_any = true;
            return Ok(());
        }
        match collection {
            None => self.namespace_policy(),
            Some(collection) => self.collection_policy(collection),
        }
    }

    /// Whether the namespace has this collection; legacy definitions are not asked.
    fn is_defined(&self, collection: &str) -> bool {
        if let NamespaceRules::Chaincode(chaincode) = self.rules
            && chaincode.collections.is_none()
        {
            return true;
        }
        match collection.strip_prefix(IMPLICIT_COLLECTION) {
            Some(msp_id) => self.policies.has_organization(msp_id),
            None => self.explicit(collection).is_some(),
        }
    }

    fn explicit(&self, collection: &str) -> Option<&'a StaticCollectionConfig> {
        let NamespaceRules::Chaincode(chaincode) = self.rules else {
            return None;
        };
        let package = chaincode.collections.as_ref()?;
        package.config.iter().find_map(|config| {
            let Some(collection_config::Payload::StaticCollectionConfig(config)) = &config.payload
            else {
                return None;
            };
            (config.name == collection).then_some(config)
        })
    }

    /// The chaincode's own policy, evaluated at most once.
    fn namespace_policy(&mut self) -> Result<(), Failure> {
        if self.checked_namespace {
            return Ok(());
        }
        match self.rules {
            NamespaceRules::Lifecycle => self.policies.evaluate_lifecycle(self.endorsers),
            NamespaceRules::Chaincode(chaincode) => self
                .policies
                .evaluate_application(&chaincode.policy, self.endorsers),
        }
        .map_err(Failure::Policy)?;
        self.checked_namespace = true;
        self.checked_any = true;
        Ok(())
    }

    /// A collection's policy, evaluated at most once per collection.
    fn collection_policy(&mut self, collection: &'a str) -> Result<(), Failure> {
        if self.checked_collections.contains(collection) {
            return Ok(());
        }
        // Older than the V2 lifecycle: collections have no policies of their own.
        if let NamespaceRules::Chaincode(chaincode) = self.rules
            && chaincode.collections.is_none()
        {
            return self.namespace_policy();
        }
        if let Some(msp_id) = collection.strip_prefix(IMPLICIT_COLLECTION) {
            let policy = self
                .policies
                .implicit_collection(msp_id)
                .map_err(Failure::Policy)?;
            policy
                .evaluate_identities(self.endorsers)
                .map_err(|error| Failure::Policy(error.to_string()))?;
        } else {
            let config = self
                .explicit(collection)
                .ok_or_else(|| Failure::Policy(format!("no such collection '{collection}'")))?;
            self.explicit_collection(config)?;
        }
        self.checked_collections.insert(collection);
        self.checked_any = true;
        Ok(())
    }

    fn explicit_collection(&mut self, config: &StaticCollectionConfig) -> Result<(), Failure> {
        let policy: Bytes = config
            .endorsement_policy
            .as_ref()
            .map_or_else(Bytes::new, |policy| policy.encode_to_vec().into());
        if policy.is_empty() {
            // Also one that is there but says nothing.
            return self.namespace_policy();
        }
        self.policies
            .evaluate_application(&policy, self.endorsers)
            .map_err(Failure::Policy)
    }
}

/// The policy stored with a key: entry `VALIDATION_PARAMETER`, if it is there and not empty. Fabric
/// reads the entries into a map, so the last one of a name counts.
///
/// Metadata that does not parse fails the transaction. Fabric stops the channel on it, which lets
/// whoever may set a key's policy stop everybody.
fn key_policy(stored: Bytes) -> Result<Option<Bytes>, Failure> {
    let metadata = consilium_proto::decode::<kvrwset::KvMetadataWrite>(&stored)
        .map_err(|error| Failure::Policy(format!("metadata of key is unreadable: {error}")))?;
    Ok(metadata
        .entries
        .into_iter()
        .rfind(|entry| entry.name == MetaDataKeys::ValidationParameter.as_str_name())
        .map(|entry| entry.value)
        .filter(|policy| !policy.is_empty()))
}
