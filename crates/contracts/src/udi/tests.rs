use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::hibcc::{self, Label, check_character};
use super::*;

mod published;

#[test]
fn wrong_check_characters_name_the_right_one() {
    for (carrier, expected) in [
        // HL7's own example for FHIR has a wrong one.
        (
            "+H123PARTNO1234567890120/$$420020216LOT123456789012345/SXYZ456789012345678/16D20130202C",
            'H',
        ),
        ("+A99912345/$$52001510X3/16D20111212/S77DEFG45Z", '7'),
        ("+A99912345/$10X3/16D20111231/14D20200131Z", '3'),
        ("+A99912349/$10X3/16D20111231/14D20200131/Q500A", 'Z'),
        ("+J123AQ3451/$$3231231BC34567/S4012Z", 'R'),
        ("+A123BJC5D6E71H", 'G'),
        ("+H216040A35R", '3'),
        ("+H216040832$", '+'),
        // The secondary symbol of another label: its link is not this one's check character.
        ("+J123AQ3451T+$$52001510X3GD", 'S'),
    ] {
        let message = format!("check character should be '{expected}'");
        match parse(carrier, 2026) {
            Err(CarrierError::CheckDigit(why)) => assert!(why.starts_with(&message), "{why}"),
            other => panic!("{carrier} gave {other:?}"),
        }
    }
}

/// A body of HIBCC with its check character.
fn checked(body: &str) -> String {
    format!("{body}{}", check_character(body).unwrap())
}

#[test]
fn malformed_carriers_are_refused() {
    let bodies = [
        "+A12",
        "+1123BJC5D6E71",
        "+A123BJC5D6E7X",
        "+A123ABCDEFGHI1234567890123451",
        "+A123B-C1",
        "+A99912345/",
        "+A99912345/X",
        "+A99912345/$",
        "+A99912345/$$2131519LOT",
        "+A99912345/$$3190229LOT",
        "+A99912345/$$419051524LOT",
        "+A99912345/$$519366LOT",
        "+A99912345/$$519000LOT",
        "+A99912345/$$52001",
        "+A99912345/$$0AB",
        "+A99912345/$$1319LOT",
        "+A99912345/$$81",
        "+A99912345/$LOT1234567890123456",
        "+A99912345/SA B",
        "+A99912345/16D20151301",
        "+A99912345/14D2015100",
        "+A99912345/Q123456",
        "+A99912345/Q",
        "+A99912345/$A/$B",
        "+A99912345/$$3190515A/14D20190516",
    ];
    for carrier in bodies.iter().map(|body| checked(body)).chain(
        [
            "+",
            "*",
            "**",
            "+é",
            "+a123bjc5d6e71G",
            "=",
            "=/",
            "=/A9999XYZ100T094",
            "=/A9999xyz100t0944",
            "=,000025",
            "=/A9999XYZ100T0944=,00002",
            "=/A9999XYZ100T0944=>014366",
            "=/A9999XYZ100T0944=>01403A",
            "=/A9999XYZ100T0944=/A9999XYZ100T0944",
            "=/A9999XYZ100T0944&,2",
            "&,1000000000000XYZ123",
        ]
        .into_iter()
        .map(str::to_owned),
    ) {
        assert!(
            matches!(parse(&carrier, 2026), Err(CarrierError::Malformed(_))),
            "{carrier} gave {:?}",
            parse(&carrier, 2026)
        );
    }
}

#[test]
fn whose_a_text_is_does_not_depend_on_spaces_before_it() {
    for (text, agency) in [
        ("  +A123BJC5D6E71G", Agency::Hibcc),
        (" *+A123BJC5D6E71G*", Agency::Hibcc),
        ("\t=/A9999XYZ100T0944", Agency::Iccbba),
        (" (01)09506000117843", Agency::Gs1),
        ("", Agency::Gs1),
    ] {
        assert_eq!(Agency::of_text(text), agency, "{text:?}");
    }
}

#[test]
fn identifiers_are_kept_in_one_form() {
    for (agency, text, kept) in [
        (Agency::Gs1, "4006381333931", "04006381333931"),
        (Agency::Hibcc, "A123BJC5D6E71", "A123BJC5D6E71"),
        (Agency::Hibcc, "+A123BJC5D6E71G", "A123BJC5D6E71"),
        (Agency::Iccbba, "=/A9999XYZ100T0944", "=/A9999XYZ100T0944"),
    ] {
        assert_eq!(Agency::of_text(text), agency);
        assert_eq!(agency.device_identifier(text).as_deref(), Ok(kept));
        assert_eq!(Agency::of_name(agency.name()), Some(agency));
    }
    assert!(matches!(
        Agency::Hibcc.device_identifier("+A123BJC5D6E71H"),
        Err(CarrierError::CheckDigit(_))
    ));
    assert!(matches!(
        Agency::Gs1.device_identifier("38205793067477"),
        Err(CarrierError::CheckDigit(_))
    ));
    for (agency, text) in [
        (Agency::Gs1, "A123BJC5D6E71"),
        (Agency::Hibcc, "09504000059118"),
        (Agency::Hibcc, ""),
        (Agency::Iccbba, "A9999XYZ100T0944"),
    ] {
        let refused = agency.device_identifier(text);
        assert!(matches!(refused, Err(CarrierError::Malformed(_))), "{text}");
    }
    assert_eq!(Agency::of_name("MA"), None);
}

