//! JSON queries of chaincodes: over the shim and in process, with the indexes that their packages
//! and contracts declare.

mod support;

use bytes::Bytes;
use consilium_chaincode::Connection;
use consilium_chaincode::lifecycle::{package_in_process, package_service_with};
use consilium_proto::protos::{QueryResponse, QueryResponseMetadata};
use consilium_proto::queryresult::Kv;
use futures_util::FutureExt;
use prost::Message;
use support::service::{Call, Service};
use support::{CHANNEL, Consortium, ORG1, ORG2, Peer, ask, collections, definition, scripts};

const BY_SIZE: &str = r#"{"index":{"fields":["size"]},"ddoc":"d","name":"size","type":"json"}"#;
const SORTED: &str = r#"{"selector":{},"sort":["size"]}"#;

/// A service that plays scripts, packaged with these files of `META-INF`.
async fn deployed(
    sequence: i64,
    label: &str,
    files: &[(&str, &str)],
    consortium: &Consortium,
) -> Service {
    let service = Service::start(
        None,
        std::sync::Arc::new(|call: Call| scripts::everything(call).boxed()),
    )
    .await;
    let files: Vec<(String, Vec<u8>)> = files
        .iter()
        .map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec()))
        .collect();
    let connection = Connection::plain(&service.address);
    let package = package_service_with(label, &connection, &files).expect("a package");
    let mut definition = definition("cc", sequence, "1.0");
    definition.collections = Some(collections::package(vec![collections::of(
        "both",
        collections::members(&["Org1MSP", "Org2MSP"]),
    )]));
    service.set_ccid(&consortium.deploy(&definition, &package).await);
    service
}

fn declare(consortium: &Consortium) {
    for Peer { host, .. } in &consortium.peers {
        host.declare_indexes(CHANNEL).expect("indexes");
    }
}

async fn answer(consortium: &Consortium, args: &[&str]) -> Result<QueryResponse, String> {
    let payload = consortium.respond(ORG1, &ask("cc", args)).await.payload;
    match payload.strip_prefix(b"error: ") {
        Some(text) => Err(String::from_utf8_lossy(text).into_owned()),
        None => Ok(QueryResponse::decode(payload).expect("a query response")),
    }
}

fn values(response: &QueryResponse) -> Vec<(String, String)> {
    let results = response.results.iter();
    results
        .map(|result| {
            let kv = Kv::decode(result.result_bytes.clone()).expect("a result");
            assert_eq!(kv.namespace, "cc");
            (kv.key, String::from_utf8_lossy(&kv.value).into_owned())
        })
        .collect()
}

fn keys(response: &QueryResponse) -> Vec<String> {
    values(response).into_iter().map(|(key, _)| key).collect()
}

async fn put(consortium: &Consortium, key: &str, value: &str) {
    consortium
        .submit(&[ORG1, ORG2], &ask("cc", &["put", key, value]))
        .await;
}

