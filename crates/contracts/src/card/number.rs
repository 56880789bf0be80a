//! The number printed on a card: `80` (health), `156` (China), four digits of the issuer, nine
//! random ones and a check digit, as ISO/IEC 7812-1 builds identification numbers. Private: it is
//! kept in a collection and never in a block.

/// The prefix: major industry identifier 80, country 156 (ISO 3166-1).
const PREFIX: &str = "80156";

/// The check digit of ISO/IEC 7812-1 annex B (Luhn) over decimal digits. `None` when one is none.
pub fn check_digit(digits: &str) -> Option<u8> {
    let mut sum = 0u32;
    for (place, byte) in digits.bytes().rev().enumerate() {
        if !byte.is_ascii_digit() {
            return None;
        }
        let digit = u32::from(byte - b'0');
        sum += match (place % 2, digit * 2) {
            (0, double) if double > 9 => double - 9,
            (0, double) => double,
            _ => digit,
        };
    }
    Some(((10 - sum % 10) % 10) as u8)
}

/// The printed number of an issuer (four digits) and a random part (nine digits). `None` when a
/// part is something else.
///
/// ```
/// use consilium_contracts::card::number;
/// let printed = number::printed("1100", "012345678").unwrap();
/// assert_eq!(printed, "8015611000123456783");
/// assert!(number::is_printed(&printed));
/// ```
pub fn printed(issuer: &str, random: &str) -> Option<String> {
    if issuer.len() != 4 || random.len() != 9 {
        return None;
    }
    let digits = format!("{PREFIX}{issuer}{random}");
    let check = check_digit(&digits)?;
    Some(format!("{digits}{check}"))
}

/// Whether this is a printed number with a right check digit.
pub fn is_printed(number: &str) -> bool {
    number.len() == PREFIX.len() + 14
        && number.starts_with(PREFIX)
        && number
            .split_at_checked(number.len() - 1)
            .and_then(|(digits, last)| Some(check_digit(digits)?.to_string() == last))
            .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn luhn_as_in_its_well_known_examples() {
        assert_eq!(check_digit("7992739871"), Some(3));
        assert_eq!(check_digit("808401234567893"[..14].as_ref()), Some(3)); // NPI 1234567893
        assert_eq!(check_digit(""), Some(0));
        assert_eq!(check_digit("12a"), None);
        assert_eq!(printed("110", "012345678"), None);
        assert_eq!(printed("110a", "012345678"), None);
        for wrong in ["", "8015611000123456780", "é", "80156110001234567é"] {
            assert!(!is_printed(wrong), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_wrong_digit_and_a_swap_are_found(random in "[0-9]{9}", at in 0usize..19, add in 1u8..10) {
            let number = printed("1100", &random).unwrap();
            prop_assert!(is_printed(&number));
            let mut other = number.clone().into_bytes();
            other[at] = b'0' + (other[at] - b'0' + add) % 10;
            prop_assert!(!is_printed(std::str::from_utf8(&other).unwrap()));
        }
    }
}
