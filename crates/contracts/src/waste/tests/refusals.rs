//! Who may not, and what is refused.

use super::*;

#[test]
fn each_function_is_for_its_roles() {
    let mut ledger = scheduled(NO, INFECTIOUS, 1);
    let physician = with("HospitalMSP", "physician");
    let maker = with("MakerMSP", "waste");
    let one = || json!({"no": NO});
    let seal = json!({"id": "x", "code": INFECTIOUS, "grams": 1, "dept": "W"});
    let numbers = json!({"no": NO, "count": 1, "grams": 1000});
    for (function, args, role) in [
        ("SealBag", seal, physician.clone()),
        (
            "CorrectBag",
            json!({"id": "b1", "grams": 1, "reason": "R"}),
            physician.clone(),
        ),
        (
            "CreateManifest",
            manifest_args(NEXT, &["b1".into()]),
            physician.clone(),
        ),
        ("CancelManifest", one(), physician.clone()),
        ("HandOver", numbers, physician.clone()),
        (
            "AcceptCarriage",
            json!({"no": NO, "vehicle": "V", "count": 1, "grams": 1}),
            disposer(),
        ),
        ("Deliver", one(), disposer()),
        ("AcceptAtFacility", json!({"no": NO, "bags": []}), carrier()),
        (
            "RejectLoad",
            json!({"no": NO, "newNo": NEXT, "reason": "R"}),
            carrier(),
        ),
        (
            "ResolveFlag",
            json!({"no": NO, "n": 1, "finding": "F"}),
            physician,
        ),
        (
            "Dispose",
            json!({"no": NO, "method": "steam", "batch": "B", "start": 0, "end": 0}),
            carrier(),
        ),
        (
            "Certify",
            json!({"no": NO, "certHash": hash(b"c")}),
            carrier(),
        ),
        (
            "SetTolerances",
            json!({"bagPermille": 1, "bagGrams": 1, "totalPermille": 1, "totalGrams": 1}),
            with("RegulatorMSP", "certifier"),
        ),
    ] {
        no(
            &mut ledger,
            function,
            &role,
            args.clone(),
            403,
            "WRONG_ROLE",
        );
        no(&mut ledger, function, &maker, args, 403, "WRONG_ORG");
    }
}

#[test]
fn only_the_parties_of_a_manifest_act_on_it() {
    let mut ledger = scheduled(NO, INFECTIOUS, 1);
    let numbers = json!({"no": NO, "count": 1, "grams": 1000});
    let vehicle = json!({"no": NO, "vehicle": "V", "count": 1, "grams": 1000});
    for (function, who, args) in [
        ("CancelManifest", clinic(), json!({"no": NO})),
        ("HandOver", clinic(), numbers.clone()),
        ("AcceptCarriage", hauler(), vehicle.clone()),
        ("AcceptAtFacility", burner(), json!({"no": NO, "bags": []})),
        (
            "RejectLoad",
            burner(),
            json!({"no": NO, "newNo": NEXT, "reason": "R"}),
        ),
        (
            "Dispose",
            burner(),
            json!({"no": NO, "method": "steam", "batch": "B", "start": 0, "end": 0}),
        ),
        (
            "Certify",
            burner(),
            json!({"no": NO, "certHash": hash(b"c")}),
        ),
    ] {
        no(&mut ledger, function, &who, args, 403, "NOT_PARTY");
    }
    no(
        &mut ledger,
        "CorrectBag",
        &clinic(),
        json!({"id": "b1", "grams": 1, "reason": "R"}),
        403,
        "NOT_HOLDER",
    );
    no(
        &mut ledger,
        "CreateManifest",
        &clinic(),
        manifest_args(NEXT, &["b1".into()]),
        403,
        "NOT_HOLDER",
    );
    for (function, args) in [
        ("Trace", json!({"no": NO})),
        ("Trace", json!({"bag": "b1"})),
        ("ReadBag", json!({"id": "b1"})),
    ] {
        no(
            &mut ledger,
            function,
            &clinic(),
            args.clone(),
            403,
            "NOT_PARTY",
        );
        ask(&ledger, function, &carrier(), args);
    }
    ok(&mut ledger, "HandOver", &ward(), numbers.clone());
    ok(&mut ledger, "AcceptCarriage", &carrier(), vehicle);
    no(
        &mut ledger,
        "Deliver",
        &hauler(),
        json!({"no": NO}),
        403,
        "NOT_PARTY",
    );
    no(
        &mut ledger,
        "HandOver",
        &ward(),
        numbers.clone(),
        403,
        "NOT_PARTY",
    );
    no(
        &mut ledger,
        "HandOver",
        &carrier(),
        numbers,
        422,
        "LAST_CARRIER",
    );
    ok(&mut ledger, "Deliver", &carrier(), json!({"no": NO}));
    ok(
        &mut ledger,
        "AcceptAtFacility",
        &disposer(),
        json!({"no": NO, "bags": []}),
    );
    let signed = json!({"no": NO, "n": 1, "finding": "F"});
    no(
        &mut ledger,
        "ResolveFlag",
        &clinic(),
        signed.clone(),
        403,
        "NOT_PARTY",
    );
    no(
        &mut ledger,
        "ResolveFlag",
        &hauler(),
        signed,
        403,
        "NOT_PARTY",
    );
}

