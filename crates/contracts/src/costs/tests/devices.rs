//! Lines about devices, with the contract that knows them and without.

use super::*;

const DI: &str = "00844588018923";

/// The device contract with unit S1 in the hospital's stock.
fn stocked(ledger: &mut TestLedger) {
    let device = |function: &str, msp: &str, role: &str, args: Value| {
        Proposal::new("devices", function, &with(msp, role)).json(&args)
    };
    let unit = json!({"di": DI, "lot": "L1", "serial": "S1"});
    let product =
        json!({"di": DI, "name": "Nail", "model": "HN", "label": {"lot": true, "serial": true}});
    for proposal in [
        device(
            "RegisterProduct",
            "MakerMSP",
            "regulatory",
            json!({"product": product}),
        ),
        device(
            "SubmitCertification",
            "MakerMSP",
            "regulatory",
            json!({"di": DI, "certNo": "C1", "type": "III", "docHashes": ["a".repeat(64)]}),
        ),
        device(
            "Certify",
            "RegulatorMSP",
            "certifier",
            json!({"di": DI, "certNo": "C1", "validTo": START + 365 * DAY}),
        ),
        device(
            "RegisterLot",
            "MakerMSP",
            "shipping",
            json!({"di": DI, "lot": "L1", "qty": 2}),
        ),
        device(
            "RegisterUnits",
            "MakerMSP",
            "shipping",
            json!({"di": DI, "lot": "L1", "serials": ["S1"]}),
        ),
        device(
            "Ship",
            "MakerMSP",
            "shipping",
            json!({"units": [unit], "to": "HospitalMSP"}),
        ),
        device(
            "Receive",
            "HospitalMSP",
            "supply",
            json!({"units": [unit], "scans": [format!("(01){DI}(10)L1(21)S1")]}),
        ),
    ] {
        ok(ledger, proposal);
    }
}

fn device_line(serial: &str) -> Value {
    let mut line = line("2026-11-04", "D0001", 50_000_000);
    line["evidence"] = json!({"unit": {"di": DI, "lot": "L1", "serial": serial}});
    line
}

#[test]
fn a_device_is_billed_once_by_whoever_implanted_it() {
    let mut ledger = ready();
    ok(&mut ledger, call("Configure", &certifier(), &json!({})));
    ok(
        &mut ledger,
        call(
            "Configure",
            &certifier(),
            &json!({"devicesContract": "devices"}),
        ),
    );
    stocked(&mut ledger);
    no(
        &mut ledger,
        post("e1", 1, &device_line("S1")),
        422,
        "NO_EVIDENCE",
    );
    no(
        &mut ledger,
        post("e1", 1, &device_line("S9")),
        422,
        "NO_EVIDENCE",
    );
    let implant = json!({"unit": {"di": DI, "lot": "L1", "serial": "S1"}, "procedureRef": "P/1", "patientCommit": "b".repeat(64)});
    ok(
        &mut ledger,
        Proposal::new("devices", "Implant", &with("HospitalMSP", "physician")).json(&implant),
    );
    assert_eq!(
        ok(&mut ledger, post("e1", 1, &device_line("S1")))["state"],
        "Posted"
    );
    ok(
        &mut ledger,
        open("e2", &billing(), &stay(OTHER, "2026-11-01")),
    );
    for (epi, seq) in [("e1", 2), ("e2", 1)] {
        let answer = ok(&mut ledger, post(epi, seq, &device_line("S1")));
        assert_eq!(
            answer,
            json!({"id": format!("{epi}/{seq}"), "state": "Refused", "decision": "Refused", "code": "UNIT_BILLED"})
        );
    }
    ok(
        &mut ledger,
        call(
            "ReverseCharge",
            &billing(),
            &json!({"epi": "e1", "seq": 1, "reason": "OTHER_PATIENT"}),
        ),
    );
    assert_eq!(
        ok(&mut ledger, post("e2", 1, &device_line("S1")))["state"],
        "Posted"
    );
}

#[test]
fn without_the_devices_contract_a_unit_is_billed_once_all_the_same() {
    let mut ledger = ready();
    assert_eq!(
        ok(&mut ledger, post("e1", 1, &device_line("S1")))["state"],
        "Posted"
    );
    assert_eq!(
        ok(&mut ledger, post("e1", 2, &device_line("S1")))["code"],
        "UNIT_BILLED"
    );
    assert_eq!(
        ok(
            &mut ledger,
            post("e1", 2, &{
                let mut other = device_line("S2");
                other["modifiers"] = json!(["76"]);
                other
            })
        )["state"],
        "Posted"
    );
    let mut two = device_line("S3");
    (two["qty"], two["amount"]) = (json!(2), json!(100_000_000));
    no(&mut ledger, post("e1", 3, &two), 422, "AMOUNT");
    ok(
        &mut ledger,
        call(
            "Configure",
            &certifier(),
            &json!({"devicesContract": "records"}),
        ),
    );
    no(
        &mut ledger,
        post("e1", 3, &device_line("S3")),
        500,
        "DEVICES",
    );
}
