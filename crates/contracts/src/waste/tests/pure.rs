//! Codes, numbers, tolerances, deadlines, without a ledger.

use jiff::civil::date;
use proptest::prelude::*;

use super::super::class::{Class, METHODS, Method, Scheme, allows, classify};
use super::super::limits::{Tolerances, working_days_later};
use super::super::number::scheme_of;
use super::*;

#[test]
fn codes_have_a_scheme_and_a_class() {
    for (code, scheme, class) in [
        ("841-001-01", Scheme::China, Class::Infectious),
        ("841-002-01", Scheme::China, Class::Sharps),
        ("841-003-01", Scheme::China, Class::Pathological),
        ("841-004-01", Scheme::China, Class::Chemical),
        ("841-005-01", Scheme::China, Class::Pharmaceutical),
        ("D001", Scheme::Epa, Class::Hazardous),
        ("D043", Scheme::Epa, Class::Hazardous),
        ("F039", Scheme::Epa, Class::Hazardous),
        ("U129", Scheme::Epa, Class::Hazardous),
        ("PCB", Scheme::Epa, Class::Pcb),
    ] {
        assert_eq!(classify(code), Ok((scheme, class)), "{code}");
    }
    for code in [
        "",
        "841-006-01",
        "841-001-02",
        "D000",
        "D044",
        "F040",
        "X001",
        "D01",
        "D0001",
        "D+01",
        "d001",
        "感染性",
    ] {
        assert_eq!(classify(code).unwrap_err().code, "UNKNOWN_CODE", "{code}");
    }
}

#[test]
fn numbers_are_those_of_two_authorities() {
    let today = date(2026, 11, 23);
    for (no, scheme) in [
        ("20261101000001", Scheme::China),
        ("20086500999999", Scheme::China),
        ("123456789JJK", Scheme::Epa),
        ("000000000AAA", Scheme::Epa),
    ] {
        assert_eq!(scheme_of(no, today), Ok(scheme), "{no}");
    }
    for no in [
        "",
        "2026110100001",
        "202611010000011",
        "20271101000001",
        "20071101000001",
        "20261001000001",
        "20261101000000",
        "2026110100000A",
        "12345678JJK",
        "123456789jjk",
        "1234567890JK",
        "12345678９JJK",
        "CHANGE ME",
    ] {
        assert_eq!(scheme_of(no, today).unwrap_err().code, "BAD_NUMBER", "{no}");
    }
    // Where it is 1 January already the new year's numbers are given out.
    assert!(scheme_of("20271101000001", date(2026, 12, 31)).is_ok());
}

#[test]
fn a_bag_may_differ_by_a_share_or_by_grams_whichever_is_more() {
    let tolerances = Tolerances::default();
    for (stated, found, fits) in [
        (36_000, 36_000, true),
        (36_000, 34_200, true),
        (36_000, 34_199, false),
        (36_000, 37_800, true),
        (36_000, 37_801, false),
        (1_000, 900, true),
        (1_000, 899, false),
        (10, 110, true),
        (10, 111, false),
        (u64::MAX, 0, false),
    ] {
        assert_eq!(tolerances.bag(stated, found), fits, "{stated} {found}");
    }
    for (stated, found, fits) in [
        (432_000, 440_640, true),
        (432_000, 440_641, false),
        (1_000, 1_500, true),
        (1_000, 1_501, false),
    ] {
        assert_eq!(tolerances.total(stated, found), fits, "{stated} {found}");
    }
}

#[test]
fn working_days_leave_out_weekends() {
    // START is Monday, 23 November 2026.
    for (from, days, to) in [
        (0, 0, 0),
        (0, 1, 1),
        (0, 4, 4),
        (0, 5, 7),
        (4, 1, 7),
        (5, 1, 7),
        (6, 1, 7),
        (6, 5, 11),
    ] {
        let found = working_days_later(START + from * DAY + HOUR, days);
        assert_eq!(found, START + to * DAY + HOUR, "{from} + {days}");
    }
    assert_eq!(working_days_later(i64::MAX, 5), i64::MAX);
}

#[test]
fn drugs_and_chemicals_are_not_steamed() {
    for class in [Class::Chemical, Class::Pharmaceutical, Class::Pcb] {
        for method in [
            Method::Steam,
            Method::Microwave,
            Method::ChemicalDisinfection,
        ] {
            assert!(!allows(class, method), "{class:?} {method:?}");
        }
    }
    assert!(
        METHODS
            .iter()
            .all(|(class, _)| allows(*class, Method::Incineration))
    );
    for class in [Class::Infectious, Class::Sharps, Class::Pathological] {
        assert!(allows(class, Method::Steam));
        assert!(!allows(class, Method::Landfill));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn tolerance_is_an_interval_around_what_is_stated(
        stated in 1u64..10_000_000, found in 0u64..20_000_000, step in 0u64..1000,
    ) {
        let tolerances = Tolerances::default();
        prop_assert!(tolerances.bag(stated, stated));
        let nearer = if found >= stated { found.saturating_sub(step).max(stated) } else { (found + step).min(stated) };
        prop_assert!(!tolerances.bag(stated, found) || tolerances.bag(stated, nearer));
        prop_assert!(!tolerances.total(stated, found) || tolerances.total(stated, nearer));
    }

    #[test]
    fn no_text_makes_the_checks_panic(text in "\\PC{0,20}") {
        let _ = classify(&text);
        let _ = scheme_of(&text, date(2026, 1, 1));
        let _ = super::super::epa::read(text.as_bytes());
    }
}
