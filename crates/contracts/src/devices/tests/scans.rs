//! What carriers are worth.

use super::*;

#[test]
fn verdicts_come_in_their_order() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    ok(
        &mut ledger,
        "RegisterProduct",
        &regulatory(),
        product("09506000117843"),
    );
    let cases = [
        ("(01)1234".to_owned(), "MALFORMED"),
        ("+H123PARTNO1234567890120".to_owned(), "BAD_CHECK_DIGIT"),
        (
            format!("(01){}(17)271231(10)L1(21)S1", "00844588018924"),
            "BAD_CHECK_DIGIT",
        ),
        (
            "(01)09504000059118(17)271231(10)L1(21)S1".to_owned(),
            "UNKNOWN_DI",
        ),
        (
            "(01)09506000117843(17)271231(10)L1(21)S1".to_owned(),
            "NOT_CERTIFIED",
        ),
        (format!("(01){DI}(10)L1(21)S1"), "MISSING_PI"),
        (format!("(01){DI}(17)271231(21)S1"), "MISSING_PI"),
        (format!("(01){DI}(17)271231(10)L1"), "MISSING_PI"),
        (format!("(01){DI}(17)271231(10)L9(21)S1"), "UNKNOWN_LOT"),
        (format!("(01){DI}(17)271231(10)L1(21)S9"), "UNKNOWN_SERIAL"),
        (format!("(01){DI}(17)281231(10)L1(21)S1"), "DATE_MISMATCH"),
        (
            format!("(01){DI}(11)260106(17)271231(10)L1(21)S1"),
            "DATE_MISMATCH",
        ),
        (carrier("S2"), "WRONG_HOLDER"),
        (carrier("S1"), "OK"),
        (format!("(01){DI}(11)260105(17)271231(10)L1(21)S1"), "OK"),
    ];
    for (text, code) in cases {
        assert_eq!(
            ask(&ledger, "CheckUdi", &supply(), json!({"carrier": text}))["code"],
            code,
            "{text}"
        );
    }
    ok(
        &mut ledger,
        "OpenRecall",
        &recall_desk(),
        json!({"no": "R1", "class": "II", "di": DI, "scope": {"units": [{"lot": "L1", "serial": "S1"}]}}),
    );
    assert_eq!(
        ask(
            &ledger,
            "CheckUdi",
            &supply(),
            json!({"carrier": carrier("S1")})
        )["code"],
        "RECALLED"
    );
    ok(
        &mut ledger,
        "AcknowledgeRecall",
        &supply(),
        json!({"no": "R1", "unit": unit("S1"), "action": "Quarantined"}),
    );
    ok(
        &mut ledger,
        "CloseRecall",
        &recall_desk(),
        json!({"no": "R1"}),
    );
    ledger.set_time(START + 403 * DAY); // 2027-12-31
    assert_eq!(
        ask(
            &ledger,
            "CheckUdi",
            &supply(),
            json!({"carrier": carrier("S1")})
        )["code"],
        "OK"
    );
    ledger.advance(DAY);
    assert_eq!(
        ask(
            &ledger,
            "CheckUdi",
            &supply(),
            json!({"carrier": carrier("S1")})
        )["code"],
        "EXPIRED"
    );
}

#[test]
fn the_published_example_is_expired_and_its_copies_are_found() {
    let mut ledger = TestLedger::new();
    let di = "09504000059118";
    certified(&mut ledger, product(di));
    let label = "(01)09504000059118(17)141120(10)7654321D(21)10987654d321";
    ok(
        &mut ledger,
        "RegisterLot",
        &shipping(),
        json!({"di": di, "lot": "7654321D", "exp": "2014-11-20", "qty": 1}),
    );
    ok(
        &mut ledger,
        "RegisterUnits",
        &shipping(),
        json!({"di": di, "lot": "7654321D", "serials": ["10987654d321"]}),
    );
    let scan = |ledger: &mut TestLedger, who: &Caller, text: &str| {
        ok(
            ledger,
            "ScanUdi",
            who,
            json!({"carrier": text, "place": "DOCK-2"}),
        )
    };
    let answer = scan(&mut ledger, &clinic_supply(), label);
    assert_eq!(
        (&answer["decision"], &answer["code"], &answer["state"]),
        (
            &json!("Suspicious"),
            &json!("EXPIRED"),
            &json!("Manufactured")
        )
    );
    // The second lot, good until 2030, its unit implanted at the hospital.
    ok(
        &mut ledger,
        "RegisterLot",
        &shipping(),
        json!({"di": di, "lot": "B2", "exp": "2030-11-20", "qty": 1}),
    );
    ok(
        &mut ledger,
        "RegisterUnits",
        &shipping(),
        json!({"di": di, "lot": "B2", "serials": ["X1"]}),
    );
    let id = json!({"di": di, "lot": "B2", "serial": "X1"});
    let good = "(01)09504000059118(17)301120(10)B2(21)X1";
    ok(
        &mut ledger,
        "Ship",
        &shipping(),
        json!({"units": [id], "to": "HospitalMSP"}),
    );
    ok(
        &mut ledger,
        "Receive",
        &supply(),
        json!({"units": [id], "scans": [good]}),
    );
    ok(
        &mut ledger,
        "Implant",
        &surgeon(),
        json!({"unit": id, "procedureRef": "Procedure/p", "patientCommit": hash(b"c")}),
    );
    for (text, code) in [
        (good, "ALREADY_USED"),
        ("(01)09504000059118(17)301120(10)B2(21)X2", "UNKNOWN_SERIAL"),
        ("(01)09504000059118(17)301120(10)B3(21)X1", "UNKNOWN_LOT"),
    ] {
        assert_eq!(scan(&mut ledger, &clinic_supply(), text)["code"], code);
    }
    let scan_event: Value = ledger
        .events()
        .iter()
        .rev()
        .find(|(_, p)| p.windows(12).any(|w| w == b"ALREADY_USED"))
        .map(|(_, payload)| serde_json::from_slice(payload).unwrap())
        .unwrap();
    assert_eq!(
        (&scan_event["org"], &scan_event["ref"]),
        (&json!("ClinicMSP"), &json!("HospitalMSP"))
    );
    // Evidence stays with the unit, and another's scan has not touched it.
    let trace = ask(&ledger, "TraceUnit", &inspector(), json!({"unit": id}));
    assert_eq!(trace["scans"][0]["code"], "ALREADY_USED");
    assert_eq!(trace["scans"][0]["place"], "DOCK-2");
    assert_eq!(trace["unit"]["state"], "Implanted");
}

