//! A channel recorded on Fabric peers, committed again: the same validation flags, the same commit
//! hashes, and the same bytes when its transactions are simulated again.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use consilium_ledger::mvcc::{StateView, TxContent};
use consilium_ledger::{Ledger, PreparedTransaction};
use consilium_proto::protos::TxValidationCode;
use consilium_proto::{common, privacyenabledstate};
use consilium_protocol::rwset::{TxRwSet, Version};
use consilium_protocol::{block, transaction};
use consilium_testkit::recorded::{self, Recording, as_delivered};
use prost::Message;

/// Commits the recording block by block; `before` sees each block before it is committed.
fn replay(
    recording: &Recording,
    mut before: impl FnMut(&Ledger, &common::Block),
) -> (tempfile::TempDir, Arc<Ledger>) {
    let manifest: serde_json::Value = serde_json::from_slice(&recording.manifest()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &recording.block(0)).unwrap();
    let blocks = manifest.as_array().unwrap().len() as u64;
    assert_eq!(blocks, 67);
    for number in 1..blocks {
        let recorded = recording.block(number);
        before(&ledger, &recorded);
        let codes = recorded::codes(&recorded);
        let before = recorded::codes_before_mvcc(&recorded);
        let committed = ledger
            .commit(as_delivered(recorded.clone()), before)
            .unwrap();

        for (index, (got, want)) in committed.codes.iter().zip(&codes).enumerate() {
            let case = &manifest[number as usize]["transactions"][index]["case"];
            assert_eq!(got, want, "block {number}, transaction {index}, {case}");
        }
        let hash = committed.commit_hash.map(hex::encode).unwrap_or_default();
        let want = manifest[number as usize]["commit_hash"].as_str().unwrap();
        assert_eq!(hash, want, "commit hash of block {number}");
        let stored = ledger.block(number).unwrap();
        assert_eq!(stored, Some(recorded), "block {number} as stored");
    }
    assert_eq!(ledger.height(), blocks);
    (folder, ledger)
}

#[test]
fn a_recorded_fabric_channel_gets_the_flags_and_commit_hashes_that_fabric_gave_it() {
    let Some(recording) = Recording::open() else {
        return;
    };
    replay(&recording, |_, _| {});
}

#[test]
fn state_after_the_replay_is_the_state_in_the_snapshot_that_fabric_took() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let (_folder, ledger) = replay(&recording, |_, _| {});
    let state = ledger.reader().unwrap();
    let mut compared = 0;
    for file in ["public_state", "private_state_hashes"] {
        let mut records = framed(&recording, &format!("{file}.data"));
        let mut names = framed(&recording, &format!("{file}.metadata"));
        let count = prost::decode_length_delimiter(&mut names).unwrap();
        for _ in 0..count {
            let length = prost::decode_length_delimiter(&mut names).unwrap();
            let namespace = String::from_utf8(names.split_to(length).to_vec()).unwrap();
            let records_in_namespace = prost::decode_length_delimiter(&mut names).unwrap();
            let mut scan = state.scan(&namespace, b"", b"").unwrap();
            for _ in 0..records_in_namespace {
                let record =
                    privacyenabledstate::SnapshotRecord::decode_length_delimited(&mut records);
                let record = record.unwrap();
                let (version, _) = Version::from_bytes(&record.version).unwrap();
                let here = scan.next().expect("a key less than Fabric").unwrap();
                assert_eq!(here, (record.key.to_vec(), version), "{namespace}");
                let value = StateView::get(&state, &namespace, &record.key)
                    .unwrap()
                    .unwrap();
                assert_eq!(value.value, record.value, "{namespace} {here:?}");
                assert_eq!(
                    value.metadata.unwrap_or_default(),
                    record.metadata,
                    "{namespace}"
                );
                compared += 1;
            }
            assert!(
                scan.next().is_none(),
                "a key more than Fabric in {namespace}"
            );
        }
    }
    assert!(compared > 350, "only {compared} records");
    // All of collection `short` lived for two blocks.
    let mut expired = state.scan("kv$$hshort", b"", b"").unwrap();
    assert!(expired.next().is_none());
}

/// A file of a snapshot, after its format byte.
fn framed(recording: &Recording, file: &str) -> Bytes {
    let mut bytes = Bytes::from(std::fs::read(recording.path("snapshot/66").join(file)).unwrap());
    assert_eq!(bytes.split_to(1)[0], 1, "format of {file}");
    bytes
}

#[test]
fn simulating_recorded_transactions_gives_the_bytes_that_fabric_peers_signed() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let mut simulated = 0;
    let mut merkle = 0;
    replay(&recording, |ledger, block| {
        for (envelope, code) in block::envelopes(block).iter().zip(recorded::codes(block)) {
            // What a valid transaction read did not change within its block, so the state before
            // the block gives the versions that it recorded.
            if code != TxValidationCode::Valid {
                continue;
            }
            let prepared = PreparedTransaction::parse(envelope);
            let TxContent::Endorsed(rwset) = &prepared.content else {
                continue;
            };
            // Clear keys of collections are not in the recording.
            if rwset.namespaces.iter().any(|ns| !ns.collections.is_empty()) {
                continue;
            }
            let checked = transaction::check_syntax(envelope).unwrap();
            let endorsed = transaction::check_endorser_transaction(&checked).unwrap();
            let signed = endorsed.dispatch().unwrap().action.results;
            let results = simulate_again(ledger, &prepared.tx_id, rwset);
            assert_eq!(results, signed, "transaction {}", prepared.tx_id);
            simulated += 1;
            merkle += usize::from(
                rwset
                    .namespaces
                    .iter()
                    .flat_map(|ns| &ns.ranges)
                    .any(|range| {
                        use consilium_proto::kvrwset::range_query_info::ReadsInfo;
                        matches!(range.reads_info, Some(ReadsInfo::ReadsMerkleHashes(_)))
                    }),
            );
        }
    });
    assert!(simulated > 100, "only {simulated} transactions simulated");
    assert!(merkle > 0, "no Merkle summary among them");
}

/// Does through the simulator what the read-write set says was done.
fn simulate_again(ledger: &Ledger, tx_id: &str, rwset: &TxRwSet) -> Bytes {
    let mut simulator = ledger.simulator(tx_id).unwrap();
    for namespace in &rwset.namespaces {
        let name = &namespace.name;
        for read in &namespace.reads {
            simulator.get_state(name, &read.key).unwrap();
        }
        for range in &namespace.ranges {
            let end = if range.itr_exhausted {
                range.end_key.as_str()
            } else {
                ""
            };
            let cursor = simulator.range(name, &range.start_key, end).unwrap();
            while let Some((key, _)) = simulator.next(cursor).unwrap() {
                if !range.itr_exhausted && key == range.end_key {
                    break;
                }
            }
            simulator.close(cursor);
        }
        for write in &namespace.writes {
            simulator
                .put_state(name, &write.key, write.value.clone())
                .unwrap();
        }
        for write in &namespace.metadata_writes {
            let entries = write.entries.iter();
            let metadata = entries.map(|entry| (entry.name.clone(), entry.value.clone()));
            simulator
                .put_metadata(name, &write.key, metadata.collect())
                .unwrap();
        }
    }
    simulator.finish().unwrap().public
}
