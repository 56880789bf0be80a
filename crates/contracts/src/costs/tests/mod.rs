use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::caller::Caller;
use crate::contract::Response;
use crate::testing::{Proposal, START, TestLedger, Validity};

mod charges;
mod claims;
mod devices;
mod malformed;
mod races;
mod refusals;
mod rules;
mod sequences;
mod story;
mod transitions;

const DAY: i64 = 86_400;
const SALT: &str = "00112233445566778899aabbccddeeff";
const SID: &str = "LUNALUNALUNALUNALUNALUNALU";
const OTHER: &str = "BREKKEBREKKEBREKKEBREKKEBR";
const COLLECTION: &str = "claims-HospitalMSP-InsurerMSP";

fn with(msp: &str, role: &str) -> Caller {
    Caller::for_tests(msp, &format!("{msp}-{role}"), &[("hc.role", role)])
}
fn billing() -> Caller {
    with("HospitalMSP", "billing")
}
fn clinic() -> Caller {
    with("ClinicMSP", "billing")
}
fn adjudicator() -> Caller {
    with("InsurerMSP", "adjudicator")
}
fn cashier() -> Caller {
    with("InsurerMSP", "cashier")
}
fn fraud() -> Caller {
    with("InsurerMSP", "fraud")
}
fn certifier() -> Caller {
    with("RegulatorMSP", "certifier")
}
fn inspector() -> Caller {
    with("RegulatorMSP", "inspector")
}
fn patient(sid: &str) -> Caller {
    let attributes = [("hc.role", "patient"), ("hc.sidPay", sid)];
    Caller::for_tests("HospitalMSP", "someone", &attributes)
}

fn call(function: &str, caller: &Caller, args: &Value) -> Proposal {
    Proposal::new("costs", function, caller).json(args)
}

fn told(function: &str, caller: &Caller, args: &Value, name: &str, secret: &Value) -> Proposal {
    call(function, caller, args).transient(name, secret.to_string())
}

fn body(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.message);
    serde_json::from_slice(&response.payload).unwrap()
}

fn ok(ledger: &mut TestLedger, proposal: Proposal) -> Value {
    body(&ledger.submit(proposal))
}

/// A refusal that leaves nothing, and that repeats no secret.
fn no(ledger: &mut TestLedger, proposal: Proposal, status: i32, code: &str) {
    let height = ledger.height();
    let response = ledger.submit(proposal.clone());
    assert!(
        response.status == status && response.message.starts_with(&format!("{code}: ")),
        "expected {status} {code}, got {} {} for {proposal:?}",
        response.status,
        response.message
    );
    assert!(!response.message.contains(SID) && !response.message.contains(SALT));
    assert_eq!(ledger.height(), height);
}

fn ask(ledger: &TestLedger, function: &str, caller: &Caller, args: &Value) -> Value {
    body(&ledger.evaluate(call(function, caller, args)))
}

fn page() -> Value {
    let entry = |code: &str, price: i64| json!({"system": "HCPCS", "code": code, "price": price});
    json!({"entries": [
        entry("A0001", 1_250_000), entry("A0002", 1_405_200), entry("A0003", 100_000),
        {"system": "HCPCS", "code": "A0009", "price": 2_000_000, "upTo": true},
        {"system": "HCPCS", "code": "P0001", "price": 2_000_000, "parts": ["A0002", "A0003"]},
        entry("D0001", 50_000_000),
    ], "salt": SALT})
}

fn page_hash(page: &Value) -> String {
    hex::encode(Sha256::digest(page.to_string()))
}

fn publish(version: &str, from: &str) -> Proposal {
    let args =
        json!({"version": version, "from": from, "currency": "USD", "pages": [page_hash(&page())]});
    call("PublishPrices", &billing(), &args)
}

fn load_prices(version: &str) -> Proposal {
    let args = json!({"payer": "InsurerMSP", "version": version, "page": 0});
    told("LoadPrices", &billing(), &args, "page", &page())
}

fn pepper(caller: &Caller) -> Proposal {
    let args = json!({"payer": "InsurerMSP"});
    told(
        "SetPepper",
        caller,
        &args,
        "pepper",
        &json!({"pepper": "5a".repeat(32)}),
    )
}

fn stay(sid: &str, start: &str) -> Value {
    json!({"sidPay": sid, "reference": "checkin-1", "start": start, "salt": SALT})
}

fn open(epi: &str, caller: &Caller, stay: &Value) -> Proposal {
    let args = json!({"epi": epi, "payer": "InsurerMSP", "type": "inpatient", "currency": "USD"});
    told("OpenEpisode", caller, &args, "stay", stay)
}

fn update(epi: &str, stay: &Value) -> Proposal {
    told("UpdateStay", &billing(), &json!({"epi": epi}), "stay", stay)
}

fn cover(epi: &str, from: &str, to: &str) -> Proposal {
    let coverage = json!({"from": from, "to": to, "salt": SALT});
    told(
        "ConfirmCoverage",
        &adjudicator(),
        &json!({"epi": epi}),
        "coverage",
        &coverage,
    )
}

fn line(date: &str, code: &str, price: i64) -> Value {
    json!({"date": date, "system": "HCPCS", "code": code, "qty": 1, "unitPrice": price,
        "amount": price, "evidence": {"record": "rec-1", "order": "ord-1"}, "page": 0, "salt": SALT})
}

