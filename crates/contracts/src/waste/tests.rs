use std::sync::Arc;

use serde_json::{Value, json};

use crate::caller::{Caller, NodeRole};
use crate::contract::{Contract, Response};
use crate::stub::Stub;
use crate::testing::{Proposal, START, TestLedger, Validity};
use crate::vault::hash;

mod properties;
mod pure;
mod refusals;
mod story;
mod transitions;

const HOUR: i64 = 3600;
const DAY: i64 = 86_400;
const NO: &str = "20261101000001";
const NEXT: &str = "20261101000002";
const INFECTIOUS: &str = "841-001-01";
const PHARMACEUTICAL: &str = "841-005-01";

fn with(msp: &str, role: &str) -> Caller {
    Caller::for_tests(msp, &format!("{msp}-{role}"), &[("hc.role", role)])
}
fn ward() -> Caller {
    with("HospitalMSP", "waste")
}
fn clinic() -> Caller {
    with("ClinicMSP", "waste")
}
fn carrier() -> Caller {
    with("WasteMSP", "carrier")
}
fn disposer() -> Caller {
    with("WasteMSP", "disposer")
}
fn hauler() -> Caller {
    with("HaulerMSP", "carrier")
}
fn burner() -> Caller {
    with("BurnerMSP", "disposer")
}
fn environment() -> Caller {
    with("RegulatorMSP", "environment")
}

/// A registry that knows of everybody but those who lost their licence.
struct Registry;

impl Contract for Registry {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        let args = stub.args().to_vec();
        let question: Value = serde_json::from_slice(&args[1]).unwrap();
        let key = format!("{}/{}", question["msp"], question["scope"]);
        match args[0].as_ref() {
            b"Lose" => {
                stub.put_state(&key, b"1").unwrap();
                Response::success("{}")
            }
            b"CheckOrganization" => {
                let lost = stub.get_state(&key).unwrap().is_some();
                let answer =
                    json!({"active": !lost, "reason": if lost { "SUSPENDED" } else { "" }});
                Response::success(answer.to_string())
            }
            _ => Response::error(400, "UNKNOWN_FUNCTION: neither"),
        }
    }
}

fn lose(ledger: &mut TestLedger, msp: &str, code: &str) {
    let lost =
        Proposal::new("registry", "Lose", &environment()).json(&json!({"msp": msp, "scope": code}));
    assert_eq!(ledger.submit(lost).status, 200);
}

fn call(function: &str, caller: &Caller, args: Value) -> Proposal {
    Proposal::new("waste", function, caller).json(&args)
}

fn body(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.message);
    serde_json::from_slice(&response.payload).unwrap()
}

fn ok(ledger: &mut TestLedger, function: &str, caller: &Caller, args: Value) -> Value {
    let response = ledger.submit(call(function, caller, args));
    assert_eq!(response.status, 200, "{function}: {}", response.message);
    serde_json::from_slice(&response.payload).unwrap()
}

fn no(
    ledger: &mut TestLedger,
    function: &str,
    caller: &Caller,
    args: Value,
    status: i32,
    code: &str,
) {
    let height = ledger.height();
    let response = ledger.submit(call(function, caller, args));
    assert!(
        response.status == status && response.message.starts_with(&format!("{code}: ")),
        "{function}: expected {status} {code}, got {} {}",
        response.status,
        response.message
    );
    assert_eq!(ledger.height(), height);
}

fn ask(ledger: &TestLedger, function: &str, caller: &Caller, args: Value) -> Value {
    body(&ledger.evaluate(call(function, caller, args)))
}

/// A channel with three firms and a registry.
fn ledger() -> TestLedger {
    let mut ledger = TestLedger::new();
    ledger.install(Arc::new(Registry));
    let admin = with("RegulatorMSP", "certifier").with_node_role(Some(NodeRole::Admin));
    ok(
        &mut ledger,
        "Configure",
        &admin,
        json!({"waste": ["WasteMSP", "HaulerMSP", "BurnerMSP"], "registry": "registry"}),
    );
    ledger
}

fn seal(ledger: &mut TestLedger, id: &str, code: &str, grams: u64) {
    ok(
        ledger,
        "SealBag",
        &ward(),
        json!({"id": id, "code": code, "grams": grams, "dept": "WARD-3", "container": "box"}),
    );
}

fn manifest_args(no: &str, bags: &[String]) -> Value {
    json!({"no": no, "carriers": ["WasteMSP"], "disposer": "WasteMSP", "bags": bags})
}

/// Bags `b1` to `bn` of 1000 g each, sealed and on the manifest `no`.
fn scheduled(no: &str, code: &str, count: usize) -> TestLedger {
    let mut ledger = ledger();
    let bags: Vec<String> = (1..=count).map(|n| format!("b{n}")).collect();
    for bag in &bags {
        seal(&mut ledger, bag, code, 1000);
    }
    ok(
        &mut ledger,
        "CreateManifest",
        &ward(),
        manifest_args(no, &bags),
    );
    ledger
}

fn carry(ledger: &mut TestLedger, no: &str, count: u64, grams: u64) -> Value {
    let numbers = json!({"no": no, "count": count, "grams": grams});
    assert_eq!(ok(ledger, "HandOver", &ward(), numbers)["code"], "OK");
    ok(
        ledger,
        "AcceptCarriage",
        &carrier(),
        json!({"no": no, "vehicle": "V-7", "count": count, "grams": grams}),
    )
}

fn delivered(no: &str, code: &str, count: usize) -> TestLedger {
    let mut ledger = scheduled(no, code, count);
    carry(&mut ledger, no, count as u64, 1000 * count as u64);
    ok(&mut ledger, "Deliver", &carrier(), json!({"no": no}));
    ledger
}

fn weighed(count: usize, grams: u64) -> Vec<Value> {
    (1..=count)
        .map(|n| json!({"bag": format!("b{n}"), "grams": grams}))
        .collect()
}

fn trace(ledger: &TestLedger, no: &str) -> Value {
    ask(ledger, "Trace", &environment(), json!({"no": no}))
}

fn state_of(ledger: &TestLedger, no: &str) -> String {
    let state = trace(ledger, no)["manifest"]["state"].clone();
    state.as_str().unwrap().to_owned()
}

fn bag(ledger: &TestLedger, id: &str) -> Value {
    ask(ledger, "ReadBag", &environment(), json!({"id": id}))
}

/// Codes of the flags of a manifest, in their order.
fn flags(ledger: &TestLedger, no: &str) -> Vec<String> {
    let flags = trace(ledger, no)["flags"].clone();
    let codes = flags.as_array().unwrap().iter();
    codes
        .map(|flag| flag["code"].as_str().unwrap().to_owned())
        .collect()
}

fn resolve(ledger: &mut TestLedger, no: &str, n: u32, verdict: &str) {
    let signed = json!({"no": no, "n": n, "finding": "SCALE"});
    ok(ledger, "ResolveFlag", &ward(), signed.clone());
    ok(ledger, "ResolveFlag", &disposer(), signed);
    ok(
        ledger,
        "ResolveFlag",
        &environment(),
        json!({"no": no, "n": n, "finding": "SCALE", "verdict": verdict}),
    );
}
