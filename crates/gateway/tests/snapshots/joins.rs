//! Joins that fail, and what they leave.

use std::{fs, path::Path};

use bytes::Bytes;
use consilium_client::Admin;
use consilium_testkit::NodeOu;
use prost::Message;

use crate::{
    admin, files, finished, folder, no_join_goes_on, snapshots, start,
    support::{CHANNEL, Client, Member},
    words,
};

/// A copy of a snapshot in a new folder, with one file replaced, or left out.
fn spoilt(whole: &Path, to: &Path, file: &str, content: Option<Vec<u8>>) -> String {
    fs::create_dir(to).unwrap();
    for (name, bytes) in files(whole) {
        match &content {
            Some(content) if name == file => fs::write(to.join(name), content).unwrap(),
            None if name == file => {}
            _ => fs::write(to.join(name), bytes).unwrap(),
        }
    }
    to.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_fails_leaves_nothing_and_another_one_succeeds() {
    let mut network = start().await;
    let new = network.add_peer_apart(0).await;
    let [one, _, new] = &network.members[..] else {
        panic!("three peers, of which the last is number {new}")
    };
    let at = one.channel().ledger().height() - 1;
    snapshots(&one.admin).submit(CHANNEL, 0).await.unwrap();
    let whole = finished(one, at).await;
    let whole_at = folder(one, at);
    let whole_name = whole_at.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);

    // Seen at once.
    let refused = async |member: &Member, snapshot: &str| {
        words(admin(member).join_by_snapshot(snapshot).await.unwrap_err())
    };
    let empty = path("empty");
    fs::create_dir(&empty).unwrap();
    let empty = empty.to_str().unwrap();
    assert_eq!(
        refused(new, empty).await,
        format!("cannot create ledger from snapshot {empty}: snapshot dir {empty} is empty")
    );
    assert_eq!(
        refused(new, "").await,
        "Cannot join the channel, no snapshot directory provided"
    );
    assert_eq!(
        refused(one, whole_name).await,
        format!(
            "cannot create ledger from snapshot {whole_name}: error while creating ledger id: ledger [{CHANNEL}] already exists with state [ACTIVE]"
        )
    );
    let signable = "_snapshot_signable_metadata.json";
    let additional = "_snapshot_additional_metadata.json";
    for (name, snapshot) in [
        ("absent", path("absent").to_str().unwrap().to_owned()),
        (
            "no-signable",
            spoilt(&whole_at, &path("no-signable"), signable, None),
        ),
        (
            "no-additional",
            spoilt(&whole_at, &path("no-additional"), additional, None),
        ),
        (
            "no-json",
            spoilt(
                &whole_at,
                &path("no-json"),
                signable,
                Some(b"no JSON".to_vec()),
            ),
        ),
        (
            "no-name",
            spoilt(
                &whole_at,
                &path("no-name"),
                signable,
                Some(
                    String::from_utf8(whole[signable].clone())
                        .unwrap()
                        .replace(CHANNEL, "../mychannel")
                        .into_bytes(),
                ),
            ),
        ),
    ] {
        let words = refused(new, &snapshot).await;
        let begin = format!("cannot create ledger from snapshot {snapshot}: error ");
        assert!(words.starts_with(&begin), "{name}: {words}");
    }
    let user = Admin::new(new.client.channel.clone(), new.client.signer.clone());
    let words_of_user = words(user.join_by_snapshot(whole_name).await.unwrap_err());
    assert!(
        words_of_user.starts_with("access denied for [JoinChainBySnapshot]: ["),
        "{words_of_user}"
    );
    let words_of_user = words(user.join_by_snapshot_status().await.unwrap_err());
    assert!(
        words_of_user.starts_with("access denied for [JoinBySnapshotStatus]: "),
        "{words_of_user}"
    );

    // Found while it is verified: nothing is left.
    let changed = |file: &str| {
        let mut content = whole[file].clone();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        Some(content)
    };
    let other_channel = String::from_utf8(whole[signable].clone())
        .unwrap()
        .replace(CHANNEL, "yourchannel");
    let mut wrong: Vec<String> = whole
        .keys()
        .filter(|name| !name.ends_with(".json"))
        .flat_map(|name| {
            let (changed_at, without) = (path(&format!("changed-{name}")), path(name));
            [
                spoilt(&whole_at, &changed_at, name, changed(name)),
                spoilt(&whole_at, &without, name, None),
            ]
        })
        .collect();
    let other = Some(other_channel.into_bytes());
    wrong.push(spoilt(&whole_at, &path("other"), signable, other));
    let ledgers = new.data().join("ledgers");
    let lying_there = || {
        let entries = fs::read_dir(&ledgers).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    for snapshot in &wrong {
        admin(new).join_by_snapshot(snapshot).await.unwrap();
        no_join_goes_on(new).await;
        assert!(new.peer.channels().is_empty(), "{snapshot}");
        assert_eq!(lying_there(), ["lock"], "{snapshot}");
    }

    // One at a time: this one waits for somebody to write into a pipe.
    let data = "public_state.data";
    let slow = spoilt(&whole_at, &path("slow"), data, None);
    let pipe = path("slow").join(data);
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    admin(new).join_by_snapshot(&slow).await.unwrap();
    let status = admin(new).join_by_snapshot_status().await.unwrap();
    assert!(status.in_progress);
    assert_eq!(status.bootstrapping_snapshot_dir, slow);
    let busy = format!(
        "a ledger is being created from a snapshot at {slow}. Call ledger creation again after it is done."
    );
    assert_eq!(
        refused(new, whole_name).await,
        format!("cannot create ledger from snapshot {whole_name}: {busy}")
    );
    let genesis = Bytes::from(network.genesis.encode_to_vec());
    assert_eq!(
        words(admin(new).join(genesis.clone()).await.unwrap_err()),
        format!("cannot create ledger from genesis block: {busy}")
    );
    let written = whole[data].clone();
    tokio::task::spawn_blocking(move || fs::write(pipe, &written[1..]).unwrap())
        .await
        .unwrap();
    no_join_goes_on(new).await;
    assert_eq!(lying_there(), ["lock"]);

    // The whole one is taken over after all that, and the channel is usable.
    admin(new).join_by_snapshot(whole_name).await.unwrap();
    no_join_goes_on(new).await;
    assert_eq!(
        words(admin(new).join(genesis).await.unwrap_err()),
        format!(
            "cannot create ledger from genesis block: ledger [{CHANNEL}] already exists with state [ACTIVE]"
        )
    );
    let args: [&[u8]; 3] = [b"put", b"k", b"v"];
    one.client.submit("indexed", &args).await.unwrap();
    network.level_from(at + 2).await;
    let hash = |member: &Member| member.channel().ledger().commit_hash();
    assert_eq!(hash(new), hash(one));
    let late = Client::connect(&new.organization, &new.address, "late", NodeOu::Client).await;
    let late = Admin::new(late.channel.clone(), late.signer.clone());
    let info = late.chain_info(CHANNEL).await.unwrap();
    assert_eq!(
        info.bootstrapping_snapshot_info
            .unwrap()
            .last_block_in_snapshot,
        at
    );
}
