use serde_json::{Value, json};

use super::model::{State, TRANSITIONS, Thing};
use crate::caller::Caller;
use crate::contract::Response;
use crate::testing::{Proposal, START, TestLedger, Validity};
use crate::vault::hash;

mod cohorts;
mod consults;
mod malformed;
mod matching;
mod properties;
mod refusals;
mod requests;
mod transitions;

const DAY: i64 = 86_400;
const TOKEN: &str = "RESEARCHRESEARCHRESEARCHRE";
const SALT: &str = "00112233445566778899aabbccddeeff";
const DIABETES: &str = "MONDO:0005148";

fn with(msp: &str, role: &str, pid: &str) -> Caller {
    let name = format!("{msp}-{role}-{pid}");
    Caller::for_tests(msp, &name, &[("hc.role", role), ("hc.pid", pid)])
}
fn investigator() -> Caller {
    with("ResearchMSP", "investigator", "i-1")
}
fn ethics() -> Caller {
    with("ResearchMSP", "ethics", "e-1")
}
fn curator() -> Caller {
    with("ResearchMSP", "curator", "c-1")
}
fn dpo() -> Caller {
    with("HospitalMSP", "dpo", "d-1")
}
fn clinic_dpo() -> Caller {
    with("ClinicMSP", "dpo", "d-2")
}
fn records() -> Caller {
    with("HospitalMSP", "records", "r-1")
}
fn issuer() -> Caller {
    Caller::for_tests("CitizenMSP", "identity-service", &[("hc.role", "issuer")])
}
fn physician() -> Caller {
    with("ClinicMSP", "physician", "p-1")
}
fn specialist() -> Caller {
    with("HospitalMSP", "physician", "p-2")
}
fn auditor() -> Caller {
    with("RegulatorMSP", "auditor", "a-1")
}

