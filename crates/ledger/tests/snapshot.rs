//! Snapshots: the same files as Fabric's peers wrote, and ledgers that begin with one.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use consilium_ledger::{Joiner, Ledger, MissingKind, StoreOptions};
use consilium_proto::common;
use consilium_proto::protos::StaticCollectionConfig;
use consilium_testkit::recorded::{self, Recording, as_delivered};
use support::{commit, genesis, results, transaction, write};

/// Of the first organization, which is a member of every collection but none.
struct Org1;

impl Joiner for Org1 {
    fn is_member(&self, _: &StaticCollectionConfig) -> bool {
        true
    }

    fn msp_id(&self) -> &str {
        "Org1MSP"
    }

    fn check_config(&self, _: &str, config: &common::Config) -> Result<(), String> {
        config
            .channel_group
            .as_ref()
            .map(drop)
            .ok_or_else(|| "empty".into())
    }

    fn has_given_up(&self) -> bool {
        false
    }
}

fn options(snapshots: &Path) -> StoreOptions {
    StoreOptions {
        snapshots: Some(snapshots.to_owned()),
        ..StoreOptions::default()
    }
}

/// Commits recorded blocks up to and with `last`; flags and commit hashes have to be the recorded.
fn follow(ledger: &Ledger, recording: &Recording, last: u64) {
    while ledger.height() <= last {
        let recorded = recording.block(ledger.height());
        let before = recorded::codes_before_mvcc(&recorded);
        let delivered = as_delivered(recorded.clone());
        let number = ledger.commit(delivered, before).unwrap().number;
        assert_eq!(ledger.block(number).unwrap(), Some(recorded));
    }
}

