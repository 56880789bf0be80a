//! Carriers of the Health Industry Business Communications Council: `+`, labeler, product, unit of
//! measure, then dates, lot and serial, and a check character (ANSI/HIBC 2.6, the Health Industry
//! Supplier Labeling Standard). Pure.
//!
//! Read are primary data alone, primary and secondary data in one symbol with `/` between them, and
//! several symbols of one label one after the other, where each secondary one repeats the primary
//! one's check character as a link. A secondary one alone does not say which product it is.

use std::fmt::Write as _;

use jiff::civil::Date;

use super::dates::{DateForm, day_of_year, eight_digits, is_digits};
use super::{CarrierError, malformed};
use crate::gs1::udi::Udi;

/// The characters in the order of their values (ANSI/HIBC 2.6, appendix B; those of Code 39).
const CHARACTERS: &[u8; 43] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-. $/+%";
/// The longest product number, lot and serial.
const MAX_VARIABLE: usize = 18;
const MAX_CARRIER_CHARS: usize = 256;

/// The check character for the characters before it: the sum of their values modulo 43.
///
/// `None` when the text holds a character that has no value.
///
/// ```
/// use consilium_contracts::udi::hibcc::check_character;
/// assert_eq!(check_character("+A123BJC5D6E71"), Some('G'));
/// ```
pub fn check_character(text: &str) -> Option<char> {
    let mut sum = 0;
    for byte in text.bytes() {
        sum = (sum + CHARACTERS.iter().position(|known| *known == byte)?) % 43;
    }
    Some(char::from(CHARACTERS[sum]))
}

/// What a carrier says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Label {
    /// Labeler identification code: a letter and three letters or digits.
    pub labeler: String,
    /// The labeler's product or catalogue number, 1 to 18 letters or digits.
    pub product: String,
    /// Unit of measure: 0 for the unit of use, 1 to 8 for packages, 9 for variable quantities.
    pub unit: u8,
    /// How many are in the package.
    pub quantity: Option<u32>,
    /// Lot or batch, up to 18 characters.
    pub lot: Option<String>,
    /// Serial number, up to 18 characters.
    pub serial: Option<String>,
    /// Date of manufacture.
    pub made: Option<Date>,
    /// The last day of use; where only month and year are given, the month's last.
    pub expires: Option<Date>,
}

impl Label {
    /// The device identifier: labeler, product and unit of measure, without flag and check
    /// character, as registries of devices keep it.
    pub fn device_identifier(&self) -> String {
        format!("{}{}{}", self.labeler, self.product, self.unit)
    }

    /// Primary and secondary data in one symbol, with the check character. Lot and serial have
    /// fields of their own, dates have eight digits.
    ///
    /// # Errors
    /// [`CarrierError::Malformed`] when a field does not fit.
    pub fn carrier(&self) -> Result<String, CarrierError> {
        let mut text = format!("+{}", self.device_identifier());
        if let Some(lot) = &self.lot {
            text.push_str("/$");
            text.push_str(lot);
        }
        if let Some(serial) = &self.serial {
            text.push_str("/S");
            text.push_str(serial);
        }
        for (flag, date) in [("16D", self.made), ("14D", self.expires)] {
            if let Some(date) = date {
                // Writing to a String does not fail.
                let _ = write!(
                    text,
                    "/{flag}{:04}{:02}{:02}",
                    date.year(),
                    date.month(),
                    date.day()
                );
            }
        }
        if let Some(quantity) = self.quantity {
            let _ = write!(text, "/Q{quantity}");
        }
        let check = check_character(&text)
            .ok_or_else(|| malformed("a field has characters that HIBC does not have"))?;
        text.push(check);
        // Everything that reading checks is a rule for writing, too.
        let read = parse(&text, self.expires.map_or(2000, Date::year))?;
        if read == *self {
            Ok(text)
        } else {
            Err(malformed("a field does not fit its place"))
        }
    }
}

impl From<Label> for Udi {
    fn from(label: Label) -> Self {
        Udi {
            di: label.device_identifier(),
            lot: label.lot,
            serial: label.serial,
            made: label.made,
            expires: label.expires,
        }
    }
}

