//! The judgement by itself: pure, on data.

use proptest::prelude::*;

use super::super::check::{When, judge_organization, judge_practitioner};
use super::super::model::{Credential, Facility, Licence, Life, Org, Scheme};
use super::*;

const NOW: i64 = 1_000;

fn life(state: State, from: i64, to: i64) -> Life {
    let mut life = Life::new(state, 0);
    life.now.valid_from = Some(from);
    life.now.valid_to = Some(to);
    life
}

fn active() -> Life {
    Life::new(State::Active, 0)
}

fn org(life: Life) -> Org {
    Org {
        msp: "H".into(),
        scheme: Scheme::Uscc,
        identifier: String::new(),
        life,
    }
}

fn licence(scope: &str, life: Life) -> Licence {
    Licence {
        msp: "H".into(),
        no: "L".into(),
        issuer: "R".into(),
        scopes: vec![scope.into()],
        life,
    }
}

fn credential(role: &str, facility: &str, life: Life) -> (Credential, Option<Facility>) {
    let credential = Credential {
        id: "c".into(),
        pid: "p".into(),
        org: "H".into(),
        facility: facility.into(),
        role: role.into(),
        specialty: None,
        attest_hash: String::new(),
        life,
    };
    let place = Facility {
        id: facility.into(),
        msp: "H".into(),
        area: String::new(),
        scopes: vec![],
        life: active(),
    };
    (credential, Some(place))
}

fn when() -> When {
    When { at: None, now: NOW }
}

fn said(standing: &crate::standing::Standing) -> &str {
    if standing.active {
        "ACTIVE"
    } else {
        &standing.reason
    }
}

#[test]
fn an_organization_is_in_force_when_it_and_a_licence_are() {
    let suspended = || life(State::Suspended, 0, 2_000);
    let good = || life(State::Active, 0, 2_000);
    let old = || life(State::Active, 0, NOW);
    let cases = [
        (None, vec![], "", "UNKNOWN"),
        (Some(org(active())), vec![], "", "ACTIVE"),
        (Some(org(suspended())), vec![], "", "SUSPENDED"),
        (Some(org(life(State::Revoked, 0, 1))), vec![], "", "REVOKED"),
        (Some(org(active())), vec![], "care", "UNLICENSED"),
        (
            Some(org(active())),
            vec![licence("waste", good())],
            "care",
            "UNLICENSED",
        ),
        (
            Some(org(active())),
            vec![licence("care", good())],
            "care",
            "ACTIVE",
        ),
        (
            Some(org(active())),
            vec![licence("care", old())],
            "care",
            "LICENCE_EXPIRED",
        ),
        (
            Some(org(active())),
            vec![licence("care", life(State::Active, NOW + 1, 2_000))],
            "care",
            "LICENCE_NOT_YET",
        ),
        (
            Some(org(active())),
            vec![licence("care", old()), licence("care", suspended())],
            "care",
            "LICENCE_SUSPENDED",
        ),
        (
            Some(org(active())),
            vec![licence("care", old()), licence("care", good())],
            "care",
            "ACTIVE",
        ),
        (
            Some(org(suspended())),
            vec![licence("care", good())],
            "care",
            "SUSPENDED",
        ),
    ];
    for (index, (org, licences, scope, expected)) in cases.iter().enumerate() {
        let standing = judge_organization(org.as_ref(), licences, scope, when());
        assert_eq!(said(&standing), *expected, "case {index}");
    }
}

