//! Every pair of states.

use proptest::prelude::*;

use super::*;

const STATES: [UnitState; 7] = [
    UnitState::Manufactured,
    UnitState::InTransit,
    UnitState::InStock,
    UnitState::Quarantined,
    UnitState::Implanted,
    UnitState::Explanted,
    UnitState::Destroyed,
];

/// A ledger whose unit S1 has been brought into a state, held by the hospital unless the maker
/// still has it.
fn unit_in(state: UnitState) -> TestLedger {
    let mut ledger = made();
    let ship = json!({"units": [unit("S1")], "to": "HospitalMSP"});
    match state {
        UnitState::Manufactured => {}
        UnitState::InTransit => {
            ok(&mut ledger, "Ship", &shipping(), ship);
        }
        UnitState::Quarantined => {
            ok(&mut ledger, "Ship", &shipping(), ship);
            ok(
                &mut ledger,
                "Receive",
                &supply(),
                json!({"units": [unit("S1")], "scans": ["?"]}),
            );
        }
        _ => deliver(&mut ledger, "S1", &supply()),
    }
    if matches!(state, UnitState::Implanted | UnitState::Explanted) {
        implant(&mut ledger, "S1", &surgeon(), SID);
    }
    if state == UnitState::Explanted {
        ok(
            &mut ledger,
            "Explant",
            &surgeon(),
            json!({"unit": unit("S1"), "procedureRef": "Procedure/p2"}),
        );
    }
    if state == UnitState::Destroyed {
        ok(
            &mut ledger,
            "DestroyUnit",
            &supply(),
            json!({"unit": unit("S1"), "bagId": "bag-1"}),
        );
    }
    assert_eq!(state_of(&ledger, "S1"), state.name());
    ledger
}

/// Whoever may do it, with arguments that fit: what is tried, by whom, and the state it leads to
/// from each of the states that allow it.
fn attempts(state: UnitState) -> Vec<(&'static str, Proposal, Option<UnitState>)> {
    use UnitState::*;
    let holder = if matches!(state, Manufactured | InTransit) {
        shipping()
    } else {
        supply()
    };
    let one = json!({"unit": unit("S1")});
    let procedure =
        json!({"unit": unit("S1"), "procedureRef": "Procedure/p", "patientCommit": hash(b"c")});
    let to = if holder.msp_id() == "MakerMSP" {
        "HospitalMSP"
    } else {
        "ClinicMSP"
    };
    let wrong_date = format!("(01){DI}(17)281231(10)L1(21)S1");
    vec![
        (
            "Ship",
            call("Ship", &holder, json!({"units": [unit("S1")], "to": to})),
            matches!(state, Manufactured | InStock).then_some(InTransit),
        ),
        (
            "Receive",
            call(
                "Receive",
                &supply(),
                json!({"units": [unit("S1")], "scans": [carrier("S1")]}),
            ),
            (state == InTransit).then_some(InStock),
        ),
        (
            "Receive unsound",
            call(
                "Receive",
                &supply(),
                json!({"units": [unit("S1")], "scans": ["?"]}),
            ),
            (state == InTransit).then_some(Quarantined),
        ),
        (
            "ScanUdi",
            call(
                "ScanUdi",
                &holder,
                json!({"carrier": wrong_date, "place": "X"}),
            ),
            Some(if matches!(state, Manufactured | InStock) {
                Quarantined
            } else {
                state
            }),
        ),
        (
            "ReleaseQuarantine",
            call(
                "ReleaseQuarantine",
                &inspector(),
                json!({"unit": unit("S1"), "finding": "OK"}),
            ),
            (state == Quarantined).then_some(InStock),
        ),
        (
            "Implant",
            call("Implant", &surgeon(), procedure),
            (state == InStock).then_some(Implanted),
        ),
        (
            "Explant",
            call(
                "Explant",
                &surgeon(),
                json!({"unit": unit("S1"), "procedureRef": "Procedure/p"}),
            ),
            (state == Implanted).then_some(Explanted),
        ),
        (
            "ReturnUnit",
            call("ReturnUnit", &supply(), one.clone()),
            matches!(state, InStock | Quarantined | Explanted).then_some(InTransit),
        ),
        (
            "DestroyUnit",
            call(
                "DestroyUnit",
                &holder,
                json!({"unit": unit("S1"), "bagId": "b"}),
            ),
            matches!(state, InStock | Quarantined | Explanted).then_some(Destroyed),
        ),
    ]
}

