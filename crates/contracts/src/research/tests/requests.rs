//! Requests for data, told by those who take part.

use super::*;

#[test]
fn data_goes_from_offer_to_publication_and_everybody_sees_what_became_of_it() {
    let mut ledger = begun();
    // The investigator looks around, and asks too early.
    let found = ask(
        &ledger,
        "FindDatasets",
        &investigator(),
        json!({"duo": "DUO:0000007"}),
    );
    assert_eq!(found["datasets"], json!(["ds-1"]));
    let of_hospital = json!({"custodian": "HospitalMSP"});
    let found = ask(&ledger, "FindDatasets", &investigator(), of_hospital);
    assert_eq!(found["datasets"], json!(["ds-1"]));
    let list = ask(
        &ledger,
        "ListProjects",
        &dpo(),
        json!({"org": "ResearchMSP"}),
    );
    assert_eq!(list["projects"], json!(["proj-1"]));
    let terms = json!({"dataset": "ds-1", "project": "proj-1", "terms": {"months": 6}});
    let dry = ask(&ledger, "EvaluateRequest", &investigator(), terms.clone());
    assert_eq!(dry, json!({"decision": "Denied", "code": "NO_ETHICS"}));
    let early = ok(
        &mut ledger,
        "RequestData",
        &investigator(),
        application("dar-0"),
    );
    assert_eq!(
        early,
        json!({"id": "dar-0", "state": "AutoDenied", "decision": "Denied", "code": "NO_ETHICS"})
    );
    // The board decides, the investigator asks again.
    ok(&mut ledger, "DecideEthics", &ethics(), approval("proj-1"));
    let read = ask(&ledger, "ReadProject", &dpo(), json!({"id": "proj-1"}));
    assert_eq!(
        (&read["state"], &read["ethicsBy"], &read["ethicsDoc"]),
        (&json!("Approved"), &json!("e-1"), &json!(hash(b"vote")))
    );
    let dry = ask(&ledger, "EvaluateRequest", &investigator(), terms);
    assert_eq!(dry["code"], "OK");
    let asked = ok(
        &mut ledger,
        "RequestData",
        &investigator(),
        application("dar-1"),
    );
    assert_eq!(
        (&asked["state"], &asked["code"]),
        (&json!("Submitted"), &json!("OK"))
    );
    // The hospital's data protection officer sees it, and offers terms.
    let list = ask(
        &ledger,
        "ListRequests",
        &dpo(),
        json!({"state": "Submitted"}),
    );
    assert_eq!(list["requests"], json!(["dar-1"]));
    ok(
        &mut ledger,
        "DecideRequest",
        &dpo(),
        json!({"dar": "dar-1", "verdict": "Approved"}),
    );
    let list = ask(
        &ledger,
        "ListRequests",
        &dpo(),
        json!({"state": "Submitted"}),
    );
    assert_eq!(list["requests"], json!([]));
    let offer = ask(
        &ledger,
        "ReadRequest",
        &investigator(),
        json!({"dar": "dar-1"}),
    );
    assert_eq!(offer["policyHash"], hash(b"policy"));
    let args = json!({"dar": "dar-1", "policyHash": offer["policyHash"]});
    ok(&mut ledger, "AcceptTerms", &investigator(), args);
    let grant = ask(&ledger, "ReadGrant", &dpo(), json!({"grant": "dar-1"}));
    // 2026-11-23 and six months.
    assert_eq!(grant["until"], START + 181 * DAY);
    assert_eq!(
        (&grant["purpose"], &grant["diseases"], &grant["acceptedBy"]),
        (&json!("disease"), &json!([DIABETES]), &json!("i-1"))
    );
    // Use, one entry each.
    ok(&mut ledger, "RecordUse", &curator(), export("dar-1", 0));
    ok(&mut ledger, "RecordUse", &curator(), usage("dar-1"));
    let log = ask(&ledger, "UseLog", &dpo(), json!({"grant": "dar-1"}));
    let kinds: Vec<_> = log["uses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|u| u["kind"].clone())
        .collect();
    assert_eq!(kinds, ["export", "compute"]);
    let log = ask(
        &ledger,
        "UseLog",
        &dpo(),
        json!({"grant": "dar-1", "bookmark": 1}),
    );
    assert_eq!(log["uses"][0]["n"], 2);
    // What came out is linked back, and those whose data it was are credited.
    let args = json!({"out": "out-1", "grant": "dar-1", "doi": "10.1234/diabetes.7", "hash": hash(b"paper")});
    ok(&mut ledger, "ReportOutput", &investigator(), args);
    let outputs = ask(&ledger, "ListOutputs", &dpo(), json!({"dataset": "ds-1"}));
    assert_eq!(outputs["outputs"], json!(["out-1"]));
    let output = ask(&ledger, "ReadOutput", &dpo(), json!({"out": "out-1"}));
    assert_eq!(output["credits"], json!(["HospitalMSP", "ClinicMSP"]));
    for org in ["HospitalMSP", "ClinicMSP"] {
        let credits = ask(&ledger, "Credits", &auditor(), json!({"org": org}));
        assert_eq!(credits["outputs"], json!(["out-1"]), "{org}");
    }
    let names: Vec<_> = ledger
        .events()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "research.DatasetListed",
            "research.ProjectRegistered",
            "research.DataRequested",
            "research.EthicsDecided",
            "research.DataRequested",
            "research.RequestDecided",
            "research.GrantActive",
            "research.UseRecorded",
            "research.UseRecorded",
            "research.OutputReported",
        ]
    );
}

