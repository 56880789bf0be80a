//! Proofs of identity: one table of schemes, each with its rule for what a number looks like.
//!
//! A rule also brings a number into *one* form: what a person writes in two ways must give one
//! pseudonym, or the same person could open two cards.

use jiff::civil::Date;

/// A number in its one form, and the birth date when the number holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What pseudonyms are derived from.
    pub number: String,
    /// The birth date that the number says.
    pub birth: Option<Date>,
}

/// Why a number is none of its scheme. Never repeats it: refusals are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Other characters or another length than the scheme's numbers have.
    #[error("{0}")]
    Shape(&'static str),
    /// GB/T 2260 has no such province.
    #[error("the first two digits are no province of GB/T 2260")]
    Area,
    /// Not a date of the calendar.
    #[error("digits 7 to 14 are no date")]
    Date,
    /// The check character does not fit the other 17 digits.
    #[error("the check character is wrong")]
    Check,
}

/// One kind of document.
pub struct Scheme {
    /// How arguments name it.
    pub name: &'static str,
    /// Its code among the types of identity documents of the national health data element
    /// dictionary (WS 364.3, CV02.01.101).
    pub code: &'static str,
    /// Whether the number itself proves the birth date.
    pub holds_birth: bool,
    read: fn(&str) -> Result<Identity, IdentityError>,
}

impl Scheme {
    /// Checks a number and brings it into its one form.
    ///
    /// # Errors
    /// [`IdentityError`] says what is wrong, without the number.
    pub fn read(&self, number: &str) -> Result<Identity, IdentityError> {
        (self.read)(number.trim().to_ascii_uppercase().as_str())
    }
}

/// Every scheme that a card can be opened with. A new document is a new line here.
pub const SCHEMES: &[Scheme] = &[
    Scheme {
        name: "resident-id",
        code: "01",
        holds_birth: true,
        read: resident_id,
    },
    Scheme {
        name: "passport",
        code: "03",
        holds_birth: false,
        read: passport,
    },
    Scheme {
        name: "hk-macao-permit",
        code: "06",
        holds_birth: false,
        read: hk_macao_permit,
    },
    Scheme {
        name: "taiwan-permit",
        code: "07",
        holds_birth: false,
        read: taiwan_permit,
    },
    Scheme {
        name: "permanent-residence",
        code: "99",
        holds_birth: true,
        read: permanent_residence,
    },
];

/// The scheme of this name.
pub fn scheme(name: &str) -> Option<&'static Scheme> {
    SCHEMES.iter().find(|scheme| scheme.name == name)
}

/// The names, for messages.
pub(super) fn names() -> String {
    let names: Vec<_> = SCHEMES.iter().map(|scheme| scheme.name).collect();
    names.join(", ")
}

/// Provinces of GB/T 2260. Counties are not looked up: their codes are withdrawn and given anew,
/// while a person keeps the number once given.
const PROVINCES: &[u8] = &[
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52,
    53, 54, 61, 62, 63, 64, 65, 71, 81, 82, 83,
];

/// The check character of GB 11643 over the first 17 digits: ISO 7064 MOD 11-2. `None` when one
/// is no digit.
pub fn check_character(digits: &[u8; 17]) -> Option<u8> {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHARACTERS: &[u8; 11] = b"10X98765432";
    let mut sum = 0;
    for (digit, weight) in digits.iter().zip(WEIGHTS) {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum += u32::from(digit - b'0') * weight;
    }
    Some(CHARACTERS[(sum % 11) as usize])
}

/// The 18 characters that end in a right check character, and their date.
fn eighteen(number: &str) -> Result<(&[u8; 17], Date), IdentityError> {
    let shape = IdentityError::Shape("it has 17 digits and a check character 0-9 or X");
    let (digits, check) = number
        .as_bytes()
        .split_first_chunk::<17>()
        .filter(|(digits, _)| digits.iter().all(u8::is_ascii_digit))
        .ok_or(shape)?;
    let [check @ (b'0'..=b'9' | b'X')] = check else {
        return Err(shape);
    };
    let value = |range: std::ops::Range<usize>| {
        digits[range]
            .iter()
            .fold(0i16, |value, digit| value * 10 + i16::from(digit - b'0'))
    };
    // Two digits fit into an i8.
    let date = Date::new(value(6..10), value(10..12) as i8, value(12..14) as i8)
        .ok()
        .filter(|date| date.year() >= 1850)
        .ok_or(IdentityError::Date)?;
    if check_character(digits) != Some(*check) {
        return Err(IdentityError::Check);
    }
    Ok((digits, date))
}

