//! What a chaincode sends while it runs, answered from a real ledger.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use consilium_chaincode::PeerSupport;
use consilium_chaincode::fuzzing::{Call, registration};
use consilium_ledger::mvcc::TxContent;
use consilium_ledger::{Ledger, PreparedTransaction};
use consilium_msp::Msp;
use consilium_proto::protos::{ChaincodeMessage, SignedProposal, TxValidationCode};
use consilium_proto::{common, rwset};
use consilium_protocol::block::{header_hash, new_block};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::hash::sha256;
use consilium_protocol::proposal::{self, NewProposal, ParsedProposal};
use consilium_protocol::rwset::{KvWrite, NsRwSet, TxRwSet};
use consilium_testkit::{NodeOu, Organization};
use tempfile::TempDir;

use crate::agree::decoded;
use crate::input::Input;
use crate::world;

/// The chaincode.
const NAME: &str = "kv";

/// Messages, each a part.
pub(crate) fn run(data: &[u8]) -> bool {
    let peer = peer();
    let simulator = peer.ledger.simulator("tx").expect("a simulator");
    let support = Arc::new(peer.clone());
    let call = Call::new(
        NAME,
        world::CHANNEL,
        peer.proposal.clone(),
        support,
        simulator,
    );
    let mut input = Input::new(data);
    let mut is_answered = false;
    for _ in 0..16 {
        if input.is_empty() {
            break;
        }
        let message = Bytes::copy_from_slice(input.part());
        if let Some(message) = decoded::<ChaincodeMessage>(&message) {
            let _ = registration(NAME, &message);
            is_answered |= call.take(message);
        }
    }
    let results = call.finish().expect("results").expect("a simulation");
    let public = TxRwSet::parse(&results.public).expect("our own read-write set");
    assert_eq!(
        public.encode(),
        results.public,
        "endorsers sign one encoding"
    );
    for private in results.private.iter().flat_map(|all| &all.ns_pvt_rwset) {
        hashed(&public, private);
    }
    is_answered
}

/// What travels in private is what the public hash says.
fn hashed(public: &TxRwSet, private: &rwset::NsPvtReadWriteSet) {
    let namespace = public.namespace(&private.namespace);
    let namespace = namespace.expect("the hashes of private writes");
    for set in &private.collection_pvt_rwset {
        let mut collections = namespace.collections.iter();
        let hashes = collections.find(|found| found.name == set.collection_name);
        let hashes = hashes.expect("the hashes of a collection's writes");
        assert_eq!(hashes.pvt_rwset_hash, sha256(&set.rwset)[..]);
    }
}

#[derive(Clone)]
struct Peer {
    ledger: Arc<Ledger>,
    msp: Arc<Msp>,
    proposal: (Arc<ParsedProposal>, Arc<SignedProposal>),
    _folder: Arc<TempDir>,
}

fn peer() -> &'static Peer {
    static PEER: OnceLock<Peer> = OnceLock::new();
    PEER.get_or_init(|| {
        let folder = world::folder();
        let genesis = world::genesis();
        let ledger = Ledger::create(folder.path().join("ledger"), &genesis).expect("a ledger");
        filled(&ledger, &genesis);
        let organization = Organization::new("Org1MSP", "org1.example.com");
        let new = NewProposal {
            channel: world::CHANNEL,
            chaincode: NAME,
            args: Vec::new(),
            transient: BTreeMap::new(),
            is_init: false,
            timestamp: prost_types::Timestamp::default(),
        };
        let signer = organization.signer("user", NodeOu::Client);
        let (signed, _) = proposal::create(new, &*signer).expect("a proposal");
        let parsed = proposal::parse(&signed).expect("our own proposal");
        Peer {
            ledger,
            msp: organization.msp(),
            proposal: (Arc::new(parsed), Arc::new(signed)),
            _folder: Arc::new(folder),
        }
    })
}

/// A second block with keys, some of them documents.
fn filled(ledger: &Ledger, genesis: &common::Block) {
    let writes = (0..40u8).map(|index| KvWrite {
        key: format!("key{index:02}"),
        is_delete: false,
        value: if index % 2 == 0 {
            format!(r#"{{"n":{index},"colour":"blue"}}"#).into()
        } else {
            Bytes::from(vec![index; 5])
        },
    });
    let namespace = NsRwSet {
        name: NAME.into(),
        writes: writes.collect(),
        ..Default::default()
    };
    let transaction = PreparedTransaction {
        tx_id: "first".into(),
        content: TxContent::Endorsed(TxRwSet {
            namespaces: vec![namespace],
        }),
        kind: "ENDORSER_TRANSACTION",
        chaincode: NAME.into(),
    };
    let previous = header_hash(genesis.header.as_ref().expect("a header"));
    let previous = Bytes::copy_from_slice(&previous);
    let block = new_block(1, previous, vec![Bytes::from_static(b"transaction")]);
    let codes = vec![TxValidationCode::Valid];
    ledger
        .commit_prepared(block, codes, &[transaction])
        .expect("the second block");
}

impl PeerSupport for Peer {
    fn ledger(&self, channel: &str) -> Option<Arc<Ledger>> {
        (channel == world::CHANNEL).then(|| self.ledger.clone())
    }

    fn config(&self, channel: &str) -> Option<Arc<ChannelConfig>> {
        (channel == world::CHANNEL).then(|| world::config().clone())
    }

    fn channels(&self) -> Vec<String> {
        vec![world::CHANNEL.into()]
    }

    fn join(&self, _: common::Block) -> Result<(), String> {
        Err("this peer joins no channel".into())
    }

    fn join_by_snapshot(&self, _: &str) -> Result<(), String> {
        Err("this peer joins no channel".into())
    }

    fn joining_by_snapshot(&self) -> Option<String> {
        None
    }

    fn local_msp(&self) -> Arc<Msp> {
        self.msp.clone()
    }

    fn msp_id(&self) -> &str {
        "Org1MSP"
    }

    fn check_acl(&self, _: &str, _: &str, _: &ParsedProposal) -> Result<(), String> {
        Ok(())
    }
}