/// The files of a finished snapshot.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Waits until nothing is pending, and gives the folder of the snapshot at `block`.
fn finished(ledger: &Ledger, root: &Path, block: u64) -> PathBuf {
    let deadline = Instant::now() + Duration::from_secs(120);
    while ledger.pending_snapshots().contains(&block) {
        assert!(Instant::now() < deadline, "no snapshot of block {block}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let folder = root.join("completed").join(ledger.channel_id());
    folder.join(block.to_string())
}

fn assert_same(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (files(ours), files(theirs));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for (name, content) in &theirs {
        assert!(ours[name] == *content, "{name} differs");
    }
}

#[test]
fn the_files_are_those_that_fabric_peers_wrote() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let folder = support::folder();
    let root = folder.path().join("snapshots");
    let ledger = Ledger::create_with(
        folder.path().join("ledger"),
        &recording.block(0),
        &options(&root),
    )
    .unwrap();
    ledger.request_snapshot(40).unwrap();
    ledger.request_snapshot(66).unwrap();
    assert_eq!(ledger.pending_snapshots(), [40, 66]);
    follow(&ledger, &recording, 66);
    let fabric = recording.path("snapshot/66");
    assert_same(&finished(&ledger, &root, 66), &fabric);

    // A ledger that begins at block 40 comes to the same end.
    let at_40 = finished(&ledger, &root, 40);
    let later_root = folder.path().join("later");
    let later = folder.path().join("later-ledger");
    let later = Ledger::create_from_snapshot(later, at_40, &Org1, &options(&later_root)).unwrap();
    assert_eq!((later.height(), later.first_block()), (41, 41));
    later.request_snapshot(66).unwrap();
    follow(&later, &recording, 66);
    assert_eq!(later.commit_hash(), ledger.commit_hash());
    assert_same(&finished(&later, &later_root, 66), &fabric);
}

#[test]
fn a_ledger_begins_with_a_snapshot_of_fabric() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let folder = support::folder();
    let fabric = recording.path("snapshot/66");
    let path = folder.path().join("ledger");
    let root = folder.path().join("snapshots");
    let ledger = Ledger::create_from_snapshot(&path, &fabric, &Org1, &options(&root)).unwrap();
    let from_blocks = Ledger::create(folder.path().join("blocks"), &recording.block(0));
    let from_blocks = from_blocks.unwrap();
    follow(&from_blocks, &recording, 66);

    assert_eq!(ledger.channel_id(), "mychannel");
    assert_eq!(ledger.height(), 67);
    assert_eq!(ledger.commit_hash(), from_blocks.commit_hash());
    let state = from_blocks.state_fingerprint().unwrap();
    assert_eq!(ledger.state_fingerprint().unwrap(), state);
    let info = ledger.info();
    assert_eq!(
        info.current_block_hash,
        from_blocks.info().current_block_hash
    );
    assert_eq!(
        info.bootstrapping_snapshot_info
            .unwrap()
            .last_block_in_snapshot,
        66
    );

    let manifest = std::fs::read(recording.path("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let id = manifest[7]["transactions"][0]["tx_id"].as_str();
    let id = id
        .or(manifest[7]["transactions"][0]["id"].as_str())
        .unwrap();
    assert!(ledger.has_transaction(id).unwrap());
    assert_eq!(
        ledger.tx_status(id).unwrap_err().to_string(),
        format!(
            "details for the TXID [{id}] not available. Ledger bootstrapped from a snapshot. First available block = [67]"
        )
    );
    assert!(ledger.block_bytes(66).unwrap().is_none());

    // What the organization should have is missing; what it should not is noted as such.
    let missing = ledger
        .missing_private(MissingKind::Eligible, None, 1000)
        .unwrap();
    assert!(!missing.is_empty());
    let foreign = ledger
        .missing_private(MissingKind::Ineligible, None, 1000)
        .unwrap();
    assert!(
        foreign
            .iter()
            .all(|missing| missing.place.collection == "_implicit_org_Org2MSP")
    );
    assert!(!foreign.is_empty());

    // The next block gives both the same; so does a snapshot, also after another start.
    let content = || {
        let results = results("kv", |set| set.writes = vec![write("after", b"1")]);
        vec![transaction(1, "kv", &results)]
    };
    let (a, b) = (commit(&ledger, content()), commit(&from_blocks, content()));
    assert_eq!(a.commit_hash, b.commit_hash);
    drop(ledger);
    let ledger = Ledger::open_with(&path, &options(&root), &mut |_| {}).unwrap();
    assert_eq!(ledger.height(), 68);
    let state = from_blocks.state_fingerprint().unwrap();
    assert_eq!(ledger.state_fingerprint().unwrap(), state);
}

/// A small chain of our own, with a snapshot at its end.
fn small(folder: &Path) -> (Arc<Ledger>, PathBuf) {
    let root = folder.join("snapshots");
    let ledger =
        Ledger::create_with(folder.join("ledger"), &genesis(&[]), &options(&root)).unwrap();
    for number in 1..5u64 {
        let results = results("cc", |set| {
            set.writes = vec![write(&format!("key{number}"), &number.to_be_bytes())];
        });
        commit(&ledger, vec![transaction(number, "cc", &results)]);
    }
    ledger.request_snapshot(0).unwrap();
    let at = finished(&ledger, &root, 4);
    (ledger, at)
}

#[test]
fn a_ledger_from_a_snapshot_makes_the_same_snapshot() {
    let folder = support::folder();
    let (ledger, at) = small(folder.path());
    let root = folder.path().join("other");
    let path = folder.path().join("other-ledger");
    let other = Ledger::create_from_snapshot(&path, &at, &Org1, &options(&root)).unwrap();
    let state = ledger.state_fingerprint().unwrap();
    assert_eq!(other.state_fingerprint().unwrap(), state);
    other.request_snapshot(4).unwrap();
    assert_same(&finished(&other, &root, 4), &at);
    let again = Ledger::create_from_snapshot(&path, &at, &Org1, &options(&root));
    assert_eq!(
        again.unwrap_err().to_string(),
        format!("ledger [{}] already exists", ledger.channel_id())
    );
}

#[test]
fn a_changed_file_is_refused_and_leaves_no_ledger() {
    let folder = support::folder();
    let (_ledger, at) = small(folder.path());
    let whole = files(&at);
    for name in whole
        .keys()
        .filter(|name| !name.starts_with("_snapshot_additional"))
    {
        let copy = folder.path().join(format!("copy-{name}"));
        std::fs::create_dir(&copy).unwrap();
        for (file, content) in &whole {
            let mut content = content.clone();
            if file == name {
                let last = content.len() - 1;
                content[last] ^= 1;
            }
            std::fs::write(copy.join(file), content).unwrap();
        }
        let path = folder.path().join("none");
        let error = Ledger::create_from_snapshot(&path, &copy, &Org1, &StoreOptions::default());
        let error = error.unwrap_err().to_string();
        let is_json = name.ends_with(".json");
        assert!(
            is_json || error.contains(&format!("hash mismatch for file [{name}]")),
            "{name}: {error}"
        );
        assert!(!path.exists());
        assert!(!folder.path().join(".joining-none").exists());
    }
    let nowhere = Ledger::create_from_snapshot(
        folder.path().join("none"),
        folder.path().join("nowhere"),
        &Org1,
        &StoreOptions::default(),
    );
    assert!(
        nowhere
            .unwrap_err()
            .to_string()
            .contains("_snapshot_signable_metadata.json")
    );
}

/// Cannot run the channel, or gives up after it was asked some times.
struct Unwilling {
    refuses: bool,
    patience: AtomicU32,
}

impl Joiner for Unwilling {
    fn is_member(&self, _: &StaticCollectionConfig) -> bool {
        true
    }

    fn msp_id(&self) -> &str {
        "Org1MSP"
    }

    fn check_config(&self, channel: &str, _: &common::Config) -> Result<(), String> {
        match self.refuses {
            true => Err(format!("{channel} is nothing for us")),
            false => Ok(()),
        }
    }

    fn has_given_up(&self) -> bool {
        let left = self.patience.load(Ordering::Relaxed);
        self.patience
            .store(left.saturating_sub(1), Ordering::Relaxed);
        left == 0
    }
}

#[test]
fn a_peer_that_cannot_run_the_channel_or_gives_up_has_no_ledger() {
    let folder = support::folder();
    let (ledger, at) = small(folder.path());
    let channel = ledger.channel_id();
    assert_eq!(Ledger::channel_of_snapshot(&at).unwrap(), channel);
    for (refuses, patience, expected) in [
        (
            true,
            u32::MAX,
            format!("the snapshot's channel configuration: {channel} is nothing for us"),
        ),
        (
            false,
            0,
            "the peer gave up to take the snapshot over".into(),
        ),
        (
            false,
            3,
            "the peer gave up to take the snapshot over".into(),
        ),
    ] {
        let joiner = Unwilling {
            refuses,
            patience: patience.into(),
        };
        let path = folder.path().join("none");
        let error = Ledger::create_from_snapshot(&path, &at, &joiner, &StoreOptions::default());
        assert_eq!(error.unwrap_err().to_string(), expected);
        assert!(!path.exists());
        assert!(!folder.path().join(".joining-none").exists());
    }
}

#[test]
fn requests_last_until_their_block_and_can_be_taken_back() {
    let folder = support::folder();
    let (ledger, _) = small(folder.path());
    let root = folder.path().join("snapshots");
    let refused =
        |outcome: Result<(), consilium_ledger::LedgerError>| outcome.unwrap_err().to_string();
    assert_eq!(
        refused(ledger.request_snapshot(3)),
        "requested snapshot for block number 3 cannot be less than the last committed block number 4"
    );
    assert_eq!(
        refused(ledger.request_snapshot(0)),
        "snapshot already generated for block number 4"
    );
    ledger.request_snapshot(5).unwrap();
    ledger.request_snapshot(9).unwrap();
    assert_eq!(
        refused(ledger.request_snapshot(9)),
        "duplicate snapshot request for block number 9"
    );
    ledger.close();
    drop(ledger);
    let path = folder.path().join("ledger");
    let ledger = Ledger::open_with(&path, &options(&root), &mut |_| {}).unwrap();
    assert_eq!(ledger.pending_snapshots(), [5, 9]);
    ledger.cancel_snapshot(9).unwrap();
    assert_eq!(
        refused(ledger.cancel_snapshot(9)),
        "no snapshot request exists for block number 9"
    );
    let results = results("cc", |set| set.writes = vec![write("late", b"1")]);
    commit(&ledger, vec![transaction(9, "cc", &results)]);
    assert!(
        finished(&ledger, &root, 5)
            .join("public_state.data")
            .exists()
    );
    assert_eq!(ledger.pending_snapshots(), Vec::<u64>::new());

    let without = Ledger::create(folder.path().join("without"), &genesis(&[])).unwrap();
    assert!(refused(without.request_snapshot(0)).contains("ledger.snapshots.rootDir"));
}

#[test]
fn a_request_survives_whoever_opens_the_ledger_without_a_folder_for_snapshots() {
    let folder = support::folder();
    let (ledger, _) = small(folder.path());
    let root = folder.path().join("snapshots");
    ledger.request_snapshot(5).unwrap();
    ledger.close();
    drop(ledger);
    let path = folder.path().join("ledger");
    let without = StoreOptions::default();
    let ledger = Ledger::open(&path).unwrap();
    let results = results("cc", |set| set.writes = vec![write("late", b"1")]);
    commit(&ledger, vec![transaction(9, "cc", &results)]);
    assert_eq!(ledger.pending_snapshots(), [5]);
    ledger.close();
    drop(ledger);
    let rebuilt = Ledger::rebuild(&path, &without, &mut |_| {}).unwrap();
    assert_eq!(rebuilt.ledger.height(), 6);
    assert_eq!(rebuilt.ledger.pending_snapshots(), [5]);
    rebuilt.ledger.close();
    drop(rebuilt);
    for name in ["temp", "completed"] {
        assert!(!Path::new(name).exists(), "{name} in the current folder");
    }
    // Whoever has a folder makes it.
    let ledger = Ledger::open_with(&path, &options(&root), &mut |_| {}).unwrap();
    let metadata = finished(&ledger, &root, 5).join("_snapshot_signable_metadata.json");
    assert!(metadata.exists(), "{} is not there", metadata.display());
}

#[test]
fn a_request_that_was_waiting_for_the_last_block_is_met_after_a_rebuild() {
    let folder = support::folder();
    let (ledger, _) = small(folder.path());
    let root = folder.path().join("snapshots");
    ledger.request_snapshot(5).unwrap();
    ledger.close();
    drop(ledger);
    let path = folder.path().join("ledger");
    let ledger = Ledger::open(&path).unwrap();
    let results = results("cc", |set| set.writes = vec![write("late", b"1")]);
    commit(&ledger, vec![transaction(9, "cc", &results)]);
    drop(ledger);
    let rebuilt = Ledger::rebuild(&path, &options(&root), &mut |_| {}).unwrap();
    let at = finished(&rebuilt.ledger, &root, 5);
    let metadata = at.join("_snapshot_signable_metadata.json");
    assert!(metadata.exists(), "{} is not there", metadata.display());
    assert_eq!(std::fs::read_dir(root.join("temp")).unwrap().count(), 0);
}

#[test]
fn a_ledger_from_a_snapshot_is_verified_as_far_as_it_can_be_and_not_rebuilt() {
    let folder = support::folder();
    let (ledger, at) = small(folder.path());
    let path = folder.path().join("other-ledger");
    let other = Ledger::create_from_snapshot(&path, &at, &Org1, &StoreOptions::default()).unwrap();
    assert!(Ledger::began_with_snapshot(&path).unwrap());
    assert!(!Ledger::began_with_snapshot(folder.path().join("ledger")).unwrap());
    let results = results("cc", |set| set.writes = vec![write("late", b"1")]);
    let content = || vec![transaction(9, "cc", &results)];
    commit(&ledger, content());
    commit(&other, content());
    let hash = other.commit_hash();
    drop(other);
    assert!(Ledger::began_with_snapshot(&path).unwrap());
    let scratch = support::folder();
    let verified =
        consilium_ledger::verify(&path, scratch.path(), &mut |_| Ok(()), &mut |_| {}).unwrap();
    assert_eq!((verified.blocks, &verified.faults[..]), (1, &[][..]));
    let [unchecked] = &verified.unchecked[..] else {
        panic!("{:?}", verified.unchecked);
    };
    assert!(unchecked.contains("before block 5"), "{unchecked}");

    // With its database lost, nobody may take block 5 for the first one of a rebuilt ledger.
    for damaged in [false, true] {
        if damaged {
            std::fs::write(path.join("database/CURRENT"), "ruined").unwrap();
        }
        let refused = Ledger::rebuild(&path, &StoreOptions::default(), &mut |_| {});
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("bootstrapped from a snapshot"), "{text}");
        assert!(text.contains("join it again from the snapshot"), "{text}");
        if !damaged {
            let whole = Ledger::open(&path).unwrap();
            assert_eq!((whole.height(), whole.commit_hash()), (6, hash));
        }
    }
    let current = std::fs::read(path.join("database/CURRENT")).unwrap();
    assert_eq!(current, b"ruined");
}

#[test]
fn transaction_ids_come_by_length_and_then_in_their_order() {
    let folder = support::folder();
    let root = folder.path().join("snapshots");
    let ledger =
        Ledger::create_with(folder.path().join("ledger"), &genesis(&[]), &options(&root)).unwrap();
    let claimed = [
        ("b", 1),
        ("a", 2),
        ("a", 1),
        ("z", 2),
        ("q", 64),
        ("y", 70),
        ("x", 70),
    ];
    let longest = [("w", 65), ("v", 300), ("u", 70)];
    let ids = claimed.into_iter().chain(longest);
    let mut ids: Vec<String> = ids.map(|(id, times)| id.repeat(times)).collect();
    let data = ids.iter().map(|id| support::claiming(id)).collect();
    commit(&ledger, data);
    ledger.request_snapshot(0).unwrap();
    let at = finished(&ledger, &root, 1);
    let data = std::fs::read(at.join("txids.data")).unwrap();
    // Block 0 has one, too.
    ids.push(support::tx_id(0));
    ids.sort_by_key(|id| (id.len(), id.clone()));
    let mut wanted = vec![1];
    for id in ids {
        prost::encoding::encode_varint(id.len() as u64, &mut wanted);
        wanted.extend_from_slice(id.as_bytes());
    }
    assert_eq!(data, wanted);
}
