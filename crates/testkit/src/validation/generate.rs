//! Chains from a seed.

mod counted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use consilium_proto::common::{self, Block, implicit_meta_policy, policy::PolicyType};
use consilium_proto::protos::{
    ApplicationPolicy, CollectionConfig, CollectionConfigPackage, StaticCollectionConfig,
    TxValidationCode, application_policy, collection_config,
};
use consilium_proto::{kvrwset, lifecycle, msp};
use consilium_protocol::config::{ChannelConfig, genesis, update};
use consilium_protocol::rwset::merkle::RangeSummary;
use consilium_protocol::rwset::{
    CollectionRwSet, KvMetadataEntry, KvMetadataWrite, KvMetadataWriteHash, KvRead, KvReadHash,
    KvWrite, KvWriteHash, NsRwSet, RangeQueryInfo, Version,
};
use prost::Message as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::encode::{self, CHANNEL};
use super::people::{MEMBERS, People};
use super::plan::{Change, Endorsing, Fault, Plan};
use super::reference::{Entry, Placed, Reference, StateKey, sha256};
use super::trust::{Issuer, ROTATED, Trust};
use crate::{NodeOu, network};

/// What a peer has to make of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// One code per transaction.
    pub codes: Vec<TxValidationCode>,
    /// The commit hash.
    pub commit_hash: [u8; 32],
}

/// A chain and what has to come out of it.
pub struct Chain {
    /// Blocks 1 and later, as an orderer delivers them.
    pub blocks: Vec<Block>,
    /// The plans behind each block, to be shown when something differs.
    pub plans: Vec<Vec<Plan>>,
    /// Outcome of each block.
    pub expected: Vec<Expected>,
    /// State after the last one.
    pub state: BTreeMap<StateKey, Entry>,
}

impl Chain {
    /// Number of transactions.
    pub fn transactions(&self) -> usize {
        self.plans.iter().map(Vec::len).sum()
    }
}

/// Makes chains of one channel.
pub struct Generator {
    people: People,
    genesis: Block,
}

const CHAINCODES: [&str; 3] = ["cc1", "cc2", "cc3"];
const POLICIES: [&str; 9] = [
    "OR('Org1MSP.peer','Org2MSP.peer')",
    "AND('Org1MSP.peer','Org2MSP.peer')",
    "OutOf(2,'Org1MSP.peer','Org2MSP.peer','Org3MSP.peer')",
    "OR('Org1MSP.member')",
    "OR('Org3MSP.peer')",
    "AND('Org1MSP.peer','Org1MSP.peer')",
    "OutOf(2,'Org1MSP.member','Org1MSP.peer','Org2MSP.admin')",
    "OR(AND('Org1MSP.peer','Org2MSP.client'),'Org3MSP.peer')",
    "AND(OR('Org1MSP.peer','Org2MSP.peer'),'Org2MSP.peer')",
];
const REFERENCES: [&str; 6] = [
    "/Channel/Application/Endorsement",
    "/Channel/Application/LifecycleEndorsement",
    "/Channel/Application/Writers",
    "/Channel/Application/Org2MSP/Endorsement",
    "/Channel/Application/Nowhere/Endorsement",
    "Application/Endorsement",
];
/// Twice what is most interesting: collections that may go away.
const COLLECTIONS: [&str; 9] = [
    "plain",
    "own",
    "short",
    "own",
    "_implicit_org_Org1MSP",
    "_implicit_org_Org3MSP",
    "_implicit_org_Org3MSP",
    "unknown",
    "",
];
const MOST_PER_BLOCK: usize = 50;

