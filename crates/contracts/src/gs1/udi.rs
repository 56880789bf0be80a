//! Unique device identifiers as GS1 carriers: element strings with FNC1, parenthesized text and
//! Digital Link URIs (GS1 General Specifications §3, §7.8; GS1 Digital Link: URI syntax).

use jiff::civil::Date;

use super::gtin::{self, GtinError};

/// What FNC1 becomes in the data of a scanner.
const GROUP_SEPARATOR: char = '\u{1d}';
/// The longest carrier that is read.
const MAX_CARRIER_CHARS: usize = 512;
/// The longest lot and serial.
const MAX_VARIABLE: usize = 20;

/// A device identifier and the production identifiers that the carrier holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Udi {
    /// (01) as GTIN-14, check digit verified.
    pub di: String,
    /// (10), up to 20 characters.
    pub lot: Option<String>,
    /// (21), up to 20 characters.
    pub serial: Option<String>,
    /// (11) date of manufacture.
    pub made: Option<Date>,
    /// (17) expiration date, itself included.
    pub expires: Option<Date>,
}

/// Why a carrier is not a UDI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UdiError {
    /// It cannot be taken apart.
    #[error("not a GS1 carrier of a device: {0}")]
    Malformed(String),
    /// The device identifier's check digit is wrong.
    #[error(transparent)]
    CheckDigit(GtinError),
}

fn malformed(why: impl Into<String>) -> UdiError {
    UdiError::Malformed(why.into())
}

/// Reads a carrier. `current_year` decides the century of two-digit years.
///
/// In element strings the text `<GS>` is read as the separator character that it stands for.
///
/// # Errors
/// [`UdiError::CheckDigit`] when everything else is well formed, else [`UdiError::Malformed`].
///
/// ```
/// use consilium_contracts::gs1::udi;
/// let udi = udi::parse("(01)09504000059118(17)141120(10)7654321D(21)10987654d321", 2026).unwrap();
/// assert_eq!(udi.di, "09504000059118");
/// assert_eq!(udi.expires.unwrap().to_string(), "2014-11-20");
/// ```
pub fn parse(carrier: &str, current_year: i16) -> Result<Udi, UdiError> {
    let carrier = carrier.trim();
    if carrier.chars().count() > MAX_CARRIER_CHARS {
        return Err(malformed(format!(
            "longer than {MAX_CARRIER_CHARS} characters"
        )));
    }
    let elements = if carrier.starts_with("http://") || carrier.starts_with("https://") {
        digital_link(carrier)?
    } else if carrier.starts_with('(') {
        parenthesized(carrier)?
    } else {
        element_string(carrier)?
    };
    assemble(&elements, current_year)
}

/// Application identifier and value, in the carrier's order.
type Elements = Vec<(String, String)>;

/// How many digits an application identifier has, by its first two (GS1 §3.2).
fn identifier_length(prefix: &str) -> Option<usize> {
    match prefix {
        "00" | "01" | "02" | "03" | "04" | "10" | "11" | "12" | "13" | "14" | "15" | "16"
        | "17" | "18" | "19" | "20" | "21" | "22" | "30" | "37" => Some(2),
        "23" | "24" | "25" | "40" | "41" | "42" | "71" => Some(3),
        "31" | "32" | "33" | "34" | "35" | "36" | "39" | "43" | "70" | "72" | "80" | "81"
        | "82" => Some(4),
        _ if prefix.starts_with('9') => Some(2),
        _ => None,
    }
}

