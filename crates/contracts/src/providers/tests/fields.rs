//! Facts that two organizations agree on.

use super::*;

fn propose(caller: &Caller, value: &str) -> Proposal {
    let args = json!({"pid": "p-1", "field": "phone"});
    let field = json!({"value": value, "salt": SALT});
    call("ProposeField", caller, args).transient("field", field.to_string())
}

fn commit(value: &str) -> String {
    field_commitment(&hex::decode(SALT).unwrap(), "p-1", "phone", value)
}

fn confirmation(value: &str) -> Value {
    json!({"pid": "p-1", "field": "phone", "commit": commit(value)})
}

fn read(ledger: &TestLedger) -> Value {
    ask(
        ledger,
        "ReadField",
        &certifier(),
        json!({"pid": "p-1", "field": "phone"}),
    )
}

#[test]
fn one_proposes_another_confirms() {
    let mut ledger = practice();
    let answer = body(&ledger.submit(propose(&clerk(), "+86 10 555 0100")));
    assert_eq!(answer, json!({"id": "p-1", "state": "Proposed"}));
    let first = confirmation("+86 10 555 0100");
    no(
        &mut ledger,
        "ConfirmField",
        &clerk(),
        first.clone(),
        403,
        "SELF_CONFIRM",
    );
    let seen = read(&ledger);
    assert_eq!(seen["proposed"]["org"], "HospitalMSP");
    assert_eq!(seen["proposedValue"], "+86 10 555 0100");
    assert_eq!(seen.get("confirmedValue"), None);
    let answer = ok(&mut ledger, "ConfirmField", &insurer(), first.clone());
    assert_eq!(answer, json!({"id": "p-1", "state": "Confirmed"}));
    no(
        &mut ledger,
        "ConfirmField",
        &insurer(),
        first,
        409,
        "BAD_STATE",
    );

    // A correction: what is confirmed stays so until the new value is.
    body(&ledger.submit(propose(&insurer(), "+86 10 555 0199")));
    let seen = read(&ledger);
    assert_eq!(seen["confirmedValue"], "+86 10 555 0100");
    assert_eq!(seen["proposedValue"], "+86 10 555 0199");
    ok(
        &mut ledger,
        "ConfirmField",
        &clerk(),
        confirmation("+86 10 555 0199"),
    );
    let seen = read(&ledger);
    assert_eq!(seen["confirmedValue"], "+86 10 555 0199");
    assert_eq!(seen["confirmedBy"], "HospitalMSP");
    assert!(!contains(ledger.published(), b"555 01"));
    let listed = ask(&ledger, "ListFields", &physician(), json!({"pid": "p-1"}));
    assert_eq!(
        listed["entries"][0]["confirmed"]["commit"],
        commit("+86 10 555 0199")
    );
    assert_eq!(listed["entries"][0].get("confirmedValue"), None);
}

#[test]
fn nobody_confirms_what_was_proposed_after_it_looked() {
    let mut ledger = practice();
    body(&ledger.submit(propose(&clerk(), "one")));
    let confirm = ledger.endorse(call("ConfirmField", &insurer(), confirmation("one")));
    body(&ledger.submit(propose(&clerk(), "two")));
    assert_eq!(ledger.commit(confirm), Validity::MvccReadConflict);
    no(
        &mut ledger,
        "ConfirmField",
        &insurer(),
        confirmation("one"),
        422,
        "COMMIT_MISMATCH",
    );
    ok(&mut ledger, "ConfirmField", &insurer(), confirmation("two"));
}

#[test]
fn refusals_of_fields() {
    let mut ledger = practice();
    body(&ledger.submit(propose(&clerk(), "one")));
    refused(
        &ledger.submit(propose(&clinic_clerk(), "one")),
        409,
        "DUPLICATE",
    );
    refused(
        &ledger.submit(propose(&certifier(), "two")),
        403,
        "WRONG_ORG",
    );
    refused(
        &ledger.submit(propose(&physician(), "two")),
        403,
        "WRONG_ROLE",
    );
    no(
        &mut ledger,
        "ProposeField",
        &clerk(),
        json!({"pid": "p-1", "field": "phone"}),
        400,
        "MALFORMED",
    );
    no(
        &mut ledger,
        "ProposeField",
        &clerk(),
        json!({"pid": "p-1", "field": "mood"}),
        400,
        "MALFORMED",
    );
    let stranger = call(
        "ProposeField",
        &clerk(),
        json!({"pid": "p-7", "field": "phone"}),
    )
    .transient("field", json!({"value": "x", "salt": SALT}).to_string());
    refused(&ledger.submit(stranger), 404, "NOT_FOUND");
    for bad in [
        json!({"value": "", "salt": SALT}),
        json!({"value": "x", "salt": "00"}),
    ] {
        let proposal = call(
            "ProposeField",
            &clerk(),
            json!({"pid": "p-1", "field": "phone"}),
        )
        .transient("field", bad.to_string());
        refused(&ledger.submit(proposal), 400, "MALFORMED");
    }
    let other = json!({"pid": "p-1", "field": "email", "commit": commit("one")});
    no(
        &mut ledger,
        "ConfirmField",
        &insurer(),
        other,
        404,
        "NOT_FOUND",
    );
}