#[test]
fn each_function_leads_from_the_listed_states_only() {
    for state in STATES {
        for (name, proposal, expected) in attempts(state) {
            let mut ledger = unit_in(state);
            let response = ledger.submit(proposal);
            match expected {
                Some(next) => {
                    assert_eq!(
                        response.status, 200,
                        "{name} in {state:?}: {}",
                        response.message
                    );
                    assert_eq!(state_of(&ledger, "S1"), next.name(), "{name} in {state:?}");
                }
                None => {
                    // Holder and receiver are asked first where the unit is with another.
                    let code = response.message.split(':').next().unwrap_or_default();
                    assert!(
                        matches!(
                            (response.status, code),
                            (409, "BAD_STATE" | "ALREADY_USED")
                                | (403, "NOT_HOLDER" | "NOT_RECEIVER")
                        ),
                        "{name} in {state:?}: {} {}",
                        response.status,
                        response.message
                    );
                    assert_eq!(state_of(&ledger, "S1"), state.name(), "{name} in {state:?}");
                }
            }
        }
    }
}

#[test]
fn only_the_holder_acts_on_a_unit() {
    let mut ledger = made();
    deliver(&mut ledger, "S1", &supply());
    let one = json!({"unit": unit("S1")});
    no(
        &mut ledger,
        "Ship",
        &clinic_supply(),
        json!({"units": [unit("S1")], "to": "HospitalMSP"}),
        403,
        "NOT_HOLDER",
    );
    no(
        &mut ledger,
        "Ship",
        &shipping(),
        json!({"units": [unit("S1")], "to": "ClinicMSP"}),
        403,
        "NOT_HOLDER",
    );
    no(
        &mut ledger,
        "ReturnUnit",
        &clinic_supply(),
        one.clone(),
        403,
        "NOT_HOLDER",
    );
    no(
        &mut ledger,
        "DestroyUnit",
        &clinic_supply(),
        json!({"unit": unit("S1"), "bagId": "b"}),
        403,
        "NOT_HOLDER",
    );
    no(
        &mut ledger,
        "Implant",
        &clinic_surgeon(),
        json!({"unit": unit("S1"), "procedureRef": "P/1", "patientCommit": hash(b"c")}),
        403,
        "NOT_HOLDER",
    );
    no(
        &mut ledger,
        "ReturnUnit",
        &shipping(),
        json!({"unit": unit("S2")}),
        422,
        "SELF_SHIPMENT",
    );
}

#[test]
fn a_used_unit_never_comes_back_into_stock() {
    let mut ledger = unit_in(UnitState::Explanted);
    ok(
        &mut ledger,
        "ReturnUnit",
        &supply(),
        json!({"unit": unit("S1")}),
    );
    let answer = ok(
        &mut ledger,
        "Receive",
        &shipping(),
        json!({"units": [unit("S1")], "scans": [carrier("S1")]}),
    );
    assert_eq!(answer["code"], "ALREADY_USED");
    assert_eq!(state_of(&ledger, "S1"), "Quarantined");
    no(
        &mut ledger,
        "ReleaseQuarantine",
        &vigilance(),
        json!({"unit": unit("S1"), "finding": "CLEANED"}),
        409,
        "ALREADY_USED",
    );
    ok(
        &mut ledger,
        "DestroyUnit",
        &shipping(),
        json!({"unit": unit("S1"), "bagId": "bag-2"}),
    );
}

#[test]
fn an_expired_unit_is_not_implanted() {
    let mut ledger = unit_in(UnitState::InStock);
    ledger.set_time(START + 404 * DAY);
    no(
        &mut ledger,
        "Implant",
        &surgeon(),
        json!({"unit": unit("S1"), "procedureRef": "P/1", "patientCommit": hash(b"c")}),
        422,
        "EXPIRED",
    );
}

