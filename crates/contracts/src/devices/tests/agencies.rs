//! Products of other agencies than GS1, and the bag that a destroyed unit went into.

use super::*;

const HIBCC: &str = "A99912345";

/// A certified product of HIBCC at the hospital: the carrier of its one unit.
fn stocked() -> (TestLedger, Value, &'static str) {
    let mut ledger = TestLedger::new();
    let mut args = product(HIBCC);
    args["product"]["issuer"] = json!("HIBCC");
    args["product"]["label"]["made"] = json!(true);
    certified(&mut ledger, args);
    ok(
        &mut ledger,
        "RegisterLot",
        &shipping(),
        json!({"di": HIBCC, "lot": "10X3", "mfg": "2026-01-05", "exp": "2027-12-31", "qty": 2}),
    );
    ok(
        &mut ledger,
        "RegisterUnits",
        &shipping(),
        json!({"di": HIBCC, "lot": "10X3", "serials": ["77DEFG45"]}),
    );
    let unit = json!({"di": HIBCC, "lot": "10X3", "serial": "77DEFG45"});
    ok(
        &mut ledger,
        "Ship",
        &shipping(),
        json!({"units": [unit], "to": "HospitalMSP"}),
    );
    let carrier = "+A99912345/$$327123110X3/16D20260105/S77DEFG45J";
    (ledger, unit, carrier)
}

fn verdict(ledger: &TestLedger, carrier: &str) -> Value {
    ask(ledger, "CheckUdi", &supply(), json!({"carrier": carrier}))["code"].clone()
}

#[test]
fn a_product_of_hibcc_goes_from_the_maker_to_the_hospital() {
    let (mut ledger, unit, carrier) = stocked();
    let answer = ok(
        &mut ledger,
        "Receive",
        &supply(),
        json!({"units": [unit], "scans": [carrier]}),
    );
    assert_eq!(answer["code"], "OK");
    assert_eq!(verdict(&ledger, carrier), "OK");
    assert_eq!(verdict(&ledger, &format!("*{carrier}*")), "OK");
    // The same label with one character changed, with the check character put right again.
    for (text, code) in [
        (
            "+A99912345/$$32712311OX3/16D20260105/S77DEFG45J",
            "BAD_CHECK_DIGIT",
        ),
        (
            "+A99912345/$$32712311OX3/16D20260105/S77DEFG450",
            "UNKNOWN_LOT",
        ),
        ("+A99912345", "BAD_CHECK_DIGIT"),
        ("=/A9999XYZ100T0944=,000025", "UNKNOWN_DI"),
        ("=/A9999", "MALFORMED"),
    ] {
        assert_eq!(verdict(&ledger, text), code, "{text}");
    }
    let checked = |body: &str| {
        let check = crate::udi::hibcc::check_character(body).unwrap();
        format!("{body}{check}")
    };
    for (body, code) in [
        (
            "+A99912346/$$327123110X3/16D20260105/S77DEFG45",
            "UNKNOWN_DI",
        ),
        (
            "+A99912345/$$32712319X/16D20260105/S77DEFG45",
            "UNKNOWN_LOT",
        ),
        (
            "+A99912345/$$327123110X3/16D20260105/S77DEFG46",
            "UNKNOWN_SERIAL",
        ),
        (
            "+A99912345/$$328123110X3/16D20260105/S77DEFG45",
            "DATE_MISMATCH",
        ),
        ("+A99912345/$$327123110X3/S77DEFG45", "MISSING_PI"),
        ("+A99912345/$$32712321", "MALFORMED"),
        // The month is enough where it is the month's last day.
        ("+A99912345/$$122710X3/16D20260105/S77DEFG45", "OK"),
    ] {
        assert_eq!(verdict(&ledger, &checked(body)), code, "{body}");
    }
    let read = ask(
        &ledger,
        "ReadProduct",
        &supply(),
        json!({"di": "+A999123457"}),
    );
    assert_eq!(
        (&read["di"], &read["issuer"]),
        (&json!(HIBCC), &json!("HIBCC"))
    );
}

