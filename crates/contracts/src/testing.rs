//! A ledger in memory, for tests of contracts.
//!
//! It keeps Fabric's rules where contracts can feel them: reads see only committed state, one
//! event per transaction, read versions and ranges are compared again at commit, private data
//! leaves a hash in public, transactions that page or query private data do not write. [`TestLedger::submit`] is endorse and commit in one;
//! [`TestLedger::endorse`] and [`TestLedger::commit`] apart make races.
//!
//! ```
//! use consilium_contracts::{Caller, testing::{Proposal, TestLedger}};
//!
//! let mut ledger = TestLedger::new();
//! let alice = Caller::for_tests("HospitalMSP", "alice", &[]);
//! let put = Proposal::new("kv", "put", &alice).arg("colour").arg("green");
//! assert_eq!(ledger.submit(put).status, 200);
//! let get = Proposal::new("kv", "get", &alice).arg("colour");
//! assert_eq!(ledger.evaluate(get).payload, "green");
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::caller::Caller;
use crate::contract::{Contract, Response};
use crate::stub::{HistoryEntry, Timestamp};

mod leaks;
mod query;
pub mod scan;
mod stub;

pub use leaks::{Leak, leaks};
use stub::{TestStub, Used};

/// The time at which a new [`TestLedger`] starts: 2026-11-23T00:00:00Z.
pub const START: i64 = 1_795_392_000;

/// A call to be endorsed.
#[derive(Debug, Clone)]
pub struct Proposal {
    chaincode: String,
    caller: Caller,
    args: Vec<Bytes>,
    transient: BTreeMap<String, Bytes>,
    is_init: bool,
}

impl Proposal {
    /// A call of a function without further arguments.
    pub fn new(chaincode: &str, function: &str, caller: &Caller) -> Self {
        Proposal {
            chaincode: chaincode.to_owned(),
            caller: caller.clone(),
            args: vec![Bytes::copy_from_slice(function.as_bytes())],
            transient: BTreeMap::new(),
            is_init: false,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, value: impl AsRef<[u8]>) -> Self {
        self.args.push(Bytes::copy_from_slice(value.as_ref()));
        self
    }

    /// Adds an argument as JSON.
    ///
    /// # Panics
    /// When the value does not serialize.
    pub fn json(self, value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).expect("a test's JSON serializes");
        self.arg(bytes)
    }

    /// Adds an entry of the transient map.
    pub fn transient(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.transient
            .insert(name.to_owned(), Bytes::copy_from_slice(value.as_ref()));
        self
    }

    /// Sends it as an initialization.
    pub fn init(mut self) -> Self {
        self.is_init = true;
        self
    }
}

/// How a transaction ended at commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Committed.
    Valid,
    /// A key that it read has changed since.
    MvccReadConflict,
    /// A range that it read has other keys or versions now.
    PhantomReadConflict,
}

/// A simulated transaction: the answer and what it read and would write.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// The contract's answer.
    pub response: Response,
    /// The event it set: name and payload.
    pub event: Option<(String, Bytes)>,
    tx_id: String,
    timestamp: Timestamp,
    proposal: Proposal,
    sets: ReadWriteSet,
}

impl Simulation {
    /// The transaction's id.
    pub fn tx_id(&self) -> &str {
        &self.tx_id
    }

    /// The public keys it would write or delete, with their namespaces.
    pub fn written_keys(&self) -> Vec<(String, String)> {
        self.sets.writes.keys().cloned().collect()
    }

    /// The collections it would write to.
    pub fn written_collections(&self) -> BTreeSet<String> {
        self.sets
            .private_writes
            .keys()
            .map(|(_, collection, _)| collection.clone())
            .collect()
    }
}

#[derive(Debug, Clone)]
struct RangeRead {
    namespace: String,
    start: String,
    end: String,
    limit: usize,
    found: Vec<(String, u64)>,
}

#[derive(Debug, Clone, Default)]
struct ReadWriteSet {
    reads: Vec<(String, String, Option<u64>)>,
    ranges: Vec<RangeRead>,
    private_reads: Vec<(String, String, String, Option<u64>)>,
    writes: BTreeMap<(String, String), Option<Bytes>>,
    private_writes: BTreeMap<(String, String, String), Option<Bytes>>,
    policies: BTreeMap<(String, String), Bytes>,
}

