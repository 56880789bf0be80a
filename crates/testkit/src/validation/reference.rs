//! The rules, one after the other.

use std::collections::{BTreeMap, HashSet};

use aws_lc_rs::digest;
use bytes::Bytes;
use consilium_proto::kvrwset::{KvMetadataEntry, KvMetadataWrite};
use consilium_proto::lifecycle::{ChaincodeValidationInfo, StateData, StateMetadata, state_data};
use consilium_proto::protos::{
    CollectionConfigPackage, StaticCollectionConfig, TxValidationCode as Code,
    collection_config::Payload,
};
use consilium_proto::{common, txmgr};
use consilium_protocol::rwset::{NsRwSet, Version};
use prost::Message as _;

use super::encode::without_unexpected;
use super::endorsement::{Channel, signers};
use super::people::{MEMBERS, People};
use super::plan::{Change, Plan, Stage};
use super::trust::Trust;

pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, &parts.concat());
    digest.as_ref().try_into().expect("32 bytes")
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Namespace, collection (empty: public) and key (of a collection: its hash).
pub type StateKey = (String, String, Bytes);

/// What state holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Value, or its hash.
    pub value: Bytes,
    /// `KVMetadataWrite` without key.
    pub metadata: Option<Bytes>,
    /// Who wrote it last.
    pub version: Version,
}

/// Keys that a block changes; `None` is a deletion.
type Changes = BTreeMap<StateKey, (Option<Entry>, Version)>;

/// A transaction as it stands in a block.
pub(super) struct Placed<'a> {
    pub(super) plan: &'a Plan,
    /// The id that its header claims, as far as it can be read.
    pub(super) claimed: &'a str,
    /// Of a change of the channel: the encoded `ConfigEnvelope`.
    pub(super) config: Option<Bytes>,
}

/// A channel as its rules make it.
pub struct Reference {
    /// Public and hashed state.
    pub state: BTreeMap<StateKey, Entry>,
    pub(super) channel: Channel,
    ids: HashSet<String>,
    height: u64,
    commit_hash: Option<[u8; 32]>,
    /// By the block that takes them away: hashed keys and the version that is meant.
    expiring: BTreeMap<u64, Vec<(StateKey, Version)>>,
}

/// A committed definition.
struct Definition {
    plugin: String,
    policy: Bytes,
    collections: CollectionConfigPackage,
}

impl Definition {
    fn collection(&self, name: &str) -> Option<&StaticCollectionConfig> {
        let all = self.collections.config.iter();
        all.filter_map(|config| config.payload.as_ref())
            .map(|Payload::StaticCollectionConfig(config)| config)
            .find(|config| config.name == name)
    }
}

const CONFIG_KEY: &str = "CHANNEL_CONFIG_ENV_BYTES";

impl Reference {
    /// A channel with its block 0, which holds `config` (an encoded `ConfigEnvelope`).
    pub fn new(config: Bytes) -> Self {
        let key = (String::new(), String::new(), Bytes::from(CONFIG_KEY));
        let entry = Entry {
            value: config,
            metadata: None,
            version: Version::new(0, 0),
        };
        Self {
            state: BTreeMap::from([(key, entry)]),
            channel: Channel {
                organizations: (1..=MEMBERS).map(|n| format!("Org{n}MSP")).collect(),
                endorsement: "MAJORITY",
                trust: Trust::FIRST,
            },
            ids: HashSet::new(),
            height: 1,
            commit_hash: None,
            expiring: BTreeMap::new(),
        }
    }