impl Generator {
    /// Addresses of the orderers in the channel's configuration; nobody listens there.
    pub const ORDERERS: [&'static str; 2] = ["127.0.0.1:7050", "127.0.0.1:7051"];

    /// With new keys. The channel names two orderers, [`Generator::ORDERERS`], of its first organization.
    pub fn new() -> Self {
        let people = People::new();
        let members: Vec<_> = people.organizations.iter().take(MEMBERS).collect();
        let consenters = [7050, 7051]
            .map(|port| network::consenter("127.0.0.1", port, &members[0].tls(&[])))
            .to_vec();
        let mut profile: genesis::Profile = network::profile(CHANNEL, &members, consenters);
        for organization in &mut profile.organizations {
            organization.is_application = true;
        }
        let genesis = network::block(&profile);
        Generator { people, genesis }
    }

    /// Block 0 of every chain.
    pub fn genesis(&self) -> &Block {
        &self.genesis
    }

    /// The people of the channel.
    pub fn people(&self) -> &People {
        &self.people
    }

    /// A chain with at least so many transactions; the same for a seed, but for ids, which keys decide.
    pub fn chain(&self, seed: u64, transactions: usize) -> Chain {
        let mut world = self.world(seed);
        let first = CHAINCODES.map(|name| world.deployment(name, Endorsers::Peers));
        world.append(first.to_vec());
        while world.chain.transactions() < transactions {
            world.step();
        }
        world.finish()
    }

    /// A chain in which block 2 writes nonsense into the committed definition of `cc1`, endorsed by
    /// everybody: it is valid, and Fabric's peers stop at it. Block 3 calls `cc1` and `cc2`, block 4
    /// defines `cc1` anew, block 5 calls it.
    pub fn spoilt_chain(&self, field: &str) -> Chain {
        let mut world = self.world(1);
        let policy = world.any_member();
        let plans = ["cc1", "cc2"]
            .map(|name| world.definition(name, Endorsers::Peers, "vscc", policy.clone()));
        world.append(plans.to_vec());
        let spoiling = world.nonsense(field.to_owned(), Endorsers::Peers);
        world.append(vec![spoiling]);
        let calls = ["cc1", "cc2"].map(|name| world.put(name));
        world.append(calls.to_vec());
        let again = world.definition("cc1", Endorsers::Peers, "vscc", policy);
        world.append(vec![again]);
        let call = world.put("cc1");
        world.append(vec![call]);
        world.finish()
    }

    fn world(&self, seed: u64) -> World<'_> {
        let config = Arc::new(ChannelConfig::from_block(&self.genesis).expect("an own block"));
        let envelope = common::ConfigEnvelope {
            config: Some(config.config().clone()),
            last_update: None,
        };
        World {
            random: StdRng::seed_from_u64(seed),
            people: &self.people,
            reference: Reference::new(envelope.encode_to_vec().into()),
            before: BTreeMap::new(),
            config,
            last_config: 0,
            tip: self.genesis.clone(),
            nonce: 0,
            claimed: Vec::new(),
            recent: Vec::new(),
            counted: None,
            chain: Chain {
                blocks: Vec::new(),
                plans: Vec::new(),
                expected: Vec::new(),
                state: BTreeMap::new(),
            },
        }
    }
}

impl Default for Generator {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Clone, Copy)]
enum Endorsers {
    Peers,
    Many,
    Random,
}

struct World<'a> {
    random: StdRng,
    people: &'a People,
    reference: Reference,
    /// State one block ago: what a slow endorser still sees.
    before: BTreeMap<StateKey, Entry>,
    config: Arc<ChannelConfig>,
    last_config: u64,
    tip: Block,
    nonce: u64,
    /// Ids that somebody has claimed for others' transactions to come.
    claimed: Vec<(usize, u64)>,
    recent: Vec<Plan>,
    counted: Option<counted::Counted>,
    chain: Chain,
}

