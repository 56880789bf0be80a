//! Documents from one custodian to another.

use proptest::prelude::*;

use super::super::model::{RecordState, Step, TRANSITIONS, after};
use super::*;
use crate::key::{composite_key, composite_range};
use crate::providers::tests as registry;

const PLACES: [&str; 3] = ["ClinicMSP", "HospitalMSP", "ResearchMSP"];

fn clerk(msp: &str) -> Caller {
    Caller::for_tests(msp, &format!("{msp}-records"), &[("hc.role", "records")])
}

fn offer(id: &str, from: &str, to: &str) -> Proposal {
    call("TransferCustody", &clerk(from), json!({"id": id, "to": to}))
}

fn accept(id: &str, by: &str) -> Proposal {
    let args = json!({"id": id, "ctHash": hash(id.as_bytes()), "vaultRef": format!("{by}-{id}")});
    call("AcceptCustody", &clerk(by), args)
}

fn cancel(id: &str, by: &str) -> Proposal {
    call("CancelTransfer", &clerk(by), json!({"id": id}))
}

fn read(ledger: &TestLedger, id: &str) -> Value {
    body(&ledger.evaluate(call("ReadRecord", &maker(), json!({"id": id}))))
}

/// Whose index names the record.
fn indexed(ledger: &TestLedger, id: &str) -> Vec<&'static str> {
    PLACES
        .into_iter()
        .filter(|msp| {
            let key = composite_key("byCustodian", &[msp, id]).unwrap();
            ledger.state("records", &key).is_some()
        })
        .collect()
}

#[test]
fn a_document_goes_to_the_hospital_and_the_clinic_has_it_no_more() {
    let mut ledger = registered();
    assert_eq!(
        body(&ledger.submit(offer("lab", "ClinicMSP", "HospitalMSP")))["state"],
        "Transferring"
    );
    let on_the_way = read(&ledger, "lab");
    assert_eq!(
        (&on_the_way["custodian"], &on_the_way["to"]),
        (&json!("ClinicMSP"), &json!("HospitalMSP"))
    );
    // Who asks meanwhile is answered by the old custodian.
    body(&ledger.submit(call("PutConsent", &patient(), consent("c1", json!([])))));
    let meanwhile = body(&ledger.submit(call("RequestAccess", &physician(), access("a1", "lab"))));
    assert_eq!(meanwhile["decision"], "Permitted");
    let by_subject = json!({"target": {"sid": SID, "custodian": "ClinicMSP", "kinds": ["lab"]}, "purpose": "TREAT"});
    let dry = body(&ledger.evaluate(call("EvaluateAccess", &physician(), by_subject.clone())));
    assert_eq!(dry["items"].as_array().unwrap().len(), 1);

    assert_eq!(
        body(&ledger.submit(accept("lab", "HospitalMSP")))["state"],
        "Current"
    );
    let there = read(&ledger, "lab");
    assert_eq!(there["custodian"], "HospitalMSP");
    assert_eq!(there["vaultRef"], "HospitalMSP-lab");
    assert_eq!(there["version"], 1);
    assert_eq!(there.get("to"), None);
    assert_eq!(indexed(&ledger, "lab"), ["HospitalMSP"]);
    let amend = |by: &str| {
        let args = json!({"ifVersion": 1, "entry": entry("lab", "lab")});
        call("AmendRecord", &clerk(by), args)
    };
    refused(&ledger.submit(amend("ClinicMSP")), 403, "NOT_CUSTODIAN");
    body(&ledger.submit(amend("HospitalMSP")));
    refused(
        &ledger.evaluate(call("EvaluateAccess", &physician(), by_subject)),
        404,
        "NOT_FOUND",
    );
    // What was decided while the clinic had it, the clinic no longer releases.
    let release = json!({"accessId": "a1", "keyFingerprint": hash(b"k")});
    refused(
        &ledger.submit(call("ConfirmRelease", &clinic_records(), release)),
        409,
        "CUSTODY_CHANGED",
    );
    let events: Vec<_> = ledger
        .events()
        .iter()
        .filter(|(name, _)| name.contains("Custody"))
        .map(|(name, body)| {
            (
                name.as_str(),
                serde_json::from_slice::<Value>(body).unwrap()["ref"].clone(),
            )
        })
        .collect();
    assert_eq!(
        events,
        [
            ("records.CustodyOffered", json!("HospitalMSP")),
            ("records.CustodyTransferred", json!("ClinicMSP"))
        ]
    );
}