fn call(function: &str, caller: &Caller, args: Value) -> Proposal {
    Proposal::new("research", function, caller).json(&args)
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

/// Refused with this status and code, without leaving anything on the ledger.
fn refused(ledger: &mut TestLedger, proposal: Proposal, status: i32, code: &str) {
    let height = ledger.height();
    let response = ledger.submit(proposal);
    assert!(
        response.status == status && response.message.starts_with(&format!("{code}: ")),
        "expected {status} {code}, got {} {}",
        response.status,
        response.message
    );
    assert_eq!(ledger.height(), height);
}

fn no(
    ledger: &mut TestLedger,
    function: &str,
    caller: &Caller,
    args: Value,
    status: i32,
    code: &str,
) {
    refused(ledger, call(function, caller, args), status, code);
}

fn ask(ledger: &TestLedger, function: &str, caller: &Caller, args: Value) -> Value {
    body(&ledger.evaluate(call(function, caller, args)))
}

/// A dataset on type 2 diabetes for research that an ethics board approved and that is not for
/// profit, for a year at most.
fn dataset(id: &str) -> Value {
    json!({"dataset": {"id": id, "schema": "OMOP:5.4", "size": "10-49",
        "use": {"permission": "DUO:0000007", "diseases": [{"code": DIABETES}],
            "modifiers": [{"code": "DUO:0000018"}, {"code": "DUO:0000021"},
                {"code": "DUO:0000025", "months": 12}]},
        "policyHash": hash(b"policy"), "contributors": ["ClinicMSP"]}})
}

fn project(id: &str) -> Value {
    json!({"project": {"id": id, "purpose": "disease", "diseases": [DIABETES],
        "countries": ["CN"], "protocolHash": hash(b"protocol")}})
}

fn approval(project: &str) -> Value {
    json!({"project": project, "verdict": "Approved", "docHash": hash(b"vote"), "until": START + 720 * DAY})
}

fn application(dar: &str) -> Value {
    json!({"dar": dar, "dataset": "ds-1", "project": "proj-1", "terms": {"months": 6}})
}

fn usage(grant: &str) -> Value {
    json!({"grant": grant, "kind": "compute", "inHash": hash(b"in"), "outHash": hash(b"out")})
}

fn export(grant: &str, excluded: u32) -> Value {
    json!({"grant": grant, "kind": "export", "inHash": hash(b"in"), "outHash": hash(b"out"), "excluded": excluded})
}

/// A listed dataset and a project in Draft.
fn begun() -> TestLedger {
    let mut ledger = TestLedger::new();
    ok(&mut ledger, "RegisterDataset", &records(), dataset("ds-1"));
    ok(
        &mut ledger,
        "RegisterProject",
        &investigator(),
        project("proj-1"),
    );
    ledger
}

/// The project is approved, and request `dar-1` brought as far as named.
fn brought_to(state: State) -> TestLedger {
    let mut ledger = begun();
    ok(&mut ledger, "DecideEthics", &ethics(), approval("proj-1"));
    let answer = ok(
        &mut ledger,
        "RequestData",
        &investigator(),
        application("dar-1"),
    );
    assert_eq!(answer["state"], "Submitted");
    match state {
        State::Submitted => return ledger,
        State::Refused => {
            let args = json!({"dar": "dar-1", "verdict": "Refused", "reason": "SCOPE"});
            ok(&mut ledger, "DecideRequest", &dpo(), args);
            return ledger;
        }
        _ => {}
    }
    let args = json!({"dar": "dar-1", "verdict": "Approved"});
    ok(&mut ledger, "DecideRequest", &dpo(), args);
    if state == State::Approved {
        return ledger;
    }
    let args = json!({"dar": "dar-1", "policyHash": hash(b"policy")});
    ok(&mut ledger, "AcceptTerms", &investigator(), args);
    match state {
        State::Revoked | State::Destroyed => {
            let args = json!({"grant": "dar-1", "reason": "BREACH"});
            ok(&mut ledger, "RevokeGrant", &dpo(), args);
        }
        State::Expired => ledger.advance(200 * DAY),
        _ => {}
    }
    if state == State::Destroyed {
        let args = json!({"grant": "dar-1", "proofHash": hash(b"shredded")});
        ok(&mut ledger, "ConfirmDestruction", &curator(), args);
    }
    ledger
}

fn letter(text: &str) -> String {
    json!({"text": text, "records": ["rec-1"], "salt": SALT}).to_string()
}

fn consult_request(con: &str) -> Proposal {
    let question = letter("What do you make of this?");
    let args = json!({"con": con, "to": "HospitalMSP", "specialty": "CARDIOLOGY",
        "questionHash": hash(question.as_bytes()), "expires": START + 7 * DAY});
    call("RequestConsult", &physician(), args).transient("question", question)
}

fn consult_accept(con: &str) -> Proposal {
    let question = letter("What do you make of this?");
    let args = json!({"con": con, "questionHash": hash(question.as_bytes())});
    call("AcceptConsult", &specialist(), args)
}

fn consult_opinion(con: &str) -> Proposal {
    let opinion = letter("Nothing to worry about.");
    let args = json!({"con": con, "opinionHash": hash(opinion.as_bytes()), "feeRef": "charge-7"});
    call("PostOpinion", &specialist(), args).transient("opinion", opinion)
}

fn consult_close(con: &str) -> Proposal {
    call(
        "CloseConsult",
        &physician(),
        json!({"con": con, "rating": 5}),
    )
}

/// Consultation `con-1` brought as far as named.
fn consult_at(state: State) -> TestLedger {
    let mut ledger = TestLedger::new();
    body(&ledger.submit(consult_request("con-1")));
    if state == State::Expired {
        ledger.advance(8 * DAY);
        ok(
            &mut ledger,
            "ExpireConsult",
            &physician(),
            json!({"con": "con-1"}),
        );
        return ledger;
    }
    let steps = [
        (State::Accepted, consult_accept as fn(&str) -> Proposal),
        (State::Answered, consult_opinion),
        (State::Closed, consult_close),
    ];
    if state == State::Requested {
        return ledger;
    }
    for (reached, proposal) in steps {
        body(&ledger.submit(proposal("con-1")));
        if reached == state {
            break;
        }
    }
    ledger
}
