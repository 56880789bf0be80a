//! The shim protocol against a chaincode service that plays scripts over real gRPC.

mod support;

use bytes::Bytes;
use consilium_chaincode::lifecycle::{package_in_process, package_service};
use consilium_chaincode::{Connection, ConnectionTls, HostOptions};
use consilium_proto::protos::{
    ChaincodeAdditionalParams, ChaincodeInput, ChaincodeInvocationSpec, ChaincodeProposalPayload,
    GetStateMultipleResult, Proposal, QueryResponse, QueryResponseMetadata, Response,
    SignedProposal, StateMetadataResult,
};
use consilium_proto::queryresult::KeyModification;
use consilium_protocol::hash::sha256;
use consilium_protocol::rwset::{NsRwSet, TxRwSet};
use consilium_transport::{ClientAuth, ServerTls, TlsIdentity};
use futures_util::FutureExt;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use support::scripts::{LATE, everything};
use support::service::{Call, Final, Script, Service};
use support::{Consortium, Endorsed, ORG1, ORG2, ask, definition};

/// Far more than anything here takes; only a hang reaches it.
const BOUND: Duration = Duration::from_secs(60);

fn script<F>(play: fn(Call) -> F) -> Script
where
    F: Future<Output = Final> + Send + 'static,
{
    Arc::new(move |call| play(call).boxed())
}

/// A consortium with the service deployed as chaincode `cc`.
async fn deployed(consortium: Consortium, script: Script) -> (Consortium, Service) {
    let service = Service::start(None, script).await;
    let package = package_service("cc", &Connection::plain(&service.address)).expect("a label");
    let mut definition = definition("cc", 1, "1.0");
    definition.collections = Some(support::collections::package(vec![
        support::collections::of(
            "both",
            support::collections::members(&["Org1MSP", "Org2MSP"]),
        ),
        {
            let mut members =
                support::collections::of("two", support::collections::members(&["Org2MSP"]));
            members.member_only_read = true;
            members.member_only_write = true;
            members
        },
    ]));
    let ccid = consortium.deploy(&definition, &package).await;
    service.set_ccid(&ccid);
    (consortium, service)
}

/// The public results of a call at one peer.
async fn results(consortium: &Consortium, args: &[&str]) -> (Response, TxRwSet) {
    let Endorsed {
        response, results, ..
    } = consortium.endorse(&[ORG1], &ask("cc", args)).await;
    (
        response,
        TxRwSet::parse(&results.public).expect("a read-write set"),
    )
}

fn of_cc(set: &TxRwSet) -> &NsRwSet {
    set.namespaces
        .iter()
        .find(|ns| ns.name == "cc")
        .expect("the chaincode's namespace")
}

async fn said(consortium: &Consortium, args: &[&str]) -> String {
    let payload = consortium.respond(ORG1, &ask("cc", args)).await.payload;
    String::from_utf8_lossy(&payload).into_owned()
}

async fn with_everything() -> (Consortium, Service) {
    deployed(Consortium::new(), script(everything)).await
}

#[tokio::test]
async fn a_service_registers_once_and_serves_many_transactions_on_one_stream() {
    let (consortium, service) = with_everything().await;
    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["put", "a", "1"]))
        .await;
    assert_eq!(said(&consortium, &["get", "a"]).await, "1");
    assert_eq!(said(&consortium, &["get", "absent"]).await, "");
    let asks: Vec<_> = (0..40)
        .map(|index| ask("cc", &["get", if index % 2 == 0 { "a" } else { "b" }]))
        .collect();
    let calls = asks.iter().map(|ask| consortium.respond(ORG1, ask));
    for (index, response) in futures_util::future::join_all(calls)
        .await
        .into_iter()
        .enumerate()
    {
        assert_eq!(
            &response.payload[..],
            if index % 2 == 0 { &b"1"[..] } else { b"" }
        );
    }
    // One connection per peer, and READY offers batches.
    assert_eq!(service.connections(), 2);
    let offers =
        ChaincodeAdditionalParams::decode(service.ready()[0].payload.clone()).expect("offers");
    assert_eq!(
        (offers.use_write_batch, offers.max_size_write_batch),
        (true, 1000)
    );
    assert_eq!(
        (
            offers.use_get_multiple_keys,
            offers.max_size_get_multiple_keys
        ),
        (true, 1000)
    );
}

