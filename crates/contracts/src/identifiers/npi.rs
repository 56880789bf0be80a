//! National Provider Identifiers of the United States (45 CFR 162.406; the check digit as CMS
//! fixes it: Luhn's formula over `80840` and the number).

use super::{IdentifierError, luhn};

/// ISO/IEC 7812 prefix of health applications (80) in the United States (840).
const PREFIX: &str = "80840";

/// Checks a National Provider Identifier.
///
/// # Errors
/// [`IdentifierError::Format`] unless it is ten digits that begin with 1 or 2,
/// [`IdentifierError::CheckCharacter`].
///
/// ```
/// use consilium_contracts::identifiers::npi;
///
/// assert!(npi::check("1234567893").is_ok());
/// assert!(npi::check("1234567890").is_err());
/// ```
pub fn check(text: &str) -> Result<(), IdentifierError> {
    let format = || IdentifierError::format("an NPI has ten digits, the first 1 or 2", text);
    let digits = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || !text.starts_with(['1', '2']) {
        return Err(format());
    }
    let (head, last) = text.split_at(9);
    let expected = luhn(&format!("{PREFIX}{head}")).ok_or_else(format)?;
    let expected = char::from(b'0' + expected);
    match last.chars().next() {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(IdentifierError::CheckCharacter {
            identifier: text.to_owned(),
            expected,
            found,
        }),
        None => Err(format()),
    }
}
