use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::commitment::{Salt, commit, keyed};
use crate::vault::pseudonym;

const ID: &str = "11010519491231002X";

fn scanner() -> Scanner {
    Scanner::new([
        Identifier::new(Kind::Name, "Johnnie679 Hermiston71"),
        Identifier::new(Kind::Name, "Jürgen Müller"),
        Identifier::new(Kind::Name, "王小明"),
        Identifier::new(Kind::NationalId, ID),
        Identifier::new(Kind::BirthDate, "1949-12-31"),
        Identifier::new(Kind::Telecom, "+86 (010) 5550-1234"),
        Identifier::new(Kind::Telecom, "johnnie.h@example.org"),
        Identifier::new(Kind::Address, "1061 Kshlerin Course, Unit 4"),
        Identifier::new(Kind::Mrn, "MRN-0042-77"),
    ])
    .unwrap()
}

fn forms(bytes: &[u8]) -> Vec<Form> {
    let found = scanner().scan(bytes);
    found.into_iter().map(|finding| finding.form).collect()
}

#[test]
fn spellings_are_found() {
    for text in [
        "Johnnie679 Hermiston71",
        "JOHNNIE679 HERMISTON71",
        "hermiston71, johnnie679",
        "Hermiston71^Johnnie679",
        "JÜRGEN MÜLLER",
        "müller jürgen",
        "王小明",
        "11010519491231002x",
        "1101051949-1231-002X is not it, 19491231 is",
        "31.12.1949",
        "12/31/1949",
        "1949年12月31日",
        "8601055501234",
        "JOHNNIE.H@EXAMPLE.ORG",
        "1061 kshlerin course,unit 4",
        "MRN004277",
        "mrn-0042-77",
    ] {
        let around = format!("{{\"x\":\"{text}\"}}");
        assert!(forms(around.as_bytes()).contains(&Form::Plain), "{text}");
    }
}

#[test]
fn each_form_is_told() {
    let utf16 = |text: &str, big: bool| -> Vec<u8> {
        text.encode_utf16()
            .flat_map(|unit| {
                if big {
                    unit.to_be_bytes()
                } else {
                    unit.to_le_bytes()
                }
            })
            .collect()
    };
    let hashed = |algorithm: Algorithm| {
        let all = hashes(ID.as_bytes());
        all.into_iter().find(|(a, _)| *a == algorithm).unwrap().1
    };
    let mut cases: Vec<(Vec<u8>, Form)> = vec![
        (ID.into(), Form::Plain),
        (utf16("johnnie679 hermiston71", false), Form::Utf16),
        (utf16("王小明", true), Form::Utf16),
        (hex::encode(ID).into(), Form::Hex),
        (hex::encode_upper(ID).into(), Form::Hex),
        (STANDARD.encode(ID).into(), Form::Base64),
        (STANDARD.encode("MRN-0042-77").into(), Form::Base64),
    ];
    for algorithm in [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5] {
        let hash = hashed(algorithm);
        let form = |writing| Form::Hashed(algorithm, writing);
        cases.extend([
            (hash.clone(), form(Writing::Raw)),
            (hex::encode(&hash).into(), form(Writing::Hex)),
            (hex::encode_upper(&hash).into(), form(Writing::Hex)),
            (STANDARD.encode(&hash).into(), form(Writing::Base64)),
            (URL_SAFE_NO_PAD.encode(&hash).into(), form(Writing::Base64)),
        ]);
    }
    for (bytes, form) in cases {
        assert!(forms(&bytes).contains(&form), "{form:?} in {bytes:?}");
    }
}

#[test]
fn hashes_are_the_known_ones() {
    let of = |text: &str| hashes(text.as_bytes()).map(|(_, hash)| hex::encode(hash));
    assert_eq!(
        of("abc"),
        [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "900150983cd24fb0d6963f7d28e17f72",
        ]
    );
}

#[test]
fn hashes_of_other_spellings_are_found() {
    for text in [
        "11010519491231002x",
        "johnnie679 hermiston71",
        "19491231",
        "8601055501234",
        "MRN004277",
    ] {
        let hash = hex::encode(&hashes(text.as_bytes())[0].1);
        let form = Form::Hashed(Algorithm::Sha256, Writing::Hex);
        assert!(forms(hash.as_bytes()).contains(&form), "{text}");
    }
}