    /// The next block: a code for every transaction, and the commit hash.
    pub(super) fn block(
        &mut self,
        people: &People,
        transactions: &[Placed<'_>],
    ) -> (Vec<Code>, [u8; 32]) {
        let number = self.height;
        // Endorsement and everything before: against the state that the block finds.
        let mut policies_changed = Vec::new();
        let mut codes: Vec<Code> = transactions
            .iter()
            .map(|placed| self.validate(people, placed, &mut policies_changed))
            .collect();
        // An id once per block.
        let mut seen = HashSet::new();
        for (placed, code) in transactions.iter().zip(&mut codes) {
            if *code == Code::Valid && placed.config.is_none() && !seen.insert(placed.claimed) {
                *code = Code::DuplicateTxid;
            }
        }
        // Reads: against that state and the valid transactions before.
        let mut changes = Changes::new();
        for (index, (placed, code)) in transactions.iter().zip(&mut codes).enumerate() {
            if *code != Code::Valid {
                continue;
            }
            let version = Version::new(number, index as u64);
            if let Some(config) = &placed.config {
                let key = (String::new(), String::new(), Bytes::from(CONFIG_KEY));
                let entry = Entry {
                    value: config.clone(),
                    metadata: None,
                    version,
                };
                changes.insert(key, (Some(entry), version));
                continue;
            }
            *code = self.conflict(placed.plan, &changes);
            if *code == Code::Valid {
                for namespace in &placed.plan.namespaces {
                    self.write(namespace, version, &mut changes);
                }
            }
        }
        let hash = self.hash(&codes, &changes);
        self.commit(number, changes);
        for placed in transactions {
            self.ids.insert(placed.claimed.to_owned());
            match placed.plan.change {
                Some(Change::Endorsement(rule)) => self.channel.endorsement = rule,
                Some(Change::Leave) => {
                    self.channel
                        .organizations
                        .remove(&format!("Org{MEMBERS}MSP"));
                }
                Some(Change::Trust(trust)) => self.channel.trust = trust,
                None => {}
            }
        }
        self.height = number + 1;
        self.commit_hash = Some(hash);
        (codes, hash)
    }

    /// Everything but reads and ids within the block.
    fn validate(
        &self,
        people: &People,
        placed: &Placed<'_>,
        policies_changed: &mut Vec<StateKey>,
    ) -> Code {
        let plan = placed.plan;
        let (stage, code) = plan.fault.outcome();
        if stage == Stage::BeforeCreator {
            return code;
        }
        if !self.channel.knows(people, plan.creator) {
            return Code::BadCreatorSignature;
        }
        if stage == Stage::AfterCreator {
            return code;
        }
        if plan.change.is_some() {
            return Code::Valid;
        }
        if self.ids.contains(placed.claimed) {
            return Code::DuplicateTxid;
        }
        if stage == Stage::AfterLedger {
            return code;
        }
        let mut names = HashSet::new();
        if !plan.namespaces.iter().all(|ns| names.insert(&ns.name)) {
            return Code::IllegalWriteset;
        }
        let signers = signers(people, &self.channel, &plan.endorsements);
        let mut namespaces: Vec<&str> = plan
            .namespaces
            .iter()
            .filter(|ns| writes_anything(ns) && ns.name != plan.chaincode)
            .map(|ns| ns.name.as_str())
            .collect();
        namespaces.sort_unstable();
        namespaces.insert(0, &plan.chaincode);
        for name in namespaces {
            let definition = match name {
                "_lifecycle" => None,
                _ => match self.definition(name) {
                    Some(definition)
                        if !definition.plugin.is_empty() && !definition.policy.is_empty() =>
                    {
                        Some(definition)
                    }
                    _ => return Code::InvalidChaincode,
                },
            };
            let entry = plan.namespaces.iter().find(|ns| ns.name == name);
            let nothing = NsRwSet::default();
            let entry = entry.unwrap_or(&nothing);
            let check = Endorsement {
                people,
                reference: self,
                namespace: name,
                definition: definition.as_ref(),
                signers: &signers,
                policies_changed,
            };
            if !check.suffices(entry) {
                return Code::EndorsementPolicyFailure;
            }
            policies_changed.extend(metadata_keys(name, entry));
        }
        Code::Valid
    }

    fn definition(&self, name: &str) -> Option<Definition> {
        let value = |key: String| {
            let key = ("_lifecycle".to_owned(), String::new(), Bytes::from(key));
            self.state.get(&key).map(|entry| entry.value.clone())
        };
        let metadata = value(format!("namespaces/metadata/{name}"))?;
        let metadata = StateMetadata::decode(metadata).ok()?;
        if metadata.datatype != "ChaincodeDefinition" {
            return None;
        }
        let field = |field: &str| {
            let data = value(format!("namespaces/fields/{name}/{field}"))?;
            StateData::decode(data).ok()?.r#type
        };
        let bytes = |name: &str| match field(name)? {
            state_data::Type::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        let Some(state_data::Type::Int64(_)) = field("Sequence") else {
            return None;
        };
        let validation = without_unexpected(&bytes("ValidationInfo")?);
        let validation = ChaincodeValidationInfo::decode(validation).ok()?;
        bytes("EndorsementInfo")?;
        Some(Definition {
            plugin: validation.validation_plugin,
            policy: validation.validation_parameter,
            collections: CollectionConfigPackage::decode(bytes("Collections")?).ok()?,
        })
    }

    /// Whether what the transaction read is still so.
    fn conflict(&self, plan: &Plan, changes: &Changes) -> Code {
        let now = |key: &StateKey| self.state.get(key).map(|entry| entry.version);
        for (at, namespace) in plan.namespaces.iter().enumerate() {
            for read in &namespace.reads {
                let key = place(&namespace.name, "", read.key.as_bytes());
                let read = read.version.map(|v| Version::new(v.block_num, v.tx_num));
                if changes.contains_key(&key) || now(&key) != read {
                    return Code::MvccReadConflict;
                }
            }
            for (index, range) in namespace.ranges.iter().enumerate() {
                let mut merged: BTreeMap<&[u8], Version> = BTreeMap::new();
                let ours = |key: &StateKey| key.0 == namespace.name && key.1.is_empty();
                for (key, entry) in self.state.iter().filter(|(key, _)| ours(key)) {
                    merged.insert(&key.2, entry.version);
                }
                for (key, (entry, version)) in changes.iter().filter(|(key, _)| ours(key)) {
                    match entry {
                        Some(_) => merged.insert(&key.2, *version),
                        None => merged.remove(&key.2[..]),
                    };
                }
                let (start, end) = (range.start_key.as_bytes(), range.end_key.as_bytes());
                let mut result: Vec<(&[u8], Version)> = merged
                    .iter()
                    .filter(|(key, _)| **key >= start && (end.is_empty() || **key < end))
                    .map(|(key, version)| (*key, *version))
                    .collect();
                if !range.itr_exhausted
                    && let Some(version) = merged.get(end)
                {
                    result.push((end, *version));
                }
                let seen = plan.seen[at][index].iter();
                let seen: Vec<(&[u8], Version)> = seen
                    .map(|(key, version)| (key.as_bytes(), *version))
                    .collect();
                if result != seen {
                    return Code::PhantomReadConflict;
                }
            }
            for collection in &namespace.collections {
                for read in &collection.hashed_reads {
                    let key = place(&namespace.name, &collection.name, &read.key_hash);
                    let read = read.version.map(|v| Version::new(v.block_num, v.tx_num));
                    if changes.contains_key(&key) || now(&key) != read {
                        return Code::MvccReadConflict;
                    }
                }
            }
        }
        Code::Valid
    }

    /// Adds a valid transaction's writes in one namespace.
    fn write(&self, namespace: &NsRwSet, version: Version, changes: &mut Changes) {
        // Fabric adds up what happens to a key (tx_ops.go), so one that is named twice has the fate that
        // the sum stands for.
        const VALUE: u8 = 1;
        const METADATA: u8 = 2;
        const NO_METADATA: u8 = 4;
        const DELETION: u8 = 8;
        #[derive(Default)]
        struct Operation {
            sum: u8,
            value: Option<Bytes>,
            metadata: Option<Bytes>,
        }
        let mut operations: BTreeMap<StateKey, Operation> = BTreeMap::new();
        let mut write = |key: StateKey, value: Option<Bytes>| {
            let operation = operations.entry(key).or_default();
            operation.sum += if value.is_some() { VALUE } else { DELETION };
            operation.value = value.or(operation.value.take());
        };
        for one in &namespace.writes {
            let value = (!one.is_delete && !one.value.is_empty()).then(|| one.value.clone());
            write(place(&namespace.name, "", one.key.as_bytes()), value);
        }
        for collection in &namespace.collections {
            for one in &collection.hashed_writes {
                let empty = sha256(&[]);
                let hash = &one.value_hash;
                let deletes = one.is_delete || hash.is_empty() || hash[..] == empty[..];
                let key = place(&namespace.name, &collection.name, &one.key_hash);
                write(key, (!deletes).then(|| hash.clone()));
            }
        }
        let mut label = |key: StateKey, entries: &[KvMetadataEntry]| {
            let operation = operations.entry(key).or_default();
            let metadata = stored(entries);
            operation.sum += if metadata.is_some() {
                METADATA
            } else {
                NO_METADATA
            };
            operation.metadata = metadata.or(operation.metadata.take());
        };
        for one in &namespace.metadata_writes {
            label(place(&namespace.name, "", one.key.as_bytes()), &one.entries);
        }
        for collection in &namespace.collections {
            for one in &collection.metadata_writes {
                let key = place(&namespace.name, &collection.name, &one.key_hash);
                label(key, &one.entries);
            }
        }
        for (
            key,
            Operation {
                sum,
                value,
                metadata,
            },
        ) in operations
        {
            let before = match changes.get(&key) {
                Some((entry, _)) => entry.clone(),
                None => self.state.get(&key).cloned(),
            };
            let has = |flag: u8| sum & flag != 0;
            let entry = if has(DELETION) {
                None
            } else if has(VALUE) && (sum == VALUE || has(METADATA) || has(NO_METADATA)) {
                let kept = || before.and_then(|entry| entry.metadata);
                Some(Entry {
                    value: value.expect("an odd sum has a value"),
                    metadata: if sum == VALUE { kept() } else { metadata },
                    version,
                })
            } else {
                // Nothing to set metadata of: nothing happens.
                let Some(before) = before else { continue };
                Some(Entry {
                    value: before.value,
                    metadata,
                    version,
                })
            };
            changes.insert(key, (entry, version));
        }
    }

    /// SHA-256 of the number of flags, the flags, the changes as message `Updates`, and the hash before.
    fn hash(&self, codes: &[Code], changes: &Changes) -> [u8; 32] {
        let mut updates = txmgr::Updates::default();
        let (mut namespace, mut collection) = ("", "");
        for (key, (entry, version)) in changes.iter().filter(|(key, _)| !key.0.is_empty()) {
            let mut write = txmgr::KvWrite {
                key: key.2.clone(),
                is_delete: entry.is_none(),
                value: entry
                    .as_ref()
                    .map(|entry| entry.value.clone())
                    .unwrap_or_default(),
                version_bytes: [ordered(version.block), ordered(version.tx)]
                    .concat()
                    .into(),
                ..Default::default()
            };
            // Names stand where they begin.
            if key.0 != namespace {
                write.namespace = key.0.clone();
                (namespace, collection) = (&key.0, "");
            }
            if key.1 != collection {
                write.collection = key.1.clone();
                collection = &key.1;
            }
            updates.kvwrites.push(write);
        }
        let flags: Vec<u8> = codes.iter().map(|code| *code as u8).collect();
        let mut count = Vec::new();
        prost::encode_length_delimiter(flags.len(), &mut count).expect("room for a number");
        let previous = self
            .commit_hash
            .map(|hash| hash.to_vec())
            .unwrap_or_default();
        sha256(&[&count, &flags, &updates.encode_to_vec(), &previous])
    }

    /// State after the block, with what has lived long enough taken away.
    fn commit(&mut self, number: u64, changes: Changes) {
        for (key, version) in self.expiring.remove(&number).unwrap_or_default() {
            let unchanged = !changes.contains_key(&key)
                && self
                    .state
                    .get(&key)
                    .is_some_and(|entry| entry.version == version);
            if unchanged {
                self.state.remove(&key);
            }
        }
        // How long new data lives is what the definitions before this block say.
        for (key, (entry, version)) in &changes {
            if key.1.is_empty() || entry.is_none() {
                continue;
            }
            let lives = self
                .definition(&key.0)
                .and_then(|definition| Some(definition.collection(&key.1)?.block_to_live))
                .unwrap_or(0);
            if lives > 0 {
                let due = self.expiring.entry(number + lives + 1).or_default();
                due.push((key.clone(), *version));
            }
        }
        for (key, (entry, _)) in changes {
            match entry {
                Some(entry) => self.state.insert(key, entry),
                None => self.state.remove(&key),
            };
        }
    }
}

/// The endorsement of one namespace.
struct Endorsement<'a> {
    people: &'a People,
    reference: &'a Reference,
    namespace: &'a str,
    /// None: `_lifecycle`.
    definition: Option<&'a Definition>,
    signers: &'a [usize],
    policies_changed: &'a [StateKey],
}

impl Endorsement<'_> {
    /// Every key by its own policy, else its collection's, else the chaincode's; a transaction that
    /// writes nothing by the chaincode's.
    fn suffices(&self, entry: &NsRwSet) -> bool {
        if !writes_anything(entry) {
            return self.chaincode();
        }
        let public = entry.writes.iter().map(|write| &write.key);
        let public = public.chain(entry.metadata_writes.iter().map(|write| &write.key));
        public
            .map(|key| ("", key.as_bytes()))
            .chain(entry.collections.iter().flat_map(|c| {
                let hashes = c.hashed_writes.iter().map(|write| &write.key_hash);
                let hashes = hashes.chain(c.metadata_writes.iter().map(|write| &write.key_hash));
                hashes.map(move |hash| (c.name.as_str(), &hash[..]))
            }))
            .all(|(collection, key)| self.key(collection, key))
    }