#[test]
fn a_product_moves_between_the_listed_states_only() {
    let certify = |n: usize| json!({"di": DI, "certNo": format!("N{n}"), "validTo": START + DAY});
    let reason = || json!({"di": DI, "reason": "R"});
    let functions = [
        "SubmitCertification",
        "Certify",
        "Refuse",
        "SuspendProduct",
        "WithdrawProduct",
    ];
    let listed = [
        ("Draft", 0, "Submitted"),
        ("Suspended", 0, "Submitted"),
        ("Submitted", 1, "Certified"),
        ("Submitted", 2, "Draft"),
        ("Certified", 3, "Suspended"),
        ("Certified", 4, "Withdrawn"),
        ("Suspended", 4, "Withdrawn"),
    ];
    let paths: [(&str, &[usize]); 5] = [
        ("Draft", &[]),
        ("Submitted", &[0]),
        ("Certified", &[0, 1]),
        ("Suspended", &[0, 1, 3]),
        ("Withdrawn", &[0, 1, 4]),
    ];
    let run = |ledger: &mut TestLedger, function: usize, n: usize| {
        let proposal = match function {
            0 => call(
                functions[0],
                &regulatory(),
                json!({"di": DI, "certNo": format!("N{n}"), "type": "T", "docHashes": [hash(b"f")]}),
            ),
            1 => call(functions[1], &certifier(), certify(n - 1)),
            _ => call(functions[function], &certifier(), reason()),
        };
        ledger.submit(proposal)
    };
    for (state, path) in paths {
        for (function, name) in functions.iter().enumerate() {
            let mut ledger = TestLedger::new();
            ok(&mut ledger, "RegisterProduct", &regulatory(), product(DI));
            for (n, step) in path.iter().enumerate() {
                body(&run(&mut ledger, *step, n));
            }
            let response = run(&mut ledger, function, path.len().max(1));
            let now = ask(&ledger, "ReadProduct", &supply(), json!({"di": DI}))["state"].clone();
            match listed
                .iter()
                .find(|(from, by, _)| *from == state && *by == function)
            {
                Some((_, _, to)) => assert_eq!(
                    (response.status, now),
                    (200, json!(to)),
                    "{} {}",
                    name,
                    response.message
                ),
                None => {
                    assert!(
                        response.message.starts_with("BAD_STATE: "),
                        "{} in {state}: {}",
                        name,
                        response.message
                    );
                    assert_eq!(now, state);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn no_sequence_of_calls_leaves_the_listed_pairs(steps in proptest::collection::vec((0usize..9, 0usize..3), 1..25)) {
        let mut ledger = made();
        let callers = [shipping(), supply(), clinic_supply()];
        for (step, who) in steps {
            let trace = ask(&ledger, "TraceUnit", &inspector(), json!({"unit": unit("S1")}));
            let before = STATES.into_iter().find(|s| trace["unit"]["state"] == s.name()).unwrap();
            let caller = &callers[who];
            let surgeon = with(caller.msp_id(), "physician");
            let to = callers[(who + 1) % 3].msp_id().to_owned();
            let proposal = match step {
                0 => call("Ship", caller, json!({"units": [unit("S1")], "to": to})),
                1 => call("Receive", caller, json!({"units": [unit("S1")], "scans": [carrier("S1")]})),
                2 => call("Receive", caller, json!({"units": [unit("S1")], "scans": [carrier("S2")]})),
                3 => call("ScanUdi", caller, json!({"carrier": format!("(01){DI}(17)281231(10)L1(21)S1"), "place": "X"})),
                4 => call("ReleaseQuarantine", &inspector(), json!({"unit": unit("S1"), "finding": "OK"})),
                5 => call("Implant", &surgeon, json!({"unit": unit("S1"), "procedureRef": "P/1", "patientCommit": hash(b"c")})),
                6 => call("Explant", &surgeon, json!({"unit": unit("S1"), "procedureRef": "P/1"})),
                7 => call("ReturnUnit", caller, json!({"unit": unit("S1")})),
                _ => call("DestroyUnit", caller, json!({"unit": unit("S1"), "bagId": "b"})),
            };
            let response = ledger.submit(proposal);
            let after = ask(&ledger, "TraceUnit", &inspector(), json!({"unit": unit("S1")}))["unit"]["state"].clone();
            if after != before.name() {
                prop_assert_eq!(response.status, 200);
                let listed = TRANSITIONS.iter().any(|(_, from, to)| *from == before && after == to.name());
                prop_assert!(listed, "{:?} to {}", before, after);
            }
        }
    }
}
