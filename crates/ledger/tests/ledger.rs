//! A ledger's queries, its reopening, and what it refuses.

mod support;

use bytes::Bytes;
use consilium_ledger::{BlockStore, Ledger, LedgerError};
use consilium_proto::protos::TxValidationCode::{self, *};
use consilium_protocol::block;
use prost::Message;
use support::{commit, genesis, next_block, read, results, transaction, tx_id, write};

#[test]
fn a_ledger_reopens_where_it_was_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (info, fingerprint, hash) = {
        let ledger = Ledger::create(folder.path(), &genesis(&["Org1MSP"])).unwrap();
        for number in 1..4 {
            let put = results("cc", |set| set.writes = vec![write("k", &[number as u8])]);
            commit(&ledger, vec![transaction(number, "cc", &put)]);
        }
        (
            ledger.info(),
            ledger.state_fingerprint().unwrap(),
            ledger.commit_hash(),
        )
    };
    let ledger = Ledger::open(folder.path()).unwrap();
    assert_eq!(ledger.channel_id(), support::CHANNEL);
    assert_eq!(ledger.info(), info);
    assert_eq!(ledger.info().height, 4);
    assert_eq!(ledger.state_fingerprint().unwrap(), fingerprint);
    assert_eq!(ledger.commit_hash(), hash);
    assert!(hash.is_some());
    drop(ledger);
    let again = Ledger::create(folder.path(), &genesis(&["Org1MSP"]));
    assert!(matches!(again, Err(LedgerError::Exists(_))));
}

#[test]
fn a_snapshot_outlives_later_commits_and_the_ledger_itself() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&[])).unwrap();
    let put = |value: &[u8]| results("cc", |set| set.writes = vec![write("k", value)]);
    commit(&ledger, vec![transaction(1, "cc", &put(b"one"))]);
    let mut simulator = ledger.simulator("tx").unwrap();
    commit(&ledger, vec![transaction(2, "cc", &put(b"two"))]);
    let now = ledger.reader().unwrap();
    drop(ledger);
    let seen = std::thread::spawn(move || simulator.get_state("cc", "k").unwrap());
    assert_eq!(seen.join().unwrap().unwrap(), "one");
    assert_eq!(now.get("cc", "k").unwrap().unwrap().value, "two");
    assert_eq!(now.height(), 3);
}

#[test]
fn the_first_transaction_of_an_id_keeps_it_whatever_its_code_was() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&[])).unwrap();
    let put = |value: &[u8]| results("cc", |set| set.writes = vec![write("k", value)]);
    let forged = transaction(1, "cc", &put(b"forged"));
    let real = transaction(1, "cc", &put(b"real"));
    let block = next_block(&ledger, vec![forged, Bytes::from_static(b"\xff garbage")]);
    ledger
        .commit(block, vec![BadProposalTxid, InvalidOtherReason])
        .unwrap();
    let block = next_block(&ledger, vec![real]);
    ledger.commit(block, vec![DuplicateTxid]).unwrap();

    let status = ledger.tx_status(&tx_id(1)).unwrap().unwrap();
    assert_eq!(
        (status.block, status.index, status.code),
        (1, 0, BadProposalTxid)
    );
    let found = ledger.transaction(&tx_id(1)).unwrap().unwrap();
    assert_eq!(found.validation_code, BadProposalTxid as i32);
    assert_eq!(
        block::number(&ledger.block_by_tx_id(&tx_id(1)).unwrap().unwrap()),
        1
    );
    assert!(
        ledger.has_transaction("").unwrap(),
        "what has no id stands under the empty one"
    );
    assert!(!ledger.has_transaction(&tx_id(2)).unwrap());
    assert!(ledger.reader().unwrap().get("cc", "k").unwrap().is_none());
}

#[test]
fn history_goes_from_new_to_old_and_leaves_out_invalid_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&[])).unwrap();
    let put = |value: &[u8]| {
        results("cc", |set| {
            set.writes = vec![
                write("k", value),
                write("k2", b"other"),
                write("kk", b"other"),
            ];
        })
    };
    let stale = results("cc", |set| {
        set.reads = vec![read("k", Some((77, 0)))];
        set.writes = vec![write("k", b"stale")];
    });
    let first = vec![
        transaction(10, "cc", &put(b"a")),
        transaction(11, "cc", &stale),
        transaction(12, "cc", &put(b"b")),
    ];
    assert_eq!(
        commit(&ledger, first).codes,
        [Valid, MvccReadConflict, Valid]
    );
    commit(&ledger, vec![transaction(13, "cc", &put(b""))]);

    let state = ledger.reader().unwrap();
    let history: Vec<_> = state.history("cc", "k").map(Result::unwrap).collect();
    let seen: Vec<_> = history
        .iter()
        .map(|entry| (entry.tx_id.clone(), entry.value.as_ref(), entry.is_delete))
        .collect();
    let want: [(String, &[u8], bool); 3] = [
        (tx_id(13), b"", true),
        (tx_id(12), b"b", false),
        (tx_id(10), b"a", false),
    ];
    assert_eq!(seen, want);
    assert_eq!(history[0].timestamp.as_ref().unwrap().seconds, 13);
    assert_eq!(state.history("cc", "none").count(), 0);

    let mut simulator = ledger.simulator("tx").unwrap();
    let cursor = simulator.history("cc", "k").unwrap();
    let mut cursored = Vec::new();
    while let Some(entry) = simulator.next_modification(cursor).unwrap() {
        cursored.push(entry);
    }
    assert_eq!(cursored, history);
    assert!(
        simulator.finish().unwrap().public.is_empty(),
        "history records nothing"
    );
}

