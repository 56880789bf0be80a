//! Whatever is wrong with a call, it is said, and nothing happens.

use std::sync::Arc;

use super::*;
use crate::contract::Contract;
use crate::stub::Stub;

#[test]
fn only_those_whose_business_it_is_may_call() {
    let mut ledger = charged();
    ok(&mut ledger, submit("c1", "e1", &billing(), &both("n1")));
    let epi = json!({"epi": "e1"});
    let id = json!({"id": "c1"});
    let coverage = |caller: &Caller| {
        told(
            "ConfirmCoverage",
            caller,
            &epi,
            "coverage",
            &json!({"from": "2026-01-01", "to": "2026-01-02", "salt": SALT}),
        )
    };
    let other_payer = with("PensionMSP", "adjudicator");
    ok(
        &mut ledger,
        call(
            "Configure",
            &certifier(),
            &json!({"payers": ["InsurerMSP", "PensionMSP"]}),
        ),
    );
    let nothing = decision(&[[0, 0, 0], [0, 0, 0]]);
    for (proposal, code) in [
        (
            open("e2", &adjudicator(), &stay(SID, "2026-11-01")),
            "WRONG_ORG",
        ),
        (
            open(
                "e2",
                &with("HospitalMSP", "physician"),
                &stay(SID, "2026-11-01"),
            ),
            "WRONG_ROLE",
        ),
        (coverage(&billing()), "WRONG_ORG"),
        (coverage(&other_payer), "NOT_PAYER"),
        (
            told(
                "PostCharge",
                &clinic(),
                &json!({"epi": "e1", "seq": 3}),
                "line",
                &line("2026-11-04", "A0003", 100_000),
            ),
            "NOT_PROVIDER",
        ),
        (call("CloseEpisode", &clinic(), &epi), "NOT_PROVIDER"),
        (submit("c2", "e1", &clinic(), &both("n2")), "NOT_PROVIDER"),
        (replace("c2", "c1", &clinic(), &both("n2")), "NOT_PROVIDER"),
        (
            call("VoidClaim", &clinic(), &json!({"id": "c1", "reason": "X"})),
            "NOT_PROVIDER",
        ),
        (
            told("Adjudicate", &other_payer, &id, "decision", &nothing),
            "NOT_PAYER",
        ),
        (
            told("Adjudicate", &cashier(), &id, "decision", &nothing),
            "WRONG_ROLE",
        ),
        (drg("c1", &clinic(), "293", 1, 1), "NOT_PROVIDER"),
        (drg("c1", &other_payer, "293", 1, 1), "NOT_PROVIDER"),
        (drg("c1", &cashier(), "293", 1, 1), "WRONG_ROLE"),
        (contest("Dispute", &clinic(), "c1"), "NOT_PROVIDER"),
        (contest("Dispute", &patient(OTHER), "c1"), "NOT_PATIENT"),
        (contest("Dispute", &adjudicator(), "c1"), "WRONG_ORG"),
        (resolve(&other_payer, "c1", None), "NOT_PAYER"),
        (
            call(
                "Pay",
                &with("PensionMSP", "cashier"),
                &json!({"id": "c1", "remitRef": "R"}),
            ),
            "NOT_PAYER",
        ),
        (back("Refund", &clinic(), "c1", 1), "NOT_PROVIDER"),
        (
            back("Recover", &with("PensionMSP", "fraud"), "c1", 1),
            "NOT_PAYER",
        ),
        (
            call(
                "PublishPrices",
                &billing(),
                &json!({"version": "v9", "from": "2027-01-01", "currency": "USD", "pages": ["a".repeat(64)], "org": "ClinicMSP"}),
            ),
            "NOT_PROVIDER",
        ),
        (
            call(
                "PublishCodes",
                &billing(),
                &json!({"system": "S", "version": "1", "from": "2027-01-01", "root": "a".repeat(64), "count": 1}),
            ),
            "WRONG_ORG",
        ),
    ] {
        no(&mut ledger, proposal, 403, code);
    }
}

/// A registry that knows nobody.
struct Strict;

impl Contract for Strict {
    fn name(&self) -> &'static str {
        "strict"
    }

    fn invoke(&self, _: &mut dyn Stub) -> Response {
        Response::success(br#"{"active":false,"reason":"SUSPENDED"}"#.to_vec())
    }
}

