//! `cscc` and `qscc` on a real ledger.

mod support;

use consilium_chaincode::lifecycle::package_in_process;
use consilium_proto::common::{Block, BlockchainInfo, Config};
use consilium_proto::protos::{
    ChannelQueryResponse, JoinBySnapshotStatus, ProcessedTransaction, Response,
};
use consilium_protocol::block;
use consilium_testkit::network;
use prost::Message;
use support::{CHANNEL, Consortium, ORG1, ORG2, ask, definition};

fn decoded<M: Message + Default>(response: Response) -> M {
    assert_eq!(response.status, 200, "{}", response.message);
    M::decode(response.payload).expect("the promised message")
}

async fn with_blocks() -> (Consortium, String) {
    let consortium = Consortium::new();
    consortium
        .deploy(
            &definition("kv", 1, "1"),
            &package_in_process("kv", "kv").expect("label"),
        )
        .await;
    let call = consortium
        .endorse(&[ORG1, ORG2], &ask("kv", &["put", "a", "1"]))
        .await;
    let tx_id = call.tx_id.clone();
    consortium.commit(&[call]);
    (consortium, tx_id)
}

#[tokio::test]
async fn qscc_reads_the_chain() {
    let (consortium, tx_id) = with_blocks().await;
    let query = async |function: &str, third: &str| {
        let mut ask = ask("qscc", &[function, CHANNEL]);
        if !third.is_empty() {
            ask.args.push(third.as_bytes().to_vec().into());
        }
        consortium.respond(ORG1, &ask).await
    };
    let info: BlockchainInfo = decoded(query("GetChainInfo", "").await);
    assert_eq!(info.height, 5);
    let newest: Block = decoded(query("GetBlockByNumber", "18446744073709551615").await);
    assert_eq!(block::number(&newest), 4);
    assert_eq!(
        decoded::<Block>(query("GetBlockByNumber", "4").await),
        newest
    );
    assert_eq!(
        decoded::<Block>(query("GetBlockByTxID", &tx_id).await),
        newest
    );
    let mut by_hash = ask("qscc", &["GetBlockByHash", CHANNEL]);
    by_hash.args.push(info.current_block_hash);
    assert_eq!(
        decoded::<Block>(consortium.respond(ORG1, &by_hash).await),
        newest
    );
    let transaction: ProcessedTransaction = decoded(query("GetTransactionByID", &tx_id).await);
    assert_eq!(transaction.validation_code, 0);

    let cases = [
        (
            "GetBlockByNumber",
            "",
            "missing 3rd argument for GetBlockByNumber",
        ),
        (
            "GetBlockByNumber",
            "99",
            "Failed to get block number 99, error ",
        ),
        (
            "GetBlockByNumber",
            "-1",
            "Failed to parse block number with error ",
        ),
        (
            "GetTransactionByID",
            "x",
            "Failed to get transaction with id x, error no such transaction ID [x] in index",
        ),
        (
            "GetBlockByTxID",
            "x",
            "Failed to get block for txID x, error ",
        ),
    ];
    for (function, third, text) in cases {
        let refused = query(function, third).await;
        assert_eq!(refused.status, 500);
        assert!(refused.message.starts_with(text), "{}", refused.message);
    }
    let unknown = consortium
        .respond(ORG1, &ask("qscc", &["GetChainInfo", "other"]))
        .await;
    assert_eq!(unknown.message, "Invalid chain ID, other");
    consortium.peers[ORG1]
        .support
        .refused
        .lock()
        .insert("qscc/GetChainInfo".into());
    assert_eq!(
        query("GetChainInfo", "").await.message,
        "access denied for [GetChainInfo][mychannel]: [qscc/GetChainInfo is refused]"
    );
}

#[tokio::test]
async fn cscc_tells_channels_and_their_configuration() {
    let (consortium, _) = with_blocks().await;
    let respond = async |args: &[&str]| consortium.respond(ORG1, &ask("cscc", args).on("")).await;
    let channels: ChannelQueryResponse = decoded(respond(&["GetChannels"]).await);
    assert_eq!(channels.channels[0].channel_id, CHANNEL);
    let config: Config = decoded(respond(&["GetChannelConfig", CHANNEL]).await);
    assert!(config.channel_group.is_some());
    assert_eq!(
        respond(&["GetConfigBlock", "other"]).await.message,
        "Unknown channel ID, other"
    );
    assert_eq!(
        respond(&["Nothing", "x"]).await.message,
        "Requested function Nothing not found."
    );
    assert_eq!(
        respond(&[]).await.message,
        "Incorrect number of arguments, 0"
    );
    assert_eq!(
        respond(&["JoinChain"]).await.message,
        "Incorrect number of arguments, 1"
    );
    assert_eq!(
        respond(&["JoinChain", ""]).await.message,
        "Cannot join the channel <nil> configuration block provided"
    );
    assert!(
        respond(&["JoinChain", "garbage"])
            .await
            .message
            .starts_with("Failed to reconstruct the genesis block, ")
    );
    for (args, message) in [
        (
            &["GetChannels"][..],
            "access denied for [GetChannels]: cscc/GetChannels is refused",
        ),
        (
            &["GetConfigBlock", "other"],
            "access denied for [GetConfigBlock][other]: cscc/GetConfigBlock is refused",
        ),
        (
            &["GetChannelConfig", "other"],
            "access denied for [GetChannelConfig][other]: cscc/GetChannelConfig is refused",
        ),
    ] {
        let refused = &consortium.peers[ORG1].support.refused;
        refused.lock().insert(format!("cscc/{}", args[0]));
        assert_eq!(respond(args).await.message, message);
    }
}

