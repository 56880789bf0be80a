//! Random chains: the peer's parallel, pipelined validation against the plain reference.
//!
//! `VALIDATION_TRANSACTIONS` says how many (10,000), `VALIDATION_SEED` replays one chain,
//! `VALIDATION_FROM` is the first seed. `cargo xtask validate` sets them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use consilium_ledger::mvcc::StateView;
use consilium_msp::Signer;
use consilium_peer::PeerChannel;
use consilium_proto::protos::TxValidationCode;
use consilium_protocol::block;
use consilium_testkit::{
    NodeOu, Orderer,
    validation::{Chain, Change, Entry, Generator, Plan, StateKey},
};

use crate::{PATIENCE, let_go, reach, start_peer};

const PER_CHAIN: usize = 500;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_peer_decides_random_chains_as_the_reference_does() {
    let generator = Generator::new();
    let wanted = number("VALIDATION_TRANSACTIONS").unwrap_or(10_000);
    let replayed = number("VALIDATION_SEED");
    let mut seed = replayed.or(number("VALIDATION_FROM")).unwrap_or(1);
    println!("seeds from {seed}");
    let (mut done, mut blocks) = (0, 0);
    let mut met: BTreeMap<&'static str, usize> = BTreeMap::new();
    loop {
        let chain = generator.chain(seed, PER_CHAIN);
        for change in chain.plans.iter().flatten().filter_map(|plan| plan.change) {
            for kind in kinds(change) {
                *met.entry(kind).or_default() += 1;
            }
        }
        for code in chain.expected.iter().flat_map(|expected| &expected.codes) {
            *met.entry(code.as_str_name()).or_default() += 1;
        }
        blocks += chain.blocks.len();
        done += chain.transactions() as u64;
        check(&generator, chain, seed).await;
        if done >= wanted || replayed.is_some() {
            break;
        }
        seed += 1;
    }
    println!("{done} transactions in {blocks} blocks, seeds to {seed}: {met:?}");
    if replayed.is_none() && done >= 5_000 {
        // What the generator never makes, it does not test.
        use TxValidationCode::*;
        for code in [
            Valid,
            BadPayload,
            BadCommonHeader,
            BadCreatorSignature,
            InvalidEndorserTransaction,
            InvalidConfigTransaction,
            UnsupportedTxPayload,
            BadProposalTxid,
            DuplicateTxid,
            EndorsementPolicyFailure,
            MvccReadConflict,
            PhantomReadConflict,
            BadHeaderExtension,
            BadResponsePayload,
            BadRwset,
            IllegalWriteset,
            InvalidChaincode,
            InvalidOtherReason,
        ] {
            let count = met.get(code.as_str_name()).copied().unwrap_or_default();
            assert!(count > 0, "no transaction is {}", code.as_str_name());
        }
        for change in [
            "policy",
            "leave",
            "both roots",
            "another root",
            "intermediate",
            "revocation",
        ] {
            assert!(met.contains_key(change), "no change of kind {change}");
        }
        let valid = met["VALID"];
        assert!(valid as u64 > done / 5, "only {valid} of {done} are valid");
    }
}

/// What a change of the channel is counted as.
fn kinds(change: Change) -> Vec<&'static str> {
    let trust = match change {
        Change::Endorsement(_) => return vec!["policy"],
        Change::Leave => return vec!["leave"],
        Change::Trust(trust) => trust,
    };
    let kinds = [
        ("both roots", trust.old_root && trust.new_root),
        ("another root", !trust.old_root),
        ("intermediate", trust.intermediate),
        ("revocation", trust.revoked != 0),
    ];
    let there = kinds.into_iter().filter(|(_, is_there)| *is_there);
    there.map(|(kind, _)| kind).collect()
}