fn post(epi: &str, seq: u32, line: &Value) -> Proposal {
    told(
        "PostCharge",
        &billing(),
        &json!({"epi": epi, "seq": seq}),
        "line",
        line,
    )
}

/// A line of a claim that bills a charge of the hospital.
fn bills(seq: u32, date: &str, code: &str, net: i64) -> Value {
    json!({"charge": seq, "date": date, "system": "HCPCS", "code": code, "net": net})
}

/// A line of a claim without a charge, as the clinic, which has no price list, sends them.
fn foreign(date: &str, code: &str, net: i64) -> Value {
    json!({"date": date, "system": "HCPCS", "code": code, "net": net, "evidence": {"order": "o1"}})
}

fn claim_doc(control: &str, lines: &[Value], total: i64) -> Value {
    json!({"billing": "1578387320", "control": control, "lines": lines, "total": total, "salt": SALT})
}

fn submit(id: &str, epi: &str, caller: &Caller, doc: &Value) -> Proposal {
    told(
        "SubmitClaim",
        caller,
        &json!({"id": id, "epi": epi}),
        "claim",
        doc,
    )
}

fn replace(id: &str, old: &str, caller: &Caller, doc: &Value) -> Proposal {
    told(
        "ReplaceClaim",
        caller,
        &json!({"id": id, "oldId": old}),
        "claim",
        doc,
    )
}

fn void(id: &str) -> Proposal {
    call(
        "VoidClaim",
        &billing(),
        &json!({"id": id, "reason": "ENTERED_IN_ERROR"}),
    )
}

/// `[allowed, paid, patient]` of each line.
fn decision(lines: &[[i64; 3]]) -> Value {
    let payment: i64 = lines.iter().map(|line| line[1]).sum();
    let lines: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(n, [allowed, paid, patient])| json!({"line": n + 1, "allowed": allowed, "paid": paid, "patient": patient, "reasons": ["45"]}))
        .collect();
    json!({"lines": lines, "payment": payment, "salt": SALT})
}

fn adjudicate(id: &str, decision: &Value) -> Proposal {
    told(
        "Adjudicate",
        &adjudicator(),
        &json!({"id": id}),
        "decision",
        decision,
    )
}

fn pay(id: &str) -> Proposal {
    call("Pay", &cashier(), &json!({"id": id, "remitRef": "EFT-1"}))
}

fn back(function: &str, caller: &Caller, id: &str, amount: i64) -> Proposal {
    let secret = json!({"amount": amount, "salt": SALT});
    let args = json!({"id": id, "reason": "OVERPAID"});
    told(function, caller, &args, "amount", &secret)
}

fn contest(function: &str, caller: &Caller, id: &str) -> Proposal {
    call(function, caller, &json!({"id": id, "reason": "TOO_LOW"}))
}

fn resolve(caller: &Caller, id: &str, decision: Option<&Value>) -> Proposal {
    let outcome = if decision.is_some() {
        "Changed"
    } else {
        "Upheld"
    };
    let proposal = call("Resolve", caller, &json!({"id": id, "outcome": outcome}));
    match decision {
        Some(decision) => proposal.transient("decision", decision.to_string()),
        None => proposal,
    }
}

fn drg(id: &str, caller: &Caller, code: &str, weight: u32, rate: i64) -> Proposal {
    let doc = json!({"grouper": "MS-DRG", "version": "43.1", "drg": code, "weight": weight, "rate": rate, "salt": SALT});
    told("CheckDrg", caller, &json!({"id": id}), "drg", &doc)
}

fn state_of(ledger: &TestLedger, id: &str) -> String {
    let claim = ask(ledger, "ReadClaim", &inspector(), &json!({"id": id}));
    claim["state"].as_str().unwrap().to_owned()
}

fn sums(ledger: &TestLedger, epi: &str) -> Value {
    ask(ledger, "TraceCost", &inspector(), &json!({"epi": epi}))["sums"].clone()
}

/// Prices in force at the hospital, peppers of both providers, and a covered episode `e1`.
fn ready() -> TestLedger {
    let mut ledger = TestLedger::new();
    ok(&mut ledger, publish("v1", "2026-01-01"));
    ok(&mut ledger, pepper(&billing()));
    ok(&mut ledger, pepper(&clinic()));
    ok(&mut ledger, load_prices("v1"));
    ok(
        &mut ledger,
        open("e1", &billing(), &stay(SID, "2026-11-01")),
    );
    ok(&mut ledger, cover("e1", "2026-01-01", "2026-12-31"));
    ledger
}

/// [`ready`] with charges 1 (125.00) and 2 (140.52) of the episode.
fn charged() -> TestLedger {
    let mut ledger = ready();
    ok(
        &mut ledger,
        post("e1", 1, &line("2026-11-02", "A0001", 1_250_000)),
    );
    ok(
        &mut ledger,
        post("e1", 2, &line("2026-11-03", "A0002", 1_405_200)),
    );
    ledger
}

fn both(control: &str) -> Value {
    claim_doc(
        control,
        &[
            bills(1, "2026-11-02", "A0001", 1_250_000),
            bills(2, "2026-11-03", "A0002", 1_405_200),
        ],
        2_655_200,
    )
}

/// The proposal with one field of its secret changed.
fn bad(
    proposal: &dyn Fn(&Value) -> Proposal,
    secret: &Value,
    change: &dyn Fn(&mut Value),
) -> Proposal {
    let mut secret = secret.clone();
    change(&mut secret);
    proposal(&secret)
}