#[test]
fn what_the_suite_allows_is_not_found() {
    let salt = Salt::from_hex("00112233445566778899aabbccddeeff").unwrap();
    let allowed = [
        commit("card identity 1", &salt, &[ID.as_bytes()]),
        keyed(&[7; 32], "card identity 1", &[ID.as_bytes()]).unwrap(),
        pseudonym(&[7; 32], "national", ID),
        "{\"id\":\"0d1b3c9e-7a55-4f2a-9d5e-1f6f0a8b7c11\",\"at\":1795392000}".to_owned(),
    ];
    assert!(forms(allowed.join("\n").as_bytes()).is_empty());
}

#[test]
fn findings_say_what_where_and_how_often() {
    let found = scanner().scan(b"..mrn-0042-77..MRN-0042-77..");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].offset, found[0].count), (2, 2));
    assert_eq!(
        found[0].to_string(),
        "Mrn \"MRN-0042-77\" at byte 2 as Plain, 2 times"
    );
}

#[test]
fn a_scanner_that_proves_nothing_is_refused() {
    assert_eq!(Scanner::new([]).err(), Some(ScanError::Nothing));
    let short = ScanError::TooShort {
        kind: Kind::Name,
        value: " Li ".into(),
    };
    assert_eq!(
        Scanner::new([Identifier::new(Kind::Name, " Li ")]).err(),
        Some(short)
    );
}

#[test]
fn identifiers_are_read_from_a_patient() {
    let patient = json!({
        "resourceType": "Patient", "id": "f001-patient",
        "name": [{"family": "Hermiston71", "given": ["Johnnie679", "Al"]}],
        "identifier": [
            {"value": "MRN-0042-77", "type": {"coding": [{"code": "MR"}]}},
            {"value": "999-65-3120"}
        ],
        "birthDate": "1949-12-31",
        "telecom": [{"value": "555-443-1234"}],
        "address": [{"line": ["1061 Kshlerin Course"], "city": "Wuhan"}],
    });
    let found = Identifier::of_patient(&patient);
    let values = |kind| -> Vec<_> {
        found
            .iter()
            .filter(|found| found.kind == kind)
            .map(|found| found.value.as_str())
            .collect()
    };
    assert_eq!(
        values(Kind::Name),
        [
            "Al Hermiston71",
            "Hermiston71",
            "Johnnie679",
            "Johnnie679 Hermiston71"
        ]
    );
    assert_eq!(values(Kind::Mrn), ["MRN-0042-77", "f001-patient"]);
    assert_eq!(values(Kind::NationalId), ["999-65-3120"]);
    assert_eq!(values(Kind::BirthDate), ["1949-12-31"]);
    assert_eq!(values(Kind::Telecom), ["555-443-1234"]);
    assert_eq!(values(Kind::Address), ["1061 Kshlerin Course"]);
    assert!(Identifier::of_patient(&json!({})).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn any_value_is_found_within_anything(
        value in "[a-zA-Z0-9]{6,20}",
        before in proptest::collection::vec(any::<u8>(), 0..40),
        after in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let scanner = Scanner::new([Identifier::new(Kind::Mrn, value.clone())]).unwrap();
        let within = |bytes: &[u8]| [&before[..], bytes, &after[..]].concat();
        let finds = |bytes: &[u8], form| scanner.scan(bytes).iter().any(|found| found.form == form);
        for spelling in [value.clone(), value.to_lowercase(), value.to_uppercase()] {
            let plain = within(spelling.as_bytes());
            prop_assert!(finds(&plain, Form::Plain));
            prop_assert!(finds(hex::encode(&plain).as_bytes(), Form::Hex));
            prop_assert!(finds(STANDARD.encode(&plain).as_bytes(), Form::Base64));
            prop_assert!(finds(URL_SAFE_NO_PAD.encode(&plain).as_bytes(), Form::Base64));
            for (algorithm, hash) in hashes(spelling.as_bytes()) {
                let raw = within(&hash);
                let form = |writing| Form::Hashed(algorithm, writing);
                prop_assert!(finds(&raw, form(Writing::Raw)));
                prop_assert!(finds(hex::encode_upper(&raw).as_bytes(), form(Writing::Hex)));
                prop_assert!(finds(STANDARD.encode(&raw).as_bytes(), form(Writing::Base64)));
            }
        }
    }

    #[test]
    fn nothing_is_found_in_what_is_random(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        // Eight characters and more: the chance is below 2000 in 36^8.
        let scanner = Scanner::new([Identifier::new(Kind::NationalId, ID)]).unwrap();
        prop_assert!(scanner.scan(&bytes).is_empty());
        prop_assert!(scanner.scan(hex::encode(&bytes).as_bytes()).is_empty());
        prop_assert!(scanner.scan(STANDARD.encode(&bytes).as_bytes()).is_empty());
    }
}
