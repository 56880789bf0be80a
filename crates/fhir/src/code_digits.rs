//! Check digits of the identifiers that health data carries.

use consilium_contracts::identifiers::luhn;

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a text is Luhn's check digit for the digits before it.
fn is_luhn(check: &str, digits: &str) -> bool {
    luhn(digits).is_some_and(|expected| check.as_bytes() == [b'0' + expected])
}

/// A LOINC code: digits, a hyphen, and the check digit after Luhn (LOINC Users' Guide, appendix A).
pub(crate) fn is_loinc(code: &str) -> bool {
    let Some((number, check)) = code.split_once('-') else {
        return false;
    };
    // Part and answer codes (LP…, LA…, LG…, LL…) have letters in front, and check digits of a rule
    // that is not published: only their form is looked at.
    let plain = ["LP", "LA", "LG", "LL"]
        .iter()
        .find_map(|prefix| number.strip_prefix(prefix));
    match plain {
        Some(number) => {
            !number.is_empty() && check.len() == 1 && is_digits(number) && is_digits(check)
        }
        None => !number.is_empty() && is_luhn(check, number),
    }
}

/// A US national provider identifier: ten digits, Luhn over `80840` and the number (45 CFR 162.406).
///
/// Any first digit: synthetic populations have numbers that begin with 9, which nobody is given.
/// `identifiers::npi` is stricter, and for organizations that exist.
pub(crate) fn is_npi(number: &str) -> bool {
    number.len() == 10
        && number
            .split_at_checked(9)
            .is_some_and(|(head, check)| is_luhn(check, &format!("80840{head}")))
}

/// A SNOMED CT identifier: 6 to 18 digits with Verhoeff's check digit (SNOMED CT release file
/// specification, 5.5).
pub(crate) fn is_sctid(code: &str) -> bool {
    const DIHEDRAL: [[u8; 10]; 10] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];
    const PERMUTED: [[u8; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    if !is_digits(code) || !(6..=18).contains(&code.len()) {
        return false;
    }
    let sum = code
        .bytes()
        .rev()
        .enumerate()
        .fold(0u8, |sum, (place, byte)| {
            let digit = PERMUTED[place % 8][usize::from(byte - b'0')];
            DIHEDRAL[usize::from(sum)][usize::from(digit)]
        });
    sum == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_codes_pass_and_their_neighbours_do_not() {
        for (check, good, bad) in [
            (is_loinc as fn(&str) -> bool, "8302-2", "8302-3"),
            (is_loinc, "LA6576-8", "LA-8"),
            (is_npi, "1578387320", "1578387321"),
            (is_sctid, "444814009", "444814008"),
            (is_sctid, "22298006", "22289006"),
        ] {
            assert!(check(good), "{good}");
            assert!(!check(bad), "{bad}");
        }
        for text in ["", "-", "8302", "8302-22", "x-1", "-2"] {
            assert!(!is_loinc(text), "{text}");
        }
        for npi in ["290", "46290", "1234567890", "157838732O"] {
            assert!(!is_npi(npi), "{npi}");
        }
        for sctid in ["", "12", "1234567890123456789", "44481400x"] {
            assert!(!is_sctid(sctid), "{sctid}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn exactly_one_last_digit_fits(number in "[1-9][0-9]{5,14}") {
            let fitting = |check: fn(&str) -> bool, join: &str| {
                (0..10).filter(|digit| check(&format!("{number}{join}{digit}"))).count()
            };
            prop_assert_eq!(fitting(is_sctid, ""), 1);
            prop_assert_eq!(fitting(is_loinc, "-"), 1);
        }

        #[test]
        fn no_text_is_too_strange(text in ".{0,30}") {
            let _ = (is_loinc(&text), is_npi(&text), is_sctid(&text));
        }
    }
}
