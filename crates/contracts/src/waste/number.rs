//! Numbers of manifests. Pure.

use jiff::civil::Date;

use super::class::Scheme;
use crate::failure::Failure;

/// The first two digits of GB/T 2260: provinces, autonomous regions, municipalities, special
/// administrative regions.
const PROVINCES: &[u8] = &[
    11, 12, 13, 14, 15, 21, 22, 23, 31, 32, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 46, 50, 51, 52,
    53, 54, 61, 62, 63, 64, 65, 71, 81, 82,
];

/// Whose number it is. China: 14 digits `YYYY PP CC NNNNNN`, year, province, city, serial number
/// (危险废物转移管理办法). EPA: nine digits and three capital letters, the manifest tracking number
/// (40 CFR 262.20). 422 `BAD_NUMBER` for anything else, and for a year that `today` has not reached.
pub(crate) fn scheme_of(no: &str, today: Date) -> Result<Scheme, Failure> {
    let wrong = |why: &str| Err(Failure::rule("BAD_NUMBER", why.to_owned()));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if !no.is_ascii() || !matches!(no.len(), 12 | 14) {
        return wrong("a manifest number has 14 digits (CN), or 9 digits and 3 letters (EPA)");
    }
    if no.len() == 12 {
        let (number, suffix) = no.split_at(9);
        if digits(number) && suffix.bytes().all(|b| b.is_ascii_uppercase()) {
            return Ok(Scheme::Epa);
        }
        return wrong("a manifest number of the EPA has 9 digits and 3 capital letters");
    }
    if !digits(no) {
        return wrong("a manifest number of China has 14 digits");
    }
    let year: i16 = no[..4].parse().unwrap_or(0);
    // Where the year begins first it is eight hours ahead, and plans are made for the days around.
    let latest = today.year() + i16::from(today.month() == 12 && today.day() == 31);
    if !(2008..=latest).contains(&year) {
        return wrong("a manifest number of China begins with its year, from 2008 to this one");
    }
    let province: u8 = no[4..6].parse().unwrap_or(0);
    if !PROVINCES.contains(&province) {
        return wrong(
            "the fifth and sixth digit of a manifest number name a province of GB/T 2260",
        );
    }
    if no[8..].bytes().all(|b| b == b'0') {
        return wrong("the last six digits of a manifest number count from 000001");
    }
    Ok(Scheme::China)
}