#[test]
fn refusals_of_a_transfer() {
    let mut ledger = registered();
    refused(
        &ledger.submit(offer("lab", "ClinicMSP", "MakerMSP")),
        422,
        "UNKNOWN_ORG",
    );
    refused(
        &ledger.submit(offer("lab", "ClinicMSP", "ClinicMSP")),
        422,
        "SELF_TRANSFER",
    );
    refused(
        &ledger.submit(offer("lab", "HospitalMSP", "ClinicMSP")),
        403,
        "NOT_CUSTODIAN",
    );
    refused(
        &ledger.submit(offer("none", "ClinicMSP", "HospitalMSP")),
        404,
        "NOT_FOUND",
    );
    refused(
        &ledger.submit(offer("lab", "MakerMSP", "HospitalMSP")),
        403,
        "WRONG_ORG",
    );
    let physician_offers = json!({"id": "lab", "to": "HospitalMSP"});
    refused(
        &ledger.submit(call("TransferCustody", &physician(), physician_offers)),
        403,
        "WRONG_ROLE",
    );
    body(&ledger.submit(offer("lab", "ClinicMSP", "HospitalMSP")));
    refused(
        &ledger.submit(accept("lab", "ClinicMSP")),
        403,
        "NOT_RECEIVER",
    );
    refused(
        &ledger.submit(accept("lab", "ResearchMSP")),
        403,
        "NOT_RECEIVER",
    );
    refused(
        &ledger.submit(cancel("lab", "ResearchMSP")),
        403,
        "NOT_CUSTODIAN",
    );
    let other = json!({"id": "lab", "ctHash": hash(b"other"), "vaultRef": "v"});
    refused(
        &ledger.submit(call("AcceptCustody", &clerk("HospitalMSP"), other)),
        422,
        "TAMPERED",
    );
    // The receiver refuses, the custodian offers again and takes it back.
    body(&ledger.submit(cancel("lab", "HospitalMSP")));
    body(&ledger.submit(offer("lab", "ClinicMSP", "HospitalMSP")));
    body(&ledger.submit(cancel("lab", "ClinicMSP")));
    refused(&ledger.submit(cancel("lab", "ClinicMSP")), 409, "BAD_STATE");
    refused(
        &ledger.submit(accept("lab", "HospitalMSP")),
        409,
        "BAD_STATE",
    );
    assert_eq!(read(&ledger, "lab")["custodian"], "ClinicMSP");
}

#[test]
fn accepting_and_taking_back_at_once_ends_one_way() {
    let mut ledger = registered();
    body(&ledger.submit(offer("lab", "ClinicMSP", "HospitalMSP")));
    let accepting = ledger.endorse(accept("lab", "HospitalMSP"));
    let cancelling = ledger.endorse(cancel("lab", "ClinicMSP"));
    assert_eq!(ledger.commit(accepting), Validity::Valid);
    assert_eq!(ledger.commit(cancelling), Validity::MvccReadConflict);
    assert_eq!(read(&ledger, "lab")["custodian"], "HospitalMSP");
}

#[test]
fn with_a_registry_both_sides_are_in_force() {
    let mut ledger = registry::practice();
    registry::licensed(&mut ledger, "ClinicMSP", &["care"]);
    registry::employ(&mut ledger, "c-8", "p-8", "HospitalMSP", "records");
    registry::employ(&mut ledger, "c-9", "p-9", "ClinicMSP", "records");
    let args = json!({"records": [entry("lab", "lab")]});
    body(&ledger.submit(call("RegisterRecords", &clinic_records(), args)));
    registry::use_registry(&mut ledger, "records");
    let with_pid = |msp: &str, pid: &str| {
        Caller::for_tests(msp, "u", &[("hc.role", "records"), ("hc.pid", pid)])
    };
    let (here, there) = (with_pid("ClinicMSP", "p-9"), with_pid("HospitalMSP", "p-8"));
    let give = |by: &Caller, to: &str| call("TransferCustody", by, json!({"id": "lab", "to": to}));
    let take = |by: &Caller| {
        let args = json!({"id": "lab", "ctHash": hash(b"lab"), "vaultRef": "v"});
        call("AcceptCustody", by, args)
    };
    refused(
        &ledger.submit(give(&clinic_records(), "HospitalMSP")),
        403,
        "CREDENTIAL",
    );
    refused(
        &ledger.submit(give(&here, "ResearchMSP")),
        422,
        "ORG_INACTIVE",
    );
    body(&ledger.submit(give(&here, "HospitalMSP")));
    registry::suspend(&mut ledger, "c-8");
    refused(&ledger.submit(take(&there)), 403, "CREDENTIAL");
}

const STATES: [RecordState; 4] = [
    RecordState::Current,
    RecordState::Transferring,
    RecordState::EnteredInError,
    RecordState::Erased,
];

