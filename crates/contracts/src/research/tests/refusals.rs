//! Who may not, and what may not be said.

use super::*;

#[test]
fn each_function_is_for_its_organization_and_role() {
    let mut ledger = brought_to(State::Active);
    body(&ledger.submit(consult_request("con-1")));
    let patient = Caller::for_tests("CitizenMSP", "u", &[("hc.role", "patient")]);
    let con = || json!({"con": "con-1"});
    for (function, wrong_org, wrong_role, args) in [
        ("RegisterDataset", auditor(), physician(), dataset("ds-9")),
        (
            "CloseDataset",
            auditor(),
            physician(),
            json!({"id": "ds-1"}),
        ),
        (
            "WithdrawSubject",
            curator(),
            dpo(),
            json!({"dataset": "ds-1", "token": TOKEN}),
        ),
        (
            "Withdrawals",
            patient.clone(),
            physician(),
            json!({"dataset": "ds-1"}),
        ),
        ("RegisterProject", dpo(), curator(), project("proj-9")),
        ("DecideEthics", dpo(), investigator(), approval("proj-1")),
        (
            "Count",
            dpo(),
            curator(),
            json!({"countId": "n", "project": "proj-1", "dataset": "ds-1", "queryHash": hash(b"q")}),
        ),
        (
            "AnswerCount",
            auditor(),
            physician(),
            json!({"countId": "n", "cells": []}),
        ),
        ("RequestData", dpo(), curator(), application("dar-9")),
        (
            "DecideRequest",
            auditor(),
            records(),
            json!({"dar": "dar-1", "verdict": "Approved"}),
        ),
        (
            "AcceptTerms",
            dpo(),
            curator(),
            json!({"dar": "dar-1", "policyHash": hash(b"policy")}),
        ),
        ("RecordUse", dpo(), investigator(), usage("dar-1")),
        (
            "RevokeGrant",
            auditor(),
            records(),
            json!({"grant": "dar-1", "reason": "R"}),
        ),
        (
            "ConfirmDestruction",
            dpo(),
            ethics(),
            json!({"grant": "dar-1", "proofHash": hash(b"p")}),
        ),
        (
            "ReportOutput",
            dpo(),
            ethics(),
            json!({"out": "o", "grant": "dar-1", "hash": hash(b"p")}),
        ),
        ("RequestConsult", investigator(), dpo(), json!({})),
        (
            "AcceptConsult",
            investigator(),
            dpo(),
            json!({"con": "con-1", "questionHash": hash(b"q")}),
        ),
        (
            "PostOpinion",
            investigator(),
            dpo(),
            json!({"con": "con-1", "opinionHash": hash(b"o")}),
        ),
        (
            "CloseConsult",
            investigator(),
            dpo(),
            json!({"con": "con-1", "rating": 1}),
        ),
        ("ForgetConsult", investigator(), physician(), con()),
    ] {
        no(
            &mut ledger,
            function,
            &wrong_org,
            args.clone(),
            403,
            "WRONG_ORG",
        );
        no(&mut ledger, function, &wrong_role, args, 403, "WRONG_ROLE");
    }
    no(
        &mut ledger,
        "ExpireConsult",
        &investigator(),
        con(),
        403,
        "WRONG_ORG",
    );
    no(
        &mut ledger,
        "OverdueDestructions",
        &with("InsurerMSP", "fraud", "f"),
        json!({}),
        403,
        "WRONG_ORG",
    );
}

