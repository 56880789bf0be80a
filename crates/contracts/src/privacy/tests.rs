use std::sync::Arc;

use serde_json::{Value, json};

use crate::caller::Caller;
use crate::commitment::{Salt, commit};
use crate::contract::{Contract, Response};
use crate::failure::Failure;
use crate::purge;
use crate::request::{Call, Function, Outcome, dispatch, functions};
use crate::stub::Stub;
use crate::testing::scan::{Identifier, Kind, Scanner};
use crate::testing::{Proposal, START, TestLedger, Validity};
use crate::vault::{Binding, EmbeddedVault, Sector, SectorKeys, Vault, hash};

mod audit;
mod epochs;
mod erasure;
mod seals;
mod transitions;

const SID: &str = "JOHNNIEJOHNNIEJOHNNIEJOHNN";
const OTHER_SID: &str = "LUNALUNALUNALUNALUNALUNALU";
const DAY: i64 = 86_400;

fn caller(msp: &str, name: &str, role: &str) -> Caller {
    Caller::for_tests(msp, name, &[("hc.role", role), ("hc.pid", name)])
}
fn hospital_dpo() -> Caller {
    caller("HospitalMSP", "p-1", "dpo")
}
fn clinic_dpo() -> Caller {
    caller("ClinicMSP", "p-2", "dpo")
}
fn physician() -> Caller {
    caller("HospitalMSP", "p-3", "physician")
}
fn auditor() -> Caller {
    caller("RegulatorMSP", "p-4", "auditor")
}
fn issuer() -> Caller {
    caller("CitizenMSP", "p-5", "issuer")
}
fn curator() -> Caller {
    caller("ResearchMSP", "p-6", "curator")
}
fn outsider() -> Caller {
    caller("StrangerMSP", "p-7", "dpo")
}
fn patient(sid: &str) -> Caller {
    Caller::for_tests(
        "CitizenMSP",
        sid,
        &[("hc.role", "patient"), ("hc.sid", sid)],
    )
}

fn call(function: &str, caller: &Caller, args: Value) -> Proposal {
    Proposal::new("privacy", function, caller).json(&args)
}

fn body(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.message);
    serde_json::from_slice(&response.payload).unwrap()
}

fn ok(ledger: &mut TestLedger, function: &str, caller: &Caller, args: Value) -> Value {
    body(&ledger.submit(call(function, caller, args)))
}

fn ask(ledger: &TestLedger, function: &str, caller: &Caller, args: Value) -> Value {
    body(&ledger.evaluate(call(function, caller, args)))
}

fn refused(response: &Response, status: i32, code: &str) {
    let prefix = format!("{code}: ");
    assert!(
        response.status == status && response.message.starts_with(&prefix),
        "expected {status} {code}, got {} {} {}",
        response.status,
        response.message,
        String::from_utf8_lossy(&response.payload)
    );
}

/// A contract that keeps private values, as costs or cards do.
struct Keeper;

const KEEPER: &[Function] = functions! {
    SubmitTransient "Keep" r#"{"key"}"# => keep;
    Submit "PurgePrivate" "as in privacy" => purge::purge_private;
    Evaluate "ReadPurged" "as in privacy" => purge::read_purged;
};

fn keep(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Value = call.args()?;
    let key = args["key"].as_str().unwrap_or_default().to_owned();
    let value = call.stub.transient()["value"].clone();
    let collection = purge::own_collection(call.msp());
    call.stub.put_private(&collection, &key, &value)?;
    Ok(Outcome::changed(&key, "Kept"))
}

impl Contract for Keeper {
    fn name(&self) -> &'static str {
        "keeper"
    }
    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        dispatch(self.name(), KEEPER, stub)
    }
}

/// A ledger whose hospital keeps a private value for each of the keys.
fn keeping(keys: &[&str]) -> TestLedger {
    let mut ledger = TestLedger::new();
    ledger.install(Arc::new(Keeper));
    for key in keys {
        keep_again(&mut ledger, key);
    }
    ledger
}

fn keep_again(ledger: &mut TestLedger, key: &str) {
    let proposal = Proposal::new("keeper", "Keep", &physician())
        .json(&json!({"key": key}))
        .transient(
            "value",
            r#"{"name":"Johnnie679 Hermiston71","salt":"00112233445566778899aabbccddeeff"}"#,
        );
    assert_eq!(ledger.submit(proposal).status, 200);
}

fn event(id: &str) -> Value {
    json!({"event": {
        "id": id, "type": "PatientRead", "action": "R", "outcome": "0", "purpose": "TREAT",
        "subject": SID, "entities": ["Observation/0d1b3c9e-7a55-4f2a-9d5e-1f6f0a8b7c11"], "at": START,
    }})
}

fn changed(id: &str, name: &str, value: Value) -> Value {
    let mut event = event(id);
    event["event"][name] = value;
    event
}

fn append(ledger: &mut TestLedger, caller: &Caller, event: Value) {
    assert_eq!(ok(ledger, "Append", caller, event)["state"], "Recorded");
}

fn root_of(ledger: &TestLedger, from: i64, to: i64) -> Value {
    let args = json!({"from": from, "to": to});
    ask(ledger, "PreviewCheckpoint", &auditor(), args)["root"].clone()
}

fn seal(ledger: &mut TestLedger, from: i64, to: i64) {
    let root = root_of(ledger, from, to);
    let args = json!({"from": from, "to": to, "root": root});
    ok(ledger, "Checkpoint", &auditor(), args);
}

/// Nothing that says who the patient is, on anything that every member of the channel sees.
fn assert_clean(ledger: &TestLedger) {
    let scanner = Scanner::new([
        Identifier::new(Kind::Name, "Johnnie679 Hermiston71"),
        Identifier::new(Kind::NationalId, "11010519491231002X"),
    ])
    .unwrap();
    assert_eq!(scanner.scan(ledger.published()), []);
}