/// Checks a device identifier, with or without flag and check character, and gives it without.
///
/// # Errors
/// [`CarrierError::CheckDigit`] when it has a flag and the check character is wrong, else
/// [`CarrierError::Malformed`].
pub fn device_identifier(text: &str) -> Result<String, CarrierError> {
    let text = text.strip_prefix('*').unwrap_or(text);
    if text.starts_with('+') {
        let body = checked(text)?;
        return primary(body).map(|label| label.device_identifier());
    }
    primary(text).map(|label| label.device_identifier())
}

/// Reads a carrier. `current_year` decides the century of two-digit years, as for GS1. Asterisks
/// around it, and `_` for a space as the check character before the last asterisk, are those of the
/// human readable form.
///
/// # Errors
/// [`CarrierError::CheckDigit`] when the check character is wrong, else
/// [`CarrierError::Malformed`].
pub fn parse(carrier: &str, current_year: i16) -> Result<Label, CarrierError> {
    if carrier.chars().count() > MAX_CARRIER_CHARS {
        return Err(malformed(format!(
            "longer than {MAX_CARRIER_CHARS} characters"
        )));
    }
    let label = checked(carrier).and_then(|body| one_symbol(body, current_year));
    label.or_else(|error| several_symbols(carrier, current_year).ok_or(error))
}

fn one_symbol(body: &str, year: i16) -> Result<Label, CarrierError> {
    let mut segments = body.split('/');
    let mut label = primary(segments.next().unwrap_or_default())?;
    for segment in segments {
        read_segment(segment, &mut label, year)?;
    }
    Ok(label)
}

/// A symbol of primary data, then those of secondary data: `+`, the data, the primary symbol's
/// check character and one of its own.
fn several_symbols(text: &str, year: i16) -> Option<Label> {
    let (mut label, first, mut rest) = symbols(text).find_map(|(symbol, rest)| {
        let label = primary(checked(symbol).ok()?).ok()?;
        Some((label, symbol, rest))
    })?;
    let link = first.chars().next_back()?;
    while !rest.is_empty() {
        (label, rest) = symbols(rest).find_map(|(symbol, rest)| {
            let data = checked(symbol).ok()?.strip_suffix(link)?;
            let mut label = label.clone();
            for segment in data.split('/') {
                read_segment(segment, &mut label, year).ok()?;
            }
            Some((label, rest))
        })?;
    }
    Some(label)
}

/// The ways to cut one symbol off a text: before each `+` and at the end.
fn symbols(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let cuts = text.match_indices('+').map(|(at, _)| at);
    cuts.filter(|at| *at > 0)
        .chain([text.len()])
        .filter_map(|at| text.split_at_checked(at))
}

/// What is between the flag `+` and the check character, which is right.
fn checked(carrier: &str) -> Result<&str, CarrierError> {
    let (text, caption) = match carrier.strip_prefix('*') {
        Some(inner) => (inner.strip_suffix('*').unwrap_or(inner), true),
        None => (carrier, false),
    };
    if !text.is_ascii() || !text.starts_with('+') || text.len() < 2 {
        return Err(malformed("it does not begin with '+' and the labeler"));
    }
    let (body, check) = text.split_at(text.len() - 1);
    let found = match check {
        "_" if caption => ' ',
        check => check.chars().next().unwrap_or_default(),
    };
    let expected = check_character(body)
        .ok_or_else(|| malformed("it has characters other than A-Z, 0-9 and '-. $/+%'"))?;
    if expected != found {
        return Err(CarrierError::CheckDigit(format!(
            "check character should be '{expected}', it is '{found}'"
        )));
    }
    Ok(&body[1..])
}

