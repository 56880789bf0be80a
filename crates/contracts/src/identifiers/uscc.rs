//! Unified social credit codes of organizations in China (GB 32100-2015).
//!
//! Eighteen characters: registering authority, kind of organization, six digits of its area
//! (GB/T 2260), nine of the organization code (GB 11714), and the check character.

use super::IdentifierError;

/// The characters by their value; I, O, S, V and Z are left out.
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
const LENGTH: usize = 18;
const MODULUS: usize = ALPHABET.len();

fn value(byte: u8) -> Option<usize> {
    ALPHABET.iter().position(|known| *known == byte)
}

/// The check character for the seventeen before it: weights 3 to the power of the position,
/// modulo 31.
///
/// `None` for another length, and when one is not in the alphabet.
pub fn check_character(head: &str) -> Option<char> {
    if head.len() != LENGTH - 1 {
        return None;
    }
    let (mut sum, mut weight) = (0, 1);
    for byte in head.bytes() {
        sum = (sum + value(byte)? * weight) % MODULUS;
        weight = weight * 3 % MODULUS;
    }
    Some(char::from(ALPHABET[(MODULUS - sum) % MODULUS]))
}

/// Checks a unified social credit code. The check digit of the organization code within it is
/// not looked at: the one at the end covers it.
///
/// # Errors
/// [`IdentifierError::Format`], [`IdentifierError::CheckCharacter`].
///
/// ```
/// use consilium_contracts::identifiers::uscc;
///
/// assert!(uscc::check("91350100M000100Y43").is_ok());
/// assert!(uscc::check("91350100M000100Y44").is_err());
/// ```
pub fn check(text: &str) -> Result<(), IdentifierError> {
    let format = || {
        IdentifierError::format(
            "a unified social credit code has 18 digits and capital letters without I, O, S, V and Z, the third to the eighth digits",
            text,
        )
    };
    if text.len() != LENGTH || !text.is_ascii() {
        return Err(format());
    }
    let (head, last) = text.split_at(LENGTH - 1);
    if !head[2..8].bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format());
    }
    let expected = check_character(head).ok_or_else(format)?;
    let found = last.chars().next().ok_or_else(format)?;
    if value(last.as_bytes()[0]).is_none() {
        return Err(format());
    }
    if found != expected {
        return Err(IdentifierError::CheckCharacter {
            identifier: text.to_owned(),
            expected,
            found,
        });
    }
    Ok(())
}