    fn key(&self, collection: &str, key: &[u8]) -> bool {
        let place = place(self.namespace, collection, key);
        if self.policies_changed.contains(&place) {
            return false;
        }
        let stored = self
            .reference
            .state
            .get(&place)
            .and_then(|entry| entry.metadata.clone());
        let policy = stored.and_then(|stored| {
            let entries = KvMetadataWrite::decode(stored)
                .expect("own metadata")
                .entries;
            let mut named = entries
                .into_iter()
                .filter(|e| e.name == "VALIDATION_PARAMETER");
            named.next_back().map(|entry| entry.value)
        });
        match policy {
            Some(policy) if !policy.is_empty() && self.is_collection(collection) => {
                let policy = common::SignaturePolicyEnvelope::decode(without_unexpected(&policy));
                policy.is_ok_and(|policy| self.signature(&policy))
            }
            _ if collection.is_empty() => self.chaincode(),
            _ => self.collection(collection),
        }
    }

    fn is_collection(&self, name: &str) -> bool {
        match name.strip_prefix("_implicit_org_") {
            Some(msp_id) => self.reference.channel.organizations.contains(msp_id),
            None => {
                name.is_empty()
                    || self
                        .definition
                        .is_some_and(|d| d.collection(name).is_some())
            }
        }
    }

