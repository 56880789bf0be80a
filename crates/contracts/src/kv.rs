//! The `kv` contract: plain keys and values, for benchmarks and tests.
//!
//! Arguments are the function's name, then strings. It has no roles: the chaincode's endorsement
//! policy is all that protects it.

use bytes::Bytes;
use serde::Serialize;

use crate::contract::{Contract, Deployment, Response, out_of};
use crate::failure::Failure;
use crate::request::to_json;
use crate::stub::{KeyValue, Stub};

/// The contract `kv`; its functions are in `docs/contracts.md`.
pub struct Kv;

/// Entries that one range answers at most.
const MAX_RANGE: usize = 1000;

const FUNCTIONS: &str = "put key value [event], get key, del key, range start end [limit], history key, query query [limit], queryPage query size bookmark, queryPrivate collection query, putMany (key value)…, increment key, event name payload, putPrivate collection key (value in transient 'value'), getPrivate collection key, privateHash collection key, delPrivate collection key, purgePrivate collection key, invoke chaincode argument…, fail status message";

#[derive(Serialize)]
struct Entry<'a> {
    key: &'a str,
    value: String,
}

impl<'a> Entry<'a> {
    fn of(pair: &'a KeyValue) -> Self {
        Entry {
            key: &pair.key,
            value: text(&pair.value),
        }
    }
}

#[derive(Serialize)]
struct PageOf<'a> {
    entries: Vec<Entry<'a>>,
    bookmark: &'a str,
}

#[derive(Serialize)]
struct Change<'a> {
    #[serde(rename = "txId")]
    tx_id: &'a str,
    seconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    deleted: bool,
}

impl Contract for Kv {
    fn name(&self) -> &'static str {
        "kv"
    }

    fn deployment(&self, organizations: &[String]) -> Option<Deployment> {
        Some(Deployment {
            policy: out_of(2, &["HospitalMSP", "MakerMSP"], organizations)?,
            collections: Vec::new(),
        })
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        match run(stub) {
            Ok(response) => response,
            Err(failure) => failure.into(),
        }
    }
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn key(bytes: &Bytes) -> Result<&str, Failure> {
    let key = std::str::from_utf8(bytes).map_err(|_| Failure::malformed("a key is not UTF-8"))?;
    if key.is_empty() {
        return Err(Failure::malformed("key must not be an empty string"));
    }
    Ok(key)
}

fn name(bytes: &Bytes) -> Result<&str, Failure> {
    std::str::from_utf8(bytes).map_err(|_| Failure::malformed("an argument is not UTF-8"))
}

fn put(stub: &mut dyn Stub, name: &str, value: &[u8]) -> Result<(), Failure> {
    if value.is_empty() {
        return Err(Failure::malformed(format!(
            "the value of '{name}' is empty; use del"
        )));
    }
    Ok(stub.put_state(name, value)?)
}