#[test]
fn each_thing_is_for_those_it_concerns() {
    let mut ledger = brought_to(State::Active);
    let admin = with("RegulatorMSP", "certifier", "c-9")
        .with_node_role(Some(crate::caller::NodeRole::Admin));
    let parts = json!({"research": ["ResearchMSP", "LabMSP"], "providers": ["HospitalMSP", "ClinicMSP", "OtherMSP"]});
    ok(&mut ledger, "Configure", &admin, parts);
    body(&ledger.submit(consult_request("con-1")));
    let count = |id: &str| json!({"countId": id, "project": "proj-1", "dataset": "ds-1", "queryHash": hash(b"q")});
    ok(&mut ledger, "Count", &investigator(), count("n-1"));
    let lab = |role: &str| with("LabMSP", role, "l-1");
    let con = || json!({"con": "con-1"});
    let question = hash(letter("What do you make of this?").as_bytes());
    for (function, caller, args, code) in [
        (
            "CloseDataset",
            clinic_dpo(),
            json!({"id": "ds-1"}),
            "NOT_CUSTODIAN",
        ),
        (
            "AnswerCount",
            clinic_dpo(),
            json!({"countId": "n-1", "cells": []}),
            "NOT_CUSTODIAN",
        ),
        (
            "DecideRequest",
            clinic_dpo(),
            json!({"dar": "dar-1", "verdict": "Approved"}),
            "NOT_CUSTODIAN",
        ),
        (
            "RevokeGrant",
            clinic_dpo(),
            json!({"grant": "dar-1", "reason": "R"}),
            "NOT_CUSTODIAN",
        ),
        (
            "Count",
            lab("investigator"),
            count("n-2"),
            "NOT_PROJECT_ORG",
        ),
        (
            "RequestData",
            lab("investigator"),
            application("dar-2"),
            "NOT_PROJECT_ORG",
        ),
        (
            "AcceptTerms",
            lab("investigator"),
            json!({"dar": "dar-1", "policyHash": hash(b"policy")}),
            "NOT_PROJECT_ORG",
        ),
        ("RecordUse", lab("curator"), usage("dar-1"), "NOT_GRANTEE"),
        (
            "ConfirmDestruction",
            lab("curator"),
            json!({"grant": "dar-1", "proofHash": hash(b"p")}),
            "NOT_GRANTEE",
        ),
        (
            "ReportOutput",
            lab("curator"),
            json!({"out": "o", "grant": "dar-1", "hash": hash(b"p")}),
            "NOT_GRANTEE",
        ),
        (
            "AcceptConsult",
            with("OtherMSP", "physician", "p-9"),
            json!({"con": "con-1", "questionHash": question}),
            "NOT_ADDRESSEE",
        ),
        (
            "ExpireConsult",
            with("OtherMSP", "physician", "p-9"),
            con(),
            "NOT_PARTY",
        ),
        (
            "ForgetConsult",
            with("OtherMSP", "dpo", "d-9"),
            con(),
            "NOT_PARTY",
        ),
        (
            "CheckConsultAccess",
            with("OtherMSP", "physician", "p-9"),
            con(),
            "NOT_PARTY",
        ),
        (
            "CloseConsult",
            specialist(),
            json!({"con": "con-1", "rating": 1}),
            "NOT_REQUESTER",
        ),
    ] {
        no(&mut ledger, function, &caller, args, 403, code);
    }
    let args = json!({"con": "con-2", "to": "HospitalMSP", "toPid": "p-3", "specialty": "S",
        "questionHash": question, "expires": START + DAY});
    let meant = call("RequestConsult", &physician(), args)
        .transient("question", letter("What do you make of this?"));
    body(&ledger.submit(meant));
    refused(&mut ledger, consult_accept("con-2"), 403, "NOT_ADDRESSEE");
    body(&ledger.submit(consult_accept("con-1")));
    let opinion = letter("Mine.");
    let args = json!({"con": "con-1", "opinionHash": hash(opinion.as_bytes())});
    let other = call(
        "PostOpinion",
        &with("HospitalMSP", "physician", "p-3"),
        args,
    )
    .transient("opinion", opinion);
    refused(&mut ledger, other, 403, "NOT_CONSULTANT");
}

