//! Snapshots on a whole network: peers make equal ones while transactions go on, and a new peer begins
//! with one; what is wrong is refused and leaves nothing.

mod begin;
mod joins;
mod requests;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use consilium_client::{Admin, ClientError, Snapshots};
use consilium_proto::protos;
use support::{CHANNEL, Client, Member, Network, PATIENCE};

const BOTH: &str = "OR('Org1MSP.member','Org2MSP.member')";

fn collection(name: &str, members: &str) -> protos::CollectionConfig {
    protos::CollectionConfig {
        payload: Some(protos::collection_config::Payload::StaticCollectionConfig(
            protos::StaticCollectionConfig {
                name: name.to_owned(),
                member_orgs_policy: Some(protos::CollectionPolicyConfig {
                    payload: Some(protos::collection_policy_config::Payload::SignaturePolicy(
                        consilium_msp::dsl::parse(members).unwrap(),
                    )),
                }),
                maximum_peer_count: 3,
                ..Default::default()
            },
        )),
    }
}

/// Two organizations with one peer each and the contract `indexed`.
async fn start() -> Network {
    let network = Network::start_gossiping(1, 2).await;
    let package = protos::CollectionConfigPackage {
        config: vec![
            collection("all", BOTH),
            collection("second", "OR('Org2MSP.member')"),
        ],
    };
    let policy = "OR('Org1MSP.peer','Org2MSP.peer')";
    network
        .deploy_with("indexed", Some(policy), Some(package))
        .await;
    network.acquainted().await;
    network
}

fn snapshots(client: &Client) -> Snapshots {
    Snapshots::new(client.channel.clone(), client.signer.clone())
}

fn admin(member: &Member) -> Admin {
    Admin::new(member.admin.channel.clone(), member.admin.signer.clone())
}

/// Where a peer's finished snapshot of a block is.
fn folder(member: &Member, block: u64) -> PathBuf {
    let completed = member.data().join("snapshots/completed");
    completed.join(CHANNEL).join(block.to_string())
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// The snapshot of a block, once it is there and its request is met.
async fn finished(member: &Member, block: u64) -> BTreeMap<String, Vec<u8>> {
    eventually("a snapshot", async || {
        let pending = snapshots(&member.admin).pending(CHANNEL).await.unwrap();
        !pending.contains(&block)
    })
    .await;
    files(&folder(member, block))
}

async fn no_join_goes_on(member: &Member) {
    eventually("the join ends", async || {
        let status = admin(member).join_by_snapshot_status().await.unwrap();
        assert_eq!(
            status.in_progress,
            !status.bootstrapping_snapshot_dir.is_empty()
        );
        !status.in_progress
    })
    .await;
}
/// The peer's words.
fn words(error: ClientError) -> String {
    match error {
        ClientError::Refused { code, message, .. } => {
            assert_eq!(code, tonic::Code::Unknown);
            message
        }
        ClientError::Proposal { status, message } => {
            assert_eq!(status, 500);
            message
        }
        other => panic!("{other}"),
    }
}