#[test]
fn a_commercial_laboratory_is_told_which_code_it_does_not_meet() {
    let mut ledger = begun();
    let mut lab = project("proj-2");
    lab["project"]["forProfit"] = json!(true);
    ok(&mut ledger, "RegisterProject", &investigator(), lab);
    let mut asked = application("dar-2");
    asked["project"] = json!("proj-2");
    let answer = ok(&mut ledger, "RequestData", &investigator(), asked);
    assert_eq!(
        answer,
        json!({"id": "dar-2", "state": "AutoDenied", "decision": "Denied", "code": "DUO_MISMATCH 0000018"})
    );
    let kept = ask(&ledger, "ReadRequest", &dpo(), json!({"dar": "dar-2"}));
    assert_eq!(
        (&kept["code"], &kept["duo"]),
        (&json!("DUO_MISMATCH"), &json!("DUO:0000018"))
    );
    let list = ask(
        &ledger,
        "ListRequests",
        &dpo(),
        json!({"state": "AutoDenied"}),
    );
    assert_eq!(list["requests"], json!(["dar-2"]));
    let (_, event) = ledger.events().last().unwrap();
    let event: Value = serde_json::from_slice(event).unwrap();
    assert_eq!(event["ref"], "DUO_MISMATCH 0000018");
}

#[test]
fn a_revoked_grant_is_used_no_more_and_its_destruction_is_watched() {
    let mut ledger = brought_to(State::Active);
    ok(&mut ledger, "RecordUse", &curator(), usage("dar-1"));
    let args = json!({"grant": "dar-1", "reason": "BREACH"});
    ok(&mut ledger, "RevokeGrant", &dpo(), args);
    no(
        &mut ledger,
        "RecordUse",
        &curator(),
        usage("dar-1"),
        422,
        "GRANT_EXPIRED",
    );
    let overdue = |ledger: &TestLedger| {
        ask(ledger, "OverdueDestructions", &auditor(), json!({}))["overdue"].clone()
    };
    ledger.advance(30 * DAY);
    assert_eq!(overdue(&ledger), json!([]));
    ledger.advance(1);
    assert_eq!(
        overdue(&ledger),
        json!([{"grant": "dar-1", "org": "ResearchMSP", "custodian": "HospitalMSP",
            "state": "Revoked", "destroyBy": START + 30 * DAY}])
    );
    let args = json!({"grant": "dar-1", "proofHash": hash(b"shredded")});
    ok(&mut ledger, "ConfirmDestruction", &curator(), args);
    assert_eq!(overdue(&ledger), json!([]));
    let grant = ask(&ledger, "ReadGrant", &dpo(), json!({"grant": "dar-1"}));
    assert_eq!(
        (&grant["state"], &grant["proofHash"]),
        (&json!("Destroyed"), &json!(hash(b"shredded")))
    );
}

#[test]
fn a_grant_ends_by_itself_and_copies_are_due_thirty_days_later() {
    let mut ledger = brought_to(State::Active);
    ledger.set_time(START + 181 * DAY - 1);
    ok(&mut ledger, "RecordUse", &curator(), usage("dar-1"));
    ledger.advance(1);
    no(
        &mut ledger,
        "RecordUse",
        &curator(),
        usage("dar-1"),
        422,
        "GRANT_EXPIRED",
    );
    let grant = ask(&ledger, "ReadGrant", &dpo(), json!({"grant": "dar-1"}));
    assert_eq!(grant["state"], "Expired");
    ledger.advance(30 * DAY + 1);
    let overdue = ask(&ledger, "OverdueDestructions", &dpo(), json!({}));
    assert_eq!(overdue["overdue"][0]["state"], "Expired");
    let args = json!({"grant": "dar-1", "proofHash": hash(b"shredded")});
    ok(&mut ledger, "ConfirmDestruction", &investigator(), args);
}