#[test]
fn nobody_approves_oneself() {
    let mut ledger = begun();
    let second = with("ResearchMSP", "ethics", "i-1");
    no(
        &mut ledger,
        "DecideEthics",
        &second,
        approval("proj-1"),
        403,
        "SELF_APPROVAL",
    );
    ok(&mut ledger, "DecideEthics", &ethics(), approval("proj-1"));
    // Who voted does not apply.
    let board = with("ResearchMSP", "investigator", "e-1");
    no(
        &mut ledger,
        "RequestData",
        &board,
        application("dar-1"),
        403,
        "SELF_APPROVAL",
    );
    let colleague = with("ResearchMSP", "investigator", "i-2");
    ok(&mut ledger, "RequestData", &colleague, application("dar-1"));
    let decision = json!({"dar": "dar-1", "verdict": "Approved"});
    for pid in ["i-1", "i-2"] {
        let same = with("HospitalMSP", "dpo", pid);
        no(
            &mut ledger,
            "DecideRequest",
            &same,
            decision.clone(),
            403,
            "SELF_APPROVAL",
        );
    }
    ok(&mut ledger, "DecideRequest", &dpo(), decision);
    let accept = json!({"dar": "dar-1", "policyHash": hash(b"policy")});
    no(
        &mut ledger,
        "AcceptTerms",
        &board,
        accept,
        403,
        "SELF_APPROVAL",
    );
    // Nor does anybody consult oneself.
    let question = letter("Q");
    let consult = |to: &str, pid: Option<&str>| {
        let args = json!({"con": "con-9", "to": to, "toPid": pid, "specialty": "S",
            "questionHash": hash(question.as_bytes()), "expires": START + DAY});
        call("RequestConsult", &physician(), args).transient("question", question.as_bytes())
    };
    refused(&mut ledger, consult("ClinicMSP", None), 422, "SELF_CONSULT");
    refused(
        &mut ledger,
        consult("HospitalMSP", Some("p-1")),
        422,
        "SELF_CONSULT",
    );
    body(&ledger.submit(consult("HospitalMSP", None)));
    let twice = with("HospitalMSP", "physician", "p-1");
    let args = json!({"con": "con-9", "questionHash": hash(question.as_bytes())});
    no(
        &mut ledger,
        "AcceptConsult",
        &twice,
        args,
        422,
        "SELF_CONSULT",
    );
}

#[test]
fn who_decides_is_known_by_a_pseudonym() {
    let mut ledger = begun();
    let nameless = |msp: &str, role: &str| Caller::for_tests(msp, "x", &[("hc.role", role)]);
    for (function, caller, args) in [
        (
            "RegisterProject",
            nameless("ResearchMSP", "investigator"),
            project("proj-2"),
        ),
        (
            "DecideEthics",
            nameless("ResearchMSP", "ethics"),
            approval("proj-1"),
        ),
        (
            "DecideRequest",
            nameless("HospitalMSP", "dpo"),
            json!({"dar": "d", "verdict": "Approved"}),
        ),
        (
            "AcceptConsult",
            nameless("HospitalMSP", "physician"),
            json!({"con": "c", "questionHash": hash(b"q")}),
        ),
    ] {
        no(&mut ledger, function, &caller, args, 403, "NO_PID");
    }
}

/// A registry that knows of nobody.
struct Suspended;

impl crate::Contract for Suspended {
    fn name(&self) -> &'static str {
        "suspended"
    }

    fn invoke(&self, _: &mut dyn crate::Stub) -> Response {
        Response::success(r#"{"active":false,"reason":"SUSPENDED"}"#)
    }
}

#[test]
fn a_suspended_credential_ends_research_and_consultation() {
    let mut ledger = brought_to(State::Approved);
    body(&ledger.submit(consult_request("con-1")));
    ledger.install(std::sync::Arc::new(Suspended));
    let admin = with("RegulatorMSP", "certifier", "c-9")
        .with_node_role(Some(crate::caller::NodeRole::Admin));
    ok(
        &mut ledger,
        "Configure",
        &admin,
        json!({"registry": "suspended"}),
    );
    for (function, caller, args) in [
        ("RegisterProject", investigator(), project("proj-2")),
        ("DecideEthics", ethics(), approval("proj-1")),
        ("Count", investigator(), json!({})),
        ("RequestData", investigator(), application("dar-2")),
        (
            "AcceptTerms",
            investigator(),
            json!({"dar": "dar-1", "policyHash": hash(b"policy")}),
        ),
    ] {
        no(&mut ledger, function, &caller, args, 403, "CREDENTIAL");
    }
    refused(&mut ledger, consult_request("con-2"), 403, "CREDENTIAL");
    refused(&mut ledger, consult_accept("con-1"), 403, "CREDENTIAL");
    refused(&mut ledger, consult_opinion("con-1"), 403, "CREDENTIAL");
}
