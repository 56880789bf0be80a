use proptest::prelude::*;

use super::{IdentifierError, area, luhn, npi, uscc};

#[derive(Debug, PartialEq)]
enum Kind {
    Valid,
    Format,
    Check(char),
    Unassigned,
}
use Kind::{Check, Format, Unassigned, Valid};

fn kind(result: Result<(), IdentifierError>) -> Kind {
    match result {
        Ok(()) => Valid,
        Err(IdentifierError::Format { .. }) => Format,
        Err(IdentifierError::CheckCharacter { expected, .. }) => Check(expected),
        Err(IdentifierError::Unassigned(_)) => Unassigned,
    }
}

#[test]
fn unified_social_credit_codes() {
    for (text, expected) in [
        // GB 32100's own example.
        ("91350100M000100Y43", Valid),
        ("91110000600037341L", Valid),
        ("91350100M000100Y44", Check('3')),
        ("91350100M000100Y4", Format),
        ("91350100M000100Y430", Format),
        ("", Format),
        // Letters that the alphabet leaves out, small letters, letters in the area.
        ("91350100I000100Y43", Format),
        ("91350100m000100Y43", Format),
        ("91350100M000100Y4I", Format),
        ("91A50100M000100Y43", Format),
        ("91350100M000100Yé3", Format),
        ("91350100M000100Y4é", Format),
        // A typing error, and two neighbours exchanged.
        ("91350100M000100Y33", Check('0')),
        ("91350100M000010Y43", Check('J')),
    ] {
        assert_eq!(kind(uscc::check(text)), expected, "{text}");
    }
}

#[test]
fn national_provider_identifiers() {
    for (text, expected) in [
        // CMS's example, and a sample claim's provider.
        ("1234567893", Valid),
        ("1578387320", Valid),
        // Synthea's numbers, and one that samples of claims like to use.
        ("290", Format),
        ("46290", Format),
        ("1234567890", Check('3')),
        ("3234567893", Format),
        ("123456789X", Format),
        ("12345678931", Format),
        ("", Format),
        ("１234567", Format),
    ] {
        assert_eq!(kind(npi::check(text)), expected, "{text}");
    }
}

#[test]
fn areas_of_china() {
    for (text, expected) in [
        ("110105", Valid),
        ("440524", Valid),
        ("350100", Valid),
        // An autonomous prefecture, a league, a city that the province governs itself.
        ("222400", Valid),
        ("152200", Valid),
        ("429004", Valid),
        ("710000", Valid),
        ("810000", Valid),
        ("990100", Unassigned),
        ("160100", Unassigned),
        // A province alone is no place for a facility.
        ("350000", Unassigned),
        ("359900", Unassigned),
        ("429000", Unassigned),
        ("710100", Unassigned),
        ("35010", Format),
        ("3501000", Format),
        ("35O100", Format),
    ] {
        assert_eq!(kind(area::check_gb2260(text)), expected, "{text}");
    }
}

#[test]
fn areas_of_the_united_states() {
    for (text, expected) in [
        ("US-MA", Valid),
        ("US-DC", Valid),
        ("US-XX", Unassigned),
        ("US-ma", Unassigned),
        ("MA", Format),
        ("US-MAS", Format),
        ("CN-11", Format),
    ] {
        assert_eq!(kind(area::check_us(text)), expected, "{text}");
    }
}

#[test]
fn errors_do_not_repeat_more_than_a_line() {
    let long = "9".repeat(10_000);
    for error in [uscc::check(&long), npi::check(&long), area::check_us(&long)] {
        assert!(error.unwrap_err().to_string().len() < 250);
    }
}

fn uscc_head() -> impl Strategy<Value = String> {
    "[0-9A-HJ-NP-RTUWXY]{2}[0-9]{6}[0-9A-HJ-NP-RTUWXY]{9}"
}

proptest! {
    #[test]
    fn no_code_survives_a_wrong_character(head in uscc_head(), at in 0usize..17, other in "[0-9]") {
        let check = uscc::check_character(&head).unwrap();
        let code = format!("{head}{check}");
        prop_assert!(uscc::check(&code).is_ok());
        let mut wrong = code.clone();
        wrong.replace_range(at..at + 1, &other);
        prop_assert_eq!(uscc::check(&wrong).is_ok(), wrong == code);
    }

    #[test]
    fn no_code_survives_two_neighbours_exchanged(head in uscc_head(), at in 8usize..16) {
        let code = format!("{head}{}", uscc::check_character(&head).unwrap());
        let mut bytes = code.clone().into_bytes();
        bytes.swap(at, at + 1);
        let wrong = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(uscc::check(&wrong).is_ok(), wrong == code);
    }

    #[test]
    fn no_npi_survives_a_wrong_digit(head in "[12][0-9]{8}", at in 1usize..10, other in "[0-9]") {
        let check = luhn(&format!("80840{head}")).unwrap();
        let number = format!("{head}{check}");
        prop_assert!(npi::check(&number).is_ok());
        let mut wrong = number.clone();
        wrong.replace_range(at..at + 1, &other);
        prop_assert_eq!(npi::check(&wrong).is_ok(), wrong == number);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,24}") {
        let _ = (uscc::check(&text), npi::check(&text), area::check_gb2260(&text), area::check_us(&text));
        let _ = (luhn(&text), uscc::check_character(&text));
    }
}
