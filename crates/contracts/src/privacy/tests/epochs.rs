//! The life of a key for pseudonyms, from the view of whoever holds it.

use super::*;

fn open(sector: &str, epoch: u32, print: &str) -> Value {
    json!({"sector": sector, "epoch": epoch, "fingerprint": print})
}

#[test]
fn an_epoch_lives_and_its_end_cuts_the_link() {
    let mut ledger = TestLedger::new();
    let mut keys = SectorKeys::new();
    let (n, print) = keys.open(&Sector::Care).unwrap();
    let answer = ok(
        &mut ledger,
        "OpenEpoch",
        &hospital_dpo(),
        open("care", n, &print),
    );
    assert_eq!(answer, json!({"id": "HospitalMSP/care/1", "state": "Open"}));
    let sid = keys
        .pseudonym(&Sector::Care, n, "national", "11010519491231002X")
        .unwrap();

    ledger.advance(365 * DAY);
    let retire = json!({"sector": "care", "epoch": 1});
    ok(&mut ledger, "RetireEpoch", &hospital_dpo(), retire);
    let (n, next) = keys.open(&Sector::Care).unwrap();
    ok(
        &mut ledger,
        "OpenEpoch",
        &hospital_dpo(),
        open("care", n, &next),
    );
    // Retired, it still resolves; in the next epoch the person has another pseudonym.
    let again = |keys: &SectorKeys, epoch| {
        keys.pseudonym(&Sector::Care, epoch, "national", "11010519491231002X")
    };
    assert_eq!(again(&keys, 1), Ok(sid.clone()));
    assert_ne!(again(&keys, 2), Ok(sid));

    let destroyed = keys.destroy(&Sector::Care, 1).unwrap();
    let attest = json!({"sector": "care", "epoch": 1, "fingerprint": destroyed,
        "method": "HSM-ZEROIZE", "evidenceHash": hash(b"protocol")});
    ok(&mut ledger, "AttestEpochDestroyed", &hospital_dpo(), attest);
    assert!(again(&keys, 1).is_err());

    let read = json!({"org": "HospitalMSP", "sector": "care", "epoch": 1});
    let epoch = ask(&ledger, "ReadEpoch", &curator(), read);
    assert_eq!(
        epoch,
        json!({"org": "HospitalMSP", "sector": "care", "epoch": 1, "fingerprint": print,
            "state": "Destroyed", "opened": START, "retired": START + 365 * DAY,
            "destroyed": START + 365 * DAY, "method": "HSM-ZEROIZE",
            "evidenceHash": hash(b"protocol")})
    );
    let all = ask(
        &ledger,
        "ListEpochs",
        &curator(),
        json!({"org": "HospitalMSP"}),
    );
    let states: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|epoch| epoch["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["Destroyed", "Open"]);
    let events: Vec<_> = ledger
        .events()
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(
        events,
        [
            "privacy.EpochOpened",
            "privacy.EpochRetired",
            "privacy.EpochOpened",
            "privacy.EpochDestroyed"
        ]
    );
    assert_clean(&ledger);
}

#[test]
fn organizations_and_sectors_have_epochs_of_their_own() {
    let mut ledger = TestLedger::new();
    for (caller, sector) in [
        (hospital_dpo(), "care"),
        (hospital_dpo(), "pay"),
        (clinic_dpo(), "care"),
        (issuer(), "research:flu.1"),
        (curator(), "research:flu.1"),
    ] {
        let print = hash(format!("{sector}{}", caller.msp_id()).as_bytes());
        ok(&mut ledger, "OpenEpoch", &caller, open(sector, 1, &print));
    }
    let args = json!({"org": "HospitalMSP", "sector": "pay"});
    let listed = ask(&ledger, "ListEpochs", &auditor(), args);
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[test]
fn refusals() {
    let mut ledger = TestLedger::new();
    let print = hash(b"1");
    ok(
        &mut ledger,
        "OpenEpoch",
        &hospital_dpo(),
        open("care", 1, &print),
    );
    let mut try_it = |function: &str, caller: &Caller, args: Value, status, code| {
        refused(&ledger.submit(call(function, caller, args)), status, code);
    };
    let dpo = hospital_dpo();
    let another = hash(b"2");
    try_it(
        "OpenEpoch",
        &dpo,
        open("care", 1, &another),
        409,
        "DUPLICATE",
    );
    try_it(
        "OpenEpoch",
        &dpo,
        open("care", 2, &another),
        409,
        "EPOCH_OPEN",
    );
    try_it(
        "OpenEpoch",
        &dpo,
        open("care", 3, &another),
        422,
        "EPOCH_ORDER",
    );
    try_it(
        "OpenEpoch",
        &dpo,
        open("pay", 0, &another),
        422,
        "EPOCH_ORDER",
    );
    try_it("OpenEpoch", &dpo, open("pay", 1, &print), 409, "KEY_REUSED");
    try_it(
        "OpenEpoch",
        &dpo,
        open("billing", 1, &another),
        400,
        "MALFORMED",
    );
    try_it(
        "OpenEpoch",
        &dpo,
        open("pay", 1, "the key"),
        400,
        "MALFORMED",
    );
    try_it(
        "OpenEpoch",
        &physician(),
        open("pay", 1, &another),
        403,
        "WRONG_ROLE",
    );
    try_it(
        "OpenEpoch",
        &outsider(),
        open("pay", 1, &another),
        403,
        "WRONG_ORG",
    );
    let insurer = caller("InsurerMSP", "p-8", "dpo");
    try_it(
        "OpenEpoch",
        &insurer,
        open("research:x", 1, &another),
        403,
        "WRONG_ORG",
    );
    let epoch = json!({"sector": "care", "epoch": 1});
    try_it(
        "RetireEpoch",
        &clinic_dpo(),
        epoch.clone(),
        404,
        "NOT_FOUND",
    );
    let attest =
        |print: &str| json!({"sector": "care", "epoch": 1, "fingerprint": print, "method": "M"});
    try_it(
        "AttestEpochDestroyed",
        &dpo,
        attest(&print),
        409,
        "BAD_STATE",
    );
    let free = json!({"sector": "care", "epoch": 1, "fingerprint": print, "method": "we burnt it"});
    try_it("AttestEpochDestroyed", &dpo, free, 400, "MALFORMED");
    ok(&mut ledger, "RetireEpoch", &dpo, epoch.clone());
    refused(
        &ledger.submit(call("RetireEpoch", &dpo, epoch)),
        409,
        "BAD_STATE",
    );
    refused(
        &ledger.submit(call("AttestEpochDestroyed", &dpo, attest(&another))),
        422,
        "FINGERPRINT_MISMATCH",
    );
    let missing = json!({"org": "ClinicMSP", "sector": "care", "epoch": 1});
    refused(
        &ledger.evaluate(call("ReadEpoch", &dpo, missing)),
        404,
        "NOT_FOUND",
    );
}

#[test]
fn two_epochs_opened_at_once_are_one() {
    let mut ledger = TestLedger::new();
    let one = ledger.endorse(call(
        "OpenEpoch",
        &hospital_dpo(),
        open("care", 1, &hash(b"1")),
    ));
    let two = ledger.endorse(call(
        "OpenEpoch",
        &hospital_dpo(),
        open("care", 1, &hash(b"2")),
    ));
    assert_eq!(ledger.commit(one), Validity::Valid);
    assert_eq!(ledger.commit(two), Validity::MvccReadConflict);
}
