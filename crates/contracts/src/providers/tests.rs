//! What the tests of this contract share, and what those of others need to have a registry.

use serde_json::{Value, json};

use super::model::{State, Step};
use crate::caller::{Caller, NodeRole};
use crate::contract::Response;
use crate::testing::{Proposal, START, TestLedger, Validity};
use crate::vault::{field_commitment, hash};

mod applications;
mod checks;
mod fields;
mod private;
mod races;
mod refusals;
mod story;
mod transitions;

pub(crate) const DAY: i64 = 86_400;
const SALT: &str = "00112233445566778899aabbccddeeff";

fn with(msp: &str, role: &str) -> Caller {
    Caller::for_tests(msp, &format!("{msp}-{role}"), &[("hc.role", role)])
}
pub(crate) fn certifier() -> Caller {
    with("RegulatorMSP", "certifier")
}
fn inspector() -> Caller {
    with("RegulatorMSP", "inspector")
}
fn clerk() -> Caller {
    with("HospitalMSP", "records")
}
fn clinic_clerk() -> Caller {
    with("ClinicMSP", "records")
}
fn insurer() -> Caller {
    with("InsurerMSP", "adjudicator")
}
fn physician() -> Caller {
    let attributes = [("hc.role", "physician"), ("hc.pid", "p-1")];
    Caller::for_tests("HospitalMSP", "u1", &attributes)
}

fn call(function: &str, caller: &Caller, args: Value) -> Proposal {
    Proposal::new("providers", function, caller).json(&args)
}

fn body(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.message);
    serde_json::from_slice(&response.payload).unwrap()
}

pub(crate) fn ok(ledger: &mut TestLedger, function: &str, caller: &Caller, args: Value) -> Value {
    let response = ledger.submit(call(function, caller, args));
    assert_eq!(response.status, 200, "{function}: {}", response.message);
    serde_json::from_slice(&response.payload).unwrap()
}

fn ask(ledger: &TestLedger, function: &str, caller: &Caller, args: Value) -> Value {
    body(&ledger.evaluate(call(function, caller, args)))
}

#[track_caller]
fn refused(response: &Response, status: i32, code: &str) {
    assert!(
        response.status == status && response.message.starts_with(&format!("{code}: ")),
        "expected {status} {code}, got {} {} {}",
        response.status,
        response.message,
        String::from_utf8_lossy(&response.payload)
    );
    assert!(response.payload.is_empty());
}

#[track_caller]
fn no(
    ledger: &mut TestLedger,
    function: &str,
    caller: &Caller,
    args: Value,
    status: i32,
    code: &str,
) {
    let height = ledger.height();
    refused(&ledger.submit(call(function, caller, args)), status, code);
    assert_eq!(ledger.height(), height);
}

/// An organization's number, and where it is.
fn number(msp: &str) -> (&'static str, &'static str, &'static str) {
    match msp {
        "HospitalMSP" => ("USCC", "121100004000000014", "110105"),
        "ClinicMSP" => ("USCC", "12310000425000002P", "310104"),
        "MakerMSP" => ("USCC", "91310000MA1F00000U", "310115"),
        "ResearchMSP" => ("USCC", "52100000500000003D", "110108"),
        "InsurerMSP" => ("NPI", "1578387320", "US-MA"),
        other => panic!("no number for {other}"),
    }
}

/// Registers an organization.
pub(crate) fn register_org(ledger: &mut TestLedger, msp: &str) {
    let (scheme, identifier, _) = number(msp);
    let args = json!({"msp": msp, "scheme": scheme, "identifier": identifier});
    ok(ledger, "RegisterOrg", &certifier(), args);
}

/// Registers an organization with a licence for these scopes, and a facility `<msp>.1` for them.
pub(crate) fn licensed(ledger: &mut TestLedger, msp: &str, scopes: &[&str]) {
    register_org(ledger, msp);
    let licence = json!({"msp": msp, "no": "L-1", "scopes": scopes,
        "validTo": START + 3650 * DAY, "sourceHash": hash(b"permit")});
    ok(ledger, "GrantLicence", &certifier(), licence);
    let facility = json!({"id": format!("{msp}.1"), "area": number(msp).2, "scopes": scopes});
    ok(ledger, "RegisterFacility", &with(msp, "records"), facility);
}

fn application(id: &str, pid: &str, msp: &str, role: &str) -> Proposal {
    let args = json!({"credId": id, "pid": pid, "role": role, "facility": format!("{msp}.1"),
        "attestHash": hash(b"diploma")});
    call("ApplyCredential", &with(msp, "records"), args).transient("person", person().to_string())
}

fn person() -> Value {
    json!({"name": "Dr. Abe Frami", "licenceNo": "110110000012345", "contact": "abe@example.org",
        "salt": SALT})
}

fn verification(id: &str) -> Value {
    json!({"credId": id, "validTo": START + 365 * DAY, "sourceHash": hash(b"register")})
}

/// A credential in force for a year, at the facility `<msp>.1`.
pub(crate) fn employ(ledger: &mut TestLedger, id: &str, pid: &str, msp: &str, role: &str) {
    body(&ledger.submit(application(id, pid, msp, role)));
    ok(ledger, "VerifyCredential", &certifier(), verification(id));
}

/// A hospital for care and implants, with a physician p-1 (credential c-1).
pub(crate) fn practice() -> TestLedger {
    let mut ledger = TestLedger::new();
    licensed(&mut ledger, "HospitalMSP", &["care", "implant"]);
    employ(&mut ledger, "c-1", "p-1", "HospitalMSP", "physician");
    ledger
}

pub(crate) fn suspend(ledger: &mut TestLedger, id: &str) {
    let args = json!({"credId": id, "reasonCode": "MISCONDUCT"});
    ok(ledger, "SuspendCredential", &certifier(), args);
}

/// Has a contract ask the registry.
pub(crate) fn use_registry(ledger: &mut TestLedger, contract: &str) {
    let admin = with("RegulatorMSP", "certifier").with_node_role(Some(NodeRole::Admin));
    let args = json!({"registry": "providers"});
    let response = ledger.submit(Proposal::new(contract, "Configure", &admin).json(&args));
    assert_eq!(response.status, 200, "{}", response.message);
}

/// What the registry says: `ACTIVE`, or the reason why not.
fn standing(ledger: &TestLedger, function: &str, args: Value) -> String {
    let answer = ask(ledger, function, &insurer(), args);
    if answer["active"].as_bool().unwrap() {
        assert_eq!(answer, json!({"active": true}));
        "ACTIVE".to_owned()
    } else {
        answer["reason"].as_str().unwrap().to_owned()
    }
}

/// Of p-1 as physician of the hospital.
fn physician_standing(ledger: &TestLedger) -> String {
    let args = json!({"pid": "p-1", "org": "HospitalMSP", "role": "physician"});
    standing(ledger, "Check", args)
}

fn changed(mut args: Value, name: &str, value: Value) -> Value {
    args[name] = value;
    args
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}