#[test]
fn bags_have_a_code_a_weight_and_the_right_container() {
    let mut ledger = ledger();
    let bag = |change: (&str, Value)| {
        let mut args = json!({"id": "x", "code": INFECTIOUS, "grams": 1000, "dept": "W"});
        args[change.0] = change.1;
        args
    };
    for (change, status, code) in [
        (("code", json!("841-009-01")), 422, "UNKNOWN_CODE"),
        (("code", json!("841-002-01")), 422, "CONTAINER"),
        (("grams", json!(0)), 400, "MALFORMED"),
        (("grams", json!(-5)), 400, "MALFORMED"),
        (("grams", json!(1.5)), 400, "MALFORMED"),
        (("grams", json!(10_000_001)), 400, "MALFORMED"),
        (("dept", json!("ward of the ill")), 400, "MALFORMED"),
        (("id", json!("")), 400, "MALFORMED"),
        (("container", json!("sack")), 400, "MALFORMED"),
        (("sealedAt", json!(START + 1)), 422, "SEALED_AT"),
        (("sealedAt", json!(-1)), 422, "SEALED_AT"),
        (("patient", json!("x")), 400, "MALFORMED"),
    ] {
        no(&mut ledger, "SealBag", &ward(), bag(change), status, code);
    }
    ok(
        &mut ledger,
        "SealBag",
        &ward(),
        bag(("sealedAt", json!(START - DAY))),
    );
    no(
        &mut ledger,
        "SealBag",
        &ward(),
        bag(("grams", json!(1))),
        409,
        "DUPLICATE",
    );
    no(
        &mut ledger,
        "ReadBag",
        &ward(),
        json!({"id": "y"}),
        404,
        "NOT_FOUND",
    );
    no(
        &mut ledger,
        "CorrectBag",
        &ward(),
        json!({"id": "x", "grams": 1, "reason": "a b"}),
        400,
        "MALFORMED",
    );
}