fn run(stub: &mut dyn Stub) -> Result<Response, Failure> {
    let args = stub.args().to_vec();
    let Some((function, rest)) = args.split_first() else {
        return Err(Failure::new(
            400,
            "UNKNOWN_FUNCTION",
            format!("kv has {FUNCTIONS}"),
        ));
    };
    let done = || Ok(Response::success(Bytes::new()));
    match (function.as_ref(), rest) {
        (b"put", [k, value]) => {
            put(stub, key(k)?, value)?;
            done()
        }
        (b"put", [k, value, event]) => {
            put(stub, key(k)?, value)?;
            stub.set_event(key(event)?, value)?;
            done()
        }
        (b"get", [k]) => match stub.get_state(key(k)?)? {
            Some(value) => Ok(Response::success(value)),
            None => Err(Failure::not_found(format!("no key '{}'", text(k)))),
        },
        (b"del", [k]) => {
            stub.delete_state(key(k)?)?;
            done()
        }
        (b"putMany", pairs) if !pairs.is_empty() && pairs.len() % 2 == 0 => {
            for pair in pairs.chunks_exact(2) {
                put(stub, key(&pair[0])?, &pair[1])?;
            }
            done()
        }
        (b"increment", [k]) => {
            let k = key(k)?;
            let before = match stub.get_state(k)? {
                Some(value) => std::str::from_utf8(&value)
                    .ok()
                    .and_then(|value| value.parse::<i64>().ok())
                    .ok_or_else(|| {
                        Failure::rule("NOT_A_NUMBER", format!("'{k}' holds no number"))
                    })?,
                None => 0,
            };
            let after = before
                .checked_add(1)
                .ok_or_else(|| Failure::rule("OVERFLOW", format!("'{k}' is at its maximum")))?
                .to_string();
            stub.put_state(k, after.as_bytes())?;
            Ok(Response::success(after))
        }
        (b"range", [start, end]) => range(stub, name(start)?, name(end)?, MAX_RANGE),
        (b"range", [start, end, limit]) => {
            let limit = number(limit, MAX_RANGE)?;
            range(stub, name(start)?, name(end)?, limit)
        }
        (b"query", [query]) => Ok(entries(&stub.query(name(query)?, MAX_RANGE)?)),
        (b"query", [query, limit]) => {
            let limit = number(limit, MAX_RANGE)?;
            Ok(entries(&stub.query(name(query)?, limit)?))
        }
        (b"queryPage", [query, size, bookmark]) => {
            // MAX_RANGE is a small number.
            let size = number(size, MAX_RANGE)? as u32;
            let page = stub.query_page(name(query)?, size, name(bookmark)?)?;
            Ok(Response::success(to_json(&PageOf {
                entries: page.entries.iter().map(Entry::of).collect(),
                bookmark: &page.bookmark,
            })))
        }
        (b"queryPrivate", [collection, query]) => Ok(entries(&stub.query_private(
            name(collection)?,
            name(query)?,
            MAX_RANGE,
        )?)),
        (b"history", [k]) => {
            let entries = stub.history(key(k)?)?;
            let changes: Vec<_> = entries
                .iter()
                .map(|entry| Change {
                    tx_id: &entry.tx_id,
                    seconds: entry.timestamp.seconds,
                    value: entry.value.as_ref().map(text),
                    deleted: entry.value.is_none(),
                })
                .collect();
            Ok(Response::success(to_json(&changes)))
        }
        (b"event", [event, payload]) => {
            stub.set_event(key(event)?, payload)?;
            done()
        }
        (b"putPrivate", [collection, k]) => {
            let value = stub.transient().get("value").cloned().ok_or_else(|| {
                Failure::malformed(
                    "putPrivate expects the value in the transient map under 'value'",
                )
            })?;
            stub.put_private(name(collection)?, key(k)?, &value)?;
            done()
        }
        (b"getPrivate", [collection, k]) => match stub.get_private(name(collection)?, key(k)?)? {
            Some(value) => Ok(Response::success(value)),
            None => Err(Failure::not_found(format!("no private key '{}'", text(k)))),
        },
        (b"privateHash", [collection, k]) => {
            match stub.get_private_hash(name(collection)?, key(k)?)? {
                Some(hash) => Ok(Response::success(hex::encode(hash))),
                None => Err(Failure::not_found(format!("no private key '{}'", text(k)))),
            }
        }
        (b"delPrivate", [collection, k]) => {
            stub.delete_private(name(collection)?, key(k)?)?;
            done()
        }
        (b"purgePrivate", [collection, k]) => {
            stub.purge_private(name(collection)?, key(k)?)?;
            done()
        }
        (b"invoke", [chaincode, arguments @ ..]) => Ok(stub.invoke(name(chaincode)?, arguments)?),
        (b"fail", [status, message]) => {
            let status = name(status)?
                .parse::<i32>()
                .ok()
                .filter(|status| (400..=599).contains(status))
                .ok_or_else(|| Failure::malformed("the status is a number from 400 to 599"))?;
            Ok(Response::error(status, name(message)?))
        }
        _ => Err(Failure::new(
            400,
            "UNKNOWN_FUNCTION",
            format!(
                "kv has no '{}' with {} arguments, it has {FUNCTIONS}",
                text(function).chars().take(64).collect::<String>(),
                rest.len()
            ),
        )),
    }
}

fn range(stub: &mut dyn Stub, start: &str, end: &str, limit: usize) -> Result<Response, Failure> {
    Ok(entries(&stub.range(start, end, limit)?))
}

fn entries(pairs: &[KeyValue]) -> Response {
    let entries: Vec<_> = pairs.iter().map(Entry::of).collect();
    Response::success(to_json(&entries))
}

fn number(bytes: &Bytes, max: usize) -> Result<usize, Failure> {
    name(bytes)?
        .parse::<usize>()
        .ok()
        .filter(|limit| (1..=max).contains(limit))
        .ok_or_else(|| Failure::malformed(format!("the limit is a number from 1 to {max}")))
}

