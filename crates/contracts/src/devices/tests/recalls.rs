//! Recalls: every unit, every holder.

use super::*;

/// Z-1004-04 of the FDA: a humeral nail, lot 20118000, 33 units.
#[test]
fn a_recall_finds_every_unit_and_holder_and_closes_when_all_have_answered() {
    let mut ledger = TestLedger::new();
    let di = "09506000117843";
    certified(&mut ledger, product(di));
    certified(&mut ledger, product(DI));
    for (di, lot, count) in [(di, "20118000", 33), (di, "20118001", 4), (DI, "L1", 2)] {
        let serials: Vec<_> = (1..=count).map(|n| format!("{n:02}")).collect();
        ok(
            &mut ledger,
            "RegisterLot",
            &shipping(),
            json!({"di": di, "lot": lot, "exp": "2027-12-31", "qty": count}),
        );
        ok(
            &mut ledger,
            "RegisterUnits",
            &shipping(),
            json!({"di": di, "lot": lot, "serials": serials}),
        );
    }
    let nail = |n: usize| json!({"di": di, "lot": "20118000", "serial": format!("{n:02}")});
    let label = |n: usize| format!("(01){di}(17)271231(10)20118000(21){n:02}");
    // 1 to 10 to the hospital, 11 to 15 to the clinic, 16 on its way, the rest with the maker.
    for (range, who) in [(1..=10, supply()), (11..=15, clinic_supply())] {
        let units: Vec<_> = range.clone().map(nail).collect();
        let scans: Vec<_> = range.map(label).collect();
        ok(
            &mut ledger,
            "Ship",
            &shipping(),
            json!({"units": units, "to": who.msp_id()}),
        );
        ok(
            &mut ledger,
            "Receive",
            &who,
            json!({"units": units, "scans": scans}),
        );
    }
    ok(
        &mut ledger,
        "Ship",
        &shipping(),
        json!({"units": [nail(16)], "to": "ClinicMSP"}),
    );
    let sids = [
        "AAAAAAAAAAAAAAAAAAAAAAAAAA",
        "BBBBBBBBBBBBBBBBBBBBBBBBBB",
        "CCCCCCCCCCCCCCCCCCCCCCCCCC",
        "DDDDDDDDDDDDDDDDDDDDDDDDDD",
        "EEEEEEEEEEEEEEEEEEEEEEEEEE",
    ];
    for (n, who, sid) in [
        (1, surgeon(), sids[0]),
        (2, surgeon(), sids[1]),
        (3, surgeon(), sids[2]),
        (11, clinic_surgeon(), sids[3]),
        (12, clinic_surgeon(), sids[4]),
    ] {
        let link =
            json!({"sid": sid, "procedure": "Procedure/p", "date": "2026-11-23", "salt": SALT})
                .to_string();
        let proposal = call(
            "Implant",
            &who,
            json!({"unit": nail(n), "procedureRef": "Procedure/p"}),
        )
        .transient("implant", link);
        body(&ledger.submit(proposal));
    }
    let open = json!({"no": "Z-1004-04", "class": "II", "di": di, "scope": {"lots": ["20118000"]}});
    no(
        &mut ledger,
        "OpenRecall",
        &supply(),
        open.clone(),
        403,
        "WRONG_ORG",
    );
    no(
        &mut ledger,
        "OpenRecall",
        &regulatory(),
        open.clone(),
        403,
        "WRONG_ROLE",
    );
    no(
        &mut ledger,
        "OpenRecall",
        &certifier(),
        open.clone(),
        403,
        "WRONG_ROLE",
    );
    no(
        &mut ledger,
        "OpenRecall",
        &vigilance(),
        json!({"no": "X", "class": "II", "di": di, "scope": {"lots": ["none"]}}),
        422,
        "UNKNOWN_LOT",
    );
    no(
        &mut ledger,
        "OpenRecall",
        &vigilance(),
        json!({"no": "X", "class": "IV", "di": di, "scope": "all"}),
        400,
        "MALFORMED",
    );
    assert_eq!(
        ok(&mut ledger, "OpenRecall", &vigilance(), open.clone())["state"],
        "Open"
    );
    no(
        &mut ledger,
        "OpenRecall",
        &vigilance(),
        open,
        409,
        "DUPLICATE",
    );
    // Guards.
    no(
        &mut ledger,
        "Ship",
        &supply(),
        json!({"units": [nail(4)], "to": "ClinicMSP"}),
        422,
        "RECALLED",
    );
    no(
        &mut ledger,
        "Implant",
        &surgeon(),
        json!({"unit": nail(4), "procedureRef": "Procedure/p", "patientCommit": hash(b"c")}),
        422,
        "RECALLED",
    );
    let other_lot = json!({"di": di, "lot": "20118001", "serial": "01"});
    ok(
        &mut ledger,
        "Ship",
        &shipping(),
        json!({"units": [other_lot], "to": "ClinicMSP"}),
    );
    // Every unit and holder; patients only of one's own.
    let affected = |ledger: &TestLedger, who: &Caller| {
        ask(ledger, "Affected", who, json!({"no": "Z-1004-04"}))
    };
    let all = affected(&ledger, &vigilance());
    assert_eq!(
        (all["hits"].as_u64(), all["units"].as_array().unwrap().len()),
        (Some(33), 33)
    );
    assert_eq!(
        all["holders"],
        json!({
            "ClinicMSP": {"units": 5, "implanted": 2, "open": 5},
            "HospitalMSP": {"units": 10, "implanted": 3, "open": 10},
            "MakerMSP": {"units": 18, "implanted": 0, "open": 18},
        })
    );
    let patients = |answer: &Value| {
        answer["units"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|u| u["patient"]["sid"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    assert_eq!(patients(&all), [""; 0]);
    assert_eq!(patients(&affected(&ledger, &surgeon())), sids[..3]);
    assert_eq!(patients(&affected(&ledger, &clinic_surgeon())), sids[3..]);
    assert_eq!(patients(&affected(&ledger, &supply())), [""; 0]);
    // Answers.
    let acknowledge =
        |n: usize, action: &str| json!({"no": "Z-1004-04", "unit": nail(n), "action": action});
    no(
        &mut ledger,
        "AcknowledgeRecall",
        &supply(),
        acknowledge(1, "Quarantined"),
        409,
        "BAD_STATE",
    );
    no(
        &mut ledger,
        "AcknowledgeRecall",
        &supply(),
        acknowledge(4, "PatientNotified"),
        409,
        "BAD_STATE",
    );
    no(
        &mut ledger,
        "AcknowledgeRecall",
        &clinic_supply(),
        acknowledge(4, "Quarantined"),
        403,
        "NOT_HOLDER",
    );
    no(
        &mut ledger,
        "AcknowledgeRecall",
        &clinic_supply(),
        json!({"no": "Z-1004-04", "unit": other_lot, "action": "Quarantined"}),
        404,
        "NOT_FOUND",
    );
    no(
        &mut ledger,
        "CloseRecall",
        &recall_desk(),
        json!({"no": "Z-1004-04"}),
        403,
        "NOT_OPENER",
    );
    let received = ok(
        &mut ledger,
        "Receive",
        &clinic_supply(),
        json!({"units": [nail(16)], "scans": [label(16)]}),
    );
    assert_eq!(received["code"], "RECALLED");
    for n in 1..=33 {
        let who = match n {
            1..=10 => supply(),
            11..=16 => clinic_supply(),
            _ => shipping(),
        };
        if n == 33 {
            let response = ledger.submit(call(
                "CloseRecall",
                &vigilance(),
                json!({"no": "Z-1004-04"}),
            ));
            assert!(
                response.message.starts_with("OPEN_HITS: 1 units"),
                "{}",
                response.message
            );
        }
        let action = if matches!(n, 1..=3 | 11 | 12) {
            "PatientNotified"
        } else {
            "Quarantined"
        };
        ok(
            &mut ledger,
            "AcknowledgeRecall",
            &who,
            acknowledge(n, action),
        );
    }
    no(
        &mut ledger,
        "AcknowledgeRecall",
        &supply(),
        acknowledge(4, "Quarantined"),
        409,
        "BAD_STATE",
    );
    no(
        &mut ledger,
        "ReleaseQuarantine",
        &inspector(),
        json!({"unit": nail(4), "finding": "FINE"}),
        422,
        "RECALLED",
    );
    assert_eq!(
        ok(
            &mut ledger,
            "CloseRecall",
            &vigilance(),
            json!({"no": "Z-1004-04"})
        )["state"],
        "Closed"
    );
    no(
        &mut ledger,
        "CloseRecall",
        &vigilance(),
        json!({"no": "Z-1004-04"}),
        409,
        "BAD_STATE",
    );
    ok(
        &mut ledger,
        "ReleaseQuarantine",
        &inspector(),
        json!({"unit": nail(4), "finding": "FINE"}),
    );
    let trace = ask(&ledger, "TraceUnit", &supply(), json!({"unit": nail(1)}));
    assert_eq!(
        (&trace["recalls"][0]["no"], &trace["recalls"][0]["action"]),
        (&json!("Z-1004-04"), &json!("PatientNotified"))
    );
}

#[test]
fn a_large_recall_goes_page_by_page() {
    let mut ledger = TestLedger::new();
    certified(&mut ledger, product(DI));
    for lot in ["L1", "L2", "L3"] {
        ok(
            &mut ledger,
            "RegisterLot",
            &shipping(),
            json!({"di": DI, "lot": lot, "exp": "2027-12-31", "qty": 151}),
        );
        let serials: Vec<_> = (0..150).map(|n| format!("{n:03}")).collect();
        ok(
            &mut ledger,
            "RegisterUnits",
            &shipping(),
            json!({"di": DI, "lot": lot, "serials": serials}),
        );
    }
    for (no_, scope, hits) in [
        ("R1", json!("all"), 450),
        ("R2", json!({"lots": ["L3", "L1"]}), 300),
    ] {
        let mut state = ok(
            &mut ledger,
            "OpenRecall",
            &recall_desk(),
            json!({"no": no_, "class": "I", "di": DI, "scope": scope}),
        );
        assert_eq!(state["state"], "Opening");
        no(
            &mut ledger,
            "CloseRecall",
            &recall_desk(),
            json!({"no": no_}),
            422,
            "OPEN_HITS",
        );
        while state["state"] == "Opening" {
            state = ok(
                &mut ledger,
                "ContinueRecall",
                &recall_desk(),
                json!({"no": no_}),
            );
        }
        no(
            &mut ledger,
            "ContinueRecall",
            &recall_desk(),
            json!({"no": no_}),
            409,
            "BAD_STATE",
        );
        let mut seen = std::collections::BTreeSet::new();
        let mut question = json!({"no": no_});
        loop {
            let page = ask(&ledger, "Affected", &recall_desk(), question.clone());
            assert_eq!(page["hits"], hits);
            seen.extend(
                page["units"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|u| u["unit"].to_string()),
            );
            if page.get("bookmark").is_none() {
                break;
            }
            question["bookmark"] = page["bookmark"].clone();
        }
        assert_eq!(seen.len(), hits);
        no(
            &mut ledger,
            "RegisterUnits",
            &shipping(),
            json!({"di": DI, "lot": "L1", "serials": ["new"]}),
            422,
            "RECALLED",
        );
    }
    let held = ask(
        &ledger,
        "UnitsHeld",
        &inspector(),
        json!({"org": "MakerMSP"}),
    );
    assert_eq!(held["units"].as_array().unwrap().len(), 200);
    let rest = ask(
        &ledger,
        "UnitsHeld",
        &inspector(),
        json!({"org": "MakerMSP", "bookmark": held["bookmark"]}),
    );
    assert_ne!(rest["units"][0], held["units"][199]);
}

#[test]
fn a_recall_opened_meanwhile_stops_an_implant() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    let implant = ledger.endorse(call(
        "Implant",
        &surgeon(),
        json!({"unit": unit("S1"), "procedureRef": "Procedure/p", "patientCommit": hash(b"a")}),
    ));
    ok(
        &mut ledger,
        "OpenRecall",
        &recall_desk(),
        json!({"no": "R1", "class": "I", "di": DI, "scope": "all"}),
    );
    assert_eq!(ledger.commit(implant), Validity::PhantomReadConflict);
}