#[tokio::test]
async fn cscc_hands_a_genesis_block_to_the_peer_only_with_permission() {
    let (consortium, _) = with_blocks().await;
    let peer = &consortium.peers[ORG1];
    let genesis = network::genesis("second", &[&peer.organization], Vec::new());
    let mut join = ask("cscc", &["JoinChain"]).on("");
    join.args.push(genesis.encode_to_vec().into());
    peer.support.refused.lock().insert("cscc/JoinChain".into());
    assert_eq!(
        consortium.respond(ORG1, &join).await.message,
        "access denied for [JoinChain][second]: [cscc/JoinChain is refused]"
    );
    assert!(peer.support.joined.lock().is_empty());
    peer.support.refused.lock().clear();
    assert_eq!(consortium.respond(ORG1, &join).await.status, 200);
    assert_eq!(peer.support.joined.lock().len(), 1);
}

#[tokio::test]
async fn cscc_begins_a_join_by_snapshot_only_with_permission_and_tells_its_status() {
    let (consortium, _) = with_blocks().await;
    let support = &consortium.peers[ORG1].support;
    let respond = async |args: &[&str]| consortium.respond(ORG1, &ask("cscc", args).on("")).await;
    let status = async || decoded::<JoinBySnapshotStatus>(respond(&["JoinBySnapshotStatus"]).await);
    assert_eq!(status().await, JoinBySnapshotStatus::default());
    for (args, message) in [
        (
            &["JoinChainBySnapshot"][..],
            "Incorrect number of arguments, 1",
        ),
        (
            &["JoinChainBySnapshot", ""],
            "Cannot join the channel, no snapshot directory provided",
        ),
    ] {
        assert_eq!(respond(args).await.message, message);
    }
    for function in ["JoinChainBySnapshot", "JoinBySnapshotStatus"] {
        let resource = format!("cscc/{function}");
        support.refused.lock().insert(resource);
    }
    assert_eq!(
        respond(&["JoinChainBySnapshot", "/snapshots/7"])
            .await
            .message,
        "access denied for [JoinChainBySnapshot]: [cscc/JoinChainBySnapshot is refused]"
    );
    assert_eq!(
        respond(&["JoinBySnapshotStatus"]).await.message,
        "access denied for [JoinBySnapshotStatus]: cscc/JoinBySnapshotStatus is refused"
    );
    assert_eq!(*support.joining.lock(), None);
    support.refused.lock().clear();
    let begun = respond(&["JoinChainBySnapshot", "/snapshots/7"]).await;
    assert_eq!((begun.status, begun.payload.len()), (200, 0));
    let now = status().await;
    assert!(now.in_progress);
    assert_eq!(now.bootstrapping_snapshot_dir, "/snapshots/7");
}

#[tokio::test]
async fn qscc_and_cscc_do_not_answer_chaincodes() {
    let (consortium, _) = with_blocks().await;
    for (name, system) in [("QSCC", "qscc"), ("CSCC", "cscc")] {
        let refused = consortium
            .respond(
                ORG1,
                &ask("kv", &["invoke", system, "GetChannels", CHANNEL]),
            )
            .await;
        let text = format!(
            "Rejecting invoke of {name} from another chaincode because of potential for deadlocks, original invocation for 'kv'"
        );
        assert!(refused.message.contains(&text), "{}", refused.message);
    }
}

#[tokio::test]
async fn the_system_chaincode_that_fabric_3_retired_is_not_launched() {
    let (consortium, _) = with_blocks().await;
    for function in [
        "getchaincodes",
        "GetChaincodes",
        "getid",
        "getdepspec",
        "getccdata",
        "getinstalledchaincodes",
        "GetCollectionsConfig",
    ] {
        let asked = ask("lscc", &[function, CHANNEL, "kv"]);
        let refused = consortium.execute(ORG1, &asked).await.unwrap_err();
        let refused = refused.to_string();
        assert!(
            refused.starts_with("error in simulation: failed to execute transaction ")
                && refused.contains(
                    ": could not launch chaincode lscc.syscc: error building chaincode: "
                ),
            "{function}: {refused}"
        );
    }
    // A chaincode that calls it hears the same.
    let called = ask("kv", &["invoke", "lscc", "getchaincodes"]);
    let response = consortium.respond(ORG1, &called).await;
    assert!(response.status >= 400, "{response:?}");
    assert!(
        response
            .message
            .contains("could not launch chaincode lscc.syscc"),
        "{}",
        response.message
    );
}
