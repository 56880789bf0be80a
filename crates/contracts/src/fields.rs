//! What single fields of arguments may look like: opaque ids, codes, hashes, never free text.

use jiff::civil::Date;

use crate::commitment::Salt;
use crate::failure::Failure;

const MAX_ID_CHARS: usize = 64;
const SID_CHARS: usize = 26;

/// A random id: letters, digits, `-` and `.`, as FHIR's `id`.
pub(crate) fn id(name: &str, value: &str) -> Result<(), Failure> {
    let fits = (1..=MAX_ID_CHARS).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    if fits {
        Ok(())
    } else {
        Err(Failure::malformed(format!(
            "{name} is an id of 1 to {MAX_ID_CHARS} letters, digits, '-' or '.'"
        )))
    }
}

/// A code or an opaque reference: an id that may also hold `_`, `:`, `/` and `#`.
pub(crate) fn code(name: &str, value: &str) -> Result<(), Failure> {
    let fits = (1..=MAX_ID_CHARS).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:/#".contains(&b));
    if fits {
        Ok(())
    } else {
        Err(Failure::malformed(format!(
            "{name} is a code of 1 to {MAX_ID_CHARS} letters, digits or '-._:/#', not free text"
        )))
    }
}

/// An MSP id.
pub(crate) fn msp(name: &str, value: &str) -> Result<(), Failure> {
    id(name, value)
}

/// A pseudonym: 26 characters of base32.
pub(crate) fn sid(name: &str, value: &str) -> Result<(), Failure> {
    let fits = value.len() == SID_CHARS
        && value
            .bytes()
            .all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b));
    if fits {
        Ok(())
    } else {
        Err(Failure::malformed(format!(
            "{name} is a pseudonym of {SID_CHARS} characters A-Z and 2-7"
        )))
    }
}

/// A FHIR reference `Type/id`, of anything but a person: the subject is the pseudonym, and nobody else is named.
pub(crate) fn reference(text: &str) -> Result<(), Failure> {
    let malformed = || Failure::malformed("a FHIR reference is 'Type/id' and nothing else");
    let (kind, id) = text.split_once('/').ok_or_else(malformed)?;
    let is_type = (3..=40).contains(&kind.len())
        && kind.starts_with(|c: char| c.is_ascii_uppercase())
        && kind.bytes().all(|b| b.is_ascii_alphabetic());
    if !is_type || self::id("id", id).is_err() {
        return Err(malformed());
    }
    if matches!(
        kind,
        "Patient" | "Person" | "RelatedPerson" | "Practitioner" | "PractitionerRole"
    ) {
        return Err(Failure::rule(
            "PERSON_REFERENCE",
            format!("a reference to a {kind} does not go on the ledger; the subject is the sid"),
        ));
    }
    Ok(())
}

/// A SHA-256 in lower-case hexadecimal.
pub(crate) fn hash(name: &str, value: &str) -> Result<(), Failure> {
    let fits = value.len() == 64
        && value
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if fits {
        Ok(())
    } else {
        Err(Failure::malformed(format!(
            "{name} is a SHA-256 of 64 lower-case hexadecimal digits"
        )))
    }
}

/// The salt of a value in the transient map, in hexadecimal digits. It is not repeated.
pub(crate) fn salt(value: &str) -> Result<Salt, Failure> {
    Salt::from_hex(value)
        .map_err(|error| Failure::malformed(format!("the salt in the transient map: {error}")))
}

/// Text that describes a product, which is public.
pub(crate) fn public_text(name: &str, value: &str) -> Result<(), Failure> {
    const MAX: usize = 200;
    if value.chars().count() <= MAX && !value.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(Failure::malformed(format!(
            "{name} has at most {MAX} printable characters"
        )))
    }
}

/// A number of entries within its bounds.
pub(crate) fn count(name: &str, found: usize, most: usize) -> Result<(), Failure> {
    if (1..=most).contains(&found) {
        Ok(())
    } else {
        Err(Failure::malformed(format!(
            "{name} has 1 to {most} entries, got {found}"
        )))
    }
}

/// The UTC date of a timestamp, within what calendars hold.
pub(crate) fn date_of(seconds: i64) -> Date {
    jiff::Timestamp::from_second(seconds)
        .map(|at| jiff::tz::Offset::UTC.to_datetime(at).date())
        .unwrap_or(if seconds < 0 { Date::MIN } else { Date::MAX })
}

/// Seconds as 12 digits, so that times sort as text. Times before 1970 sort as 0.
pub(crate) fn sortable(seconds: i64) -> String {
    format!("{:012}", seconds.max(0))
}
