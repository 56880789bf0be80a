use serde_json::{Value, json};

use crate::caller::{Caller, NodeRole};
use crate::contract::Response;
use crate::testing::{Proposal, START, TestLedger, Validity};
use crate::vault::{Binding, KeyRing, SUITE, Sealed, hash, pseudonym};

mod consents;
mod credentials;
mod custody;
mod registration;
mod requests;
mod rules;
mod signed;

const SID: &str = "JOHNNIEJOHNNIEJOHNNIEJOHNN";
const OTHER_SID: &str = "LUNALUNALUNALUNALUNALUNALU";
const GUARDIAN_SID: &str = "GUARDIANGUARDIANGUARDIANGU";
const DAY: i64 = 86_400;

fn physician() -> Caller {
    Caller::for_tests(
        "HospitalMSP",
        "u1",
        &[("hc.role", "physician"), ("hc.pid", "p-1")],
    )
}
fn clinic_records() -> Caller {
    Caller::for_tests("ClinicMSP", "u2", &[("hc.role", "records")])
}
fn clinic_dpo() -> Caller {
    Caller::for_tests("ClinicMSP", "u3", &[("hc.role", "dpo")])
}
fn patient() -> Caller {
    Caller::for_tests(
        "HospitalMSP",
        "u4",
        &[("hc.role", "patient"), ("hc.sid", SID)],
    )
}
fn stranger() -> Caller {
    Caller::for_tests(
        "HospitalMSP",
        "u5",
        &[("hc.role", "patient"), ("hc.sid", OTHER_SID)],
    )
}
fn guardian() -> Caller {
    Caller::for_tests(
        "CitizenMSP",
        "u6",
        &[("hc.role", "guardian"), ("hc.sid", GUARDIAN_SID)],
    )
}
fn auditor() -> Caller {
    Caller::for_tests("RegulatorMSP", "u7", &[("hc.role", "auditor")])
}
fn certifier() -> Caller {
    Caller::for_tests("RegulatorMSP", "u8", &[("hc.role", "certifier")])
}
fn insurer() -> Caller {
    Caller::for_tests("InsurerMSP", "u9", &[("hc.role", "adjudicator")])
}
fn maker() -> Caller {
    Caller::for_tests("MakerMSP", "u10", &[("hc.role", "regulatory")])
}

fn call(function: &str, caller: &Caller, args: Value) -> Proposal {
    Proposal::new("records", function, caller).json(&args)
}

fn body(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.message);
    serde_json::from_slice(&response.payload).unwrap()
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
    assert!(response.payload.is_empty());
}

fn entry(id: &str, kind: &str) -> Value {
    json!({
        "id": id, "sid": SID, "kind": kind,
        "ctHash": hash(id.as_bytes()), "ptCommit": hash(b"salted"),
        "size": 100, "suite": SUITE, "epoch": 0, "vaultRef": format!("v-{id}"),
        "fhir": ["Observation/0d1b3c9e-7a55-4f2a-9d5e-1f6f0a8b7c11"],
    })
}

/// A ledger with a lab, an imaging and a very restricted note of one patient at the clinic.
fn registered() -> TestLedger {
    let mut ledger = TestLedger::new();
    let mut note = entry("note", "clinical-note");
    note["confidentiality"] = json!("V");
    let args = json!({"records": [entry("lab", "lab"), entry("img", "imaging"), note]});
    let answer = body(&ledger.submit(call("RegisterRecords", &clinic_records(), args)));
    assert_eq!(answer["state"], "Current");
    ledger
}

fn consent(id: &str, kinds: Value) -> Value {
    json!({"sid": SID, "consent": {
        "id": id, "period": {"to": START + 30 * DAY},
        "provisions": [{"type": "permit", "orgs": ["HospitalMSP"], "purposes": ["TREAT"], "kinds": kinds, "obligations": ["NO_ONWARD"]}],
    }})
}

fn access(id: &str, record: &str) -> Value {
    json!({"accessId": id, "target": {"records": [record]}, "purpose": "TREAT", "purposeRef": "Encounter/e-1"})
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}
