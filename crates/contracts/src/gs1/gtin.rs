//! Global Trade Item Numbers: length and check digit (GS1 General Specifications §7.9.1).

/// Why a text is not a GTIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GtinError {
    /// Neither 8, 12, 13 nor 14 digits.
    #[error("a GTIN has 8, 12, 13 or 14 digits, got '{0}'")]
    Format(String),
    /// The last digit does not follow from the others.
    #[error("check digit of {gtin} should be {expected}, it is {found}")]
    CheckDigit {
        /// The number as given.
        gtin: String,
        /// What the other digits ask for.
        expected: u8,
        /// What is there.
        found: u8,
    },
}

/// The check digit for the digits before it: weights 3 and 1 from the right, modulo 10.
///
/// `None` when the text holds anything but digits.
pub fn check_digit(digits: &str) -> Option<u8> {
    let mut sum = 0u32;
    for (index, byte) in digits.bytes().rev().enumerate() {
        if !byte.is_ascii_digit() {
            return None;
        }
        let weight = if index % 2 == 0 { 3 } else { 1 };
        sum = (sum + u32::from(byte - b'0') * weight) % 10;
    }
    // The remainder is below 10, so this is a digit.
    Some(((10 - sum) % 10) as u8)
}

/// Checks a GTIN of any length and gives it as GTIN-14, filled with zeros from the left.
///
/// # Errors
/// [`GtinError::Format`], [`GtinError::CheckDigit`].
pub fn normalize(text: &str) -> Result<String, GtinError> {
    let format = || GtinError::Format(text.chars().take(32).collect());
    if !matches!(text.len(), 8 | 12 | 13 | 14) {
        return Err(format());
    }
    let (head, last) = text.split_at_checked(text.len() - 1).ok_or_else(format)?;
    let expected = check_digit(head).ok_or_else(format)?;
    let found = match last.as_bytes() {
        [byte] if byte.is_ascii_digit() => byte - b'0',
        _ => return Err(format()),
    };
    if expected != found {
        return Err(GtinError::CheckDigit {
            gtin: text.to_owned(),
            expected,
            found,
        });
    }
    Ok(format!("{text:0>14}"))
}
