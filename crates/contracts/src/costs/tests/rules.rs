//! What holds apart from any story: deployment, repetition, sums.

use proptest::prelude::*;

use super::*;
use crate::contract::Contract;
use crate::costs::Costs;
use crate::costs::adjudicate::Totals;
use crate::costs::model::{ChargeState, in_force};
use crate::costs::money::Money;
use crate::costs::private::{Stay, When};
use crate::costs::sums::{ClaimSums, add_up};

#[test]
fn each_pair_has_a_collection_that_both_endorse() {
    let organizations = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let all = organizations(&[
        "HospitalMSP",
        "ClinicMSP",
        "InsurerMSP",
        "RegulatorMSP",
        "MakerMSP",
    ]);
    let deployment = Costs.deployment(&all).unwrap();
    assert_eq!(
        deployment.policy,
        "AND(OutOf(1,'InsurerMSP.peer'),OutOf(1,'HospitalMSP.peer','ClinicMSP.peer'))"
    );
    let collections: Vec<_> = deployment
        .collections
        .iter()
        .map(|c| {
            (
                c.name.as_str(),
                c.members.join(" "),
                c.endorsement.clone().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        collections,
        [
            (
                COLLECTION,
                "HospitalMSP InsurerMSP RegulatorMSP".to_owned(),
                "AND('HospitalMSP.peer','InsurerMSP.peer')".to_owned()
            ),
            (
                "claims-ClinicMSP-InsurerMSP",
                "ClinicMSP InsurerMSP RegulatorMSP".to_owned(),
                "AND('ClinicMSP.peer','InsurerMSP.peer')".to_owned()
            ),
        ]
    );
    assert!(deployment.collections.iter().all(|c| !c.open_for_writing));
    let two = Costs
        .deployment(&organizations(&["ClinicMSP", "InsurerMSP"]))
        .unwrap();
    assert_eq!(two.collections[0].members, ["ClinicMSP", "InsurerMSP"]);
    for alone in [&["HospitalMSP", "RegulatorMSP"][..], &["InsurerMSP"]] {
        assert_eq!(Costs.deployment(&organizations(alone)), None);
    }
}

#[test]
fn the_same_request_is_answered_again_and_another_under_its_id_is_not() {
    let mut ledger = charged();
    let request = |doc: &Value| submit("c1", "e1", &billing(), doc).arg("r1");
    let first = ok(&mut ledger, request(&both("n1")));
    assert_eq!(ok(&mut ledger, request(&both("n1"))), first);
    no(&mut ledger, request(&both("n2")), 409, "REQUEST_ID_REUSED");
    let names = ledger
        .events()
        .iter()
        .filter(|(name, _)| name == "costs.ClaimSubmitted");
    assert_eq!(names.count(), 1);
}

#[test]
fn a_day_lies_in_a_stay_after_death_or_outside() {
    let day = |text: &str| text.parse::<jiff::civil::Date>().unwrap();
    let stay = |end: Option<&str>, death: Option<&str>| Stay {
        sid_pay: SID.to_owned(),
        reference: "r".to_owned(),
        start: day("2026-11-02"),
        end: end.map(day),
        death: death.map(day),
        salt: SALT.to_owned(),
    };
    for (stay, date, when) in [
        (stay(None, None), "2026-11-01", When::OutsideStay),
        (stay(None, None), "2026-11-02", When::InStay),
        (stay(None, None), "2030-01-01", When::InStay),
        (stay(Some("2026-11-05"), None), "2026-11-05", When::InStay),
        (
            stay(Some("2026-11-05"), None),
            "2026-11-06",
            When::OutsideStay,
        ),
        (
            stay(Some("2026-11-09"), Some("2026-11-05")),
            "2026-11-05",
            When::InStay,
        ),
        (
            stay(Some("2026-11-09"), Some("2026-11-05")),
            "2026-11-06",
            When::AfterDeath,
        ),
    ] {
        assert_eq!(stay.when(day(date)), when, "{date} in {stay:?}");
    }
    let lists = [day("2026-01-01"), day("2026-06-01")];
    for (date, found) in [
        ("2025-12-31", None),
        ("2026-01-01", Some(0)),
        ("2026-05-31", Some(0)),
        ("2026-06-01", Some(1)),
        ("2027-01-01", Some(1)),
    ] {
        assert_eq!(
            in_force(&lists, |from| *from, day(date)),
            found.map(|n: usize| &lists[n]),
            "{date}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn sums_of_sound_claims_leave_nothing(
        posted in proptest::collection::vec(0i64..1_000_000_000, 0..5),
        claims in proptest::collection::vec((0i64..1_000_000_000, 0i64..1_000_000_000, 0i64..=100, 0i64..=100, 0usize..4), 0..8),
    ) {
        let m = Money::from_units;
        let mut charges: Vec<_> = posted.into_iter().map(|amount| (ChargeState::Posted, m(amount))).collect();
        charges.push((ChargeState::Reversed, m(77)));
        let mut live = Vec::new();
        for (charge, uncharged, share, paid, stage) in claims {
            charges.push((ChargeState::Claimed, m(charge)));
            let total = charge + uncharged;
            let allowed = total * share / 100;
            let payment = allowed * paid / 100;
            live.push(ClaimSums {
                settled: stage >= 2,
                total: m(total),
                uncharged: m(uncharged),
                decided: (stage >= 1).then_some(Totals {
                    submitted: m(total), allowed: m(allowed), disallowed: m(total - allowed),
                    paid: m(payment), patient: m(allowed - payment),
                }),
                returned: m(if stage == 3 { payment / 3 } else { 0 }),
            });
        }
        let sums = add_up(&charges, &live).unwrap();
        prop_assert!(sums.reconcile(), "{:?}", sums);
        // A charge that is said to be claimed and is on no claim shows.
        charges.push((ChargeState::Claimed, m(1)));
        prop_assert!(!add_up(&charges, &live).unwrap().reconcile());
    }
}
