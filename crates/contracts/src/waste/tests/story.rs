//! From the ward to the certificate, and what goes wrong on the way.

use super::super::epa;
use super::*;

/// Brings a load of twelve bags of 36 kg to the facility.
fn twelve(no: &str, code: &str, carriers: &[Caller]) -> TestLedger {
    let mut ledger = ledger();
    let bags: Vec<String> = (1..=12).map(|n| format!("b{n}")).collect();
    for bag in &bags {
        seal(&mut ledger, bag, code, 36_000);
    }
    let firms: Vec<_> = carriers.iter().map(Caller::msp_id).collect();
    ok(
        &mut ledger,
        "CreateManifest",
        &ward(),
        json!({"no": no, "carriers": firms, "disposer": "WasteMSP", "bags": bags}),
    );
    let mut giver = ward();
    for taker in carriers {
        let numbers = json!({"no": no, "count": 12, "grams": 432_000});
        let answer = ok(&mut ledger, "HandOver", &giver, numbers);
        assert_eq!(
            (&answer["state"], &answer["code"]),
            (&json!("HandedOver"), &json!("OK"))
        );
        ledger.advance(HOUR);
        let numbers = json!({"no": no, "vehicle": "V-7", "count": 12, "grams": 432_000});
        let answer = ok(&mut ledger, "AcceptCarriage", taker, numbers);
        assert_eq!(
            (&answer["state"], &answer["code"]),
            (&json!("InTransit"), &json!("OK"))
        );
        giver = taker.clone();
    }
    ok(&mut ledger, "Deliver", &giver, json!({"no": no}));
    ledger
}

fn scale(n: usize, grams: u64) -> Value {
    json!({"bag": format!("b{n}"), "grams": grams})
}

/// Disposal and certificate of what was accepted.
fn finish(ledger: &mut TestLedger, no: &str, method: &str, grams: u64) {
    let start = ledger.now();
    ledger.advance(2 * HOUR);
    let end = ledger.now();
    ok(
        ledger,
        "Dispose",
        &disposer(),
        json!({"no": no, "method": method, "batch": "K-17", "start": start, "end": end}),
    );
    ok(
        ledger,
        "Certify",
        &disposer(),
        json!({"no": no, "certHash": hash(b"certificate")}),
    );
    let manifest = trace(ledger, no)["manifest"].clone();
    assert_eq!(manifest["state"], "Certified");
    assert_eq!(manifest["disposal"]["grams"], grams);
    assert_eq!(manifest["disposal"]["certHash"], hash(b"certificate"));
}

#[test]
fn a_full_load_goes_from_the_ward_to_its_certificate() {
    let shipment = epa::read(include_bytes!("data/full-electronic.json")).unwrap();
    let bags = &shipment.wastes[1];
    assert_eq!(bags.grams_each().unwrap(), vec![36_000; 12]);
    let epa_code = bags.code.clone().unwrap();
    // The three carriers of the example; and the same load as a manifest of China.
    let relay = vec![carrier(), hauler(), carrier()];
    for (no, code, carriers) in [
        ("123456789ABC", epa_code.as_str(), relay),
        (NO, INFECTIOUS, vec![carrier()]),
    ] {
        let mut ledger = twelve(no, code, &carriers);
        assert_eq!(bag(&ledger, "b1")["holder"], "WasteMSP");
        let all: Vec<Value> = (1..=12).map(|n| scale(n, 36_000)).collect();
        let answer = ok(
            &mut ledger,
            "AcceptAtFacility",
            &disposer(),
            json!({"no": no, "bags": all}),
        );
        assert_eq!(
            answer,
            json!({"id": no, "state": "Accepted", "decision": "Accepted", "code": "OK"})
        );
        finish(&mut ledger, no, "incineration", 432_000);
        assert_eq!(bag(&ledger, "b12")["state"], "Disposed");

        let traced = trace(&ledger, no);
        let legs = traced["legs"].as_array().unwrap();
        assert_eq!(legs.len(), carriers.len() + 1);
        for leg in legs {
            assert!(leg["took"]["txId"].is_string(), "{leg}");
            assert_eq!(leg["took"]["org"], leg["to"]);
        }
        assert_eq!(legs[0]["gave"]["org"], "HospitalMSP");
        assert_eq!(legs[0]["gave"]["role"], "waste");
        assert_eq!(traced["missingLegs"], json!([]));
        assert_eq!(traced["late"], json!([]));
        assert_eq!(traced["flags"], json!([]));
        assert_eq!(traced["eManifestStatus"], "Signed");

        let traced = ask(&ledger, "Trace", &ward(), json!({"bag": "b3"}));
        let states: Vec<_> = traced["history"].as_array().unwrap().iter().collect();
        assert_eq!(states[0]["state"], "Sealed");
        assert_eq!(states[0]["holder"], "HospitalMSP");
        assert_eq!(states.last().unwrap()["state"], "Disposed");
        assert_eq!(traced["manifests"][0]["manifest"]["no"], no);
        let (name, _) = ledger.events().last().unwrap();
        assert_eq!(name, "waste.Certified");
    }
}

