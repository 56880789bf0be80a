//! A contract that runs in the peer, as short as one can be, and its test.

use std::sync::Arc;

use consilium_contracts::testing::{Proposal, TestLedger};
use consilium_contracts::{Caller, Contract, Response, Stub};

/// Keeps notes.
pub struct Notes;

impl Contract for Notes {
    fn name(&self) -> &'static str {
        "notes"
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        let args = stub.args().to_vec();
        // Keys are text; what is none finds nothing.
        let texts: Vec<_> = args
            .iter()
            .map(|arg| std::str::from_utf8(arg).unwrap_or_default())
            .collect();
        let outcome = match texts[..] {
            ["put", id, text] => stub
                .put_state(id, text.as_bytes())
                .map(|()| Response::success("")),
            ["get", id] => stub
                .get_state(id)
                .map(|text| Response::success(text.unwrap_or_default())),
            _ => return Response::error(400, "put ID TEXT, or get ID"),
        };
        outcome.unwrap_or_else(|error| Response::error(500, error.to_string()))
    }
}

#[test]
fn notes_are_kept() {
    let mut ledger = TestLedger::new();
    ledger.install(Arc::new(Notes));
    let alice = Caller::for_tests("HospitalMSP", "alice", &[]);
    let call = |args: &[&str]| {
        let call = Proposal::new("notes", args[0], &alice);
        args[1..].iter().fold(call, |call, arg| call.arg(arg))
    };
    for (args, status, answer) in [
        (&["put", "n1", "milk"][..], 200, ""),
        (&["get", "n1"], 200, "milk"),
        (&["get", "n2"], 200, ""),
        (&["put", "n1"], 400, ""),
    ] {
        let response = ledger.submit(call(args));
        assert_eq!(
            (response.status, &response.payload[..]),
            (status, answer.as_bytes()),
            "{args:?}"
        );
    }
}
