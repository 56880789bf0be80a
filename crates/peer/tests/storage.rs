//! A peer's channel on a full disk, and its ledgers while it is down.

use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use consilium_ledger::{
    Ledger, StoreOptions,
    failpoint::{Action, Point},
};
use consilium_peer::{
    PeerChannel, SignatureMemory,
    maintenance::{self, LedgersLock, MaintenanceError},
    validate,
};
use consilium_protocol::{block, config::ChannelConfig};
use consilium_testkit::recorded::{self, Recording};

/// No test waits so long for one thing unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn open(recording: &Recording, data: &std::path::Path, options: &StoreOptions) -> Arc<PeerChannel> {
    let genesis = recording.delivered(0);
    let config = ChannelConfig::from_block(&genesis).unwrap();
    let local_msp = config.msps().msp("Org1MSP").unwrap().clone();
    let ledger = Ledger::create_with(data, &genesis, options).unwrap();
    PeerChannel::open(ledger, local_msp).unwrap()
}

fn commit(channel: &PeerChannel, recording: &Recording, number: u64) {
    let memory = SignatureMemory::new(10);
    let prepared = validate::prepare(recording.delivered(number), &channel.config(), &memory);
    channel.commit(prepared).unwrap();
}

#[test]
fn a_channel_waits_for_room_tells_why_serves_meanwhile_and_goes_on_by_itself() {
    let Some(recording) = Recording::open() else {
        return;
    };
    for point in [Point::RecordWrite, Point::BatchWrite] {
        let data = tempfile::tempdir().unwrap();
        let options = StoreOptions::default();
        let channel = open(&recording, data.path(), &options);
        for number in 1..=5 {
            commit(&channel, &recording, number);
        }
        assert_eq!(channel.stalled(), None);
        options.failpoints.set(point, Action::Full);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| commit(&channel, &recording, 6));
            let deadline = Instant::now() + PATIENCE;
            while channel.stalled().is_none() {
                assert!(!waiting.is_finished(), "block 6 did not wait");
                if Instant::now() > deadline {
                    // So that the other thread ends, and the test with it.
                    options.failpoints.clear(point);
                    panic!("nothing says that block 6 waits");
                }
                thread::sleep(Duration::from_millis(5));
            }
            assert!(channel.stalled().unwrap().contains("no room on the disk"));
            assert_eq!(channel.ledger().height(), 6);
            assert!(channel.committed_block(5).unwrap().is_some());
            assert!(channel.halted().is_none());
            options.failpoints.clear(point);
            waiting.join().unwrap();
        });
        assert_eq!(channel.stalled(), None);
        for number in 7..=10 {
            commit(&channel, &recording, number);
        }
        let hash = channel.ledger().commit_hash().unwrap();
        assert_eq!(block::commit_hash(&recording.block(10)).unwrap(), hash[..]);
    }
}

#[test]
fn ledgers_are_worked_on_by_one_process_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("ledgers")).unwrap();
    let first = LedgersLock::take(data.path()).unwrap();
    let error = LedgersLock::take(data.path()).unwrap_err();
    assert!(matches!(error, MaintenanceError::InUse(_)), "{error}");
    assert!(error.to_string().contains("stop the peer"), "{error}");
    for channel in ["nothing", "../ledgers", "", "."] {
        let error = first.unjoin(channel).unwrap_err();
        assert!(matches!(error, MaintenanceError::NoChannel(_)), "{error}");
    }
    drop(first);
    LedgersLock::take(data.path()).unwrap();
}

#[test]
fn a_recorded_channel_verifies_with_its_orderers_signatures_and_survives_maintenance() {
    let Some(recording) = Recording::open() else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let ledgers = data.path().join("ledgers");
    fs::create_dir(&ledgers).unwrap();
    let name = "recorded";
    let channel = open(&recording, &ledgers.join(name), &StoreOptions::default());
    for number in 1..67 {
        commit(&channel, &recording, number);
    }
    let state = channel.ledger().state_fingerprint().unwrap();
    let hash = channel.ledger().commit_hash();
    let verified = || {
        let scratch = tempfile::tempdir().unwrap();
        maintenance::verify(data.path(), name, scratch.path(), &mut |_| {}).unwrap()
    };
    // While it is open, too.
    let online = verified();
    assert_eq!((online.blocks, online.faults), (67, vec![]));
    drop(channel);

    let lock = LedgersLock::take(data.path()).unwrap();
    assert_eq!(lock.channels().unwrap(), [name]);
    let rebuilt = lock.rebuild(name, &mut |_| {}).unwrap().ledger;
    assert_eq!(rebuilt.state_fingerprint().unwrap(), state);
    assert_eq!(rebuilt.commit_hash(), hash);
    drop(rebuilt);

    // A block whose signature is another block's is as whole as any, and still found.
    let before = lock.rollback(name, 65, &mut |_| {}).unwrap();
    assert_eq!(before, 67);
    let ledger = Ledger::open(ledgers.join(name)).unwrap();
    assert_eq!(
        (ledger.height(), ledger.height_before_reset()),
        (66, Some(67))
    );
    let mut forged = recording.delivered(66);
    let other = recording.delivered(65).metadata.unwrap().metadata[0].clone();
    forged.metadata.as_mut().unwrap().metadata[0] = other;
    let codes = recorded::codes(&recording.block(66));
    ledger.commit(forged, codes).unwrap();
    drop(ledger);
    let faults = verified().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(faults[0].block, Some(66));
    assert!(faults[0].what.contains("signature"), "{}", faults[0]);

    lock.pause(name).unwrap();
    lock.pause(name).unwrap();
    assert!(ledgers.join(name).join("paused").exists());
    lock.resume(name).unwrap();
    lock.resume(name).unwrap();
    assert!(!ledgers.join(name).join("paused").exists());
    lock.unjoin(name).unwrap();
    assert_eq!(lock.channels().unwrap(), Vec::<String>::new());
    assert!(!ledgers.join(name).exists());
}