#[test]
fn a_light_bag_and_a_missing_one_are_flagged_and_settled_by_three_signatures() {
    let mut ledger = twelve(NO, INFECTIOUS, &[carrier()]);
    // Bag 5 weighs 6 % less, bag 9 is not there.
    let found: Vec<Value> = (1..=12)
        .filter(|n| *n != 9)
        .map(|n| scale(n, if n == 5 { 33_840 } else { 36_000 }))
        .collect();
    let answer = ok(
        &mut ledger,
        "AcceptAtFacility",
        &disposer(),
        json!({"no": NO, "bags": found}),
    );
    assert_eq!(
        answer,
        json!({"id": NO, "state": "Discrepant", "decision": "Flagged", "code": "WEIGHT"})
    );
    assert_eq!(
        ledger.events().last().unwrap().0,
        "waste.DiscrepancyFlagged"
    );
    let raised = trace(&ledger, NO)["flags"].clone();
    assert_eq!(flags(&ledger, NO), ["WEIGHT", "MISSING_BAG"]);
    assert_eq!(raised[0]["bag"], "b5");
    assert_eq!(
        (&raised[0]["expected"], &raised[0]["found"]),
        (&json!(36_000), &json!(33_840))
    );
    assert_eq!(raised[1]["bag"], "b9");
    // The regulator's view has them at once; the parties see theirs, others none.
    for (who, count) in [
        (environment(), 2),
        (ward(), 2),
        (disposer(), 2),
        (clinic(), 0),
    ] {
        let view = ask(&ledger, "Flags", &who, json!({}));
        assert_eq!(
            view["flags"].as_array().unwrap().len(),
            count,
            "{}",
            who.msp_id()
        );
    }
    let signed = json!({"no": NO, "n": 1, "finding": "SCALE"});
    let verdict =
        |n: u32, verdict: &str| json!({"no": NO, "n": n, "finding": "OK", "verdict": verdict});
    no(
        &mut ledger,
        "ResolveFlag",
        &environment(),
        verdict(1, "Accepted"),
        422,
        "SIGNATURES",
    );
    ok(&mut ledger, "ResolveFlag", &disposer(), signed.clone());
    no(
        &mut ledger,
        "ResolveFlag",
        &disposer(),
        signed.clone(),
        409,
        "ALREADY_SIGNED",
    );
    no(
        &mut ledger,
        "ResolveFlag",
        &environment(),
        verdict(1, "Accepted"),
        422,
        "SIGNATURES",
    );
    ok(&mut ledger, "ResolveFlag", &ward(), signed);
    ok(
        &mut ledger,
        "ResolveFlag",
        &environment(),
        verdict(1, "Accepted"),
    );
    assert_eq!(
        state_of(&ledger, NO),
        "Discrepant",
        "the missing bag is open"
    );
    resolve(&mut ledger, NO, 2, "Referred");
    assert_eq!(state_of(&ledger, NO), "Referred");
    let view = ask(&ledger, "Flags", &environment(), json!({}));
    assert_eq!(view["flags"][0]["findings"].as_array().unwrap().len(), 3);
    assert_eq!(view["flags"][0]["state"], "Referred");
    no(
        &mut ledger,
        "ResolveFlag",
        &environment(),
        verdict(2, "Referred"),
        409,
        "BAD_STATE",
    );
    // The authority closes the matter, and the load can be burnt.
    ok(
        &mut ledger,
        "ResolveFlag",
        &environment(),
        verdict(2, "Accepted"),
    );
    assert_eq!(state_of(&ledger, NO), "Accepted");
    assert_eq!(
        ask(&ledger, "Flags", &environment(), json!({}))["flags"],
        json!([])
    );
    let all = ask(
        &ledger,
        "Flags",
        &environment(),
        json!({"all": true, "code": "MISSING_BAG"}),
    );
    assert_eq!(all["flags"].as_array().unwrap().len(), 1);
    let start = ledger.now();
    ok(
        &mut ledger,
        "Dispose",
        &disposer(),
        json!({"no": NO, "method": "incineration", "batch": "K", "start": start, "end": start}),
    );
    assert_eq!(bag(&ledger, "b9")["state"], "Missing");
    assert_eq!(bag(&ledger, "b9")["holder"], "WasteMSP");
    assert_eq!(
        trace(&ledger, NO)["manifest"]["disposal"]["grams"],
        10 * 36_000 + 33_840
    );
}