#[test]
fn manifests_are_checked_before_they_are_made() {
    let mut ledger = scheduled(NO, INFECTIOUS, 1);
    seal(&mut ledger, "i", INFECTIOUS, 1000);
    seal(&mut ledger, "p", PHARMACEUTICAL, 1000);
    seal(&mut ledger, "d", "D001", 1000);
    let epa = "123456789ABC";
    let made = |no: &str, bags: &[&str], carriers: &[&str], disposer: &str| json!({"no": no, "carriers": carriers, "disposer": disposer, "bags": bags});
    let firm: &[&str] = &["WasteMSP"];
    for (args, status, code) in [
        (made("1", &["i"], firm, "WasteMSP"), 422, "BAD_NUMBER"),
        (made(NO, &["i"], firm, "WasteMSP"), 409, "DUPLICATE"),
        (made(NEXT, &[], firm, "WasteMSP"), 400, "MALFORMED"),
        (made(NEXT, &["i", "i"], firm, "WasteMSP"), 409, "DUPLICATE"),
        (made(NEXT, &["x"], firm, "WasteMSP"), 404, "NOT_FOUND"),
        (made(NEXT, &["b1"], firm, "WasteMSP"), 409, "BAD_STATE"),
        (
            made(NEXT, &["i", "p"], firm, "WasteMSP"),
            422,
            "MIXED_CLASS",
        ),
        (made(NEXT, &["d"], firm, "WasteMSP"), 422, "CODE_SCHEME"),
        (made(epa, &["i"], firm, "WasteMSP"), 422, "CODE_SCHEME"),
        (
            made(NEXT, &["i"], &["MakerMSP"], "WasteMSP"),
            422,
            "UNKNOWN_ORG",
        ),
        (made(NEXT, &["i"], firm, "HospitalMSP"), 422, "UNKNOWN_ORG"),
        (made(NEXT, &["i"], &[], "WasteMSP"), 400, "MALFORMED"),
        (
            made(NEXT, &["i"], &["WasteMSP", "WasteMSP"], "WasteMSP"),
            400,
            "MALFORMED",
        ),
    ] {
        no(&mut ledger, "CreateManifest", &ward(), args, status, code);
    }
    lose(&mut ledger, "HaulerMSP", INFECTIOUS);
    for args in [
        made(NEXT, &["i"], &["HaulerMSP"], "WasteMSP"),
        made(NEXT, &["i"], firm, "HaulerMSP"),
    ] {
        no(
            &mut ledger,
            "CreateManifest",
            &ward(),
            args,
            422,
            "UNLICENSED",
        );
    }
    // It still may carry what it has a licence for.
    ok(
        &mut ledger,
        "CreateManifest",
        &ward(),
        made(NEXT, &["p"], &["HaulerMSP"], "WasteMSP"),
    );
    no(
        &mut ledger,
        "Trace",
        &ward(),
        json!({"no": "20261101000009"}),
        404,
        "NOT_FOUND",
    );
    no(&mut ledger, "Trace", &ward(), json!({}), 400, "MALFORMED");
    no(
        &mut ledger,
        "Trace",
        &ward(),
        json!({"no": NO, "bag": "i"}),
        400,
        "MALFORMED",
    );
}

#[test]
fn numbers_of_hand_overs_and_scales_have_bounds() {
    let mut ledger = scheduled(NO, INFECTIOUS, 1);
    for (count, grams) in [(10_001, 1), (1, 0), (1, 2_000_000_001u64)] {
        let numbers = json!({"no": NO, "count": count, "grams": grams});
        no(&mut ledger, "HandOver", &ward(), numbers, 400, "MALFORMED");
    }
    let mut ledger = delivered(NO, INFECTIOUS, 1);
    for (bags, status, code) in [
        (json!([{"bag": "b1", "grams": 0}]), 400, "MALFORMED"),
        (json!([{"bag": "b 1", "grams": 1}]), 400, "MALFORMED"),
        (
            json!([{"bag": "b1", "grams": 1}, {"bag": "b1", "grams": 1}]),
            409,
            "DUPLICATE",
        ),
        (
            json!(vec![json!({"bag": "b1", "grams": 1}); 201]),
            400,
            "MALFORMED",
        ),
    ] {
        no(
            &mut ledger,
            "AcceptAtFacility",
            &disposer(),
            json!({"no": NO, "bags": bags}),
            status,
            code,
        );
    }
    let most = json!({"bagPermille": 1001, "bagGrams": 0, "totalPermille": 0, "totalGrams": 0});
    no(
        &mut ledger,
        "SetTolerances",
        &environment(),
        most,
        400,
        "MALFORMED",
    );
}

#[test]
fn a_load_is_refused_for_a_reason_and_to_somewhere() {
    let mut ledger = delivered(NO, INFECTIOUS, 2);
    lose(&mut ledger, "HaulerMSP", INFECTIOUS);
    let reject = |change: (&str, Value)| {
        let mut args = json!({"no": NO, "newNo": NEXT, "reason": "CLOSED"});
        args[change.0] = change.1;
        args
    };
    for (change, status, code) in [
        (("reason", json!("it smells")), 400, "MALFORMED"),
        (("bags", json!([])), 400, "MALFORMED"),
        (("bags", json!(["b3"])), 422, "NOT_ON_MANIFEST"),
        (("newNo", json!("x")), 422, "BAD_NUMBER"),
        (("newNo", json!("123456789ABC")), 422, "BAD_NUMBER"),
        (("newNo", json!(NO)), 409, "DUPLICATE"),
        (("altFacility", json!("WasteMSP")), 422, "SELF_REJECTION"),
        (("altFacility", json!("MakerMSP")), 422, "UNKNOWN_ORG"),
        (("altFacility", json!("HaulerMSP")), 422, "UNLICENSED"),
    ] {
        no(
            &mut ledger,
            "RejectLoad",
            &disposer(),
            reject(change),
            status,
            code,
        );
    }
    // Bag by bag, until nothing is left of it.
    ok(
        &mut ledger,
        "RejectLoad",
        &disposer(),
        reject(("bags", json!(["b1"]))),
    );
    let again = json!({"no": NO, "newNo": "20261101000003", "bags": ["b1"], "reason": "R"});
    no(
        &mut ledger,
        "RejectLoad",
        &disposer(),
        again,
        422,
        "NOT_ON_MANIFEST",
    );
    let rest = json!({"no": NO, "newNo": "20261101000003", "bags": ["b2"], "reason": "R"});
    ok(&mut ledger, "RejectLoad", &disposer(), rest);
    assert_eq!(state_of(&ledger, NO), "Rejected");
}