#[tokio::test]
async fn writes_are_recorded_and_reads_never_see_them() {
    let (consortium, _service) = with_everything().await;
    let (response, set) = results(&consortium, &["put", "a", "1"]).await;
    assert_eq!(response.status, 200);
    assert_eq!(of_cc(&set).writes[0].key, "a");
    assert_eq!(said(&consortium, &["get", "a"]).await, "");
    let (_, set) = results(&consortium, &["del", "a"]).await;
    assert!(of_cc(&set).writes[0].is_delete);
    let (_, set) = results(&consortium, &["get", "a"]).await;
    assert_eq!(of_cc(&set).reads[0].key, "a");
}

#[tokio::test]
async fn ranges_travel_in_hundreds_and_are_recorded_as_far_as_they_were_pulled() {
    let (consortium, _service) = with_everything().await;
    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["fill", "250"]))
        .await;
    // (portions asked for, what arrives, last key pulled, whether the end was seen)
    let cases = [
        ("9", "k000+100 k100+100 k200+50 end", "l", true),
        ("1", "k000+100", "k100", false),
        ("2", "k000+100 k100+100", "k200", false),
    ];
    for (portions, told, end, exhausted) in cases {
        let (response, set) = results(&consortium, &["walk", portions]).await;
        assert_eq!(String::from_utf8_lossy(&response.payload), told);
        let [range] = &of_cc(&set).ranges[..] else {
            panic!("one range")
        };
        assert_eq!(
            (range.start_key.as_str(), range.end_key.as_str()),
            ("k", end)
        );
        assert_eq!(range.itr_exhausted, exhausted);
    }
}

#[tokio::test]
async fn a_range_of_exactly_one_portion_is_known_to_be_at_its_end() {
    let (consortium, _service) = with_everything().await;
    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["fill", "100"]))
        .await;
    assert_eq!(said(&consortium, &["walk", "9"]).await, "k000+100 end");
}

#[tokio::test]
async fn the_total_query_limit_ends_a_range_early_and_unexhausted() {
    let consortium = Consortium::with(|options| HostOptions {
        total_query_limit: 120,
        ..options
    });
    let (consortium, _service) = deployed(consortium, script(everything)).await;
    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["fill", "250"]))
        .await;
    let (response, set) = results(&consortium, &["walk", "9"]).await;
    assert_eq!(&response.payload[..], b"k000+100 k100+20 end");
    let range = &of_cc(&set).ranges[0];
    assert_eq!(
        (range.end_key.as_str(), range.itr_exhausted),
        ("k119", false)
    );
}

#[tokio::test]
async fn pages_say_where_the_next_one_begins_and_forbid_writes() {
    let (consortium, _service) = with_everything().await;
    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["fill", "25"]))
        .await;
    let page = async |bookmark: &str| {
        let payload = consortium
            .respond(ORG1, &ask("cc", &["page", "10", bookmark]))
            .await
            .payload;
        let page = QueryResponse::decode(payload).expect("a page");
        assert!(!page.has_more);
        let metadata = QueryResponseMetadata::decode(page.metadata).expect("metadata");
        assert_eq!(
            usize::try_from(metadata.fetched_records_count).expect("a count"),
            page.results.len()
        );
        (page.results.len(), metadata.bookmark)
    };
    assert_eq!(page("").await, (10, "k010".to_owned()));
    assert_eq!(page("k010").await, (10, "k020".to_owned()));
    assert_eq!(page("k020").await, (5, String::new()));
    let refused = said(&consortium, &["page", "10", "", "write"]).await;
    assert!(refused.contains("unsuppored transaction. Transaction has already performed a paginated query. Writes are not allowed"), "{refused}");
}

