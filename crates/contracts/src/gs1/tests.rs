use jiff::civil::date;
use proptest::prelude::*;

use super::gtin::{self, GtinError};
use super::udi::{self, Udi, UdiError};

#[test]
fn published_numbers_have_right_check_digits() {
    for gtin in [
        "09504000059118", // HL7 and US Core example
        "00844588018923", // FDA openfda test record
        "00844868017264",
        "00844868017288",
        "09506000117843", // GS1 demonstration
        "4006381333931",  // GTIN-13
        "036000291452",   // GTIN-12
        "96385074",       // GTIN-8
    ] {
        assert_eq!(gtin::normalize(gtin).unwrap(), format!("{gtin:0>14}"));
    }
}

#[test]
fn a_wrong_check_digit_names_the_right_one() {
    assert_eq!(
        gtin::normalize("38205793067477"),
        Err(GtinError::CheckDigit {
            gtin: "38205793067477".into(),
            expected: 3,
            found: 7
        })
    );
}

#[test]
fn only_digits_of_four_lengths_are_numbers() {
    for text in [
        "",
        "1",
        "123456789",
        "0950400005911é",
        "095040000591 8",
        "０9504000059118",
    ] {
        assert!(
            matches!(gtin::normalize(text), Err(GtinError::Format(_))),
            "{text}"
        );
    }
}

fn example() -> Udi {
    Udi {
        di: "09504000059118".into(),
        lot: Some("7654321D".into()),
        serial: Some("10987654d321".into()),
        made: None,
        expires: Some(date(2014, 11, 20)),
    }
}

#[test]
fn the_same_device_reads_the_same_from_every_carrier() {
    for carrier in [
        "(01)09504000059118(17)141120(10)7654321D(21)10987654d321",
        " (01) 09504000059118 (17) 141120 (10) 7654321D (21) 10987654d321 ",
        "010950400005911817141120107654321D\u{1d}2110987654d321",
        "]d2010950400005911817141120107654321D\u{1d}2110987654d321",
        "\u{1d}0109504000059118\u{1d}17141120107654321D<GS>2110987654d321",
        "https://id.gs1.org/01/09504000059118/10/7654321D/21/10987654d321?17=141120",
        "http://example.com/some/path/01/09504000059118/10/7654321D/21/1098765%34d321?17=141120&linkType=all#top",
    ] {
        assert_eq!(udi::parse(carrier, 2026).unwrap(), example(), "{carrier}");
    }
}

#[test]
fn parentheses_may_be_part_of_a_lot() {
    let udi = udi::parse("(01)09504000059118(10)A(1)B(21)5", 2026).unwrap();
    assert_eq!(udi.lot.as_deref(), Some("A(1)B"));
    assert_eq!(udi.serial.as_deref(), Some("5"));
}

#[test]
fn centuries_and_month_ends_follow_the_rule() {
    let cases = [
        ("651025", 2026, date(2065, 10, 25)),
        ("901109", 2026, date(1990, 11, 9)),
        ("770101", 2026, date(1977, 1, 1)),
        ("760101", 2026, date(2076, 1, 1)),
        ("240200", 2026, date(2024, 2, 29)),
        ("250200", 2026, date(2025, 2, 28)),
        ("010101", 2099, date(2101, 1, 1)),
        ("490101", 2099, date(2149, 1, 1)),
        ("500101", 2099, date(2050, 1, 1)),
    ];
    for (text, year, expected) in cases {
        let carrier = format!("(01)09504000059118(17){text}");
        assert_eq!(
            udi::parse(&carrier, year).unwrap().expires,
            Some(expected),
            "{text} in {year}"
        );
    }
}

#[test]
fn malformed_carriers_are_refused() {
    for carrier in [
        "",
        "+LIC123",
        "=/A9999",
        "(01)0950400005911",
        "(10)7654321D",
        "(01)09504000059118(17)141320",
        "(01)09504000059118(17)140231",
        "(01)09504000059118(17)14112",
        "(01)09504000059118(10)",
        "(01)09504000059118(10)123456789012345678901",
        "(01)09504000059118(10)a b",
        "(01)09504000059118(01)09504000059118",
        "0109504000059",
        "(99",
        "(01",
        "https://id.gs1.org/gtin/09504000059118",
        "https://id.gs1.org/01/09504000059118/10",
        "https://id.gs1.org/01/09504000059118/10/%4",
        "https://id.gs1.org/01/09504000059118/10/%zz",
        "https://id.gs1.org/01/09504000059118/10/%ff",
    ] {
        assert!(
            matches!(udi::parse(carrier, 2026), Err(UdiError::Malformed(_))),
            "{carrier} gave {:?}",
            udi::parse(carrier, 2026)
        );
    }
    assert!(matches!(
        udi::parse(
            "(01)38205793067477(11)651025(17)901109(10)8060748503699044610(21)371594",
            2026
        ),
        Err(UdiError::CheckDigit(GtinError::CheckDigit {
            expected: 3,
            found: 7,
            ..
        }))
    ));
}

proptest! {
    #[test]
    fn appending_the_check_digit_makes_a_valid_number(digits in "[0-9]{13}") {
        let check = gtin::check_digit(&digits).unwrap();
        let gtin = format!("{digits}{check}");
        prop_assert_eq!(gtin::normalize(&gtin).unwrap(), gtin);
    }

    #[test]
    fn any_single_wrong_digit_is_found(digits in "[0-9]{13}", at in 0usize..14, shift in 1u8..10) {
        let check = gtin::check_digit(&digits).unwrap();
        let mut bytes = format!("{digits}{check}").into_bytes();
        bytes[at] = b'0' + (bytes[at] - b'0' + shift) % 10;
        let wrong = String::from_utf8(bytes).unwrap();
        let found = matches!(gtin::normalize(&wrong), Err(GtinError::CheckDigit { .. }));
        prop_assert!(found);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,60}", year in proptest::num::i16::ANY) {
        let _ = udi::parse(&text, year);
        let _ = udi::parse(&format!("(01){text}"), year);
        let _ = udi::parse(&format!("01{text}"), year);
        let _ = udi::parse(&format!("https://{text}"), year);
    }

    #[test]
    fn what_is_printed_is_read_again(
        digits in "[0-9]{13}",
        lot in "[A-Za-z0-9!%&'*+,./:;=?_-]{1,20}",
        serial in "[A-Za-z0-9!%&'*+,./:;=?_-]{1,20}",
        year in 2000i16..2050, month in 1i8..=12, day in 1i8..=28,
    ) {
        let gtin = format!("{digits}{}", gtin::check_digit(&digits).unwrap());
        let expires = date(year, month, day);
        let yymmdd = format!("{:02}{month:02}{day:02}", year % 100);
        let escaped = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let expected = Udi { di: gtin.clone(), lot: Some(lot.clone()), serial: Some(serial.clone()), made: None, expires: Some(expires) };
        for carrier in [
            format!("(01){gtin}(17){yymmdd}(10){lot}(21){serial}"),
            format!("01{gtin}17{yymmdd}10{lot}\u{1d}21{serial}"),
            format!("01{gtin}21{serial}\u{1d}17{yymmdd}10{lot}"),
            format!("https://id.gs1.org/01/{gtin}/10/{}/21/{}?17={yymmdd}", escaped(&lot), escaped(&serial)),
        ] {
            prop_assert_eq!(&udi::parse(&carrier, 2026).unwrap(), &expected, "{}", carrier);
        }
    }
}