async fn check(generator: &Generator, chain: Chain, seed: u64) {
    let data = tempfile::tempdir().expect("a folder");
    let blocks = Arc::new(chain.blocks.clone());
    let orderer = Orderer::start(blocks.clone()).await;
    let organization = &generator.people().organizations[0];
    let signer: Arc<dyn Signer> = organization.signer("peer", NodeOu::Peer);
    let dialled = Generator::ORDERERS.map(|configured| (configured, orderer.address.as_str()));
    let peer = start_peer(data.path(), signer, organization.msp(), dialled);
    let channel = peer.join(generator.genesis()).expect("joined");
    reach(&channel, chain.blocks.len() as u64 + 1).await;
    compare_blocks(&channel, &chain, seed);
    compare_state(&channel, &chain, seed);
    // A peer that refuses nothing asks again only when an organization left, with its TLS roots.
    let leaves = |plan: &&Plan| plan.change == Some(Change::Leave);
    let left = chain.plans.iter().flatten().filter(leaves).count();
    assert!(orderer.requests() <= 1 + left, "seed {seed}");
    peer.shutdown().await;
    let_go(peer, channel).await;
    drop(orderer);
    // A night's run must not keep what it is done with.
    let released = async {
        while Arc::strong_count(&blocks) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, released)
        .await
        .expect("the orderer lets its blocks go");
}

fn compare_blocks(channel: &PeerChannel, chain: &Chain, seed: u64) {
    for (index, expected) in chain.expected.iter().enumerate() {
        let number = index as u64 + 1;
        let stored = channel
            .ledger()
            .block(number)
            .expect("readable")
            .expect("there");
        for (at, (&flag, &code)) in block::flags(&stored)
            .iter()
            .zip(&expected.codes)
            .enumerate()
        {
            let ours = TxValidationCode::try_from(i32::from(flag)).expect("a code");
            assert_eq!(
                ours, code,
                "seed {seed} block {number} transaction {at}: {:#?}",
                chain.plans[index][at]
            );
        }
        assert_eq!(
            block::flags(&stored).len(),
            expected.codes.len(),
            "seed {seed} block {number}"
        );
        let hash = block::commit_hash(&stored).map(|hash| hash.to_vec());
        assert_eq!(
            hash,
            Some(expected.commit_hash.to_vec()),
            "seed {seed}: commit hash of block {number}"
        );
    }
}

fn compare_state(channel: &PeerChannel, chain: &Chain, seed: u64) {
    let reader = channel.ledger().reader().expect("a reader");
    let place = |(namespace, collection, key): &StateKey| {
        let namespace = match collection.as_str() {
            "" => namespace.clone(),
            collection => format!("{namespace}$$h{collection}"),
        };
        (namespace, key.clone())
    };
    let wanted: BTreeMap<(String, Bytes), &Entry> = chain
        .state
        .iter()
        .map(|(key, entry)| (place(key), entry))
        .collect();
    // All that the generator may ever have written to.
    let mut namespaces: BTreeSet<String> =
        ["", "_lifecycle", "lscc", "qscc"].map(str::to_owned).into();
    for chaincode in ["cc1", "cc2", "cc3", "cc9"] {
        namespaces.insert(chaincode.to_owned());
        for collection in ["plain", "own", "short", "unknown", ""] {
            namespaces.insert(format!("{chaincode}$$h{collection}"));
        }
        for organization in ["Org1MSP", "Org3MSP"] {
            namespaces.insert(format!("{chaincode}$$h_implicit_org_{organization}"));
        }
    }
    let mut found = BTreeMap::new();
    for namespace in namespaces {
        for item in reader.scan(&namespace, b"", b"").expect("a scan") {
            let (key, _) = item.expect("readable");
            let value = StateView::get(&reader, &namespace, &key)
                .expect("readable")
                .expect("there");
            let entry = Entry {
                value: value.value,
                metadata: value.metadata,
                version: value.version,
            };
            found.insert((namespace.clone(), Bytes::from(key)), entry);
        }
    }
    let found: BTreeMap<(String, Bytes), &Entry> = found
        .iter()
        .map(|(key, entry)| (key.clone(), entry))
        .collect();
    for (key, entry) in &wanted {
        assert_eq!(found.get(key), Some(entry), "seed {seed}: state at {key:?}");
    }
    assert_eq!(found.len(), wanted.len(), "seed {seed}: keys in state");
}
