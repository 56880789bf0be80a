//! Contracts that do what contracts should not.

use bytes::Bytes;
use consilium_contracts::{Contract, IndexDeclaration, Response, Stub, kv::Kv};
use std::sync::Arc;
use std::time::Duration;

pub fn unruly() -> Vec<Arc<dyn Contract>> {
    vec![
        Arc::new(Panics),
        Arc::new(Sleeps),
        Arc::new(Peeks),
        Arc::new(Sorts),
    ]
}

struct Panics;

impl Contract for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }

    fn invoke(&self, _: &mut dyn Stub) -> Response {
        panic!("on purpose")
    }
}

/// Sleeps past any patience, then writes.
struct Sleeps;

impl Contract for Sleeps {
    fn name(&self) -> &'static str {
        "sleeps"
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        std::thread::sleep(Duration::from_millis(1500));
        match stub.put_state("late", b"1") {
            Ok(()) => Response::success(Bytes::new()),
            Err(error) => Response::error(500, error.to_string()),
        }
    }
}

/// Tells what it sees of its transaction.
struct Peeks;

impl Contract for Peeks {
    fn name(&self) -> &'static str {
        "peeks"
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        let seen = format!(
            "{} {} {} {:?} {}",
            stub.channel_id(),
            stub.creator().msp_id(),
            stub.timestamp().seconds,
            stub.transient().get("hint").map(|hint| hint.len()),
            stub.args().len(),
        );
        let _ = stub.set_event("peeked", seen.as_bytes());
        Response::success(seen)
    }
}

/// `kv` with an index of its own.
struct Sorts;

impl Contract for Sorts {
    fn name(&self) -> &'static str {
        "sorts"
    }

    fn indexes(&self) -> Vec<IndexDeclaration> {
        vec![IndexDeclaration {
            collection: None,
            file: "size.json",
            definition: r#"{"index":{"fields":["size"]},"ddoc":"d","name":"size"}"#,
        }]
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        Kv.invoke(stub)
    }
}