#[tokio::test]
async fn a_packages_indexes_serve_queries_and_pages_until_another_package_has_none() {
    let consortium = Consortium::new();
    let files = [
        ("META-INF/statedb/couchdb/indexes/size.json", BY_SIZE),
        ("META-INF/statedb/couchdb/indexes/broken.json", "{"),
        (
            "META-INF/statedb/couchdb/collections/both/indexes/size.json",
            BY_SIZE,
        ),
        (
            "META-INF/statedb/couchdb/collections/none/indexes/size.json",
            BY_SIZE,
        ),
    ];
    let _service = deployed(1, "cc", &files, &consortium).await;
    put(&consortium, "a", r#"{"size":3, "color":"red"}"#).await;
    let refused = answer(&consortium, &["rich", SORTED]).await.unwrap_err();
    assert!(
        refused.ends_with("error handling CouchDB request. Error:no_usable_index,  Status Code:400,  Reason:No index exists for this sort, try indexing by the sort fields."),
        "{refused}"
    );
    declare(&consortium);
    let ledger = consortium.peers[ORG1].ledger();
    assert_eq!(ledger.ready_indexes("cc", None), ["d/size"]);
    assert_eq!(ledger.ready_indexes("cc", Some("both")), ["d/size"]);
    assert_eq!(ledger.ready_indexes("cc", Some("none")), [""; 0]);
    put(&consortium, "b", r#"{"size":1}"#).await;
    put(&consortium, "c", r#"{"size":2}"#).await;
    let all = answer(&consortium, &["rich", SORTED]).await.unwrap();
    assert!(!all.has_more && all.metadata.is_empty());
    assert_eq!(
        values(&all),
        [
            ("b".to_owned(), r#"{"size":1}"#.to_owned()),
            ("c".to_owned(), r#"{"size":2}"#.to_owned()),
            ("a".to_owned(), r#"{"color":"red","size":3}"#.to_owned()),
        ]
    );
    let mut bookmark = String::new();
    for (expected, count) in [(vec!["b", "c"], 2), (vec!["a"], 1), (vec![], 0)] {
        let page = answer(&consortium, &["rich", SORTED, "2", &bookmark])
            .await
            .unwrap();
        let metadata = QueryResponseMetadata::decode(page.metadata.clone()).expect("metadata");
        assert_eq!(keys(&page), expected);
        assert_eq!(metadata.fetched_records_count, count);
        assert!(!page.has_more && !metadata.bookmark.is_empty());
        bookmark = metadata.bookmark;
    }
    // The next definition's package declares nothing.
    let _service = deployed(2, "cc_2", &[], &consortium).await;
    declare(&consortium);
    assert_eq!(ledger.ready_indexes("cc", None), [""; 0]);
    assert_eq!(ledger.ready_indexes("cc", Some("both")), [""; 0]);
}

#[tokio::test]
async fn a_contract_and_a_service_query_their_own_documents() {
    let consortium = Consortium::new();
    let _service = deployed(1, "cc", &[], &consortium).await;
    let mut pairs = Vec::new();
    for number in 0..120 {
        pairs.extend([format!("k{number:03}"), format!(r#"{{"n":{number}}}"#)]);
    }
    let package = package_in_process("kv", "kv").expect("label");
    consortium.deploy(&definition("kv", 1, "1"), &package).await;
    let mut call = ask("kv", &["putMany"]);
    call.args.extend(pairs.into_iter().map(Bytes::from));
    consortium.submit(&[ORG1, ORG2], &call).await;
    let found = consortium
        .respond(
            ORG1,
            &ask("kv", &["query", r#"{"selector":{"n":{"$gte":100}}}"#]),
        )
        .await;
    let found: serde_json::Value = serde_json::from_slice(&found.payload).expect("JSON");
    assert_eq!(found.as_array().map(Vec::len), Some(20));
    for number in 0..3 {
        put(&consortium, &format!("k{number}"), r#"{"n":1}"#).await;
    }
    let all = answer(&consortium, &["rich", r#"{"selector":{"n":1}}"#])
        .await
        .unwrap();
    assert_eq!(keys(&all), ["k0", "k1", "k2"]);
}

#[tokio::test]
async fn a_contract_in_process_has_the_indexes_that_it_declares() {
    let consortium = Consortium::new();
    let package = package_in_process("sorts", "sorts").expect("a label");
    let mut definition = definition("sorts", 1, "1");
    definition.collections = Some(collections::package(vec![collections::of(
        "both",
        collections::members(&["Org1MSP", "Org2MSP"]),
    )]));
    consortium.deploy(&definition, &package).await;
    declare(&consortium);
    let submit = async |args: &[&str]| {
        consortium.submit(&[ORG1, ORG2], &ask("sorts", args)).await;
    };
    submit(&["put", "a", r#"{"size":2}"#]).await;
    submit(&["put", "b", r#"{"size":1}"#]).await;
    let mut secret = ask("sorts", &["putPrivate", "both", "p"]);
    secret
        .transient
        .insert("value".into(), Bytes::from_static(br#"{"size":9}"#));
    consortium.submit(&[ORG1, ORG2], &secret).await;
    let asked = async |args: &[&str]| {
        let response = consortium.respond(ORG1, &ask("sorts", args)).await;
        assert_eq!(response.status, 200, "{}", response.message);
        String::from_utf8_lossy(&response.payload).into_owned()
    };
    assert_eq!(
        asked(&["query", SORTED]).await,
        r#"[{"key":"b","value":"{\"size\":1}"},{"key":"a","value":"{\"size\":2}"}]"#
    );
    let first: serde_json::Value =
        serde_json::from_str(&asked(&["queryPage", SORTED, "1", ""]).await).expect("JSON");
    assert_eq!(first["entries"][0]["key"], "b");
    let bookmark = first["bookmark"].as_str().expect("a bookmark");
    let second = asked(&["queryPage", SORTED, "1", bookmark]).await;
    assert!(second.contains(r#""key":"a""#), "{second}");
    let private = asked(&["queryPrivate", "both", r#"{"selector":{"size":9}}"#]).await;
    assert_eq!(private, r#"[{"key":"p","value":"{\"size\":9}"}]"#);
    let refused = consortium
        .respond(
            ORG1,
            &ask("sorts", &["query", r#"{"selector":{"a":{"$x":1}}}"#]),
        )
        .await;
    assert!(
        refused.message.contains("Invalid operator: $x"),
        "{}",
        refused.message
    );
}
