//! Identifiers of organizations and places, by the authorities that give them. Pure functions.
//!
//! [`uscc`] is an organization in China, [`npi`] a provider in the United States, [`area`] where a
//! facility is. None of them is a person's; those of persons are not looked at here.

pub mod area;
pub mod npi;
#[cfg(test)]
mod tests;
pub mod uscc;

/// Why a text is not the identifier that it is said to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// Of another length, or with characters that do not belong there.
    #[error("{expected}, got '{found}'")]
    Format {
        /// What it should look like.
        expected: &'static str,
        /// The text, cut after 32 characters.
        found: String,
    },
    /// The check character does not follow from the others.
    #[error("check character of {identifier} should be '{expected}', it is '{found}'")]
    CheckCharacter {
        /// The identifier as given.
        identifier: String,
        /// What the other characters ask for.
        expected: char,
        /// What is there.
        found: char,
    },
    /// The right form, but nobody has given out such a code.
    #[error("{0}")]
    Unassigned(String),
}

impl IdentifierError {
    fn format(expected: &'static str, text: &str) -> Self {
        IdentifierError::Format {
            expected,
            found: text.chars().take(32).collect(),
        }
    }
}

/// The check digit of Luhn's formula for the digits before it (ISO/IEC 7812-1, Annex B).
///
/// `None` when the text holds anything but digits.
///
/// ```
/// use consilium_contracts::identifiers::luhn;
///
/// assert_eq!(luhn("7992739871"), Some(3));
/// assert_eq!(luhn("79x"), None);
/// ```
pub fn luhn(digits: &str) -> Option<u8> {
    let mut sum = 0u8;
    for (index, byte) in digits.bytes().rev().enumerate() {
        if !byte.is_ascii_digit() {
            return None;
        }
        let digit = byte - b'0';
        let value = match (index % 2 == 0, digit) {
            (false, _) => digit,
            (true, 0..=4) => digit * 2,
            (true, _) => digit * 2 - 9,
        };
        sum = (sum + value) % 10;
    }
    Some((10 - sum) % 10)
}
