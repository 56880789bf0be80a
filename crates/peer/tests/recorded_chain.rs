//! A channel that real Fabric peers recorded, replayed through our whole path of a block: every
//! validation code and every commit hash has to come out the same.

use bytes::Bytes;
use consilium_ledger::Ledger;
use consilium_peer::{PeerChannel, SignatureMemory, VerifyError, validate, verify};
use consilium_proto::common;
use consilium_protocol::{block, config::ChannelConfig};
use consilium_testkit::recorded::{Recording, as_delivered};

fn open(recording: &Recording, data: &std::path::Path) -> std::sync::Arc<PeerChannel> {
    let genesis = recording.delivered(0);
    let config = ChannelConfig::from_block(&genesis).unwrap();
    let local_msp = config.msps().msp("Org1MSP").unwrap().clone();
    let ledger = Ledger::create(data, &genesis).unwrap();
    PeerChannel::open(ledger, local_msp).unwrap()
}

#[test]
fn a_channel_recorded_by_fabric_gets_the_same_codes_and_commit_hashes() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let manifest: serde_json::Value = serde_json::from_slice(&recording.manifest()).unwrap();
    let data = tempfile::tempdir().unwrap();
    let channel = open(&recording, data.path());
    let memory = SignatureMemory::new(10);
    let mut differences = Vec::new();
    let mut transactions = 0;
    for entry in manifest.as_array().unwrap().iter().skip(1) {
        let number = entry["number"].as_u64().unwrap();
        let recorded = recording.block(number);
        let info = channel.ledger().info();
        let verified = verify(
            as_delivered(recorded.clone()),
            number,
            &info.current_block_hash,
            &channel.config(),
        )
        .unwrap_or_else(|error| panic!("block {number}: {error}"));
        let prepared = validate::prepare(verified.into_block(), &channel.config(), &memory);
        let committed = channel.commit(prepared).unwrap();
        for (index, transaction) in entry["transactions"].as_array().unwrap().iter().enumerate() {
            transactions += 1;
            let code = committed.transactions[index].code;
            if code as i64 != transaction["code"].as_i64().unwrap() {
                differences.push(format!(
                    "block {number} transaction {index} ({}): recorded {}, ours {}",
                    transaction["case"],
                    transaction["flag"],
                    code.as_str_name()
                ));
            }
        }
        let stored = channel.ledger().block(number).unwrap().unwrap();
        if block::flags(&stored) != block::flags(&recorded) {
            differences.push(format!("block {number}: other flags"));
        }
        let hash = block::commit_hash(&stored)
            .map(hex::encode)
            .unwrap_or_default();
        if hash != entry["commit_hash"].as_str().unwrap() {
            differences.push(format!("block {number}: other commit hash"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(channel.ledger().height(), 67);
    assert!(transactions > 400, "only {transactions} transactions");
}

#[test]
fn a_ledger_that_is_opened_again_goes_on_with_the_configuration_in_force() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let channel = open(&recording, data.path());
    let local_msp = channel.config().msps().msp("Org1MSP").unwrap().clone();
    let memory = SignatureMemory::new(10);
    for number in 1..=45 {
        let prepared = validate::prepare(recording.delivered(number), &channel.config(), &memory);
        channel.commit(prepared).unwrap();
    }
    let sequence = channel.config().sequence();
    assert_eq!(sequence, 2, "blocks 44 and 45 are configuration updates");
    drop(channel);
    let channel = PeerChannel::open(Ledger::open(data.path()).unwrap(), local_msp).unwrap();
    assert_eq!(channel.config().sequence(), sequence);
}

#[test]
fn a_block_that_is_not_the_next_one_or_was_tampered_with_is_refused() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let genesis = recording.block(0);
    let config = ChannelConfig::from_block(&genesis).unwrap();
    let previous = block::header_hash(genesis.header.as_ref().unwrap());
    let good = recording.delivered(1);
    assert!(verify(good.clone(), 1, &previous, &config).is_ok());

    let refused = |block: common::Block| verify(block, 1, &previous, &config).err().unwrap();
    assert!(matches!(
        verify(good.clone(), 2, &previous, &config).err().unwrap(),
        VerifyError::Number {
            expected: 2,
            got: 1
        }
    ));
    assert!(matches!(
        verify(good.clone(), 1, &[7; 32], &config).err().unwrap(),
        VerifyError::PreviousHash { .. }
    ));
    assert!(matches!(
        refused(common::Block {
            header: None,
            ..good.clone()
        }),
        VerifyError::NoHeader
    ));
    let mut tampered = good.clone();
    tampered
        .data
        .as_mut()
        .unwrap()
        .data
        .push(Bytes::from_static(b"more"));
    assert!(matches!(refused(tampered), VerifyError::Structure { .. }));
    let mut shortened = good.clone();
    shortened.metadata.as_mut().unwrap().metadata.truncate(2);
    assert!(matches!(refused(shortened), VerifyError::Structure { .. }));
    let mut unsigned = good.clone();
    unsigned.metadata.as_mut().unwrap().metadata[0] = Bytes::new();
    assert!(matches!(
        refused(unsigned),
        VerifyError::Signature { .. } | VerifyError::Structure { .. }
    ));
    // Another block's signature does not fit.
    let mut foreign = good.clone();
    let other = recording.delivered(2);
    foreign.metadata.as_mut().unwrap().metadata[0] = other.metadata.unwrap().metadata[0].clone();
    assert!(matches!(refused(foreign), VerifyError::Signature { .. }));
    // What a peer should have decided itself is not taken from an orderer.
    let mut flagged = good;
    flagged.metadata.as_mut().unwrap().metadata[2] = Bytes::from_static(&[7]);
    let verified = verify(flagged, 1, &previous, &config).unwrap();
    assert!(block::flags(&verified.into_block()).is_empty());
}
