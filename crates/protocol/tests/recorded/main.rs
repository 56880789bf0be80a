//! Everything this crate computes, against a channel that two Fabric 3.1 peers recorded.

mod chain;
mod genesis;
mod state;

use chain::Recorded;
use consilium_msp::{SignedData, verified_identities};
use consilium_proto::common;
use consilium_proto::protos::TxValidationCode as Code;
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::rwset::{TxRwSet, Version};
use consilium_protocol::transaction::{self, Kind};
use consilium_protocol::{block, commit_hash, envelope};
use prost::Message;

/// Codes that follow from the bytes of a transaction alone, whatever the ledger holds.
const SYNTAX: [Code; 5] = [
    Code::BadCommonHeader,
    Code::InvalidEndorserTransaction,
    Code::BadProposalTxid,
    Code::BadRwset,
    Code::IllegalWriteset,
];

#[test]
fn every_block_continues_the_chain_and_hashes_to_its_data_hash() {
    let Some(recorded) = chain::read() else {
        return;
    };
    assert_eq!(recorded.len(), 67);
    let mut previous: Option<common::BlockHeader> = None;
    for Recorded { block, .. } in &recorded {
        block::check_structure(block).expect("structure");
        let header = block.header.clone().expect("header");
        match previous {
            None => assert!(header.number == 0 && header.previous_hash.is_empty()),
            Some(previous) => block::check_successor(block, &previous).expect("successor"),
        }
        previous = Some(header);
    }
}

#[test]
fn every_block_signature_satisfies_the_policy_and_no_altered_block_does() {
    let Some(recorded) = chain::read() else {
        return;
    };
    let mut config = ChannelConfig::from_block(&recorded[0].block).expect("genesis");
    let mut last_config = 0;
    for Recorded { block, .. } in &recorded[1..] {
        config.verify_block_signatures(block).expect("signatures");
        let mut altered = block.clone();
        altered.header.as_mut().expect("header").number += 1;
        assert!(config.verify_block_signatures(&altered).is_err());
        if block::is_config(block) {
            last_config = block::number(block);
            config = ChannelConfig::from_block(block).expect("config block");
        }
        assert_eq!(block::last_config(block), Ok(last_config));
        let raft =
            block::unwrap_consenter_metadata(&block::consenter_metadata(block).expect("metadata"))
                .expect("raft");
        assert_eq!(
            (raft.consenter_ids, raft.next_consenter_id),
            (vec![1, 2, 3], 4)
        );
    }
    assert_eq!(last_config, 45);
}

#[test]
fn config_blocks_are_what_their_updates_make_of_the_channel() {
    let Some(recorded) = chain::read() else {
        return;
    };
    let mut config = ChannelConfig::from_block(&recorded[0].block).expect("genesis");
    for Recorded { block, .. } in recorded
        .iter()
        .filter(|recorded| block::is_config(&recorded.block))
        .skip(1)
    {
        let (channel, envelope) = block::config_envelope(block).expect("config envelope");
        assert_eq!(channel, "mychannel");
        let proposed = config
            .propose_envelope(envelope.last_update.as_ref().expect("update"))
            .expect("proposed");
        assert_eq!(proposed, envelope);

        let mut tampered = envelope.clone();
        let root = tampered
            .config
            .as_mut()
            .expect("config")
            .channel_group
            .as_mut()
            .expect("root");
        root.mod_policy = "Writers".to_owned();
        let refused = config.validate(&tampered).unwrap_err().to_string();
        assert_eq!(
            refused,
            "ConfigEnvelope LastUpdate did not produce the supplied config result"
        );

        config = config.validate(&envelope).expect("valid");
        config
            .capabilities()
            .check_supported(true)
            .expect("capabilities");
        let again = config.validate(&envelope).unwrap_err().to_string();
        let sequence = config.sequence();
        assert_eq!(
            again,
            format!(
                "config currently at sequence {sequence}, cannot validate config at sequence {sequence}"
            )
        );
    }
    assert_eq!(config.sequence(), 2);
}