#[cfg(test)]
mod tests {
    use crate::caller::Caller;
    use crate::testing::{Proposal, TestLedger, Validity};

    fn call(args: &[&str]) -> Proposal {
        let caller = Caller::for_tests("Org1MSP", "user", &[]);
        args[1..]
            .iter()
            .fold(Proposal::new("kv", args[0], &caller), |p, arg| p.arg(arg))
    }

    #[test]
    fn each_function_does_what_it_says() {
        let mut ledger = TestLedger::new();
        let steps: &[(&[&str], i32, &str)] = &[
            (&["get", "a"], 404, ""),
            (&["put", "a", "1"], 200, ""),
            (&["get", "a"], 200, "1"),
            (&["putMany", "b", "2", "c", "3"], 200, ""),
            (
                &["range", "a", "c"],
                200,
                r#"[{"key":"a","value":"1"},{"key":"b","value":"2"}]"#,
            ),
            (
                &["range", "a", "", "1"],
                200,
                r#"[{"key":"a","value":"1"}]"#,
            ),
            (&["range", "a", "", "0"], 400, ""),
            (&["increment", "a"], 200, "2"),
            (&["put", "text", "x"], 200, ""),
            (&["increment", "text"], 422, ""),
            (&["del", "a"], 200, ""),
            (&["get", "a"], 404, ""),
            (&["put", "a", ""], 400, ""),
            (&["put", "", "1"], 400, ""),
            (&["putMany", "b"], 400, ""),
            (&["fail", "422", "SORRY: not today"], 422, ""),
            (&["fail", "200", "no failure"], 400, ""),
            (&["fly"], 400, ""),
        ];
        for (args, status, payload) in steps {
            let response = ledger.submit(call(args));
            assert_eq!(response.status, *status, "{args:?}: {}", response.message);
            assert_eq!(response.payload, payload.as_bytes(), "{args:?}");
        }
        let history = ledger.evaluate(call(&["history", "a"])).payload;
        let history: serde_json::Value = serde_json::from_slice(&history).unwrap();
        assert_eq!(history[0]["deleted"], true);
        assert_eq!(
            (&history[1]["value"], &history[2]["value"]),
            (&"2".into(), &"1".into())
        );
    }

    #[test]
    fn concurrent_increments_conflict() {
        let mut ledger = TestLedger::new();
        let (one, two) = (
            ledger.endorse(call(&["increment", "n"])),
            ledger.endorse(call(&["increment", "n"])),
        );
        assert_eq!(ledger.commit(one), Validity::Valid);
        assert_eq!(ledger.commit(two), Validity::MvccReadConflict);
    }

    #[test]
    fn events_private_values_and_calls_pass_through() {
        let mut ledger = TestLedger::new();
        ledger.submit(call(&["put", "a", "1", "changed"]));
        assert_eq!(ledger.events()[0], ("changed".to_owned(), "1".into()));
        let missing = ledger.submit(call(&["putPrivate", "secret", "k"]));
        assert_eq!(missing.status, 400);
        assert_eq!(
            ledger
                .submit(call(&["putPrivate", "secret", "k"]).transient("value", "v"))
                .status,
            200
        );
        assert_eq!(
            ledger
                .evaluate(call(&["getPrivate", "secret", "k"]))
                .payload,
            "v"
        );
        assert_eq!(
            ledger
                .evaluate(call(&["privateHash", "secret", "k"]))
                .payload
                .len(),
            64
        );
        ledger.hide_collection("secret", true);
        let elsewhere = ledger.evaluate(call(&["getPrivate", "secret", "k"]));
        assert!(
            elsewhere.status == 404 && elsewhere.message.starts_with("PRIVATE_DATA_NOT_HERE: ")
        );
        assert_eq!(
            ledger.submit(call(&["purgePrivate", "secret", "k"])).status,
            200
        );
        assert_eq!(
            ledger
                .evaluate(call(&["privateHash", "secret", "k"]))
                .status,
            404
        );
        let other = ledger.evaluate(call(&["invoke", "records", "ReadConfig"]));
        assert_eq!(other.status, 200, "{}", other.message);
        assert_eq!(ledger.evaluate(call(&["invoke", "nowhere"])).status, 500);
    }
}