#[test]
fn an_organization_without_a_licence_opens_no_episode() {
    let mut ledger = ready();
    ledger.install(Arc::new(Strict));
    ok(
        &mut ledger,
        call("Configure", &certifier(), &json!({"registry": "strict"})),
    );
    no(
        &mut ledger,
        open("e2", &billing(), &stay(SID, "2026-11-01")),
        403,
        "CREDENTIAL",
    );
}

#[test]
fn price_and_code_lists_are_published_forwards() {
    let mut ledger = ready();
    let hash = page_hash(&page());
    let prices = |caller: &Caller, more: Value| {
        let mut args =
            json!({"version": "v2", "from": "2026-11-23", "currency": "USD", "pages": [hash]});
        args.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        call("PublishPrices", caller, &args)
    };
    for (proposal, status, code) in [
        (
            prices(&billing(), json!({"version": "v1"})),
            409,
            "DUPLICATE",
        ),
        (
            prices(&billing(), json!({"from": "2026-01-01"})),
            422,
            "BACKDATED",
        ),
        (
            prices(&billing(), json!({"from": "2026-11-22"})),
            422,
            "BACKDATED",
        ),
        (
            prices(
                &certifier(),
                json!({"org": "HospitalMSP", "from": "2026-01-01"}),
            ),
            422,
            "BACKDATED",
        ),
        (
            prices(&billing(), json!({"currency": "usd"})),
            400,
            "MALFORMED",
        ),
        (prices(&billing(), json!({"pages": []})), 400, "MALFORMED"),
        (
            prices(&billing(), json!({"pages": ["x"]})),
            400,
            "MALFORMED",
        ),
        (
            prices(&billing(), json!({"from": "2026-02-30"})),
            400,
            "MALFORMED",
        ),
        (prices(&certifier(), json!({})), 400, "MALFORMED"),
        (
            prices(&certifier(), json!({"org": "MakerMSP"})),
            422,
            "UNKNOWN_ORG",
        ),
        (
            prices(&certifier(), json!({"org": "a b"})),
            400,
            "MALFORMED",
        ),
        (load_prices("v7"), 404, "NOT_FOUND"),
    ] {
        no(&mut ledger, proposal, status, code);
    }
    for caller in [
        with("HospitalMSP", "certifier"),
        with("RegulatorMSP", "billing"),
    ] {
        no(&mut ledger, prices(&caller, json!({})), 403, "WRONG_ROLE");
    }
    // A regulator may fill in days that are over, after the last list.
    ok(
        &mut ledger,
        prices(
            &certifier(),
            json!({"org": "HospitalMSP", "from": "2026-06-01"}),
        ),
    );
    let load = |change: &dyn Fn(&mut Value)| {
        bad(
            &|page| {
                told(
                    "LoadPrices",
                    &billing(),
                    &json!({"payer": "InsurerMSP", "version": "v1", "page": 0}),
                    "page",
                    page,
                )
            },
            &page(),
            change,
        )
    };
    for (proposal, status, code) in [
        (
            load(&|page| page["entries"][0]["price"] = json!(1)),
            422,
            "LIST_MISMATCH",
        ),
        (
            load(&|page| page["entries"][0]["price"] = json!(-1)),
            422,
            "AMOUNT",
        ),
        (
            load(&|page| page["entries"][0]["price"] = json!(1.5)),
            400,
            "MALFORMED",
        ),
        (
            load(&|page| page["entries"][4]["parts"] = json!(["P0001"])),
            400,
            "MALFORMED",
        ),
        (load(&|page| page["entries"] = json!([])), 400, "MALFORMED"),
        (load(&|page| page["salt"] = json!("00")), 400, "MALFORMED"),
        (
            told(
                "LoadPrices",
                &billing(),
                &json!({"payer": "MakerMSP", "version": "v1", "page": 0}),
                "page",
                &page(),
            ),
            422,
            "UNKNOWN_ORG",
        ),
        (
            told(
                "LoadPrices",
                &billing(),
                &json!({"payer": "InsurerMSP", "version": "v1", "page": 1}),
                "page",
                &page(),
            ),
            422,
            "LIST_MISMATCH",
        ),
        (
            call(
                "LoadPrices",
                &billing(),
                &json!({"payer": "InsurerMSP", "version": "v1", "page": 0}),
            ),
            400,
            "MALFORMED",
        ),
        (pepper(&billing()), 409, "DUPLICATE"),
        (
            told(
                "SetPepper",
                &billing(),
                &json!({"payer": "InsurerMSP"}),
                "pepper",
                &json!({"pepper": "00ff"}),
            ),
            400,
            "MALFORMED",
        ),
    ] {
        no(&mut ledger, proposal, status, code);
    }
    let codes = |version: &str, from: &str, count: u32| {
        call(
            "PublishCodes",
            &certifier(),
            &json!({"system": "ICD-10-CM", "version": version, "from": from, "root": "a".repeat(64), "count": count}),
        )
    };
    ok(&mut ledger, codes("2026", "2025-10-01", 1));
    no(
        &mut ledger,
        codes("2026", "2026-10-01", 1),
        409,
        "DUPLICATE",
    );
    no(
        &mut ledger,
        codes("2025", "2025-10-01", 1),
        422,
        "BACKDATED",
    );
    no(
        &mut ledger,
        codes("2027", "2026-10-01", 0),
        400,
        "MALFORMED",
    );
}