#[test]
fn transactions_get_the_id_and_the_syntax_code_that_fabric_gave_them() {
    let Some(recorded) = chain::read() else {
        return;
    };
    let mut refused = 0;
    for (number, recorded) in recorded.iter().enumerate() {
        for transaction in &recorded.transactions {
            let at = format!("block {number}, {}", transaction.case);
            if !transaction.tx_id.is_empty() {
                assert_eq!(
                    transaction::index_id(&transaction.envelope),
                    transaction.tx_id,
                    "{at}"
                );
            }
            let syntax_code = SYNTAX.iter().any(|code| *code as i32 == transaction.code)
                || transaction.case == "chaincode id of action differs";
            if number == 0 {
                continue; // has no creator; nobody validates a genesis block
            }
            match check(&transaction.envelope) {
                Ok(()) => assert!(!syntax_code, "{at}: not refused"),
                Err(code) => {
                    refused += 1;
                    assert_eq!(code as i32, transaction.code, "{at}");
                }
            }
        }
    }
    assert_eq!(refused, 11);
}

fn check(bytes: &bytes::Bytes) -> Result<(), Code> {
    let checked = transaction::check_syntax(bytes)?;
    if checked.kind == Kind::Endorser {
        let parsed = transaction::check_endorser_transaction(&checked)?.dispatch()?;
        assert_eq!(parsed.namespaces_to_validate()[0], parsed.chaincode_name);
    }
    Ok(())
}

#[test]
fn creators_and_endorsers_verify_and_results_encode_to_the_bytes_they_came_from() {
    let Some(recorded) = chain::read() else {
        return;
    };
    let config = ChannelConfig::from_block(&recorded[0].block).expect("genesis");
    let verifies = |set: &[SignedData]| verified_identities(config.msps(), set).len() == set.len();
    let mut results = 0;
    for transaction in recorded[1..]
        .iter()
        .flat_map(|recorded| &recorded.transactions)
    {
        if transaction.code != Code::Valid as i32 {
            continue;
        }
        let checked = transaction::check_syntax(&transaction.envelope).expect("syntax");
        assert!(
            verifies(&[checked.parsed.signed_data()]),
            "{}",
            transaction.case
        );
        if checked.kind != Kind::Endorser {
            continue;
        }
        let endorser = transaction::check_endorser_transaction(&checked).expect("transaction");
        let parsed = endorser.dispatch().expect("content");
        let set = parsed.endorsement_set();
        assert!(
            !verified_identities(config.msps(), &set).is_empty(),
            "{}",
            transaction.case
        );
        assert_eq!(
            parsed.rwset.encode(),
            parsed.action.results,
            "{}",
            transaction.case
        );
        results += 1;
    }
    assert!(results > 300);
}

#[test]
fn commit_hashes_follow_from_flags_and_writes() {
    let Some(recorded) = chain::read() else {
        return;
    };
    let mut state = state::State::default();
    let mut previous: Option<[u8; 32]> = None;
    for Recorded {
        block,
        commit_hash,
        transactions,
    } in &recorded[1..]
    {
        let number = block::number(block);
        let flags = block::flags(block);
        for (index, transaction) in transactions.iter().enumerate() {
            assert_eq!(i32::from(flags[index]), transaction.code);
            let parsed = envelope::parse_bytes(&transaction.envelope).expect("envelope");
            if transaction.code == 0
                && parsed.kind() == Some(common::HeaderType::EndorserTransaction)
            {
                state.apply(
                    &results_of(&transaction.envelope),
                    Version::new(number, index as u64),
                );
            }
        }
        let updates = commit_hash::update_bytes(state.entries());
        let hash =
            commit_hash::commit_hash(flags, &updates, previous.as_ref().map(|hash| &hash[..]));
        assert_eq!(hex::encode(hash), *commit_hash, "block {number}");
        assert_eq!(block::commit_hash(block).as_deref(), Some(&hash[..]));
        previous = Some(hash);
        state.commit();
    }
}

fn results_of(bytes: &bytes::Bytes) -> TxRwSet {
    let checked = transaction::check_syntax(bytes).expect("syntax");
    transaction::check_endorser_transaction(&checked)
        .expect("transaction")
        .dispatch()
        .expect("content")
        .rwset
}

#[test]
fn metadata_slots_encode_to_the_bytes_they_came_from() {
    let Some(recorded) = chain::read() else {
        return;
    };
    for Recorded { block, .. } in &recorded[1..] {
        let mut rewritten = block.clone();
        let (flags, hash) = (
            block::flags(block).to_vec(),
            block::commit_hash(block).expect("hash"),
        );
        block::set_flags(&mut rewritten, Vec::new());
        block::set_commit_hash(&mut rewritten, &[]);
        assert!(block::flags(&rewritten).is_empty() && block::commit_hash(&rewritten).is_none());
        block::set_flags(&mut rewritten, flags);
        block::set_commit_hash(&mut rewritten, &hash);
        assert_eq!(rewritten.encode_to_vec(), block.encode_to_vec());
    }
}