/// What the page says: functions, by whom, and the state they lead to from each state.
fn attempts() -> Vec<(Step, Proposal, [Option<RecordState>; 4])> {
    use RecordState::{Current, EnteredInError, Erased, Transferring};
    let amend = json!({"ifVersion": 1, "entry": entry("lab", "lab")});
    let attest =
        json!({"eraseId": "e1", "ids": ["lab"], "keyIds": ["k"], "method": "CRYPTO_SHRED"});
    vec![
        (
            Step::Amend,
            call("AmendRecord", &clinic_records(), amend),
            [Some(Current), None, None, None],
        ),
        (
            Step::MarkError,
            call(
                "MarkError",
                &clinic_records(),
                json!({"id": "lab", "reasonCode": "X"}),
            ),
            [Some(EnteredInError), None, None, None],
        ),
        (
            Step::Transfer,
            offer("lab", "ClinicMSP", "HospitalMSP"),
            [Some(Transferring), None, None, None],
        ),
        (
            Step::Accept,
            accept("lab", "HospitalMSP"),
            [None, Some(Current), None, None],
        ),
        (
            Step::Cancel,
            cancel("lab", "ClinicMSP"),
            [None, Some(Current), None, None],
        ),
        (
            Step::Erase,
            call("AttestErasure", &clinic_dpo(), attest),
            [Some(Erased), None, Some(Erased), None],
        ),
    ]
}

/// The record `lab` in a state, and an erasure `e1` that is accepted.
fn in_state(state: RecordState) -> TestLedger {
    let mut ledger = registered();
    for id in ["e0", "e1"] {
        let wish = json!({"eraseId": id, "sid": SID, "custodian": "ClinicMSP"});
        body(&ledger.submit(call("RequestErasure", &patient(), wish)));
        let accepted = json!({"eraseId": id, "verdict": "Accepted"});
        body(&ledger.submit(call("DecideErasure", &clinic_dpo(), accepted)));
    }
    let proposal = match state {
        RecordState::Current => None,
        RecordState::Transferring => Some(offer("lab", "ClinicMSP", "HospitalMSP")),
        RecordState::EnteredInError => {
            let args = json!({"id": "lab", "reasonCode": "X"});
            Some(call("MarkError", &clinic_records(), args))
        }
        RecordState::Erased => {
            let args = json!({"eraseId": "e0", "ids": ["lab"], "keyIds": ["k"], "method": "SHRED"});
            Some(call("AttestErasure", &clinic_dpo(), args))
        }
    };
    if let Some(proposal) = proposal {
        body(&ledger.submit(proposal));
    }
    assert_eq!(read(&ledger, "lab")["state"], state.name());
    ledger
}

#[test]
fn each_function_leads_from_the_listed_states_only() {
    let mut pairs = 0;
    for (index, state) in STATES.into_iter().enumerate() {
        for (step, proposal, row) in attempts() {
            assert_eq!(after(step, state), row[index], "{step:?} of {state:?}");
            let mut ledger = in_state(state);
            let response = ledger.submit(proposal);
            let next = match row[index] {
                Some(next) => {
                    assert_eq!(response.status, 200, "{step:?}: {}", response.message);
                    pairs += 1;
                    next
                }
                None => {
                    refused(&response, 409, "BAD_STATE");
                    state
                }
            };
            assert_eq!(
                read(&ledger, "lab")["state"],
                next.name(),
                "{step:?} of {state:?}"
            );
        }
    }
    assert_eq!(TRANSITIONS.len(), pairs);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Custody is with exactly one at any time, and only an acceptance by whom it was offered to
    /// moves it.
    #[test]
    fn custody_is_never_with_two(moves in proptest::collection::vec((0usize..3, 0usize..3, 0usize..3), 1..30)) {
        let mut ledger = registered();
        let (mut custodian, mut offered): (&str, Option<&str>) = ("ClinicMSP", None);
        for (what, by, to) in moves {
            let (by, to) = (PLACES[by], PLACES[to]);
            let (proposal, allowed) = match what {
                0 => (offer("lab", by, to), by == custodian && by != to && offered.is_none()),
                1 => (accept("lab", by), offered == Some(by)),
                _ => (cancel("lab", by), offered.is_some() && (offered == Some(by) || by == custodian)),
            };
            prop_assert_eq!(ledger.submit(proposal).status == 200, allowed);
            if allowed {
                match what {
                    0 => offered = Some(to),
                    1 => { custodian = by; offered = None; }
                    _ => offered = None,
                }
            }
            prop_assert_eq!(indexed(&ledger, "lab"), [custodian]);
            prop_assert_eq!(&read(&ledger, "lab")["custodian"], custodian);
            let (start, _) = composite_range("byCustodian", &[custodian]).unwrap();
            prop_assert!(ledger.state("records", &start).is_none());
        }
    }
}