#[test]
fn what_is_nearest_to_being_in_force_is_the_reason() {
    let good = || life(State::Active, 0, 2_000);
    let licences = [licence("care", good())];
    let nurse = |life| credential("nurse", "f", life);
    let applied = || life(State::Applied, 0, 0);
    let revoked = || life(State::Revoked, 0, 2_000);
    let expired = || life(State::Active, 0, NOW);
    let future = || life(State::Active, NOW + 1, 2_000);
    let suspended = || life(State::Suspended, 0, 2_000);
    let closed = |(credential, place): (Credential, Option<Facility>)| {
        let place = place.map(|place| Facility {
            life: revoked(),
            ..place
        });
        (credential, place)
    };
    let at = |facility, life| credential("nurse", facility, life);
    let cases = [
        (vec![], None, "UNKNOWN"),
        (vec![credential("dpo", "f", good())], None, "UNKNOWN"),
        (vec![nurse(good())], None, "ACTIVE"),
        (vec![nurse(applied())], None, "NOT_VERIFIED"),
        (vec![nurse(expired())], None, "EXPIRED"),
        (vec![nurse(future())], None, "NOT_YET"),
        (vec![nurse(suspended())], None, "SUSPENDED"),
        (vec![nurse(revoked())], None, "REVOKED"),
        (
            vec![nurse(revoked()), nurse(applied())],
            None,
            "NOT_VERIFIED",
        ),
        (vec![nurse(applied()), nurse(expired())], None, "EXPIRED"),
        (
            vec![nurse(expired()), nurse(suspended())],
            None,
            "SUSPENDED",
        ),
        (vec![nurse(suspended()), nurse(good())], None, "ACTIVE"),
        (vec![at("f", good())], Some("f"), "ACTIVE"),
        (vec![at("f", good())], Some("g"), "OTHER_FACILITY"),
        (
            vec![at("f", good()), at("g", revoked())],
            Some("g"),
            "REVOKED",
        ),
        (vec![(nurse(good()).0, None)], None, "FACILITY_UNKNOWN"),
        (vec![closed(nurse(good()))], None, "FACILITY_REVOKED"),
        (
            vec![nurse(suspended()), closed(nurse(good()))],
            None,
            "FACILITY_REVOKED",
        ),
        (
            vec![closed(nurse(suspended())), nurse(expired())],
            None,
            "SUSPENDED",
        ),
        (vec![closed(nurse(good())), nurse(good())], None, "ACTIVE"),
    ];
    for (index, (credentials, facility, expected)) in cases.iter().enumerate() {
        let org = org(active());
        let standing = judge_practitioner(
            Some(&org),
            &licences,
            credentials,
            "nurse",
            *facility,
            when(),
        );
        assert_eq!(said(&standing), *expected, "case {index}");
    }
    let org = org(active());
    let nurses = [nurse(good())];
    let unlicensed = judge_practitioner(Some(&org), &[], &nurses, "nurse", None, when());
    assert_eq!(said(&unlicensed), "UNLICENSED");
    let clerks = [credential("records", "f", good())];
    let clerk = judge_practitioner(Some(&org), &[], &clerks, "records", None, when());
    assert_eq!(said(&clerk), "ACTIVE", "clerks need no licence for care");
}

fn any_life() -> impl Strategy<Value = Life> {
    let state = proptest::sample::select(vec![
        State::Applied,
        State::Active,
        State::Suspended,
        State::Revoked,
    ]);
    (state, 0i64..2_000, 0i64..2_000).prop_map(|(state, from, to)| life(state, from, to))
}

proptest! {
    #[test]
    fn another_credential_never_takes_away_and_order_does_not_matter(
        lives in proptest::collection::vec(any_life(), 0..5),
        extra in any_life(),
        now in 0i64..2_000,
    ) {
        let org = org(active());
        let mut all: Vec<_> = lives.into_iter().map(|l| credential("dpo", "f", l)).collect();
        let judge = |all: &[_]| {
            let when = When { at: None, now };
            judge_practitioner(Some(&org), &[], all, "dpo", None, when)
        };
        let before = judge(&all);
        prop_assert_eq!(
            before.active,
            all.iter().any(|(c, _)| c.life.now.state == State::Active
                && c.life.now.valid_from.unwrap() <= now
                && now < c.life.now.valid_to.unwrap())
        );
        all.reverse();
        prop_assert_eq!(&judge(&all), &before);
        all.push(credential("dpo", "f", extra));
        prop_assert!(judge(&all).active || !before.active);
    }
}