#[test]
fn a_grant_ends_with_the_datasets_limit_and_with_the_ethics_approval() {
    for (months, limit, ethics_days, expected) in [
        // 2027-05-23, 2027-02-23, and the approval's own end.
        (6, 12, 720, START + 181 * DAY),
        (3, 3, 720, START + 92 * DAY),
        (12, 12, 40, START + 40 * DAY),
    ] {
        let mut ledger = TestLedger::new();
        let mut offered = dataset("ds-1");
        offered["dataset"]["use"]["modifiers"][2]["months"] = json!(limit);
        ok(&mut ledger, "RegisterDataset", &records(), offered);
        ok(
            &mut ledger,
            "RegisterProject",
            &investigator(),
            project("proj-1"),
        );
        let mut vote = approval("proj-1");
        vote["until"] = json!(START + ethics_days * DAY);
        ok(&mut ledger, "DecideEthics", &ethics(), vote);
        let mut asked = application("dar-1");
        asked["terms"]["months"] = json!(months);
        ok(&mut ledger, "RequestData", &investigator(), asked);
        ok(
            &mut ledger,
            "DecideRequest",
            &dpo(),
            json!({"dar": "dar-1", "verdict": "Approved"}),
        );
        let args = json!({"dar": "dar-1", "policyHash": hash(b"policy")});
        ok(&mut ledger, "AcceptTerms", &investigator(), args);
        let grant = ask(&ledger, "ReadGrant", &dpo(), json!({"grant": "dar-1"}));
        assert_eq!(grant["until"], expected, "{months} months");
    }
}

#[test]
fn what_binds_an_organization_is_marked_in_its_own_collection() {
    let mut ledger = brought_to(State::Submitted);
    let collections = |ledger: &TestLedger, proposal: Proposal| -> Vec<String> {
        ledger
            .endorse(proposal)
            .written_collections()
            .into_iter()
            .collect()
    };
    let hospital = "_implicit_org_HospitalMSP";
    let research = "_implicit_org_ResearchMSP";
    let decide = call(
        "DecideRequest",
        &dpo(),
        json!({"dar": "dar-1", "verdict": "Approved"}),
    );
    assert_eq!(collections(&ledger, decide.clone()), [hospital]);
    ledger.submit(decide);
    let accept = call(
        "AcceptTerms",
        &investigator(),
        json!({"dar": "dar-1", "policyHash": hash(b"policy")}),
    );
    assert_eq!(collections(&ledger, accept.clone()), [hospital, research]);
    ledger.submit(accept);
    assert_eq!(
        collections(&ledger, call("RecordUse", &curator(), usage("dar-1"))),
        [research]
    );
    let revoke = call(
        "RevokeGrant",
        &dpo(),
        json!({"grant": "dar-1", "reason": "R"}),
    );
    assert_eq!(collections(&ledger, revoke), [hospital]);
}

#[test]
fn of_racing_revocation_and_use_only_the_first_is_valid() {
    let mut ledger = brought_to(State::Active);
    let revoke = ledger.endorse(call(
        "RevokeGrant",
        &dpo(),
        json!({"grant": "dar-1", "reason": "R"}),
    ));
    let used = ledger.endorse(call("RecordUse", &curator(), usage("dar-1")));
    assert_eq!(used.response.status, 200);
    assert_eq!(ledger.commit(revoke), Validity::Valid);
    assert_eq!(ledger.commit(used), Validity::MvccReadConflict);
    let grant = ask(&ledger, "ReadGrant", &dpo(), json!({"grant": "dar-1"}));
    assert_eq!(
        (&grant["state"], &grant["uses"]),
        (&json!("Revoked"), &json!(0))
    );
}

#[test]
fn of_two_decisions_only_the_first_is_valid() {
    let mut ledger = brought_to(State::Submitted);
    let approve = ledger.endorse(call(
        "DecideRequest",
        &dpo(),
        json!({"dar": "dar-1", "verdict": "Approved"}),
    ));
    let refuse = ledger.endorse(call(
        "DecideRequest",
        &dpo(),
        json!({"dar": "dar-1", "verdict": "Refused", "reason": "R"}),
    ));
    assert_eq!(ledger.commit(refuse), Validity::Valid);
    assert_eq!(ledger.commit(approve), Validity::MvccReadConflict);
}