#[test]
fn identifiers_are_registered_with_the_agency_that_issued_them() {
    let mut ledger = TestLedger::new();
    let of = |issuer: &str, di: &str| {
        let mut args = product(di);
        args["product"]["issuer"] = json!(issuer);
        args
    };
    for (issuer, di, status, code) in [
        ("HIBCC", "+A123BJC5D6E71H", 422, "BAD_CHECK_DIGIT"),
        ("HIBCC", DI, 400, "MALFORMED"),
        ("GS1", "A123BJC5D6E71", 400, "MALFORMED"),
        ("ICCBBA", "A9999XYZ100T0944", 400, "MALFORMED"),
        ("MA", "MA.156.M0.100011.1234", 422, "UNKNOWN_ISSUER"),
    ] {
        no(
            &mut ledger,
            "RegisterProduct",
            &regulatory(),
            of(issuer, di),
            status,
            code,
        );
    }
    for (issuer, di) in [
        ("HIBCC", "+A123BJC5D6E71G"),
        ("ICCBBA", "=/A9999XYZ100T0944"),
        ("GS1", DI),
    ] {
        ok(
            &mut ledger,
            "RegisterProduct",
            &regulatory(),
            of(issuer, di),
        );
    }
    // With or without flag it is the same one.
    let again = of("HIBCC", "A123BJC5D6E71");
    no(
        &mut ledger,
        "RegisterProduct",
        &regulatory(),
        again,
        409,
        "DUPLICATE",
    );
    ok(
        &mut ledger,
        "RegisterPackage",
        &regulatory(),
        json!({"pkgDi": "A123BJC5D6E72", "containsDi": "A123BJC5D6E71", "qty": 10}),
    );
}

#[test]
fn a_destroyed_unit_went_into_a_bag_that_exists() {
    let mut ledger = made();
    let admin = certifier();
    ok(
        &mut ledger,
        "Configure",
        &admin,
        json!({"wasteContract": "waste"}),
    );
    for serial in ["S1", "S2"] {
        deliver(&mut ledger, serial, &supply());
    }
    let ward = with("HospitalMSP", "waste");
    let destroy = |serial: &str, bag: &str| json!({"unit": unit(serial), "bagId": bag});
    no(
        &mut ledger,
        "DestroyUnit",
        &supply(),
        destroy("S1", "b1"),
        422,
        "UNKNOWN_BAG",
    );
    let waste = |ledger: &mut TestLedger, who: &Caller, function: &str, args: Value| {
        body(&ledger.submit(Proposal::new("waste", function, who).json(&args)));
    };
    let bag = |id: &str| json!({"id": id, "code": "841-001-01", "grams": 900, "dept": "OR-2"});
    waste(&mut ledger, &ward, "SealBag", bag("b1"));
    waste(
        &mut ledger,
        &with("ClinicMSP", "waste"),
        "SealBag",
        bag("c1"),
    );
    no(
        &mut ledger,
        "DestroyUnit",
        &supply(),
        destroy("S1", "c1"),
        422,
        "UNKNOWN_BAG",
    );
    // Put on a manifest between endorsement and commit.
    let racing = ledger.endorse(call("DestroyUnit", &supply(), destroy("S2", "b1")));
    ok(&mut ledger, "DestroyUnit", &supply(), destroy("S1", "b1"));
    waste(
        &mut ledger,
        &ward,
        "CreateManifest",
        json!({"no": "20261101000001", "carriers": ["WasteMSP"], "disposer": "WasteMSP", "bags": ["b1"]}),
    );
    assert_eq!(ledger.commit(racing), Validity::MvccReadConflict);
    let found = ask(&ledger, "UnitsInBag", &inspector(), json!({"bagId": "b1"}));
    assert_eq!(found["units"].as_array().unwrap().len(), 1);
    assert_eq!(found["units"][0]["unit"], unit("S1"));
    let after = json!({"bagId": "b1", "bookmark": unit("S1")});
    assert_eq!(
        ask(&ledger, "UnitsInBag", &inspector(), after)["units"],
        json!([])
    );
    no(
        &mut ledger,
        "DestroyUnit",
        &supply(),
        destroy("S2", "b1"),
        422,
        "BAG_GONE",
    );
    ok(
        &mut ledger,
        "Configure",
        &admin,
        json!({"wasteContract": "nowhere"}),
    );
    no(
        &mut ledger,
        "DestroyUnit",
        &supply(),
        destroy("S2", "b1"),
        500,
        "LEDGER",
    );
    ok(
        &mut ledger,
        "Configure",
        &admin,
        json!({"wasteContract": "kv"}),
    );
    no(
        &mut ledger,
        "DestroyUnit",
        &supply(),
        destroy("S2", "b1"),
        500,
        "WASTE_CONTRACT",
    );
}