#[tokio::test]
async fn histories_come_newest_first() {
    let (consortium, _service) = with_everything().await;
    for value in ["1", "2"] {
        consortium
            .submit(&[ORG1, ORG2], &ask("cc", &["put", "a", value]))
            .await;
    }
    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["del", "a"]))
        .await;
    let payload = consortium
        .respond(ORG1, &ask("cc", &["history", "a"]))
        .await
        .payload;
    let history = QueryResponse::decode(payload).expect("a history");
    let changes: Vec<(Bytes, bool)> = history
        .results
        .iter()
        .map(|result| KeyModification::decode(result.result_bytes.clone()).expect("a change"))
        .map(|change| (change.value, change.is_delete))
        .collect();
    assert_eq!(
        changes,
        [
            (Bytes::new(), true),
            ("2".into(), false),
            ("1".into(), false)
        ]
    );
}

#[tokio::test]
async fn without_history_the_question_is_refused_in_fabrics_words() {
    let consortium = Consortium::with(|options| HostOptions {
        history: false,
        ..options
    });
    let (consortium, _service) = deployed(consortium, script(everything)).await;
    let response = consortium
        .respond(ORG1, &ask("cc", &["history", "a"]))
        .await;
    let text = String::from_utf8_lossy(&response.payload);
    let told = format!("{} {text}", response.message);
    assert!(told.contains("history database is not enabled"), "{told}");
}

#[tokio::test]
async fn private_data_keeps_to_its_collections_and_members() {
    let (consortium, _service) = with_everything().await;
    let endorsed = consortium
        .endorse(&[ORG1, ORG2], &ask("cc", &["private", "s", "both"]))
        .await;
    let set = TxRwSet::parse(&endorsed.results.public).expect("a read-write set");
    let lifecycle: Vec<&str> = set.namespaces[0]
        .reads
        .iter()
        .map(|read| read.key.as_str())
        .collect();
    assert_eq!(
        lifecycle,
        [
            "namespaces/fields/cc/Collections",
            "namespaces/fields/cc/EndorsementInfo",
            "namespaces/fields/cc/Sequence",
            "namespaces/fields/cc/ValidationInfo",
            "namespaces/metadata/cc",
        ]
    );
    consortium.commit(&[endorsed]);
    assert_eq!(said(&consortium, &["get", "s", "both"]).await, "secret");
    let hash = consortium
        .respond(ORG2, &ask("cc", &["hash", "s", "both"]))
        .await
        .payload;
    assert_eq!(hash[..], sha256(b"secret"));

    // ORG1's client is no member of `two`; nobody is asked about hashes.
    let refused = said(&consortium, &["get", "s", "two"]).await;
    assert!(refused.ends_with("tx creator does not have read access permission on privatedata in chaincodeName:cc collectionName: two"), "{refused}");
    let refused = said(&consortium, &["private", "s", "two"]).await;
    assert!(
        refused.contains("does not have write access permission"),
        "{refused}"
    );
    let member = consortium
        .respond(ORG2, &ask("cc", &["private", "s", "two"]))
        .await
        .payload;
    assert_eq!(&member[..], b"");
    assert_eq!(said(&consortium, &["hash", "s", "two"]).await, "");

    let refused = said(&consortium, &["get", "s", "none"]).await;
    assert!(
        refused
            .contains("collection [none] not defined in the collection config for chaincode [cc]"),
        "{refused}"
    );
    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["purge", "s", "both"]))
        .await;
    assert_eq!(said(&consortium, &["get", "s", "both"]).await, "");
}

#[tokio::test]
async fn key_level_policies_are_set_and_read_as_metadata() {
    let (consortium, _service) = with_everything().await;
    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["put", "a", "1"]))
        .await;
    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["policy", "a", "p"]))
        .await;
    let payload = consortium
        .respond(ORG1, &ask("cc", &["policy of", "a"]))
        .await
        .payload;
    let metadata = StateMetadataResult::decode(payload).expect("metadata");
    let [entry] = &metadata.entries[..] else {
        panic!("one entry")
    };
    assert_eq!(
        (entry.metakey.as_str(), &entry.value[..]),
        ("VALIDATION_PARAMETER", &b"p"[..])
    );
}

