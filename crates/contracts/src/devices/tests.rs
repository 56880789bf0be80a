use serde_json::{Value, json};

use super::model::{TRANSITIONS, UnitState};
use crate::caller::Caller;
use crate::contract::Response;
use crate::testing::{Proposal, START, TestLedger, Validity};
use crate::vault::{hash, implant_commitment};

mod agencies;
mod credentials;
mod recalls;
mod refusals;
mod scans;
mod story;
mod transitions;

const DI: &str = "00844588018923";
const DAY: i64 = 86_400;
const SID: &str = "JOHNNIEJOHNNIEJOHNNIEJOHNN";
const SALT: &str = "00112233445566778899aabbccddeeff";

fn with(msp: &str, role: &str) -> Caller {
    Caller::for_tests(msp, &format!("{msp}-{role}"), &[("hc.role", role)])
}
fn regulatory() -> Caller {
    with("MakerMSP", "regulatory")
}
fn shipping() -> Caller {
    with("MakerMSP", "shipping")
}
fn vigilance() -> Caller {
    with("MakerMSP", "vigilance")
}
fn certifier() -> Caller {
    with("RegulatorMSP", "certifier")
}
fn recall_desk() -> Caller {
    with("RegulatorMSP", "recall")
}
fn inspector() -> Caller {
    with("RegulatorMSP", "inspector")
}
fn supply() -> Caller {
    with("HospitalMSP", "supply")
}
fn clinic_supply() -> Caller {
    with("ClinicMSP", "supply")
}
fn surgeon() -> Caller {
    with("HospitalMSP", "physician")
}
fn clinic_surgeon() -> Caller {
    with("ClinicMSP", "physician")
}

fn call(function: &str, caller: &Caller, args: Value) -> Proposal {
    Proposal::new("devices", function, caller).json(&args)
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

fn product(di: &str) -> Value {
    json!({"product": {"di": di, "name": "Humeral nail", "model": "HN-20",
        "label": {"lot": true, "serial": true, "expires": true}}})
}

fn certified(ledger: &mut TestLedger, product: Value) {
    let di = product["product"]["di"].clone();
    let no = format!("CERT-{}", di.as_str().unwrap());
    ok(ledger, "RegisterProduct", &regulatory(), product);
    ok(
        ledger,
        "SubmitCertification",
        &regulatory(),
        json!({"di": di, "certNo": no, "type": "CLASS-III", "docHashes": [hash(b"file")]}),
    );
    ok(
        ledger,
        "Certify",
        &certifier(),
        json!({"di": di, "certNo": no, "validTo": START + 365 * DAY}),
    );
}

fn unit(serial: &str) -> Value {
    json!({"di": DI, "lot": "L1", "serial": serial})
}

fn carrier(serial: &str) -> String {
    format!("(01){DI}(17)271231(10)L1(21){serial}")
}

/// A certified product with a lot of five, units S1 to S3 registered.
fn made() -> TestLedger {
    let mut ledger = TestLedger::new();
    certified(&mut ledger, product(DI));
    ok(
        &mut ledger,
        "RegisterLot",
        &shipping(),
        json!({"di": DI, "lot": "L1", "mfg": "2026-01-05", "exp": "2027-12-31", "qty": 5}),
    );
    ok(
        &mut ledger,
        "RegisterUnits",
        &shipping(),
        json!({"di": DI, "lot": "L1", "serials": ["S1", "S2", "S3"]}),
    );
    ledger
}

fn deliver(ledger: &mut TestLedger, serial: &str, to: &Caller) {
    ok(
        ledger,
        "Ship",
        &shipping(),
        json!({"units": [unit(serial)], "to": to.msp_id()}),
    );
    let answer = ok(
        ledger,
        "Receive",
        to,
        json!({"units": [unit(serial)], "scans": [carrier(serial)]}),
    );
    assert_eq!(answer["code"], "OK");
}

fn implant(ledger: &mut TestLedger, serial: &str, who: &Caller, sid: &str) {
    let link = json!({"sid": sid, "procedure": "Procedure/p1", "date": "2026-11-23", "salt": SALT});
    let args = json!({"unit": unit(serial), "procedureRef": "Procedure/p1"});
    let proposal = call("Implant", who, args).transient("implant", link.to_string());
    body(&ledger.submit(proposal));
}

fn state_of(ledger: &TestLedger, serial: &str) -> String {
    ask(
        ledger,
        "TraceUnit",
        &certifier(),
        json!({"unit": unit(serial)}),
    )["unit"]["state"]
        .as_str()
        .unwrap()
        .to_owned()
}