fn is_alphanumeric(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

fn primary(text: &str) -> Result<Label, CarrierError> {
    let wrong = || {
        malformed(
            "the device identifier is a letter and three more characters for the labeler, 1 to 18 for the product and a digit for the unit of measure, A-Z and 0-9",
        )
    };
    if !(6..=5 + MAX_VARIABLE).contains(&text.len())
        || !is_alphanumeric(text)
        || !text.starts_with(|c: char| c.is_ascii_uppercase())
    {
        return Err(wrong());
    }
    let (labeler, rest) = text.split_at(4);
    let (product, unit) = rest.split_at(rest.len() - 1);
    Ok(Label {
        labeler: labeler.to_owned(),
        product: product.to_owned(),
        unit: unit.parse().map_err(|_| wrong())?,
        ..Label::default()
    })
}

/// Sets a field that may be there once, or twice with the same value.
fn set<T: PartialEq>(field: &mut Option<T>, value: T, name: &str) -> Result<(), CarrierError> {
    match field {
        Some(before) if *before != value => {
            Err(malformed(format!("it has two different values of {name}")))
        }
        _ => {
            *field = Some(value);
            Ok(())
        }
    }
}

/// A lot or serial. The standard has letters and digits; labels also have hyphens and points.
fn variable(name: &str, text: &str) -> Result<String, CarrierError> {
    let fits = (1..=MAX_VARIABLE).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-.".contains(&b));
    if fits {
        Ok(text.to_owned())
    } else {
        Err(malformed(format!(
            "{name} has 1 to {MAX_VARIABLE} letters and digits"
        )))
    }
}

fn read_segment(segment: &str, label: &mut Label, year: i16) -> Result<(), CarrierError> {
    if let Some(rest) = segment.strip_prefix("$$") {
        return dated(rest, label, year);
    }
    if let Some(serial) = segment.strip_prefix("$+") {
        return set(&mut label.serial, variable("serial", serial)?, "serial");
    }
    if let Some(lot) = segment.strip_prefix('$') {
        return set(&mut label.lot, variable("lot", lot)?, "lot");
    }
    if let Some(serial) = segment.strip_prefix('S') {
        return set(&mut label.serial, variable("serial", serial)?, "serial");
    }
    if let Some(quantity) = segment.strip_prefix('Q') {
        if quantity.is_empty() || quantity.len() > 5 || !is_digits(quantity) {
            return Err(malformed("Q is followed by 1 to 5 digits"));
        }
        let quantity = quantity.parse().map_err(|_| malformed("no quantity"))?;
        return set(&mut label.quantity, quantity, "quantity");
    }
    if let Some(date) = segment.strip_prefix("14D") {
        return set(&mut label.expires, eight_digits(date)?, "expiry date");
    }
    if let Some(date) = segment.strip_prefix("16D") {
        return set(&mut label.made, eight_digits(date)?, "date of manufacture");
    }
    // The oldest form: five digits for the day of the year, then the lot.
    if let Some((date, lot)) = segment.split_at_checked(5)
        && is_digits(date)
    {
        set(&mut label.expires, day_of_year(date, year)?, "expiry date")?;
        if !lot.is_empty() {
            set(&mut label.lot, variable("lot", lot)?, "lot")?;
        }
        return Ok(());
    }
    Err(malformed(format!("'{segment}' is no field of HIBC")))
}

/// `[+][8QQ|9QQQQQ][date flag, date]lot or serial`.
fn dated(text: &str, label: &mut Label, year: i16) -> Result<(), CarrierError> {
    let (is_serial, mut rest) = match text.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let digits = match rest.as_bytes().first() {
        Some(b'8') => 2,
        Some(b'9') => 5,
        _ => 0,
    };
    if digits > 0 {
        let quantity = rest
            .get(1..=digits)
            .filter(|quantity| is_digits(quantity))
            .ok_or_else(|| malformed("the quantity is cut short"))?;
        let value = quantity.parse().map_err(|_| malformed("no quantity"))?;
        set(&mut label.quantity, value, "quantity")?;
        rest = &rest[1 + digits..];
    }
    // The flag's own characters, the date's, and how it is read.
    let form: Option<(usize, usize, DateForm)> = match rest.as_bytes().first() {
        Some(b'0' | b'1') => Some((0, 4, DateForm::MonthYear)),
        Some(b'2') => Some((1, 6, DateForm::MonthDayYear)),
        Some(b'3') => Some((1, 6, DateForm::YearMonthDay)),
        Some(b'4') => Some((1, 8, DateForm::YearMonthDay)),
        Some(b'5') => Some((1, 5, DateForm::DayOfYear)),
        Some(b'6') => Some((1, 7, DateForm::DayOfYear)),
        Some(b'7') => Some((1, 0, DateForm::None)),
        _ => None,
    };
    if let Some((flag, length, form)) = form {
        match rest.get(flag..flag + length).filter(|date| is_digits(date)) {
            Some(date) => {
                if let Some(date) = form.read(date, year)? {
                    set(&mut label.expires, date, "expiry date")?;
                }
                rest = &rest[flag + length..];
            }
            // After a quantity a lot may follow without any date.
            None if digits > 0 && flag == 0 => {}
            None => return Err(malformed("the expiry date is cut short")),
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    if is_serial {
        set(&mut label.serial, variable("serial", rest)?, "serial")
    } else {
        set(&mut label.lot, variable("lot", rest)?, "lot")
    }
}