#[test]
fn blocks_are_found_by_number_and_by_hash_with_flags_and_commit_hash_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&[])).unwrap();
    let put = results("cc", |set| set.writes = vec![write("k", b"v")]);
    let committed = commit(&ledger, vec![transaction(1, "cc", &put)]);
    let block = ledger.block(1).unwrap().unwrap();
    assert_eq!(
        ledger.block_bytes(1).unwrap().unwrap(),
        block.encode_to_vec()
    );
    assert_eq!(block::flags(&block), [0]);
    assert_eq!(
        block::commit_hash(&block).as_deref(),
        committed.commit_hash.as_ref().map(<[u8; 32]>::as_slice)
    );
    let hash = block::header_hash(block.header.as_ref().unwrap());
    assert_eq!(ledger.block_by_hash(&hash).unwrap(), Some(block));
    assert_eq!(ledger.block(2).unwrap(), None);
    assert_eq!(ledger.block_by_hash(b"none").unwrap(), None);
    let genesis = ledger.block(0).unwrap().unwrap();
    assert_eq!(block::flags(&genesis), [0]);
    assert_eq!(block::commit_hash(&genesis), None);
}

#[test]
fn a_block_that_does_not_follow_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&[])).unwrap();
    let before = (ledger.info(), ledger.state_fingerprint().unwrap());
    let put = results("cc", |set| set.writes = vec![write("k", b"v")]);
    let data = vec![transaction(1, "cc", &put)];
    let hash = ledger.info().current_block_hash;

    let refused = |block, codes: Vec<TxValidationCode>| ledger.commit(block, codes).unwrap_err();
    let gap = block::new_block(2, hash.clone(), data.clone());
    assert!(matches!(
        refused(gap, vec![Valid]),
        LedgerError::UnexpectedBlock {
            expected: 1,
            received: 2
        }
    ));
    let fork = block::new_block(1, Bytes::from_static(&[1; 32]), data.clone());
    assert!(matches!(
        refused(fork, vec![Valid]),
        LedgerError::BrokenChain(1)
    ));
    let short = block::new_block(1, hash, data);
    assert!(matches!(
        refused(short, vec![]),
        LedgerError::CodesMismatch { .. }
    ));
    let nothing = Default::default();
    assert!(matches!(
        refused(nothing, vec![]),
        LedgerError::MalformedBlock { .. }
    ));
    assert_eq!((ledger.info(), ledger.state_fingerprint().unwrap()), before);
}

#[test]
fn only_a_config_block_0_makes_a_ledger() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(
        Ledger::open(folder.path().join("nothing")),
        Err(LedgerError::Missing(_))
    ));
    let put = results("cc", |set| set.writes = vec![write("k", b"v")]);
    let endorser = block::new_block(0, Bytes::new(), vec![transaction(1, "cc", &put)]);
    let empty = block::new_block(0, Bytes::new(), vec![]);
    let mut second = genesis(&[]);
    second.header.as_mut().unwrap().number = 1;
    for (index, block) in [endorser, empty, second].iter().enumerate() {
        let path = folder.path().join(index.to_string());
        let refused = Ledger::create(&path, block);
        assert!(matches!(refused, Err(LedgerError::MalformedBlock { .. })));
        assert!(matches!(Ledger::open(&path), Err(LedgerError::Missing(_))));
    }
}

#[tokio::test]
async fn the_height_can_be_watched() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::create(folder.path(), &genesis(&[])).unwrap();
    let mut height = ledger.subscribe();
    assert_eq!(*height.borrow_and_update(), 1);
    let put = results("cc", |set| set.writes = vec![write("k", b"v")]);
    commit(&ledger, vec![transaction(1, "cc", &put)]);
    height.changed().await.unwrap();
    assert_eq!(*height.borrow(), 2);
}

#[test]
fn a_block_store_keeps_blocks_and_the_records_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let first = genesis(&[]);
    let hash = block::header_hash(first.header.as_ref().unwrap());
    {
        let store = BlockStore::open(folder.path()).unwrap();
        assert_eq!((store.height(), store.last_header_hash()), (0, None));
        let applied = |index: &[u8]| vec![(b"applied".to_vec(), index.to_vec())];
        store.append(&first, &applied(b"7"), true).unwrap();
        let second = block::new_block(1, Bytes::copy_from_slice(&hash), vec![]);
        store.append(&second, &applied(b"8"), false).unwrap();
        assert!(store.append(&second, &applied(b"9"), true).is_err());
        assert_eq!(*store.subscribe().borrow(), 2);
    }
    let store = BlockStore::open(folder.path()).unwrap();
    assert_eq!(store.height(), 2);
    assert_eq!(store.extra(b"applied").unwrap().unwrap(), "8");
    assert_eq!(
        store.extra(b"height").unwrap(),
        None,
        "own records are out of reach"
    );
    assert_eq!(store.block(0).unwrap().unwrap(), first);
    assert_eq!(store.block_by_hash(&hash).unwrap().unwrap(), first);
    assert_eq!(store.block_bytes(2).unwrap(), None);
}