#[test]
fn decisions_packages_and_repayments_have_to_add_up() {
    let mut ledger = charged();
    ok(&mut ledger, submit("c1", "e1", &billing(), &both("n1")));
    let good = decision(&[[1_250_000, 1_250_000, 0], [1_405_200, 1_000_000, 405_200]]);
    let decided =
        |change: &dyn Fn(&mut Value)| bad(&|decision| adjudicate("c1", decision), &good, change);
    for (proposal, status, code) in [
        (decided(&|d| d["lines"][1]["line"] = json!(1)), 422, "LINES"),
        (
            decided(&|d| d["lines"][1]["allowed"] = json!(1_405_201)),
            422,
            "ALLOWED",
        ),
        (
            decided(&|d| d["lines"][1]["paid"] = json!(1_000_001)),
            422,
            "SHARES",
        ),
        (
            decided(&|d| d["lines"][1]["patient"] = json!(-1)),
            422,
            "AMOUNT",
        ),
        (decided(&|d| d["payment"] = json!(1)), 422, "PAYMENT"),
        (
            decided(&|d| {
                (d["lines"][1]["allowed"], d["lines"][1]["patient"]) = (json!(1_000_000), json!(0));
                d["lines"][1]["reasons"] = json!([]);
            }),
            422,
            "REASON",
        ),
        (decided(&|d| d["salt"] = json!("0")), 400, "MALFORMED"),
        (drg("c1", &billing(), "293", 0, 1), 422, "AMOUNT"),
        (drg("c1", &billing(), "293", 1, -1), 422, "AMOUNT"),
        (drg("c1", &billing(), "a word", 1, 1), 400, "MALFORMED"),
        (
            call(
                "Pay",
                &cashier(),
                &json!({"id": "c1", "remitRef": "a word"}),
            ),
            400,
            "MALFORMED",
        ),
    ] {
        no(&mut ledger, proposal, status, code);
    }
    ok(&mut ledger, adjudicate("c1", &good));
    no(
        &mut ledger,
        back("Recover", &fraud(), "c1", 1),
        409,
        "BAD_STATE",
    );
    ok(&mut ledger, pay("c1"));
    for (amount, status, code) in [
        (0, 422, "AMOUNT"),
        (-5, 422, "AMOUNT"),
        (2_250_001, 422, "OVER_RECOVERED"),
        (i64::MAX, 422, "OVER_RECOVERED"),
    ] {
        no(
            &mut ledger,
            back("Recover", &fraud(), "c1", amount),
            status,
            code,
        );
    }
    ok(&mut ledger, back("Recover", &fraud(), "c1", 2_250_000));
    no(
        &mut ledger,
        back("Refund", &billing(), "c1", 1),
        422,
        "OVER_RECOVERED",
    );
    no(
        &mut ledger,
        resolve(&adjudicator(), "c1", None),
        409,
        "BAD_STATE",
    );
    no(
        &mut ledger,
        call(
            "Resolve",
            &adjudicator(),
            &json!({"id": "c1", "outcome": "Maybe"}),
        ),
        400,
        "MALFORMED",
    );
}