/// GB 11643: area of GB/T 2260, birth date, order, check character. Residents of Hong Kong, Macao
/// and Taiwan have such numbers too, with 81, 82 and 83.
fn resident_id(number: &str) -> Result<Identity, IdentityError> {
    let (digits, birth) = eighteen(number)?;
    let province = (digits[0] - b'0') * 10 + (digits[1] - b'0');
    // An area has six digits, of which the province is never all.
    if !PROVINCES.contains(&province) {
        return Err(IdentityError::Area);
    }
    Ok(Identity {
        number: number.to_owned(),
        birth: Some(birth),
    })
}

/// The foreigner's permanent residence card of 2023: 9, then as a resident's number is built.
fn permanent_residence(number: &str) -> Result<Identity, IdentityError> {
    let (digits, birth) = eighteen(number)?;
    if digits[0] != b'9' {
        return Err(IdentityError::Shape("it begins with 9"));
    }
    Ok(Identity {
        number: number.to_owned(),
        birth: Some(birth),
    })
}

/// ICAO 9303: the issuing state, a colon, and a document number of at most nine. Without the state
/// two people could share a number.
fn passport(number: &str) -> Result<Identity, IdentityError> {
    let shape = IdentityError::Shape(
        "it is the issuing state's one to three letters, ':', and five to nine letters or digits",
    );
    let (state, document) = number.split_once(':').ok_or(shape)?;
    let fits = (1..=3).contains(&state.len())
        && state.bytes().all(|b| b.is_ascii_uppercase())
        && (5..=9).contains(&document.len())
        && document
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !fits {
        return Err(shape);
    }
    Ok(Identity {
        number: number.to_owned(),
        birth: None,
    })
}

/// A prefix of letters, then `digits` digits that stay for life, and perhaps two that count the
/// renewals of the old form: those are cut off, for they are another document of the same person.
fn permit(
    number: &str,
    prefixes: &[u8],
    digits: usize,
    shape: &'static str,
) -> Result<Identity, IdentityError> {
    let shape = IdentityError::Shape(shape);
    let bytes = number.as_bytes();
    let rest = match prefixes {
        [] => bytes,
        _ => match bytes.split_first() {
            Some((first, rest)) if prefixes.contains(first) => rest,
            _ => return Err(shape),
        },
    };
    let fits =
        (rest.len() == digits || rest.len() == digits + 2) && rest.iter().all(u8::is_ascii_digit);
    if !fits {
        return Err(shape);
    }
    let kept = bytes.len() - (rest.len() - digits);
    Ok(Identity {
        number: number[..kept].to_owned(),
        birth: None,
    })
}

/// Mainland travel permit for residents of Hong Kong and Macao.
fn hk_macao_permit(number: &str) -> Result<Identity, IdentityError> {
    permit(
        number,
        b"HM",
        8,
        "it is H or M and eight digits, or ten on the old form",
    )
}

/// Mainland travel permit for residents of Taiwan.
fn taiwan_permit(number: &str) -> Result<Identity, IdentityError> {
    permit(number, b"", 8, "it is eight digits, or ten on the old form")
}