#[test]
fn flags_are_decided_by_those_who_answer_for_them() {
    let mut ledger = delivered(NO, INFECTIOUS, 1);
    ok(
        &mut ledger,
        "AcceptAtFacility",
        &disposer(),
        json!({"no": NO, "bags": []}),
    );
    let signed = |n: u32| json!({"no": NO, "n": n, "finding": "F"});
    no(
        &mut ledger,
        "ResolveFlag",
        &ward(),
        signed(2),
        404,
        "NOT_FOUND",
    );
    let early = json!({"no": NO, "n": 1, "finding": "F", "verdict": "Accepted"});
    no(&mut ledger, "ResolveFlag", &ward(), early, 400, "MALFORMED");
    no(
        &mut ledger,
        "ResolveFlag",
        &environment(),
        signed(1),
        400,
        "MALFORMED",
    );
    resolve(&mut ledger, NO, 1, "Accepted");
    no(
        &mut ledger,
        "ResolveFlag",
        &ward(),
        signed(1),
        409,
        "BAD_STATE",
    );
    let again = json!({"no": NO, "n": 1, "finding": "F", "verdict": "Referred"});
    no(
        &mut ledger,
        "ResolveFlag",
        &environment(),
        again,
        409,
        "BAD_STATE",
    );
}

#[test]
fn the_method_must_fit_the_class_and_the_time_the_load() {
    let mut ledger = delivered(NO, PHARMACEUTICAL, 1);
    let accepted = ledger.now();
    ok(
        &mut ledger,
        "AcceptAtFacility",
        &disposer(),
        json!({"no": NO, "bags": weighed(1, 1000)}),
    );
    ledger.advance(DAY);
    let dispose = |method: &str, start: i64, end: i64| json!({"no": NO, "method": method, "batch": "B", "start": start, "end": end});
    for method in ["steam", "microwave", "chemical-disinfection", "landfill"] {
        let args = dispose(method, accepted, accepted);
        no(&mut ledger, "Dispose", &disposer(), args, 422, "METHOD");
    }
    no(
        &mut ledger,
        "Dispose",
        &disposer(),
        dispose("prayer", accepted, accepted),
        400,
        "MALFORMED",
    );
    for (start, end) in [
        (accepted - 1, accepted),
        (accepted + 2, accepted + 1),
        (accepted, accepted + DAY + 1),
    ] {
        let args = dispose("incineration", start, end);
        no(&mut ledger, "Dispose", &disposer(), args, 422, "PERIOD");
    }
    ok(
        &mut ledger,
        "Dispose",
        &disposer(),
        dispose("incineration", accepted, accepted + DAY),
    );
    no(
        &mut ledger,
        "Certify",
        &disposer(),
        json!({"no": NO, "certHash": "x"}),
        400,
        "MALFORMED",
    );
}

#[test]
fn a_registry_that_does_not_answer_stops_what_needs_it() {
    let mut ledger = TestLedger::new();
    seal(&mut ledger, "b1", INFECTIOUS, 1000);
    let args = manifest_args(NO, &["b1".to_owned()]);
    let admin = with("RegulatorMSP", "certifier");
    ok(
        &mut ledger,
        "Configure",
        &admin,
        json!({"registry": "nowhere"}),
    );
    no(
        &mut ledger,
        "CreateManifest",
        &ward(),
        args.clone(),
        500,
        "LEDGER",
    );
    // Without one, everybody of the configuration is taken for licensed.
    ok(&mut ledger, "Configure", &admin, json!({}));
    ok(&mut ledger, "CreateManifest", &ward(), args);
}