#[test]
fn labels_that_do_not_fit_are_not_written() {
    let label = |product: &str, lot: Option<&str>| Label {
        labeler: "A123".into(),
        product: product.into(),
        lot: lot.map(str::to_owned),
        ..Label::default()
    };
    assert_eq!(label("AA4", None).carrier().as_deref(), Ok("+A123AA40 "));
    for wrong in [
        label("", None),
        label("A/B", None),
        label("aa4", None),
        label("AA4", Some("")),
        label("AA4", Some("LOT1234567890123456")),
        label("AA4", Some("$7X")),
        Label {
            unit: 10,
            ..label("AA4", None)
        },
        Label {
            quantity: Some(100_000),
            ..label("AA4", None)
        },
    ] {
        assert!(wrong.carrier().is_err(), "{wrong:?}");
    }
}

fn labels() -> impl Strategy<Value = Label> {
    let day = (2000i16..2070, 1i8..=12, 1i8..=28).prop_map(|(y, m, d)| date(y, m, d));
    (
        "[A-Z][A-Z0-9]{3}",
        "[A-Z0-9]{1,18}",
        0u8..10,
        proptest::option::of(0u32..100_000),
        proptest::option::of("[A-Z0-9]{1,18}"),
        proptest::option::of("[A-Z0-9]{1,18}"),
        proptest::option::of(day.clone()),
        proptest::option::of(day),
    )
        .prop_map(
            |(labeler, product, unit, quantity, lot, serial, made, expires)| Label {
                labeler,
                product,
                unit,
                quantity,
                lot,
                serial,
                made,
                expires,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]
    #[test]
    fn what_is_written_is_read_again(label in labels()) {
        let carrier = label.carrier().unwrap();
        prop_assert_eq!(&hibcc::parse(&carrier, 2026).unwrap(), &label, "{}", carrier);
        prop_assert_eq!(parse(&carrier, 2026).unwrap().di, label.device_identifier());
        let caption = format!("*{}*", carrier.replace(' ', "_"));
        prop_assert_eq!(hibcc::parse(&caption, 2026).unwrap(), label);
    }

    #[test]
    fn any_single_other_character_is_found(label in labels(), at in 1usize..200, shift in 1usize..43) {
        const ALL: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%";
        let mut bytes = label.carrier().unwrap().into_bytes();
        let at = 1 + at % (bytes.len() - 1);
        let before = ALL.iter().position(|known| *known == bytes[at]).unwrap();
        bytes[at] = ALL[(before + shift) % 43];
        let wrong = String::from_utf8(bytes).unwrap();
        let found = matches!(hibcc::parse(&wrong, 2026), Err(CarrierError::CheckDigit(_)));
        prop_assert!(found, "{}", wrong);
    }

    #[test]
    fn the_forms_of_a_date_mean_the_same(year in 2010i16..2040, month in 1i8..=12, day in 1i8..=28, serial in any::<bool>()) {
        let expires = date(year, month, day);
        let yy = year % 100;
        let nth = expires.day_of_year();
        let plus = if serial { "+" } else { "" };
        for form in [
            format!("2{month:02}{day:02}{yy:02}"),
            format!("3{yy:02}{month:02}{day:02}"),
            format!("4{yy:02}{month:02}{day:02}23"),
            format!("5{yy:02}{nth:03}"),
            format!("6{yy:02}{nth:03}00"),
            format!("8123{yy:02}{month:02}{day:02}"),
            format!("9000123{yy:02}{month:02}{day:02}"),
        ] {
            let carrier = checked(&format!("+A99912345/$${plus}{form}X7"));
            let label = hibcc::parse(&carrier, 2026).unwrap();
            prop_assert_eq!(label.expires, Some(expires), "{}", carrier);
            let named = if serial { label.serial } else { label.lot };
            prop_assert_eq!(named.as_deref(), Some("X7"));
        }
        let carrier = checked(&format!("+A99912345/$${month:02}{yy:02}X7"));
        prop_assert_eq!(hibcc::parse(&carrier, 2026).unwrap().expires, Some(expires.last_of_month()));
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,60}", year in proptest::num::i16::ANY) {
        for flag in ["", "+", "*+", "=/", "=", "]d1+", "+A99912345/$$", "+A99912345/"] {
            let text = format!("{flag}{text}");
            let _ = parse(&text, year);
            if check_character(&text).is_some() {
                let _ = parse(&checked(&text), year);
            }
            for agency in Agency::ALL {
                let _ = agency.device_identifier(&text);
            }
        }
    }
}