#[derive(Debug, Clone)]
struct Versioned {
    value: Bytes,
    version: u64,
}

/// The committed state of one channel, and the contracts on it.
pub struct TestLedger {
    contracts: BTreeMap<String, Arc<dyn Contract>>,
    state: BTreeMap<(String, String), Versioned>,
    history: BTreeMap<(String, String), Vec<HistoryEntry>>,
    private: BTreeMap<(String, String, String), Versioned>,
    policies: BTreeMap<(String, String), Bytes>,
    hidden: BTreeSet<String>,
    events: Vec<(String, Bytes)>,
    published: Vec<u8>,
    block: u64,
    now: i64,
    endorser_time: Option<i64>,
}

impl Default for TestLedger {
    fn default() -> Self {
        Self::new()
    }
}

impl TestLedger {
    /// An empty ledger with the built-in contracts, at [`START`].
    pub fn new() -> Self {
        TestLedger {
            contracts: crate::built_in()
                .into_iter()
                .map(|contract| (contract.name().to_owned(), contract))
                .collect(),
            state: BTreeMap::new(),
            history: BTreeMap::new(),
            private: BTreeMap::new(),
            policies: BTreeMap::new(),
            hidden: BTreeSet::new(),
            events: Vec::new(),
            published: Vec::new(),
            block: 0,
            now: START,
            endorser_time: None,
        }
    }

    /// Adds a contract of one's own.
    pub fn install(&mut self, contract: Arc<dyn Contract>) {
        self.contracts.insert(contract.name().to_owned(), contract);
    }

    /// The timestamp that the next proposals carry, seconds since 1970.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Lets time pass.
    pub fn advance(&mut self, seconds: i64) {
        self.now += seconds;
    }

    /// Sets the time of the next proposals.
    pub fn set_time(&mut self, seconds: i64) {
        self.now = seconds;
    }

    /// Gives the endorser a clock of its own, see [`crate::Stub::endorser_time`].
    pub fn set_endorser_time(&mut self, seconds: Option<i64>) {
        self.endorser_time = seconds;
    }

    /// Plays a peer that is not a member of a collection: only hashes are here.
    pub fn hide_collection(&mut self, collection: &str, hidden: bool) {
        if hidden {
            self.hidden.insert(collection.to_owned());
        } else {
            self.hidden.remove(collection);
        }
    }

    /// Simulates without committing.
    pub fn endorse(&self, proposal: Proposal) -> Simulation {
        self.endorse_at(proposal, self.now)
    }

    /// Simulates with a timestamp that the client chose.
    pub fn endorse_at(&self, proposal: Proposal, seconds: i64) -> Simulation {
        // Ids only have to differ: hash what makes the transaction, and how far the ledger is.
        let mut hasher = Sha256::new();
        hasher.update(self.block.to_be_bytes());
        hasher.update(proposal.caller.id());
        for arg in &proposal.args {
            hasher.update(arg);
        }
        let tx_id = hex::encode(hasher.finalize());
        let timestamp = Timestamp { seconds, nanos: 0 };
        let mut stub = TestStub {
            ledger: self,
            namespace: proposal.chaincode.clone(),
            args: proposal.args.clone(),
            tx_id: tx_id.clone(),
            timestamp,
            proposal: &proposal,
            sets: ReadWriteSet::default(),
            event: None,
            used: Used::default(),
        };
        let response = match self.contracts.get(&proposal.chaincode) {
            Some(contract) if proposal.is_init => contract.init(&mut stub),
            Some(contract) => contract.invoke(&mut stub),
            None => Response::error(500, format!("chaincode {} not found", proposal.chaincode)),
        };
        let (sets, event) = (stub.sets, stub.event);
        Simulation {
            response,
            event,
            tx_id,
            timestamp,
            proposal,
            sets,
        }
    }

    /// Answers without committing.
    pub fn evaluate(&self, proposal: Proposal) -> Response {
        self.endorse(proposal).response
    }

    /// Endorses and, when the answer is below 400, commits.
    ///
    /// # Panics
    /// Never: nothing can come between the two.
    pub fn submit(&mut self, proposal: Proposal) -> Response {
        let simulation = self.endorse(proposal);
        let response = simulation.response.clone();
        if response.is_endorsable() {
            let validity = self.commit(simulation);
            debug_assert_eq!(validity, Validity::Valid);
        }
        response
    }

