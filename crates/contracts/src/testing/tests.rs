use super::*;
use crate::contract::IndexDeclaration;
use crate::stub::{Stub, StubError};

/// A contract whose functions are the calls of a stub.
struct Calls;

fn called(stub: &mut dyn Stub, call: &str, bookmark: &str) -> Result<String, StubError> {
    let all = r#"{"selector":{"n":{"$gt":0}}}"#;
    let page = match call {
        "put" => return stub.put_state("k", b"v").map(|()| String::new()),
        "delete" => return stub.delete_state("k").map(|()| String::new()),
        "policy" => return stub.set_key_policy("k", b"p").map(|()| String::new()),
        "purge" => return stub.purge_private("c", "k").map(|()| String::new()),
        "private" => {
            let value = br#"{"n":1}"#;
            return stub.put_private("c", "k", value).map(|()| String::new());
        }
        "fill" => {
            for n in 1..4 {
                stub.put_state(&format!("k{n}"), format!(r#"{{"n":{n}}}"#).as_bytes())?;
            }
            return Ok(String::new());
        }
        "query" => {
            return stub.query(all, 2).map(|found| found.len().to_string());
        }
        "queryPrivate" => {
            let found = stub.query_private("c", all, 10)?;
            return Ok(found.len().to_string());
        }
        "rangePage" => stub.range_page("", "", 0, bookmark)?,
        "queryPage" => stub.query_page(all, 0, bookmark)?,
        "first" => stub.query_page(all, 1, bookmark)?,
        "scan" => stub.query_page(r#"{"selector":{}}"#, 1, bookmark)?,
        other => panic!("no call {other}"),
    };
    Ok(format!("{} {}", page.entries.len(), page.bookmark))
}

impl Contract for Calls {
    fn name(&self) -> &'static str {
        "calls"
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        let args: Vec<String> = stub
            .args()
            .iter()
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        let mut last = String::new();
        for call in &args {
            let (call, bookmark) = call.split_once(' ').unwrap_or((call, ""));
            match called(stub, call, bookmark) {
                Ok(answer) => last = answer,
                Err(error) => return Response::error(500, error.to_string()),
            }
        }
        Response::success(last)
    }

    fn indexes(&self) -> Vec<IndexDeclaration> {
        vec![IndexDeclaration {
            collection: None,
            file: "n.json",
            definition: r#"{"index":{"fields":["n"]},"ddoc":"d","name":"n"}"#,
        }]
    }
}

fn call(calls: &[&str]) -> Proposal {
    let caller = Caller::for_tests("Org1MSP", "user", &[]);
    let first = Proposal::new("calls", calls[0], &caller);
    calls[1..].iter().fold(first, |call, next| call.arg(next))
}

fn ledger() -> TestLedger {
    let mut ledger = TestLedger::new();
    ledger.install(Arc::new(Calls));
    assert_eq!(ledger.submit(call(&["fill", "private"])).status, 200);
    ledger
}

/// The texts are those of `consilium_ledger::Simulator`.
#[test]
fn pages_and_private_queries_exclude_writes_as_on_a_peer() {
    let ledger = ledger();
    let after_page = "Transaction has already performed a paginated query. Writes are not allowed";
    let after_private =
        "Transaction has already performed queries on pvt data. Writes are not allowed";
    let no_page = "Paginated queries are supported only in a read-only transaction";
    let no_private = "Queries on pvt data is supported only in a read-only transaction";
    for (calls, operation, reason) in [
        (["queryPage", "put"], "put_state", after_page),
        (["rangePage", "delete"], "delete_state", after_page),
        (["rangePage", "policy"], "set_key_policy", after_page),
        (["queryPage", "private"], "put_private", after_page),
        (["queryPrivate", "purge"], "purge_private", after_private),
        (["queryPrivate", "put"], "put_state", after_private),
        (["put", "queryPage"], "query_page", no_page),
        (["private", "rangePage"], "range_page", no_page),
        (["policy", "queryPrivate"], "query_private", no_private),
    ] {
        let simulation = ledger.endorse(call(&calls));
        assert_eq!(
            simulation.response.message,
            format!(
                "{operation} failed: txid [{}]: unsuppored transaction. {reason}",
                simulation.tx_id
            ),
            "{calls:?}"
        );
    }
    for calls in [
        ["query", "put"],
        ["put", "query"],
        ["queryPage", "queryPrivate"],
    ] {
        let response = ledger.evaluate(call(&calls));
        assert_eq!(response.status, 200, "{calls:?}: {}", response.message);
    }
}

#[test]
fn a_page_of_no_size_goes_up_to_the_limit() {
    let ledger = ledger();
    assert_eq!(ledger.evaluate(call(&["rangePage"])).payload, "3 ");
    let page = ledger.evaluate(call(&["queryPage"])).payload;
    assert!(page.starts_with(b"3 "), "{page:?}");
}

#[test]
fn a_peer_that_is_no_member_finds_no_private_documents() {
    let mut ledger = ledger();
    assert_eq!(ledger.evaluate(call(&["queryPrivate"])).payload, "1");
    ledger.hide_collection("c", true);
    assert_eq!(ledger.evaluate(call(&["queryPrivate"])).payload, "0");
}

#[test]
fn a_bookmark_of_another_index_is_refused() {
    let ledger = ledger();
    let page = ledger.evaluate(call(&["first"])).payload;
    let bookmark = String::from_utf8(page.to_vec()).unwrap().split_off(2);
    let next = ledger.evaluate(call(&[&format!("first {bookmark}")]));
    assert!(next.payload.starts_with(b"1 "), "{}", next.message);
    let refused = ledger.evaluate(call(&[&format!("scan {bookmark}")]));
    assert_eq!(
        refused.message,
        format!(
            "query_page failed: error handling CouchDB request. Error:invalid_bookmark,  Status Code:400,  Reason:Invalid bookmark value: \"{bookmark}\""
        )
    );
}
