//! Every refusal that leaves no state.

use super::*;

#[test]
fn refusals_of_products_lots_and_shipments() {
    let mut ledger = made();
    let second = "09506000117843";
    ok(
        &mut ledger,
        "RegisterProduct",
        &regulatory(),
        product(second),
    );
    let lot = |lot: &str| json!({"di": DI, "lot": lot, "mfg": "2026-01-05", "exp": "2027-12-31", "qty": 5});
    let with_field = |mut value: Value, name: &str, new: Value| {
        value[name] = new;
        value
    };
    let mut no_name = product("09504000059118");
    no_name["product"]["name"] = json!("x".repeat(201));
    let mut others = product("MA.156.M0.100011.1234");
    others["product"]["issuer"] = json!("MA");
    let other_maker = with("OtherMSP", "regulatory");
    let submit = json!({"di": second, "certNo": "C1", "type": "T", "docHashes": [hash(b"f")]});
    let cases: Vec<(&str, Caller, Value, i32, &str)> = vec![
        (
            "RegisterProduct",
            regulatory(),
            product(DI),
            409,
            "DUPLICATE",
        ),
        (
            "RegisterProduct",
            regulatory(),
            product("0844588018923"),
            409,
            "DUPLICATE",
        ),
        (
            "RegisterProduct",
            regulatory(),
            product("00844588018924"),
            422,
            "BAD_CHECK_DIGIT",
        ),
        (
            "RegisterProduct",
            regulatory(),
            product("844588018"),
            400,
            "MALFORMED",
        ),
        ("RegisterProduct", regulatory(), no_name, 400, "MALFORMED"),
        (
            "RegisterProduct",
            regulatory(),
            others,
            422,
            "UNKNOWN_ISSUER",
        ),
        (
            "RegisterProduct",
            shipping(),
            product("09504000059118"),
            403,
            "WRONG_ROLE",
        ),
        (
            "RegisterProduct",
            other_maker,
            product("09504000059118"),
            403,
            "WRONG_ORG",
        ),
        (
            "ReadProduct",
            supply(),
            json!({"di": "09504000059118"}),
            404,
            "NOT_FOUND",
        ),
        (
            "SubmitCertification",
            regulatory(),
            json!({"di": DI, "certNo": "C1", "type": "T", "docHashes": [hash(b"f")]}),
            409,
            "BAD_STATE",
        ),
        (
            "SubmitCertification",
            regulatory(),
            with_field(submit.clone(), "docHashes", json!([])),
            400,
            "MALFORMED",
        ),
        (
            "SubmitCertification",
            regulatory(),
            with_field(submit.clone(), "docHashes", json!(["x"])),
            400,
            "MALFORMED",
        ),
        ("SubmitCertification", certifier(), submit, 403, "WRONG_ORG"),
        (
            "Certify",
            certifier(),
            json!({"di": second, "certNo": "C1", "validTo": START + DAY}),
            409,
            "BAD_STATE",
        ),
        (
            "Certify",
            inspector(),
            json!({"di": second, "certNo": "C1", "validTo": START + DAY}),
            403,
            "WRONG_ROLE",
        ),
        (
            "Certify",
            regulatory(),
            json!({"di": second, "certNo": "C1", "validTo": START + DAY}),
            403,
            "WRONG_ORG",
        ),
        (
            "Refuse",
            certifier(),
            json!({"di": second, "reason": "R"}),
            409,
            "BAD_STATE",
        ),
        (
            "SuspendProduct",
            certifier(),
            json!({"di": second, "reason": "R"}),
            409,
            "BAD_STATE",
        ),
        (
            "SuspendProduct",
            certifier(),
            json!({"di": DI, "reason": "because they said so"}),
            400,
            "MALFORMED",
        ),
        (
            "WithdrawProduct",
            certifier(),
            json!({"di": second, "reason": "R"}),
            409,
            "BAD_STATE",
        ),
        ("RegisterLot", shipping(), lot("L1"), 409, "DUPLICATE"),
        ("RegisterLot", regulatory(), lot("L2"), 403, "WRONG_ROLE"),
        ("RegisterLot", shipping(), lot("a lot"), 400, "MALFORMED"),
        (
            "RegisterLot",
            shipping(),
            with_field(lot("L2"), "qty", json!(0)),
            400,
            "MALFORMED",
        ),
        (
            "RegisterLot",
            shipping(),
            with_field(lot("L2"), "exp", json!("2026-01-05")),
            422,
            "DATES",
        ),
        (
            "RegisterLot",
            shipping(),
            with_field(lot("L2"), "exp", json!("31.12.2027")),
            400,
            "MALFORMED",
        ),
        (
            "RegisterLot",
            shipping(),
            with_field(lot("L2"), "mfg", json!("2026-11-24")),
            422,
            "DATES",
        ),
        (
            "RegisterLot",
            shipping(),
            json!({"di": DI, "lot": "L2", "qty": 1}),
            422,
            "MISSING_PI",
        ),
        (
            "RegisterLot",
            shipping(),
            with_field(lot("L2"), "di", json!(second)),
            422,
            "NOT_CERTIFIED",
        ),
        (
            "RegisterUnits",
            shipping(),
            json!({"di": DI, "lot": "L1", "serials": ["S1"]}),
            409,
            "DUPLICATE",
        ),
        (
            "RegisterUnits",
            shipping(),
            json!({"di": DI, "lot": "L1", "serials": ["S4", "S4"]}),
            409,
            "DUPLICATE",
        ),
        (
            "RegisterUnits",
            shipping(),
            json!({"di": DI, "lot": "L1", "serials": ["S4", "S5", "S6"]}),
            422,
            "LOT_OVERRUN",
        ),
        (
            "RegisterUnits",
            shipping(),
            json!({"di": DI, "lot": "L1", "serials": []}),
            400,
            "MALFORMED",
        ),
        (
            "RegisterUnits",
            shipping(),
            json!({"di": DI, "lot": "L1", "serials": ["#1"]}),
            400,
            "MALFORMED",
        ),
        (
            "RegisterUnits",
            shipping(),
            json!({"di": DI, "lot": "L1", "count": 1}),
            400,
            "MALFORMED",
        ),
        (
            "RegisterUnits",
            shipping(),
            json!({"di": DI, "lot": "L9", "serials": ["S4"]}),
            404,
            "NOT_FOUND",
        ),
        (
            "Ship",
            shipping(),
            json!({"units": [], "to": "HospitalMSP"}),
            400,
            "MALFORMED",
        ),
        (
            "Ship",
            shipping(),
            json!({"units": [unit("S9")], "to": "HospitalMSP"}),
            404,
            "NOT_FOUND",
        ),
        (
            "Ship",
            shipping(),
            json!({"units": [unit("S1"), unit("S1")], "to": "HospitalMSP"}),
            409,
            "DUPLICATE",
        ),
        (
            "Ship",
            shipping(),
            json!({"units": [unit("S1")], "to": "NowhereMSP"}),
            422,
            "UNKNOWN_ORG",
        ),
        (
            "Ship",
            shipping(),
            json!({"units": [unit("S1")], "to": "InsurerMSP"}),
            422,
            "UNKNOWN_ORG",
        ),
        (
            "Ship",
            shipping(),
            json!({"units": [unit("S1")], "to": "MakerMSP"}),
            422,
            "SELF_SHIPMENT",
        ),
        (
            "Ship",
            shipping(),
            json!({"units": [unit("S1")], "to": "HospitalMSP", "sscc": "106141411234567890"}),
            422,
            "BAD_CHECK_DIGIT",
        ),
        (
            "Ship",
            shipping(),
            json!({"units": [unit("S1")], "to": "HospitalMSP", "sscc": "12"}),
            400,
            "MALFORMED",
        ),
        (
            "Ship",
            regulatory(),
            json!({"units": [unit("S1")], "to": "HospitalMSP"}),
            403,
            "WRONG_ROLE",
        ),
        (
            "Ship",
            with("InsurerMSP", "supply"),
            json!({"units": [unit("S1")], "to": "HospitalMSP"}),
            403,
            "WRONG_ORG",
        ),
        (
            "Receive",
            supply(),
            json!({"units": [unit("S1")], "scans": [carrier("S1")]}),
            409,
            "BAD_STATE",
        ),
        (
            "Implant",
            supply(),
            json!({"unit": unit("S1"), "procedureRef": "P/1", "patientCommit": hash(b"c")}),
            403,
            "WRONG_ROLE",
        ),
        (
            "Implant",
            surgeon(),
            json!({"unit": unit("S1"), "procedureRef": "P/1", "patientCommit": "c"}),
            400,
            "MALFORMED",
        ),
        (
            "ReadPatient",
            surgeon(),
            json!({"unit": unit("S1")}),
            403,
            "NOT_HOLDER",
        ),
        (
            "OpenRecall",
            recall_desk(),
            json!({"no": "R", "class": "I", "di": DI, "scope": {"units": [{"lot": "L1", "serial": "S9"}]}}),
            422,
            "UNKNOWN_SERIAL",
        ),
        (
            "OpenRecall",
            recall_desk(),
            json!({"no": "R", "class": "I", "di": DI, "scope": {"lots": []}}),
            400,
            "MALFORMED",
        ),
        (
            "ContinueRecall",
            recall_desk(),
            json!({"no": "R"}),
            404,
            "NOT_FOUND",
        ),
        ("Affected", supply(), json!({"no": "R"}), 404, "NOT_FOUND"),
        (
            "Affected",
            with("InsurerMSP", "fraud"),
            json!({"no": "R"}),
            403,
            "WRONG_ORG",
        ),
        (
            "TraceUnit",
            supply(),
            json!({"unit": unit("S9")}),
            404,
            "NOT_FOUND",
        ),
        (
            "TraceUnit",
            supply(),
            json!({"unit": {"di": DI, "lot": "L1", "serial": "S1", "colour": "red"}}),
            400,
            "MALFORMED",
        ),
    ];
    for (function, caller, args, status, code) in cases {
        no(&mut ledger, function, &caller, args, status, code);
    }
}