    /// Validates and applies an endorsed transaction as a block of its own.
    pub fn commit(&mut self, simulation: Simulation) -> Validity {
        self.publish(&simulation);
        let sets = simulation.sets;
        for (namespace, key, version) in sets.reads {
            let now = self.state.get(&(namespace, key)).map(|v| v.version);
            if now != version {
                return Validity::MvccReadConflict;
            }
        }
        for (namespace, collection, key, version) in sets.private_reads {
            let now = self.private.get(&(namespace, collection, key));
            if now.map(|v| v.version) != version {
                return Validity::MvccReadConflict;
            }
        }
        for range in sets.ranges {
            let now: Vec<_> = self
                .scan(&range.namespace, &range.start, &range.end, range.limit)
                .map(|(key, versioned)| (key.to_owned(), versioned.version))
                .collect();
            if now != range.found {
                return Validity::PhantomReadConflict;
            }
        }
        self.block += 1;
        for (place, value) in sets.writes {
            self.history.entry(place.clone()).or_default().insert(
                0,
                HistoryEntry {
                    tx_id: simulation.tx_id.clone(),
                    timestamp: simulation.timestamp,
                    value: value.clone(),
                },
            );
            match value {
                Some(value) => {
                    let version = self.block;
                    self.state.insert(place, Versioned { value, version });
                }
                None => {
                    self.state.remove(&place);
                    self.policies.remove(&place);
                }
            }
        }
        self.policies.extend(sets.policies);
        for (place, value) in sets.private_writes {
            match value {
                Some(value) => {
                    let version = self.block;
                    self.private.insert(place, Versioned { value, version });
                }
                None => {
                    self.private.remove(&place);
                }
            }
        }
        self.events.extend(simulation.event);
        Validity::Valid
    }

    /// A public value.
    pub fn state(&self, chaincode: &str, key: &str) -> Option<&Bytes> {
        self.state
            .get(&(chaincode.to_owned(), key.to_owned()))
            .map(|versioned| &versioned.value)
    }

    /// How many public keys a chaincode has.
    pub fn key_count(&self, chaincode: &str) -> usize {
        self.state.keys().filter(|(ns, _)| ns == chaincode).count()
    }

    /// The key-level endorsement policy of a key, encoded.
    pub fn key_policy(&self, chaincode: &str, key: &str) -> Option<&Bytes> {
        self.policies.get(&(chaincode.to_owned(), key.to_owned()))
    }

    /// The events of all valid transactions, oldest first.
    pub fn events(&self) -> &[(String, Bytes)] {
        &self.events
    }

    /// Everything that every member of the channel has seen so far: arguments, answers, events,
    /// keys, values and the hashes of private data. Tests look for what must not be there.
    pub fn published(&self) -> &[u8] {
        &self.published
    }

    /// The number of committed blocks.
    pub fn height(&self) -> u64 {
        self.block
    }

    fn publish(&mut self, simulation: &Simulation) {
        let mut add = |bytes: &[u8]| {
            self.published.extend_from_slice(bytes);
            self.published.push(b'\n');
        };
        add(simulation.proposal.caller.id().as_bytes());
        simulation.proposal.args.iter().for_each(|arg| add(arg));
        add(&simulation.response.payload);
        add(simulation.response.message.as_bytes());
        if let Some((name, payload)) = &simulation.event {
            add(name.as_bytes());
            add(payload);
        }
        for ((_, key), value) in &simulation.sets.writes {
            add(key.as_bytes());
            add(value.as_deref().unwrap_or_default());
        }
        for ((_, collection, key), value) in &simulation.sets.private_writes {
            add(collection.as_bytes());
            add(&Sha256::digest(key.as_bytes()));
            add(&Sha256::digest(value.as_deref().unwrap_or_default()));
        }
    }

    fn scan<'l>(
        &'l self,
        namespace: &str,
        start: &str,
        end: &'l str,
        limit: usize,
    ) -> impl Iterator<Item = (&'l str, &'l Versioned)> + use<'l> {
        let from = (namespace.to_owned(), start.to_owned());
        let namespace = namespace.to_owned();
        self.state
            .range(from..)
            .take_while(move |((ns, key), _)| {
                *ns == namespace && (end.is_empty() || key.as_str() < end)
            })
            .take(limit)
            .map(|((_, key), versioned)| (key.as_str(), versioned))
    }
}

#[cfg(test)]
mod tests;