/// Whether somebody born on `birth` is younger than `years` on `today`.
pub(super) fn younger_than(birth: Date, today: Date, years: i16) -> bool {
    let birthday = (
        birth.year().saturating_add(years),
        birth.month(),
        birth.day(),
    );
    (today.year(), today.month(), today.day()) < birthday
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(name: &str, number: &str) -> Result<String, IdentityError> {
        scheme(name).unwrap().read(number).map(|id| id.number)
    }

    #[test]
    fn resident_numbers_of_the_standards() {
        for number in [
            "11010519491231002X",
            "440524188001010014",
            "11010020171225006X",
        ] {
            assert_eq!(read("resident-id", number).as_deref(), Ok(number));
        }
        let born = scheme("resident-id")
            .unwrap()
            .read("11010519491231002x")
            .unwrap();
        assert_eq!(born.number, "11010519491231002X");
        assert_eq!(born.birth, Some(jiff::civil::date(1949, 12, 31)));
        for (number, error) in [
            ("110105194912310021", IdentityError::Check),
            ("11010519490231002X", IdentityError::Date),
            ("11010500001231002X", IdentityError::Date),
            ("990105194912310022", IdentityError::Check),
        ] {
            assert_eq!(read("resident-id", number), Err(error), "{number}");
        }
        for number in [
            "",
            "110105491231002",
            "11010519491231002XX",
            "1101051949123100A2",
            "１１",
        ] {
            assert!(
                matches!(read("resident-id", number), Err(IdentityError::Shape(_))),
                "{number}"
            );
        }
    }

    #[test]
    fn an_area_that_does_not_exist_is_refused() {
        for province in 0..100u8 {
            let digits = format!("{province:02}010519491231002");
            let check = check_character(digits.as_bytes().try_into().unwrap()).unwrap();
            let number = format!("{digits}{}", char::from(check));
            let known = PROVINCES.contains(&province);
            assert_eq!(read("resident-id", &number).is_ok(), known, "{province}");
            if !known {
                assert_eq!(read("resident-id", &number), Err(IdentityError::Area));
            }
        }
    }

    #[test]
    fn other_documents_by_their_form() {
        for (name, number, expected) in [
            ("passport", "chn:e12345678", Some("CHN:E12345678")),
            ("passport", "D:C01X00T47", Some("D:C01X00T47")),
            ("passport", "E12345678", None),
            ("passport", "CHN:E1234", Some("CHN:E1234")),
            ("passport", "CHN:E123", None),
            ("passport", "CHNX:E12345678", None),
            ("hk-macao-permit", "H12345678", Some("H12345678")),
            ("hk-macao-permit", "h1234567801", Some("H12345678")),
            ("hk-macao-permit", "M1234567802", Some("M12345678")),
            ("hk-macao-permit", "K12345678", None),
            ("hk-macao-permit", "H123456789", None),
            ("hk-macao-permit", "", None),
            ("taiwan-permit", "12345678", Some("12345678")),
            ("taiwan-permit", "1234567801", Some("12345678")),
            ("taiwan-permit", "123456789", None),
            ("taiwan-permit", "1234567é", None),
            ("permanent-residence", "11010519491231002X", None),
        ] {
            assert_eq!(
                read(name, number).ok().as_deref(),
                expected,
                "{name} {number}"
            );
        }
        assert!(scheme("driving-licence").is_none());
    }

    #[test]
    fn fourteen_is_reached_on_the_birthday() {
        let birth = jiff::civil::date(2012, 2, 29);
        for (today, young) in [
            (jiff::civil::date(2026, 2, 28), true),
            (jiff::civil::date(2026, 3, 1), false),
            (jiff::civil::date(2025, 12, 31), true),
            (jiff::civil::date(2027, 1, 1), false),
        ] {
            assert_eq!(younger_than(birth, today, 14), young, "{today}");
        }
    }

    proptest! {
        #[test]
        fn no_scheme_panics_and_one_form_reads_as_itself(number in "\\PC{0,24}") {
            for scheme in SCHEMES {
                if let Ok(identity) = scheme.read(&number) {
                    prop_assert_eq!(scheme.read(&identity.number).unwrap(), identity);
                }
            }
        }

        #[test]
        fn a_wrong_digit_is_found(order in 0u32..1000, at in 0usize..17, add in 1u8..10) {
            let digits = format!("11010519491231{order:03}");
            let check = check_character(digits.as_bytes().try_into().unwrap()).unwrap();
            let mut number = format!("{digits}{}", char::from(check)).into_bytes();
            number[at] = b'0' + (number[at] - b'0' + add) % 10;
            prop_assert!(read("resident-id", std::str::from_utf8(&number).unwrap()).is_err());
        }
    }
}