impl World<'_> {
    fn finish(self) -> Chain {
        let Reference { state, .. } = self.reference;
        Chain {
            state,
            ..self.chain
        }
    }

    fn any_member(&self) -> Bytes {
        let rule = consilium_msp::dsl::parse("OR('Org1MSP.member')").expect("a policy");
        ApplicationPolicy {
            r#type: Some(application_policy::Type::SignaturePolicy(rule)),
        }
        .encode_to_vec()
        .into()
    }

    /// A blind write by a client, endorsed by a peer of each organization.
    fn put(&mut self, chaincode: &str) -> Plan {
        let mut plan = self.empty(chaincode, Endorsers::Peers);
        plan.creator = People::of(0, 2);
        let mut namespace = encode::namespace(chaincode);
        namespace.writes = vec![write("key".to_owned(), Bytes::from_static(b"value"))];
        self.push(&mut plan, namespace, Vec::new());
        plan
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end)
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> T {
        list.choose(&mut self.random).expect("a choice").clone()
    }

    fn step(&mut self) {
        if self.chance(10) {
            return self.change_channel();
        }
        let count = match self.chance(30) {
            true => 1 + self.below(3),
            false => 1 + self.below(MOST_PER_BLOCK),
        };
        let mut plans: Vec<Plan> = Vec::with_capacity(count);
        for _ in 0..count {
            let plan = match self.below(100) {
                0..3 if !self.recent.is_empty() => {
                    let recent = self.recent.clone();
                    self.pick(&recent)
                }
                3..5 if !plans.is_empty() => self.pick(&plans),
                5..9 => {
                    let name = self.pick(&CHAINCODES);
                    let endorsers = self.endorsers();
                    self.deployment(name, endorsers)
                }
                9 => {
                    let name = self.pick(&CHAINCODES);
                    let endorsers = self.endorsers();
                    self.spoiling(name, endorsers)
                }
                _ => self.transaction(),
            };
            plans.push(plan);
        }
        // A lone entry of type CONFIG is a configuration block, which this is not.
        if plans.len() == 1 && plans[0].fault == Fault::NoConfig {
            plans[0].fault = Fault::None;
        }
        self.append(plans);
    }

    fn append(&mut self, mut plans: Vec<Plan>) {
        plans.append(&mut self.counting());
        let encoded: Vec<(Bytes, String)> = plans
            .iter()
            .map(|plan| encode::envelope(plan, self.people))
            .collect();
        let placed: Vec<Placed<'_>> = plans
            .iter()
            .zip(&encoded)
            .map(|(plan, (_, claimed))| Placed {
                plan,
                claimed,
                config: None,
            })
            .collect();
        let before = self.reference.state.clone();
        let (codes, commit_hash) = self.reference.block(self.people, &placed);
        self.before = before;
        self.recent = plans.clone();
        let envelopes = encoded.into_iter().map(|(bytes, _)| bytes).collect();
        self.seal(envelopes, plans, Expected { codes, commit_hash });
    }

    fn seal(&mut self, envelopes: Vec<Bytes>, plans: Vec<Plan>, expected: Expected) {
        self.tip = encode::sealed(&self.tip, envelopes, self.last_config, self.people);
        self.chain.blocks.push(self.tip.clone());
        self.chain.plans.push(plans);
        self.chain.expected.push(expected);
    }

    /// A configuration block.
    fn change_channel(&mut self) {
        let last = format!("Org{MEMBERS}MSP");
        let is_member = self.reference.channel.organizations.contains(&last);
        let change = match is_member && self.chance(8) {
            true => Change::Leave,
            false if is_member && self.chance(70) => Change::Trust(self.another_trust()),
            false => {
                let current = self.reference.channel.endorsement;
                let rules: Vec<&'static str> = ["ANY", "MAJORITY", "ALL"]
                    .into_iter()
                    .filter(|rule| *rule != current)
                    .collect();
                Change::Endorsement(self.pick(&rules))
            }
        };
        let mut updated = self.config.config().clone();
        let root = updated.channel_group.as_mut().expect("a group");
        let application = root.groups.get_mut("Application").expect("a section");
        match change {
            Change::Leave => {
                application.groups.remove(&last);
            }
            Change::Trust(trust) => {
                let organization = application.groups.get_mut(&last).expect("a member");
                let msp = organization.values.get_mut("MSP").expect("an MSP");
                let config = msp::MspConfig {
                    r#type: 0,
                    config: self.people.msp_config(&trust).encode_to_vec().into(),
                };
                msp.value = config.encode_to_vec().into();
            }
            Change::Endorsement(rule) => {
                let policy = application
                    .policies
                    .get_mut("Endorsement")
                    .expect("a policy");
                let meta = common::ImplicitMetaPolicy {
                    sub_policy: "Endorsement".into(),
                    rule: implicit_meta_policy::Rule::from_str_name(rule).expect("a rule") as i32,
                };
                policy.policy = Some(common::Policy {
                    r#type: PolicyType::ImplicitMeta as i32,
                    value: meta.encode_to_vec().into(),
                });
            }
        }
        let computed =
            update::compute(self.config.config(), &updated, CHANNEL).expect("a difference");
        let mut signed = common::ConfigUpdateEnvelope {
            config_update: computed.encode_to_vec().into(),
            signatures: Vec::new(),
        };
        for organization in 0..MEMBERS - 1 {
            let admin = self.people.person(People::of(organization, 3));
            update::sign(&mut signed, admin.signer.as_ref()).expect("an own key");
        }
        if matches!(change, Change::Trust(_)) {
            let admin = self.people.administrator(&self.reference.channel.trust);
            let admin = self.people.person(admin);
            update::sign(&mut signed, admin.signer.as_ref()).expect("an own key");
        }
        let time = prost_types::Timestamp::default();
        let admin = self.people.person(People::of(0, 3)).signer.clone();
        let submitted =
            update::submission(&signed, CHANNEL, time, admin.as_ref()).expect("an own key");
        let proposed = self
            .config
            .propose_envelope(&submitted)
            .expect("an allowed update");
        self.config = Arc::new(self.config.validate(&proposed).expect("a valid successor"));
        let orderer = self.people.person(People::of(0, 2)).signer.clone();
        let envelope = update::config_transaction(&proposed, CHANNEL, time, orderer.as_ref())
            .expect("an own key")
            .encode_to_vec()
            .into();
        let plan = Plan {
            creator: People::of(0, 2),
            change: Some(change),
            ..self.empty("", Endorsers::Peers)
        };
        let placed = Placed {
            plan: &plan,
            claimed: "",
            config: Some(proposed.encode_to_vec().into()),
        };
        let before = self.reference.state.clone();
        let (codes, commit_hash) = self.reference.block(self.people, &[placed]);
        self.before = before;
        self.last_config = self.chain.blocks.len() as u64 + 1;
        self.seal(vec![envelope], vec![plan], Expected { codes, commit_hash });
    }

    /// What the last organization's MSP says next.
    fn another_trust(&mut self) -> Trust {
        let current = self.reference.channel.trust;
        loop {
            let intermediate = self.chance(30);
            let old_root = intermediate || self.chance(60);
            let revokes = self.chance(50);
            let own = People::of(ROTATED, 0)..People::of(ROTATED + 1, 0);
            let revoked = own
                .chain(self.people.late())
                .filter(|id| {
                    let person = self.people.person(*id);
                    person.issuer != Issuer::Only && person.unit != NodeOu::Admin
                })
                .filter(|_| revokes && self.random.random_ratio(1, 4))
                .fold(0, |revoked, id| revoked | 1 << id);
            let next = Trust {
                old_root,
                new_root: !old_root || self.chance(50),
                intermediate,
                revoked,
            };
            if next != current {
                return next;
            }
        }
    }

    fn empty(&mut self, chaincode: &str, endorsers: Endorsers) -> Plan {
        self.nonce += 1;
        let creator = match self.below(100) {
            0..4 => self.below(self.people.count()),
            4..7 => self.random.random_range(self.people.late()),
            _ => People::of(self.random.random_range(0..2), 2),
        };
        Plan {
            creator,
            nonce: self.nonce,
            fault: Fault::None,
            chaincode: chaincode.to_owned(),
            namespaces: Vec::new(),
            seen: Vec::new(),
            endorsements: self.endorsements(endorsers),
            change: None,
        }
    }

    fn endorsers(&mut self) -> Endorsers {
        match self.below(10) {
            0..4 => Endorsers::Peers,
            4..7 => Endorsers::Many,
            _ => Endorsers::Random,
        }
    }

    fn endorsements(&mut self, endorsers: Endorsers) -> Vec<Endorsing> {
        match endorsers {
            Endorsers::Peers => (0..MEMBERS)
                .map(|org| Endorsing::By(People::of(org, 0)))
                .collect(),
            Endorsers::Many => [(0, 0), (0, 1), (1, 0), (1, 2), (1, 3), (2, 0)]
                .into_iter()
                .map(|(org, nth)| People::of(org, nth))
                .chain(
                    self.people
                        .late()
                        .filter(|_| self.random.random_ratio(1, 3)),
                )
                .map(Endorsing::By)
                .collect(),
            Endorsers::Random => (0..self.below(5))
                .map(|_| {
                    let person = self.below(self.people.count());
                    match self.below(10) {
                        0 => Endorsing::Forged(person),
                        1..3 => Endorsing::Recoded(person),
                        3 => Endorsing::Nobody,
                        4 => Endorsing::Padded(person),
                        _ => Endorsing::By(person),
                    }
                })
                .collect(),
        }
    }

    fn push(&mut self, plan: &mut Plan, namespace: NsRwSet, seen: Vec<Vec<(String, Version)>>) {
        plan.namespaces.push(namespace);
        plan.seen.push(seen);
    }

    /// A chaincode's definition, first or next: all of its keys.
    fn deployment(&mut self, name: &str, endorsers: Endorsers) -> Plan {
        let policy = self.application_policy();
        let plugin = if self.chance(2) { "" } else { "vscc" };
        self.definition(name, endorsers, plugin, policy)
    }

    fn definition(
        &mut self,
        name: &str,
        endorsers: Endorsers,
        plugin: &str,
        policy: Bytes,
    ) -> Plan {
        let mut plan = self.empty("_lifecycle", endorsers);
        plan.creator = People::of(0, 2);
        let validation = lifecycle::ChaincodeValidationInfo {
            validation_plugin: plugin.to_owned(),
            validation_parameter: policy,
        };
        let validation = self.padded(validation.encode_to_vec());
        let collections = self.collections();
        let data = |value| {
            let data = lifecycle::StateData {
                r#type: Some(value),
            };
            Bytes::from(data.encode_to_vec())
        };
        let bytes = |bytes: Vec<u8>| data(lifecycle::state_data::Type::Bytes(bytes.into()));
        let fields = [
            ("Sequence", data(lifecycle::state_data::Type::Int64(1))),
            (
                "EndorsementInfo",
                bytes(lifecycle::ChaincodeEndorsementInfo::default().encode_to_vec()),
            ),
            ("ValidationInfo", bytes(validation.into())),
            ("Collections", bytes(collections.encode_to_vec())),
        ];
        let metadata = lifecycle::StateMetadata {
            datatype: "ChaincodeDefinition".to_owned(),
            fields: fields.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        let writes = fields
            .into_iter()
            .map(|(field, value)| (format!("namespaces/fields/{name}/{field}"), value))
            .chain([(
                format!("namespaces/metadata/{name}"),
                metadata.encode_to_vec().into(),
            )]);
        let mut namespace = encode::namespace("_lifecycle");
        // No name is the public part, so this defines as well.
        if self.chance(30) {
            let unnamed = CollectionRwSet {
                pvt_rwset_hash: Bytes::copy_from_slice(&sha256(&[&plan.nonce.to_be_bytes()])),
                hashed_writes: writes
                    .map(|(key, value)| KvWriteHash {
                        key_hash: key.into(),
                        is_delete: false,
                        value_hash: value,
                        is_purge: false,
                    })
                    .collect(),
                ..Default::default()
            };
            namespace.collections.push(unnamed);
        } else {
            namespace.writes = writes.map(|(key, value)| write(key, value)).collect();
        }
        self.push(&mut plan, namespace, Vec::new());
        plan
    }

    /// Nonsense where a definition is.
    fn spoiling(&mut self, name: &str, endorsers: Endorsers) -> Plan {
        let key = self.pick(&[
            format!("namespaces/fields/{name}/Sequence"),
            format!("namespaces/fields/{name}/ValidationInfo"),
            format!("namespaces/metadata/{name}"),
        ]);
        self.nonsense(key, endorsers)
    }

    fn nonsense(&mut self, key: String, endorsers: Endorsers) -> Plan {
        let mut plan = self.empty("_lifecycle", endorsers);
        plan.creator = People::of(0, 2);
        let mut namespace = encode::namespace("_lifecycle");
        namespace.writes = vec![write(key, Bytes::from_static(b"\xff\xff\xff"))];
        self.push(&mut plan, namespace, Vec::new());
        plan
    }

    fn signature_policy(&mut self) -> common::SignaturePolicyEnvelope {
        consilium_msp::dsl::parse(self.pick(&POLICIES)).expect("a policy")
    }

    fn application_policy(&mut self) -> Bytes {
        let policy = match self.below(60) {
            0 => return Bytes::from_static(b"\xff\xff"),
            1 => return Bytes::new(),
            2..20 => application_policy::Type::ChannelConfigPolicyReference(
                self.pick(&REFERENCES).to_owned(),
            ),
            _ => application_policy::Type::SignaturePolicy(self.signature_policy()),
        };
        let policy = ApplicationPolicy {
            r#type: Some(policy),
        };
        self.padded(policy.encode_to_vec())
    }

    /// Sometimes with a field that Go's decoder passes over.
    fn padded(&mut self, message: Vec<u8>) -> Bytes {
        match self.chance(10) {
            true => encode::with_unexpected(&message),
            false => message.into(),
        }
    }

    fn collections(&mut self) -> CollectionConfigPackage {
        let mut config = Vec::new();
        for name in &COLLECTIONS[..3] {
            if *name == "own" && self.chance(30) {
                continue;
            }
            let endorsement_policy = (*name == "own").then(|| ApplicationPolicy {
                r#type: self
                    .chance(90)
                    .then(|| application_policy::Type::SignaturePolicy(self.signature_policy())),
            });
            let collection = StaticCollectionConfig {
                name: (*name).to_owned(),
                block_to_live: if *name == "short" { 1 } else { 0 },
                endorsement_policy,
                ..Default::default()
            };
            config.push(CollectionConfig {
                payload: Some(collection_config::Payload::StaticCollectionConfig(
                    collection,
                )),
            });
        }
        CollectionConfigPackage { config }
    }

    fn transaction(&mut self) -> Plan {
        let chaincode = match self.chance(97) {
            true => self.pick(&CHAINCODES),
            false => self.pick(&["cc9", "lscc", "qscc"]),
        };
        let endorsers = self.endorsers();
        let mut plan = self.empty(chaincode, endorsers);
        let mut names = vec![chaincode];
        if self.chance(20) {
            names.push(self.pick(&["cc1", "cc2", "cc3", "lscc", "cc9"]));
        }
        if self.chance(3) {
            names.clear();
        }
        // A name twice is a transaction of its own kind.
        if names.len() == 2 && names[0] == names[1] && self.chance(70) {
            names.pop();
        }
        let stale = self.chance(15);
        for name in names {
            let (namespace, seen) = self.results(name, stale);
            self.push(&mut plan, namespace, seen);
        }
        match self.below(100) {
            0..9 => plan.fault = self.pick(&Fault::ALL),
            9..11 => {
                // Claims the id of somebody's next transaction.
                self.nonce += 1;
                let target = (People::of(1, 2), self.nonce);
                self.claimed.push(target);
                plan.fault = Fault::OtherId(target.0, target.1);
            }
            11..14 => {
                if let Some((creator, nonce)) = self.claimed.pop() {
                    (plan.creator, plan.nonce) = (creator, nonce);
                }
            }
            _ => {}
        }
        plan
    }

    /// What a simulation in a namespace gives.
    fn results(&mut self, name: &str, stale: bool) -> (NsRwSet, Vec<Vec<(String, Version)>>) {
        let mut namespace = encode::namespace(name);
        let mut seen = Vec::new();
        for key in self.some_keys(3) {
            let version = self.version(name, "", key.as_bytes(), stale);
            namespace.reads.push(KvRead { key, version });
        }
        while self.chance(20) {
            let (range, results) = self.range(name, stale);
            namespace.ranges.push(range);
            seen.push(results);
        }
        if self.chance(80) {
            for key in self.some_keys(3) {
                let value = Bytes::from(format!("value {}", self.nonce));
                let (is_delete, value) = match self.below(20) {
                    0..3 => (true, Bytes::new()),
                    3 => (true, value),
                    4 => (false, Bytes::new()),
                    _ => (false, value),
                };
                namespace.writes.push(KvWrite {
                    key,
                    is_delete,
                    value,
                });
            }
        }
        if self.chance(15) {
            for key in self.some_keys(2) {
                let entries = self.metadata();
                namespace
                    .metadata_writes
                    .push(KvMetadataWrite { key, entries });
            }
        }
        // No simulation names a key twice, but a forger can.
        if self.chance(4)
            && let Some(again) = namespace.writes.first().cloned()
        {
            namespace.writes.push(KvWrite {
                is_delete: self.chance(50),
                ..again
            });
        }
        if self.chance(10)
            && let Some(again) = namespace.metadata_writes.first().cloned()
        {
            namespace.metadata_writes.push(again);
        }
        if self.chance(40) {
            let collection = self.pick(&COLLECTIONS);
            if collection.is_empty() || self.chance(30) {
                // No name is the public part: no key of it twice. Else nothing but private data.
                namespace.writes.clear();
                namespace.metadata_writes.clear();
            }
            let results = self.collection(name, collection, stale);
            namespace.collections.push(results);
        }
        (namespace, seen)
    }

    fn collection(&mut self, namespace: &str, name: &str, stale: bool) -> CollectionRwSet {
        let mut results = CollectionRwSet {
            name: name.to_owned(),
            pvt_rwset_hash: Bytes::copy_from_slice(&sha256(&[&self.nonce.to_be_bytes()])),
            ..Default::default()
        };
        let hashed = |key: &str| match name {
            "" => Bytes::copy_from_slice(key.as_bytes()),
            _ => Bytes::copy_from_slice(&sha256(&[key.as_bytes()])),
        };
        if !name.is_empty() {
            for key in self.few_keys() {
                let key_hash = hashed(&key);
                let version = self.version(namespace, name, &key_hash, stale);
                results.hashed_reads.push(KvReadHash { key_hash, version });
            }
        }
        for key in self.few_keys() {
            let value_hash = sha256(&[format!("{}", self.nonce).as_bytes()]);
            let value_hash = Bytes::copy_from_slice(&value_hash);
            let (is_delete, value_hash) = match self.below(20) {
                0..3 => (true, Bytes::new()),
                3 => (false, Bytes::copy_from_slice(&sha256(&[]))),
                4 => (true, value_hash),
                _ => (false, value_hash),
            };
            let is_purge = is_delete && self.chance(30);
            results.hashed_writes.push(KvWriteHash {
                key_hash: hashed(&key),
                is_delete,
                value_hash,
                is_purge,
            });
        }
        if self.chance(4)
            && let Some(again) = results.hashed_writes.first().cloned()
        {
            results.hashed_writes.push(again);
        }
        if self.chance(40) {
            for key in self.few_keys() {
                let entries = self.metadata();
                results.metadata_writes.push(KvMetadataWriteHash {
                    key_hash: hashed(&key),
                    entries,
                });
            }
        }
        results
    }

    /// Different keys, in order.
    fn some_keys(&mut self, most: usize) -> BTreeSet<String> {
        (0..self.below(most + 1)).map(|_| self.key()).collect()
    }

    /// The same, of the few that collections hold.
    fn few_keys(&mut self) -> BTreeSet<String> {
        (0..self.below(3))
            .map(|_| format!("k{}", self.below(3)))
            .collect()
    }

    fn key(&mut self) -> String {
        format!("k{}", self.below(10))
    }

    fn version(
        &self,
        namespace: &str,
        collection: &str,
        key: &[u8],
        stale: bool,
    ) -> Option<kvrwset::Version> {
        let state = match stale {
            true => &self.before,
            false => &self.reference.state,
        };
        let key = Bytes::copy_from_slice(key);
        let found = state.get(&(namespace.to_owned(), collection.to_owned(), key));
        found.map(|entry| entry.version.into())
    }

    fn metadata(&mut self) -> Vec<KvMetadataEntry> {
        let entry = |name: &str, value: &[u8]| KvMetadataEntry {
            name: name.to_owned(),
            value: Bytes::copy_from_slice(value),
        };
        let name = "VALIDATION_PARAMETER";
        let policy = self.signature_policy().encode_to_vec();
        let policy = self.padded(policy);
        match self.below(10) {
            0..3 => Vec::new(),
            3 => vec![entry("OTHER", b"x")],
            4 => vec![entry(name, b"")],
            5 => vec![entry(name, b"\xff\xff")],
            6 => vec![entry(name, b""), entry(name, &policy)],
            _ => vec![entry(name, &policy)],
        }
    }

    /// A range as an iterator records it that is read to its end, or given up.
    fn range(&mut self, namespace: &str, stale: bool) -> (RangeQueryInfo, Vec<(String, Version)>) {
        let start = if self.chance(20) {
            String::new()
        } else {
            self.key()
        };
        let end = if self.chance(30) {
            String::new()
        } else {
            self.key()
        };
        let pulled = if self.chance(60) {
            usize::MAX
        } else {
            1 + self.below(4)
        };
        let state = match stale {
            true => &self.before,
            false => &self.reference.state,
        };
        let mut found: Vec<(String, Version)> = state
            .iter()
            .filter(|(key, _)| key.0 == namespace && key.1.is_empty())
            .map(|(key, entry)| {
                (
                    String::from_utf8(key.2.to_vec()).expect("a text"),
                    entry.version,
                )
            })
            .filter(|(key, _)| *key >= start && (end.is_empty() || *key < end))
            .collect();
        let exhausted = found.len() < pulled;
        found.truncate(pulled);
        let degree = self.pick(&[2, 3, 50]);
        let mut summary = RangeSummary::with_degree(degree).expect("a tree");
        for (key, version) in &found {
            summary.push(KvRead {
                key: key.clone(),
                version: Some((*version).into()),
            });
        }
        let last = found.last().map(|(key, _)| key.clone()).unwrap_or_default();
        let range = RangeQueryInfo {
            start_key: start,
            end_key: if exhausted { end } else { last },
            itr_exhausted: exhausted,
            reads_info: summary.finish(),
        };
        (range, found)
    }
}

fn write(key: String, value: Bytes) -> KvWrite {
    KvWrite {
        key,
        is_delete: false,
        value,
    }
}