/// The whole length, identifier included, of elements that need no separator (GS1 §7.8.5).
fn predefined_length(prefix: &str) -> Option<usize> {
    match prefix {
        "00" => Some(20),
        "01" | "02" | "03" | "41" => Some(16),
        "04" => Some(18),
        "11" | "12" | "13" | "14" | "15" | "16" | "17" | "18" | "19" => Some(8),
        "20" => Some(4),
        "31" | "32" | "33" | "34" | "35" | "36" => Some(10),
        _ => None,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The identifier at the start of a text.
fn identifier(text: &str) -> Option<&str> {
    let length = identifier_length(text.get(..2).filter(|prefix| is_digits(prefix))?)?;
    text.get(..length).filter(|found| is_digits(found))
}

fn element_string(carrier: &str) -> Result<Elements, UdiError> {
    let notation = carrier.replace("<GS>", "\u{1d}");
    let mut rest = notation.as_str();
    // Symbology identifiers of GS1 DataMatrix, GS1-128, GS1 QR, DataBar and DotCode (ISO/IEC 15424).
    for symbology in ["]d2", "]C1", "]Q3", "]e0", "]J1"] {
        rest = rest.strip_prefix(symbology).unwrap_or(rest);
    }
    rest = rest.trim_start_matches(GROUP_SEPARATOR);
    if rest.is_empty() {
        return Err(malformed("empty"));
    }
    let mut elements = Elements::new();
    while !rest.is_empty() {
        let Some(ai) = identifier(rest) else {
            return Err(malformed(format!(
                "no application identifier at '{}'",
                rest.chars().take(8).collect::<String>()
            )));
        };
        let value;
        match predefined_length(&ai[..2]) {
            Some(length) => {
                value = rest
                    .get(ai.len()..length)
                    .ok_or_else(|| malformed(format!("({ai}) is cut short")))?;
                rest = &rest[length..];
                rest = rest.strip_prefix(GROUP_SEPARATOR).unwrap_or(rest);
            }
            None => {
                let after = &rest[ai.len()..];
                (value, rest) = after.split_once(GROUP_SEPARATOR).unwrap_or((after, ""));
            }
        }
        elements.push((ai.to_owned(), value.to_owned()));
    }
    Ok(elements)
}

/// The identifier in parentheses at the start of a text, and what follows.
fn opening(text: &str) -> Option<(&str, &str)> {
    let (ai, rest) = text.strip_prefix('(')?.split_once(')')?;
    (identifier(ai) == Some(ai)).then_some((ai, rest))
}

fn parenthesized(carrier: &str) -> Result<Elements, UdiError> {
    let mut elements = Elements::new();
    let mut rest = carrier;
    while !rest.is_empty() {
        let (ai, after) = opening(rest).ok_or_else(|| {
            malformed(format!(
                "no application identifier at '{}'",
                rest.chars().take(8).collect::<String>()
            ))
        })?;
        // A parenthesis may also be part of a lot or serial: only one that opens an identifier ends it.
        let end = after
            .char_indices()
            .find(|(at, c)| *c == '(' && opening(&after[*at..]).is_some())
            .map_or(after.len(), |(at, _)| at);
        let (value, next) = after.split_at(end);
        elements.push((ai.to_owned(), value.trim().to_owned()));
        rest = next;
    }
    Ok(elements)
}

fn digital_link(carrier: &str) -> Result<Elements, UdiError> {
    let without_fragment = carrier.split('#').next().unwrap_or(carrier);
    let (address, query) = without_fragment
        .split_once('?')
        .unwrap_or((without_fragment, ""));
    let path = address
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or("", |(_, path)| path);
    let segments: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let start = segments
        .iter()
        .position(|segment| *segment == "01")
        .ok_or_else(|| malformed("the link has no /01/"))?;
    let mut elements = Elements::new();
    for pair in segments[start..].chunks(2) {
        let [ai, value] = pair else {
            return Err(malformed("the link ends in an identifier without value"));
        };
        if identifier(ai) != Some(ai) {
            return Err(malformed("the link has a segment that is no identifier"));
        }
        elements.push(((*ai).to_owned(), percent_decode(value)?));
    }
    for parameter in query.split(['&', ';']).filter(|p| !p.is_empty()) {
        // Parameters that are no identifiers are the resolver's business.
        if let Some((ai, value)) = parameter.split_once('=')
            && identifier(ai) == Some(ai)
        {
            elements.push((ai.to_owned(), percent_decode(value)?));
        }
    }
    Ok(elements)
}

fn percent_decode(text: &str) -> Result<String, UdiError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = after;
            continue;
        }
        let [high, low, after @ ..] = after else {
            return Err(malformed("a percent escape is cut short"));
        };
        let mut decoded = [0u8; 1];
        hex::decode_to_slice([*high, *low], &mut decoded)
            .map_err(|_| malformed("a percent escape is not hexadecimal"))?;
        bytes.push(decoded[0]);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| malformed("percent escapes are not UTF-8"))
}

fn assemble(elements: &Elements, current_year: i16) -> Result<Udi, UdiError> {
    let mut udi = Udi {
        di: String::new(),
        lot: None,
        serial: None,
        made: None,
        expires: None,
    };
    let mut gtin_text = None;
    for (index, (ai, value)) in elements.iter().enumerate() {
        if elements[..index].iter().any(|(earlier, _)| earlier == ai) {
            return Err(malformed(format!("({ai}) appears twice")));
        }
        match ai.as_str() {
            "01" => gtin_text = Some(value),
            "10" => udi.lot = Some(variable(ai, value)?),
            "21" => udi.serial = Some(variable(ai, value)?),
            "11" => udi.made = Some(date(ai, value, current_year)?),
            "17" => udi.expires = Some(date(ai, value, current_year)?),
            _ => {}
        }
    }
    let gtin_text = gtin_text.ok_or_else(|| malformed("there is no (01)"))?;
    if gtin_text.len() != 14 || !is_digits(gtin_text) {
        return Err(malformed("(01) has not 14 digits"));
    }
    udi.di = gtin::normalize(gtin_text).map_err(UdiError::CheckDigit)?;
    Ok(udi)
}

/// GS1's "character set 82", the only one for lots and serials (GS1 §7.11).
fn is_encodable(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!\"%&'()*+,-./:;<=>?_".contains(c)
}

/// Whether a text can be a lot or a serial: 1 to 20 characters of GS1's character set 82.
pub fn is_lot_or_serial(text: &str) -> bool {
    (1..=MAX_VARIABLE).contains(&text.len()) && text.chars().all(is_encodable)
}

fn variable(ai: &str, value: &str) -> Result<String, UdiError> {
    if is_lot_or_serial(value) {
        Ok(value.to_owned())
    } else {
        Err(malformed(format!(
            "({ai}) has not 1 to {MAX_VARIABLE} encodable characters"
        )))
    }
}

/// YYMMDD; day 00 is the month's last (GS1 §3.4.2, §7.12 for the century).
fn date(ai: &str, value: &str, current_year: i16) -> Result<Date, UdiError> {
    let wrong = || malformed(format!("({ai}) is not a date YYMMDD"));
    if value.len() != 6 || !is_digits(value) {
        return Err(wrong());
    }
    let number = |range: std::ops::Range<usize>| value[range].parse::<i8>().map_err(|_| wrong());
    let (yy, month, day) = (number(0..2)?, number(2..4)?, number(4..6)?);
    let year = full_year(i16::from(yy), current_year);
    let date = Date::new(year, month, day.max(1)).map_err(|_| wrong())?;
    Ok(if day == 0 { date.last_of_month() } else { date })
}

/// The year that two digits mean: never 51 or more years ahead, never 50 or more behind.
pub(crate) fn full_year(yy: i16, current_year: i16) -> i16 {
    let current_year = current_year.clamp(100, 9800);
    let century = current_year - current_year % 100;
    match yy - current_year % 100 {
        51.. => century - 100 + yy,
        ..=-50 => century + 100 + yy,
        _ => century + yy,
    }
}