#[test]
fn a_synthetic_label_is_caught_by_digit_then_date_then_age() {
    let mut ledger = TestLedger::new();
    let di = "38205793067473";
    let mut nail = product(di);
    nail["product"]["label"] = json!({"lot": true, "serial": true, "expires": true});
    certified(&mut ledger, nail);
    ok(
        &mut ledger,
        "RegisterLot",
        &shipping(),
        json!({"di": di, "lot": "8060748503699044610", "mfg": "1965-10-25", "exp": "1990-11-09", "qty": 1}),
    );
    ok(
        &mut ledger,
        "RegisterUnits",
        &shipping(),
        json!({"di": di, "lot": "8060748503699044610", "serials": ["371594"]}),
    );
    for (text, code) in [
        (
            "(01)38205793067477(11)651025(17)901109(10)8060748503699044610(21)371594",
            "BAD_CHECK_DIGIT",
        ),
        (
            "(01)38205793067473(11)651025(17)901109(10)8060748503699044610(21)371594",
            "DATE_MISMATCH",
        ),
        (
            "(01)38205793067473(17)901109(10)8060748503699044610(21)371594",
            "EXPIRED",
        ),
    ] {
        assert_eq!(
            ask(&ledger, "CheckUdi", &supply(), json!({"carrier": text}))["code"],
            code
        );
    }
}

#[test]
fn what_arrives_with_a_bad_label_is_quarantined_and_noted() {
    let mut ledger = made();
    ok(
        &mut ledger,
        "Ship",
        &shipping(),
        json!({"units": [unit("S1"), unit("S2")], "to": "HospitalMSP", "sscc": "106141411234567897"}),
    );
    no(
        &mut ledger,
        "Receive",
        &supply(),
        json!({"units": [unit("S1")], "scans": []}),
        400,
        "MALFORMED",
    );
    no(
        &mut ledger,
        "Receive",
        &clinic_supply(),
        json!({"units": [unit("S1")], "scans": [carrier("S1")]}),
        403,
        "NOT_RECEIVER",
    );
    // The second box holds a copy of the first.
    let answer = ok(
        &mut ledger,
        "Receive",
        &supply(),
        json!({"units": [unit("S1"), unit("S2")], "scans": [carrier("S1"), carrier("S1")]}),
    );
    assert_eq!(
        (&answer["decision"], &answer["code"]),
        (&json!("Quarantined"), &json!("UNKNOWN_SERIAL"))
    );
    assert_eq!(answer["units"][0]["state"], "InStock");
    assert_eq!(answer["units"][1]["state"], "Quarantined");
    no(
        &mut ledger,
        "Implant",
        &surgeon(),
        json!({"unit": unit("S2"), "procedureRef": "Procedure/p", "patientCommit": hash(b"c")}),
        409,
        "BAD_STATE",
    );
    no(
        &mut ledger,
        "Ship",
        &supply(),
        json!({"units": [unit("S2")], "to": "ClinicMSP"}),
        409,
        "BAD_STATE",
    );
    no(
        &mut ledger,
        "ReleaseQuarantine",
        &supply(),
        json!({"unit": unit("S2"), "finding": "RELABELLED"}),
        403,
        "WRONG_ORG",
    );
    no(
        &mut ledger,
        "ReleaseQuarantine",
        &inspector(),
        json!({"unit": unit("S1"), "finding": "RELABELLED"}),
        409,
        "BAD_STATE",
    );
    ok(
        &mut ledger,
        "ReleaseQuarantine",
        &inspector(),
        json!({"unit": unit("S2"), "finding": "RELABELLED"}),
    );
    assert_eq!(state_of(&ledger, "S2"), "InStock");
    let held = ask(
        &ledger,
        "UnitsHeld",
        &inspector(),
        json!({"org": "HospitalMSP"}),
    );
    assert_eq!(held["units"].as_array().unwrap().len(), 2);
    assert_eq!(
        ask(
            &ledger,
            "UnitsHeld",
            &inspector(),
            json!({"org": "MakerMSP"})
        )["units"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn the_holders_own_bad_scan_quarantines() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    let wrong_date = format!("(01){DI}(17)281231(10)L1(21)S1");
    ok(
        &mut ledger,
        "ScanUdi",
        &clinic_supply(),
        json!({"carrier": wrong_date, "place": "A"}),
    );
    assert_eq!(state_of(&ledger, "S1"), "InStock");
    let answer = ok(
        &mut ledger,
        "ScanUdi",
        &supply(),
        json!({"carrier": wrong_date, "place": "A"}),
    );
    assert_eq!(
        (&answer["state"], &answer["code"]),
        (&json!("Quarantined"), &json!("DATE_MISMATCH"))
    );
    no(
        &mut ledger,
        "ScanUdi",
        &supply(),
        json!({"carrier": wrong_date, "place": "at the dock"}),
        400,
        "MALFORMED",
    );
}