#[test]
fn a_part_that_is_refused_goes_on_with_a_linked_manifest() {
    let shipment = epa::read(include_bytes!("data/partial-reject.json")).unwrap();
    let rejection = shipment.rejection.unwrap();
    assert_eq!(rejection.kind, "PartialReject");
    let next = rejection.new_numbers[0].as_str();
    let first = "123456789ABC";
    let mut ledger = twelve(first, "D003", &[carrier()]);
    ok(
        &mut ledger,
        "RejectLoad",
        &disposer(),
        json!({"no": first, "newNo": next, "bags": ["b1", "b2"], "reason": "REACTIVE", "altFacility": "BurnerMSP"}),
    );
    assert_eq!(state_of(&ledger, first), "Delivered");
    assert_eq!(trace(&ledger, first)["manifest"]["next"], json!([next]));
    let child = trace(&ledger, next)["manifest"].clone();
    assert_eq!(child["previous"], first);
    assert_eq!(
        (&child["state"], &child["grams"]),
        (&json!("HandedOver"), &json!(72_000))
    );
    // What stays is accepted, what goes is taken along by the carrier that still has it.
    let rest: Vec<Value> = (3..=12).map(|n| scale(n, 36_000)).collect();
    let answer = ok(
        &mut ledger,
        "AcceptAtFacility",
        &disposer(),
        json!({"no": first, "bags": rest}),
    );
    assert_eq!(answer["state"], "Accepted");
    assert_eq!(bag(&ledger, "b1")["holder"], "WasteMSP");
    ok(
        &mut ledger,
        "AcceptCarriage",
        &carrier(),
        json!({"no": next, "vehicle": "V-7", "count": 2, "grams": 72_000}),
    );
    ok(&mut ledger, "Deliver", &carrier(), json!({"no": next}));
    ok(
        &mut ledger,
        "AcceptAtFacility",
        &burner(),
        json!({"no": next, "bags": [scale(1, 36_000), scale(2, 36_000)]}),
    );
    assert_eq!(bag(&ledger, "b1")["holder"], "BurnerMSP");
    finish(&mut ledger, first, "incineration", 360_000);
    let traced = ask(&ledger, "Trace", &ward(), json!({"bag": "b1"}));
    let numbers: Vec<_> = traced["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["manifest"]["no"].clone())
        .collect();
    assert_eq!(numbers, [first, next]);
}

#[test]
fn a_load_that_is_refused_goes_back_to_the_ward_and_can_be_sent_again() {
    let mut ledger = delivered(NO, PHARMACEUTICAL, 2);
    ok(
        &mut ledger,
        "RejectLoad",
        &disposer(),
        json!({"no": NO, "newNo": NEXT, "reason": "CLOSED"}),
    );
    assert_eq!(state_of(&ledger, NO), "Rejected");
    // Nobody takes it along for a day.
    ledger.advance(DAY + 1);
    let late = trace(&ledger, NEXT)["late"].clone();
    assert_eq!(
        (&late[0]["what"], &late[0]["org"]),
        (&json!("PICKUP"), &json!("WasteMSP"))
    );
    ok(
        &mut ledger,
        "AcceptCarriage",
        &carrier(),
        json!({"no": NEXT, "vehicle": "V-7", "count": 2, "grams": 2000}),
    );
    ok(&mut ledger, "Deliver", &carrier(), json!({"no": NEXT}));
    no(
        &mut ledger,
        "AcceptAtFacility",
        &disposer(),
        json!({"no": NEXT, "bags": weighed(2, 1000)}),
        403,
        "NOT_PARTY",
    );
    // One came back too light: the ward and the carrier sign, the regulator decides.
    let bags = json!([{"bag": "b1", "grams": 1000}, {"bag": "b2", "grams": 500}]);
    let answer = ok(
        &mut ledger,
        "AcceptAtFacility",
        &ward(),
        json!({"no": NEXT, "bags": bags}),
    );
    assert_eq!(answer["state"], "Discrepant");
    let signed = json!({"no": NEXT, "n": 1, "finding": "LEAK"});
    ok(&mut ledger, "ResolveFlag", &ward(), signed.clone());
    ok(&mut ledger, "ResolveFlag", &carrier(), signed);
    ok(
        &mut ledger,
        "ResolveFlag",
        &environment(),
        json!({"no": NEXT, "n": 1, "finding": "LEAK", "verdict": "Accepted"}),
    );
    assert_eq!(state_of(&ledger, NEXT), "Returned");
    assert_eq!(bag(&ledger, "b1")["state"], "Sealed");
    assert_eq!(bag(&ledger, "b1")["holder"], "HospitalMSP");
    let third = "20261101000003";
    let bags = vec!["b1".to_owned(), "b2".to_owned()];
    ok(
        &mut ledger,
        "CreateManifest",
        &ward(),
        manifest_args(third, &bags),
    );
    // Its storage counts from when it was sealed.
    ledger.advance(DAY);
    let answer = carry(&mut ledger, third, 2, 2000);
    assert_eq!(answer["code"], "OVER_STORAGE");
}

#[test]
fn what_is_late_or_unlicensed_is_in_the_regulators_view() {
    let mut ledger = scheduled(NO, INFECTIOUS, 3);
    seal(&mut ledger, "left", INFECTIOUS, 500);
    let overdue = |ledger: &TestLedger, who: &Caller| {
        let answer = ask(ledger, "Overdue", who, json!({}));
        assert_eq!(answer["more"], false);
        let late = answer["late"].as_array().unwrap().clone();
        let mut what: Vec<_> = late
            .iter()
            .map(|late| {
                format!(
                    "{} {}",
                    late["what"].as_str().unwrap(),
                    late["bag"].as_str().or(late["no"].as_str()).unwrap()
                )
            })
            .collect();
        what.sort();
        what
    };
    ledger.advance(48 * HOUR);
    assert!(overdue(&ledger, &environment()).is_empty());
    ledger.advance(1);
    let bags = ["STORAGE b1", "STORAGE b2", "STORAGE b3", "STORAGE left"];
    assert_eq!(overdue(&ledger, &environment()), bags);
    assert_eq!(overdue(&ledger, &ward()), bags);
    assert!(overdue(&ledger, &clinic()).is_empty());
    assert_eq!(trace(&ledger, NO)["late"].as_array().unwrap().len(), 3);

    // The licence is lost between the manifest and its carriage: carried, and flagged at once.
    lose(&mut ledger, "WasteMSP", INFECTIOUS);
    let answer = carry(&mut ledger, NO, 3, 3000);
    assert_eq!(
        (&answer["decision"], &answer["code"]),
        (&json!("Flagged"), &json!("UNLICENSED"))
    );
    assert_eq!(flags(&ledger, NO), ["UNLICENSED", "OVER_STORAGE"]);
    let view = ask(
        &ledger,
        "Flags",
        &environment(),
        json!({"code": "UNLICENSED", "org": "WasteMSP"}),
    );
    assert_eq!(view["flags"][0]["counterpart"], "WasteMSP");
    assert_eq!(view["flags"][0]["holds"], false);
    // And no new manifest is made with it.
    no(
        &mut ledger,
        "CreateManifest",
        &ward(),
        manifest_args(NEXT, &["left".to_owned()]),
        422,
        "UNLICENSED",
    );

    ledger.advance(DAY);
    assert_eq!(overdue(&ledger, &carrier()), Vec::<String>::new());
    ledger.advance(1);
    assert_eq!(overdue(&ledger, &carrier()), [format!("TRANSIT {NO}")]);
    // Delivered on a Thursday: five working days end on the next.
    ok(&mut ledger, "Deliver", &carrier(), json!({"no": NO}));
    ledger.advance(7 * DAY);
    assert_eq!(overdue(&ledger, &disposer()), Vec::<String>::new());
    ledger.advance(1);
    assert_eq!(
        overdue(&ledger, &disposer()),
        [format!("CONFIRMATION {NO}")]
    );
    assert_eq!(
        overdue(&ledger, &environment()),
        [format!("CONFIRMATION {NO}"), "STORAGE left".into()]
    );
    let then = ask(&ledger, "Overdue", &environment(), json!({"asOf": START}));
    assert_eq!(then["late"], json!([]));
    // The facility's licence is gone as well: accepted, flagged.
    let answer = ok(
        &mut ledger,
        "AcceptAtFacility",
        &disposer(),
        json!({"no": NO, "bags": weighed(3, 1000)}),
    );
    assert_eq!(
        (&answer["state"], &answer["code"]),
        (&json!("Accepted"), &json!("UNLICENSED"))
    );
    assert_eq!(overdue(&ledger, &environment()), ["STORAGE left"]);
    // A flag that holds nothing up is decided all the same.
    resolve_unlicensed(&mut ledger);
}

fn resolve_unlicensed(ledger: &mut TestLedger) {
    let signed = json!({"no": NO, "n": 1, "finding": "RENEWAL-LATE"});
    ok(ledger, "ResolveFlag", &ward(), signed.clone());
    ok(ledger, "ResolveFlag", &carrier(), signed);
    let answer = ok(
        ledger,
        "ResolveFlag",
        &environment(),
        json!({"no": NO, "n": 1, "finding": "FINED", "verdict": "Referred"}),
    );
    assert_eq!(answer["state"], "Referred");
    assert_eq!(state_of(ledger, NO), "Accepted");
}

#[test]
fn numbers_that_differ_at_a_hand_over_are_flagged_at_once() {
    let mut ledger = scheduled(NO, INFECTIOUS, 3);
    let answer = ok(
        &mut ledger,
        "HandOver",
        &ward(),
        json!({"no": NO, "count": 4, "grams": 3501}),
    );
    assert_eq!(
        answer,
        json!({"id": NO, "state": "HandedOver", "decision": "Flagged", "code": "COUNT"})
    );
    let answer = ok(
        &mut ledger,
        "AcceptCarriage",
        &carrier(),
        json!({"no": NO, "vehicle": "V", "count": 3, "grams": 2900}),
    );
    assert_eq!(answer["code"], "COUNT");
    assert_eq!(flags(&ledger, NO), ["COUNT", "WEIGHT", "COUNT", "WEIGHT"]);
    let raised = trace(&ledger, NO)["flags"].clone();
    assert_eq!(
        (&raised[2]["expected"], &raised[2]["found"]),
        (&json!(4), &json!(3))
    );
    assert_eq!(
        (&raised[3]["expected"], &raised[3]["found"]),
        (&json!(3501), &json!(2900))
    );
    assert_eq!(state_of(&ledger, NO), "InTransit", "it goes on");
}

#[test]
fn a_carrier_that_was_left_out_is_a_missing_leg() {
    let mut ledger = ledger();
    seal(&mut ledger, "b1", INFECTIOUS, 1000);
    ok(
        &mut ledger,
        "CreateManifest",
        &ward(),
        json!({"no": NO, "carriers": ["WasteMSP", "HaulerMSP"], "disposer": "BurnerMSP", "bags": ["b1"]}),
    );
    carry(&mut ledger, NO, 1, 1000);
    let answer = ok(&mut ledger, "Deliver", &carrier(), json!({"no": NO}));
    assert_eq!(answer["code"], "MISSING_LEG");
    assert_eq!(trace(&ledger, NO)["missingLegs"], json!(["HaulerMSP"]));
    let view = ask(&ledger, "Flags", &environment(), json!({}));
    assert_eq!(view["flags"][0]["code"], "MISSING_LEG");
}

#[test]
fn a_bag_that_is_on_no_manifest_stays_whose_it_is() {
    let mut ledger = delivered(NO, INFECTIOUS, 2);
    seal(&mut ledger, "stray", INFECTIOUS, 700);
    let mut bags = weighed(2, 1000);
    bags.push(json!({"bag": "stray", "grams": 690}));
    bags.push(json!({"bag": "nobody-knows", "grams": 10}));
    let answer = ok(
        &mut ledger,
        "AcceptAtFacility",
        &disposer(),
        json!({"no": NO, "bags": bags}),
    );
    assert_eq!(
        (&answer["state"], &answer["code"]),
        (&json!("Discrepant"), &json!("EXTRA_BAG"))
    );
    assert_eq!(flags(&ledger, NO), ["EXTRA_BAG", "EXTRA_BAG"]);
    assert_eq!(bag(&ledger, "stray")["holder"], "HospitalMSP");
    assert_eq!(bag(&ledger, "stray")["state"], "Sealed");
    let manifest = trace(&ledger, NO)["manifest"].clone();
    assert_eq!(manifest["grams"], 2000);
    assert_eq!(manifest["extra"].as_array().unwrap().len(), 2);
}

#[test]
fn a_weight_is_corrected_until_the_bag_is_on_a_manifest_and_nothing_is_erased() {
    let mut ledger = ledger();
    seal(&mut ledger, "b1", INFECTIOUS, 1000);
    let correction = json!({"id": "b1", "grams": 1100, "reason": "SCALE"});
    ok(&mut ledger, "CorrectBag", &ward(), correction.clone());
    ok(
        &mut ledger,
        "CreateManifest",
        &ward(),
        manifest_args(NO, &["b1".to_owned()]),
    );
    no(
        &mut ledger,
        "CorrectBag",
        &ward(),
        correction.clone(),
        409,
        "BAD_STATE",
    );
    assert_eq!(trace(&ledger, NO)["manifest"]["grams"], 1100);
    let history = ask(&ledger, "Trace", &ward(), json!({"bag": "b1"}))["history"].clone();
    assert_eq!(
        (&history[0]["grams"], &history[1]["grams"]),
        (&json!(1000), &json!(1100))
    );
    ok(&mut ledger, "CancelManifest", &ward(), json!({"no": NO}));
    assert_eq!(state_of(&ledger, NO), "Cancelled");
    ok(&mut ledger, "CorrectBag", &ward(), correction);
    // The number is used up, the bag is not.
    no(
        &mut ledger,
        "CreateManifest",
        &ward(),
        manifest_args(NO, &["b1".to_owned()]),
        409,
        "DUPLICATE",
    );
    ok(
        &mut ledger,
        "CreateManifest",
        &ward(),
        manifest_args(NEXT, &["b1".to_owned()]),
    );
    let listed = ask(
        &ledger,
        "ListManifests",
        &ward(),
        json!({"org": "HospitalMSP"}),
    );
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 2);
    let listed = ask(
        &ledger,
        "ListManifests",
        &clinic(),
        json!({"org": "HospitalMSP"}),
    );
    assert_eq!(listed["manifests"], json!([]));
}

#[test]
fn tolerances_are_the_regulators_to_set() {
    let mut ledger = delivered(NO, INFECTIOUS, 1);
    let zero = json!({"bagPermille": 0, "bagGrams": 0, "totalPermille": 0, "totalGrams": 0});
    ok(&mut ledger, "SetTolerances", &environment(), zero);
    let bags = json!([{"bag": "b1", "grams": 1001}]);
    ok(
        &mut ledger,
        "AcceptAtFacility",
        &disposer(),
        json!({"no": NO, "bags": bags}),
    );
    let raised = trace(&ledger, NO)["flags"].clone();
    assert_eq!(raised[0]["bag"], "b1");
    assert_eq!(raised[1]["bag"], Value::Null, "the whole load as well");
}