    fn collection(&self, name: &str) -> bool {
        if !self.is_collection(name) {
            return false;
        }
        if let Some(msp_id) = name.strip_prefix("_implicit_org_") {
            return self.policy_of_channel(&format!("/Channel/Application/{msp_id}/Endorsement"));
        }
        let config = self
            .definition
            .and_then(|definition| definition.collection(name));
        match config.and_then(|config| config.endorsement_policy.as_ref()) {
            Some(policy) if policy.r#type.is_some() => {
                let policy = policy.encode_to_vec().into();
                self.reference
                    .channel
                    .application(self.people, &policy, self.signers)
            }
            _ => self.chaincode(),
        }
    }

    fn chaincode(&self) -> bool {
        match self.definition {
            None => self.policy_of_channel("/Channel/Application/LifecycleEndorsement"),
            Some(definition) => {
                let channel = &self.reference.channel;
                channel.application(self.people, &definition.policy, self.signers)
            }
        }
    }

    fn policy_of_channel(&self, path: &str) -> bool {
        self.reference
            .channel
            .reference(self.people, path, self.signers)
    }

    fn signature(&self, policy: &common::SignaturePolicyEnvelope) -> bool {
        self.reference
            .channel
            .signature(self.people, policy, self.signers)
    }
}

fn place(namespace: &str, collection: &str, key: &[u8]) -> StateKey {
    let key = Bytes::copy_from_slice(key);
    (namespace.to_owned(), collection.to_owned(), key)
}

fn writes_anything(namespace: &NsRwSet) -> bool {
    let collections = &namespace.collections;
    !namespace.writes.is_empty()
        || !namespace.metadata_writes.is_empty()
        || collections.iter().any(|c| !c.hashed_writes.is_empty())
        || collections.iter().any(|c| !c.metadata_writes.is_empty())
}

fn metadata_keys(name: &str, entry: &NsRwSet) -> Vec<StateKey> {
    let public = entry.metadata_writes.iter();
    let mut keys: Vec<StateKey> = public
        .map(|write| place(name, "", write.key.as_bytes()))
        .collect();
    for collection in &entry.collections {
        for write in &collection.metadata_writes {
            keys.push(place(name, &collection.name, &write.key_hash));
        }
    }
    keys
}

fn stored(entries: &[KvMetadataEntry]) -> Option<Bytes> {
    let metadata = KvMetadataWrite {
        key: String::new(),
        entries: entries.to_vec(),
    };
    (!entries.is_empty()).then(|| metadata.encode_to_vec().into())
}

/// A number as its count of bytes and its bytes, big endian.
fn ordered(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut ordered = vec![(bytes.len() - zeros) as u8];
    ordered.extend_from_slice(&bytes[zeros..]);
    ordered
}
