//! Unique device identifiers of every agency that the devices contract knows. Pure.
//!
//! A carrier's first characters say whose it is: `+` is [`hibcc`]'s, `=` and `&` are [`iccbba`]'s,
//! everything else is [`crate::gs1`]'s. What they say is the same for all: [`Udi`].

mod dates;
pub mod hibcc;
pub mod iccbba;
#[cfg(test)]
mod tests;

use crate::gs1::gtin::{self, GtinError};
pub use crate::gs1::udi::Udi;
use crate::gs1::udi::{self as gs1_udi, UdiError};

/// Who issues device identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agency {
    /// Global trade item numbers.
    Gs1,
    /// Health Industry Business Communications Council.
    Hibcc,
    /// ISBT 128.
    Iccbba,
}

impl Agency {
    /// Every one.
    pub const ALL: [Agency; 3] = [Agency::Gs1, Agency::Hibcc, Agency::Iccbba];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Agency::Gs1 => "GS1",
            Agency::Hibcc => "HIBCC",
            Agency::Iccbba => "ICCBBA",
        }
    }

    /// The agency of that name.
    pub fn of_name(name: &str) -> Option<Agency> {
        Agency::ALL.into_iter().find(|agency| agency.name() == name)
    }

    /// Whose identifier or carrier a text would be, by its first characters. Device identifiers
    /// of HIBCC begin with a letter, where the carrier has its flag.
    pub fn of_text(text: &str) -> Agency {
        let text = text.trim_start();
        match text.strip_prefix('*').unwrap_or(text).chars().next() {
            Some('+' | 'A'..='Z') => Agency::Hibcc,
            Some('=' | '&') => Agency::Iccbba,
            _ => Agency::Gs1,
        }
    }

    /// A device identifier as it is kept: of GS1 14 digits, of HIBCC without flag and check
    /// character, of ICCBBA with its flag.
    ///
    /// # Errors
    /// [`CarrierError`]; the check character of HIBCC is checked where it is there.
    pub fn device_identifier(self, text: &str) -> Result<String, CarrierError> {
        match self {
            Agency::Gs1 => gtin::normalize(text).map_err(CarrierError::from),
            Agency::Hibcc => hibcc::device_identifier(text),
            Agency::Iccbba => iccbba::device_identifier(text),
        }
    }
}

/// Why a text is no identifier, or no carrier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarrierError {
    /// It cannot be taken apart.
    #[error("not a carrier of a device: {0}")]
    Malformed(String),
    /// Everything is where it should be, but the check digit or character is another.
    #[error("{0}")]
    CheckDigit(String),
}

fn malformed(why: impl Into<String>) -> CarrierError {
    CarrierError::Malformed(why.into())
}

impl From<GtinError> for CarrierError {
    fn from(error: GtinError) -> Self {
        match error {
            GtinError::Format(_) => CarrierError::Malformed(error.to_string()),
            GtinError::CheckDigit { .. } => CarrierError::CheckDigit(error.to_string()),
        }
    }
}

impl From<UdiError> for CarrierError {
    fn from(error: UdiError) -> Self {
        match error {
            UdiError::Malformed(why) => CarrierError::Malformed(why),
            UdiError::CheckDigit(error) => error.into(),
        }
    }
}

/// Reads a carrier of any agency. `current_year` decides the century of two-digit years. Symbology
/// identifiers in front are skipped.
///
/// # Errors
/// [`CarrierError::CheckDigit`], [`CarrierError::Malformed`].
///
/// ```
/// use consilium_contracts::udi;
/// let label = udi::parse("+J123AQ3451/$$3231231BC34567/S4012R", 2026).unwrap();
/// assert_eq!(label.di, "J123AQ3451");
/// assert_eq!(label.expires.unwrap().to_string(), "2023-12-31");
/// ```
pub fn parse(carrier: &str, current_year: i16) -> Result<Udi, CarrierError> {
    // The check character of HIBCC may be a space: nothing is cut off at the end.
    let text = carrier.trim_start();
    let text = match text.as_bytes() {
        // Those of GS1 are its parser's business.
        [b']', _, _, b'+' | b'*' | b'=' | b'&', ..] => &text[3..],
        _ => text,
    };
    match text.as_bytes().first() {
        Some(b'+' | b'*') => Ok(hibcc::parse(text, current_year)?.into()),
        Some(b'=' | b'&') => iccbba::parse(text.trim_end()),
        _ => Ok(gs1_udi::parse(carrier, current_year)?),
    }
}
