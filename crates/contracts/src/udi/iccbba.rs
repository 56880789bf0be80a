//! Carriers of ICCBBA for devices with human cells, tissues and blood: ISBT 128 data structures,
//! each begun by two characters of its own. Only their form is checked: they have no check
//! character in the symbol. Pure.
//!
//! `=/` processor, facility product and product description code (16), `=,` serial number (6), `=`
//! donation identification number (15), `=>` expiry date, `=}` production date (six digits each),
//! `&,1` lot (18); `=+` begins a compound message (ISBT 128 Standard Technical Specification, data
//! structures 001, 004, 008, 032, 034, 035; UDI formats by FDA-accredited issuing agency).

use jiff::civil::Date;

use super::dates::nth_day;
use super::{CarrierError, malformed};
use crate::gs1::udi::Udi;

/// What device identifiers begin with in a carrier, and in registers beside those of HIBCC.
pub const FLAG: &str = "=/";

const MAX_CARRIER_CHARS: usize = 256;

fn is_code(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Checks a device identifier with its flag `=/`, and gives it with the flag.
///
/// # Errors
/// [`CarrierError::Malformed`].
pub fn device_identifier(text: &str) -> Result<String, CarrierError> {
    match text.strip_prefix(FLAG) {
        Some(code) if code.len() == 16 && is_code(code) => Ok(text.to_owned()),
        _ => Err(malformed(
            "a device identifier of ICCBBA is '=/' and 16 characters A-Z and 0-9",
        )),
    }
}

/// Reads a carrier: data structures one after the other, the device identifier among them.
///
/// # Errors
/// [`CarrierError::Malformed`].
pub fn parse(carrier: &str) -> Result<Udi, CarrierError> {
    if !carrier.is_ascii() || carrier.len() > MAX_CARRIER_CHARS {
        return Err(malformed(format!(
            "not at most {MAX_CARRIER_CHARS} characters of ASCII"
        )));
    }
    let mut udi = Udi {
        di: String::new(),
        lot: None,
        serial: None,
        made: None,
        expires: None,
    };
    let mut rest = carrier;
    while !rest.is_empty() {
        let (flag, length) = structure(rest)?;
        let value = rest
            .get(flag.len()..flag.len() + length)
            .ok_or_else(|| malformed(format!("'{flag}' is cut short")))?;
        rest = &rest[flag.len() + length..];
        if !is_code(value) {
            return Err(malformed(format!(
                "'{flag}' has characters other than A-Z and 0-9"
            )));
        }
        let again = match flag {
            "=/" => {
                let before = std::mem::replace(&mut udi.di, format!("{FLAG}{value}"));
                !before.is_empty()
            }
            "=," => udi.serial.replace(value.to_owned()).is_some(),
            "&,1" => udi.lot.replace(value.to_owned()).is_some(),
            "=>" => udi.expires.replace(date(value)?).is_some(),
            "=}" => udi.made.replace(date(value)?).is_some(),
            _ => false,
        };
        if again {
            return Err(malformed(format!("'{flag}' appears twice")));
        }
    }
    if udi.di.is_empty() {
        return Err(malformed("there is no '=/' with a device identifier"));
    }
    Ok(udi)
}

/// The flag at the start of a text, and how many characters follow it.
fn structure(text: &str) -> Result<(&'static str, usize), CarrierError> {
    for known in [
        ("=/", 16),
        ("=,", 6),
        ("&,1", 18),
        ("=>", 6),
        ("=}", 6),
        ("=+", 5),
    ] {
        if text.starts_with(known.0) {
            return Ok(known);
        }
    }
    let is_donation = text
        .strip_prefix('=')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
    if is_donation {
        return Ok(("=", 15));
    }
    Err(malformed(
        "it has a data structure that devices do not have",
    ))
}

/// cYYJJJ: the century's last digit but one, year, day of the year; 0 for 2000, 9 for 1900.
fn date(text: &str) -> Result<Date, CarrierError> {
    let number = |text: &str| text.parse::<i16>().ok();
    let parts = (number(&text[..3]), number(&text[3..]));
    let (Some(year), Some(day)) = parts else {
        return Err(malformed("a date is six digits, century, year and day"));
    };
    let year = if year >= 900 {
        1000 + year
    } else {
        2000 + year
    };
    nth_day(year, day)
}