#[tokio::test]
async fn batches_apply_in_order_until_the_first_failure() {
    let (consortium, _service) = with_everything().await;
    let (response, set) = results(&consortium, &["batch", "good"]).await;
    assert_eq!(&response.payload[..], b"");
    let cc = of_cc(&set);
    assert_eq!(
        cc.writes
            .iter()
            .map(|write| write.key.as_str())
            .collect::<Vec<_>>(),
        ["b1", "b2"]
    );
    assert_eq!(cc.metadata_writes.len(), 1);
    assert_eq!(cc.collections.len(), 1);
    let (response, set) = results(&consortium, &["batch", "spoilt"]).await;
    assert!(String::from_utf8_lossy(&response.payload).ends_with("unknown operation type"));
    assert_eq!(
        of_cc(&set)
            .writes
            .iter()
            .map(|write| write.key.as_str())
            .collect::<Vec<_>>(),
        ["b1"]
    );

    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["put", "a", "1"]))
        .await;
    let payload = consortium
        .respond(ORG1, &ask("cc", &["several", "x", "a"]))
        .await
        .payload;
    let several = GetStateMultipleResult::decode(payload).expect("values");
    assert_eq!(several.values, [Bytes::new(), "1".into()]);
}

#[tokio::test]
async fn a_called_chaincode_shares_the_transaction() {
    let (consortium, _service) = with_everything().await;
    consortium
        .deploy(
            &definition("kv", 1, "1.0"),
            &package_in_process("kv", "kv").expect("label"),
        )
        .await;
    let (response, set) = results(&consortium, &["invoke", "kv:9", "put", "x", "1"]).await;
    assert_eq!(response.status, 200);
    let names: Vec<&str> = set.namespaces.iter().map(|ns| ns.name.as_str()).collect();
    assert_eq!(names, ["_lifecycle", "kv"]);
    let kv = set
        .namespaces
        .iter()
        .find(|ns| ns.name == "kv")
        .expect("the callee's namespace");
    assert_eq!(kv.writes[0].key, "x");
    let sequences: Vec<&str> = set.namespaces[0]
        .reads
        .iter()
        .map(|read| read.key.as_str())
        .collect();
    assert_eq!(
        sequences,
        [
            "namespaces/fields/cc/Sequence",
            "namespaces/fields/kv/Sequence"
        ]
    );

    // And the other way round: a contract in the peer calls the service.
    let call = consortium
        .endorse(&[ORG1], &ask("kv", &["invoke", "cc", "put", "y", "2"]))
        .await;
    let set = TxRwSet::parse(&call.results.public).expect("a read-write set");
    assert_eq!(of_cc(&set).writes[0].key, "y");

    let refused = said(&consortium, &["invoke", "nothing", "x"]).await;
    assert!(
        refused.starts_with("error: INVOKE_CHAINCODE failed: transaction ID: "),
        "{refused}"
    );
    assert!(refused.ends_with("execute failed: invalid invocation: [channel mychannel] failed to get chaincode container info for nothing: chaincode nothing not found"), "{refused}");
    let refused = said(&consortium, &["invoke", "cc", "get", "a"]).await;
    assert!(
        refused.contains("execute failed: error sending: txid: "),
        "{refused}"
    );
    assert!(refused.ends_with("(mychannel) exists"), "{refused}");
    let refused = said(
        &consortium,
        &["invoke", "qscc", "GetChainInfo", "mychannel"],
    )
    .await;
    assert_eq!(refused, "");
    let refused = said(&consortium, &["invoke", "kv/elsewhere", "get", "a"]).await;
    assert!(
        refused.ends_with("failed to find ledger for channel: elsewhere"),
        "{refused}"
    );
    consortium.peers[ORG1]
        .support
        .refused
        .lock()
        .insert("peer/ChaincodeToChaincode".into());
    let refused = said(&consortium, &["invoke", "kv", "get", "a"]).await;
    assert!(
        refused.ends_with("peer/ChaincodeToChaincode is refused"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_a_chaincode_called_on_another_channel_writes_is_lost() {
    let (consortium, _service) = with_everything().await;
    let organizations: Vec<_> = consortium
        .peers
        .iter()
        .map(|peer| &peer.organization)
        .collect();
    let genesis = consilium_testkit::network::genesis("elsewhere", &organizations, Vec::new());
    for peer in &consortium.peers {
        peer.add_channel(&genesis);
    }
    // `cc` is not defined there, `_lifecycle` always is.
    let refused = said(&consortium, &["invoke", "cc/elsewhere", "put", "a", "1"]).await;
    assert!(refused.ends_with("chaincode cc not found"), "{refused}");
    let (_, set) = results(
        &consortium,
        &[
            "invoke",
            "_lifecycle/elsewhere",
            "QueryChaincodeDefinitions",
            "",
        ],
    )
    .await;
    let read: Vec<&str> = set.namespaces.iter().map(|ns| ns.name.as_str()).collect();
    assert_eq!(read, ["_lifecycle"]);
    assert_eq!(set.namespaces[0].ranges.len(), 0);
}

#[tokio::test]
async fn events_come_from_whom_the_peer_says() {
    let (consortium, _service) = with_everything().await;
    let execution = consortium
        .execute(ORG1, &ask("cc", &["event"]))
        .await
        .expect("a response");
    let event = execution.event.expect("an event");
    assert_eq!(
        (event.chaincode_id.as_str(), event.event_name.as_str()),
        ("cc", "happened")
    );
    assert_ne!(event.tx_id, "forged");
    assert_eq!(event.tx_id.len(), 64);
}

#[tokio::test]
async fn any_status_is_a_response_and_an_error_message_is_not() {
    let (consortium, _service) = with_everything().await;
    for status in ["200", "399", "404", "500"] {
        let response = consortium
            .respond(ORG1, &ask("cc", &["status", status]))
            .await;
        assert_eq!(
            (response.status.to_string().as_str(), &response.payload[..]),
            (status, &b"told"[..])
        );
    }
    let failed = consortium
        .execute(ORG1, &ask("cc", &["fail"]))
        .await
        .expect_err("no response");
    assert_eq!(
        failed.to_string(),
        "error in simulation: transaction returned with failure: deliberately"
    );
    let failed = consortium
        .execute(ORG1, &ask("cc", &["garbled"]))
        .await
        .expect_err("no response");
    assert!(
        failed
            .to_string()
            .contains("failed to unmarshal response for transaction "),
        "{failed}"
    );
}

#[tokio::test]
async fn a_chaincode_gets_the_proposal_as_the_client_signed_it() {
    let (consortium, _service) = with_everything().await;
    let mut call = ask("cc", &["proposal"]);
    call.transient
        .insert("secret".into(), Bytes::from_static(b"for the chaincode"));
    let signed = call.signed(&*consortium.peers[ORG1].client);
    let execution = support::execute_signed(&consortium.peers[ORG1], signed.clone())
        .await
        .expect("a response");
    let seen = SignedProposal::decode(execution.response.payload).expect("a signed proposal");
    assert_eq!(seen, signed);
}

#[tokio::test]
async fn what_a_client_calls_a_decoration_of_the_peer_does_not_reach_the_chaincode() {
    let (consortium, _service) = with_everything().await;
    let mut signed = ask("cc", &["input"]).signed(&*consortium.peers[ORG1].client);
    let mut proposal = Proposal::decode(signed.proposal_bytes).expect("a proposal");
    let mut payload = ChaincodeProposalPayload::decode(proposal.payload).expect("its payload");
    let mut invocation = ChaincodeInvocationSpec::decode(payload.input).expect("an invocation");
    let input = invocation
        .chaincode_spec
        .as_mut()
        .and_then(|spec| spec.input.as_mut());
    let trusted = Bytes::from_static(b"said the client");
    input
        .expect("an input")
        .decorations
        .insert("trusted".into(), trusted);
    payload.input = invocation.encode_to_vec().into();
    proposal.payload = payload.encode_to_vec().into();
    signed.proposal_bytes = proposal.encode_to_vec().into();
    let execution = support::execute_signed(&consortium.peers[ORG1], signed)
        .await
        .expect("a response");
    let seen = ChaincodeInput::decode(execution.response.payload).expect("an input");
    assert_eq!(seen.args, [Bytes::from_static(b"input")]);
    assert!(seen.decorations.is_empty(), "{seen:?}");
}

#[tokio::test]
async fn mistakes_of_a_chaincode_are_its_own() {
    let (consortium, service) = with_everything().await;
    assert_eq!(said(&consortium, &["twice"]).await, "one answer");
    let told = said(&consortium, &["malformed"]).await;
    assert!(
        told.starts_with("error: GET_STATE failed: transaction ID: "),
        "{told}"
    );
    assert!(told.contains(": unmarshal failed: "), "{told}");
    let told = said(&consortium, &["unknown iterator"]).await;
    assert!(told.ends_with("query iterator not found"), "{told}");
    let told = said(&consortium, &["rich", "no JSON"]).await;
    assert!(
        told.starts_with("error: GET_QUERY_RESULT failed: transaction ID: "),
        "{told}"
    );
    let before = service.connections();
    let failed = consortium
        .execute(ORG1, &ask("cc", &["nonsense"]))
        .await
        .expect_err("no response");
    assert!(
        failed
            .to_string()
            .ends_with("error sending: chaincode stream terminated"),
        "{failed}"
    );
    assert_eq!(said(&consortium, &["get", "a"]).await, "");
    assert_eq!(service.connections(), before + 1);
}

#[tokio::test]
async fn requests_after_the_end_of_a_transaction_find_no_ledger() {
    let (consortium, _service) = with_everything().await;
    assert_eq!(said(&consortium, &["late"]).await, "done");
    let refused = tokio::time::timeout(BOUND, async {
        loop {
            if let Some(text) = LATE.lock().pop() {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let refused = refused.await.expect("an answer");
    assert!(
        refused.starts_with("GET_STATE failed: transaction ID: "),
        "{refused}"
    );
    assert!(refused.ends_with(": no ledger context"), "{refused}");
}

#[tokio::test]
async fn a_chaincode_that_hangs_is_given_up_and_the_next_call_works() {
    let consortium = Consortium::with(|options| HostOptions {
        execute_timeout: Duration::from_millis(300),
        ..options
    });
    let (consortium, service) = deployed(consortium, script(everything)).await;
    let signed = ask("cc", &["hang"]).signed(&*consortium.peers[ORG1].client);
    let failed = tokio::time::timeout(
        BOUND,
        support::execute_signed(&consortium.peers[ORG1], signed),
    )
    .await
    .expect("an answer in time")
    .expect_err("no response")
    .to_string();
    assert!(
        failed.starts_with("error in simulation: failed to execute transaction "),
        "{failed}"
    );
    assert!(
        failed.ends_with(": error sending: timeout expired while executing transaction"),
        "{failed}"
    );
    assert_eq!(said(&consortium, &["get", "a"]).await, "");
    assert_eq!(service.connections(), 1);
}

/// How the only service stands at a peer, which knows its address.
fn standing(consortium: &Consortium) -> (&'static str, Option<String>) {
    let mut standings = consortium.peers[ORG1].host.standings();
    assert_eq!(standings.len(), 1, "{standings:?}");
    let service = standings.remove(0);
    assert_eq!(service.runs, "service");
    assert!(service.address.is_some(), "{service:?}");
    (service.state, service.cause)
}

#[tokio::test]
async fn a_chaincode_that_crashes_is_dialled_anew() {
    let (consortium, service) = with_everything().await;
    assert_eq!(standing(&consortium), ("not started", None));
    assert_eq!(said(&consortium, &["get", "a"]).await, "");
    assert_eq!(standing(&consortium), ("ready", None));
    for _ in 0..3 {
        let failed = consortium
            .execute(ORG1, &ask("cc", &["crash"]))
            .await
            .expect_err("no response");
        assert!(
            failed
                .to_string()
                .ends_with("error sending: chaincode stream terminated"),
            "{failed}"
        );
        let ended = "its stream has ended".to_owned();
        assert_eq!(standing(&consortium), ("unavailable", Some(ended)));
        assert_eq!(said(&consortium, &["get", "a"]).await, "");
        assert_eq!(standing(&consortium), ("ready", None));
    }
    assert_eq!(service.connections(), 4);
}

#[tokio::test]
async fn the_same_transaction_cannot_run_twice_at_a_time() {
    let consortium = Consortium::with(|options| HostOptions {
        execute_timeout: Duration::from_secs(2),
        ..options
    });
    let (consortium, _service) = deployed(consortium, script(everything)).await;
    let signed = ask("cc", &["hang"]).signed(&*consortium.peers[ORG1].client);
    let peer = &consortium.peers[ORG1];
    let (one, two) = tokio::join!(
        support::execute_signed(peer, signed.clone()),
        support::execute_signed(peer, signed.clone())
    );
    let mut texts = [
        one.expect_err("hangs").to_string(),
        two.expect_err("hangs").to_string(),
    ];
    texts.sort();
    assert!(
        texts
            .iter()
            .any(|text| text.ends_with("(mychannel) exists")),
        "{texts:?}"
    );
    assert!(
        texts
            .iter()
            .any(|text| text.ends_with("timeout expired while executing transaction")),
        "{texts:?}"
    );
}

#[tokio::test]
async fn nobody_listening_and_wrong_names_are_launch_failures() {
    let consortium = Consortium::new();
    let nobody = package_service("nobody", &Connection::plain("127.0.0.1:1")).expect("a label");
    let ccid = consortium
        .deploy(&definition("nobody", 1, "1"), &nobody)
        .await;
    let failed = consortium
        .execute(ORG1, &ask("nobody", &["x"]))
        .await
        .expect_err("nobody there")
        .to_string();
    assert!(
        failed.contains(&format!(
            "could not launch chaincode {ccid}: connection to {ccid} failed: "
        )),
        "{failed}"
    );
    let (state, cause) = standing(&consortium);
    assert_eq!(state, "unavailable");
    assert!(failed.contains(&cause.expect("a cause")), "{failed}");

    let (consortium, service) = deployed(consortium, script(everything)).await;
    service.set_ccid("other:1");
    let failed = consortium
        .execute(ORG1, &ask("cc", &["get", "a"]))
        .await
        .expect_err("wrong name")
        .to_string();
    assert!(failed.ends_with("chaincode registration failed: peer will not accept external chaincode connection other:1 (except in dev mode)"), "{failed}");
}

#[tokio::test]
async fn services_are_reached_over_mutual_tls_and_strangers_are_not() {
    let consortium = Consortium::new();
    let organization = &consortium.peers[ORG1].organization;
    let server = organization.tls(&["chaincode.org1.example.com"]);
    let client = organization.tls(&["peer0.org1.example.com"]);
    let identity = TlsIdentity::from_pem(server.cert_pem.as_bytes(), server.key_pem.as_bytes())
        .expect("an identity");
    let tls = ServerTls::new(
        identity,
        ClientAuth::Require,
        &[organization.tls_root_pem()],
    )
    .expect("TLS");
    let service = Service::start(Some(tls), script(everything)).await;
    let root = String::from_utf8(organization.tls_root_pem().to_vec()).expect("PEM");
    let stranger = consortium.peers[ORG2]
        .organization
        .tls(&["peer0.org2.example.com"]);
    let cases = [
        (
            "known",
            Some((client.cert_pem.clone(), client.key_pem.clone())),
            true,
        ),
        (
            "unknown",
            Some((stranger.cert_pem.clone(), stranger.key_pem.clone())),
            false,
        ),
        ("nobody", None, false),
    ];
    for (name, client, is_welcome) in cases {
        let connection = Connection {
            address: service.address.clone(),
            dial_timeout: Duration::from_secs(10),
            tls: Some(ConnectionTls {
                root_cert: root.clone(),
                domain: client
                    .is_some()
                    .then(|| "chaincode.org1.example.com".to_owned()),
                client,
            }),
        };
        let package = package_service(name, &connection).expect("a label");
        let ccid = consortium.deploy(&definition(name, 1, "1"), &package).await;
        service.set_ccid(&ccid);
        let answer = consortium
            .execute(ORG1, &ask(name, &["status", "200"]))
            .await;
        assert_eq!(answer.is_ok(), is_welcome, "{name}: {answer:?}");
    }
}
