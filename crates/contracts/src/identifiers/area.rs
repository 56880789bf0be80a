//! Where a facility is: codes of administrative divisions.
//!
//! China by GB/T 2260: six digits, two each of province, city and county. Provinces are looked up;
//! below them the blocks are, in which the standard gives out its codes, so that a code of the
//! right form that no city has yet is accepted. The United States by ISO 3166-2: `US-` and a state.

use super::IdentifierError;

/// GB/T 2260's provinces, autonomous regions, municipalities and special administrative regions.
const PROVINCES: &[u8] = &[
    11, 12, 13, 14, 15, // north
    21, 22, 23, // north-east
    31, 32, 33, 34, 35, 36, 37, // east
    41, 42, 43, 44, 45, 46, // south
    50, 51, 52, 53, 54, // south-west
    61, 62, 63, 64, 65, // north-west
    71, 81, 82, // Taiwan, Hong Kong, Macao
];

/// Those that the standard does not divide.
const UNDIVIDED: &[u8] = &[71, 81, 82];

/// ISO 3166-2:US: states, the district, and outlying areas.
const STATES: &[&str] = &[
    "AK", "AL", "AR", "AS", "AZ", "CA", "CO", "CT", "DC", "DE", "FL", "GA", "GU", "HI", "IA", "ID",
    "IL", "IN", "KS", "KY", "LA", "MA", "MD", "ME", "MI", "MN", "MO", "MP", "MS", "MT", "NC", "ND",
    "NE", "NH", "NJ", "NM", "NV", "NY", "OH", "OK", "OR", "PA", "PR", "RI", "SC", "SD", "TN", "TX",
    "UM", "UT", "VA", "VI", "VT", "WA", "WI", "WV", "WY",
];

/// Checks a code of GB/T 2260 down to the city at least.
///
/// # Errors
/// [`IdentifierError::Format`] unless it is six digits, [`IdentifierError::Unassigned`] for
/// provinces that are not, and for cities and counties outside the standard's blocks.
///
/// ```
/// use consilium_contracts::identifiers::area;
///
/// assert!(area::check_gb2260("110105").is_ok()); // Chaoyang in Beijing
/// assert!(area::check_gb2260("990105").is_err());
/// ```
pub fn check_gb2260(text: &str) -> Result<(), IdentifierError> {
    let digits = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err(IdentifierError::format(
            "an area code of GB/T 2260 has six digits",
            text,
        ));
    }
    let part = |at: usize| {
        let bytes = text.as_bytes();
        (bytes[at] - b'0') * 10 + (bytes[at + 1] - b'0')
    };
    let (province, city, county) = (part(0), part(2), part(4));
    let unassigned = |what: &str| {
        Err(IdentifierError::Unassigned(format!(
            "area code {text} has no {what} of GB/T 2260"
        )))
    };
    if !PROVINCES.contains(&province) {
        return unassigned("province");
    }
    if UNDIVIDED.contains(&province) {
        return if (city, county) == (0, 0) {
            Ok(())
        } else {
            unassigned("city")
        };
    }
    // 01-20 and 51-70 are cities, 21-50 prefectures and leagues, 90 what the province governs
    // itself.
    if !matches!(city, 1..=70 | 90) {
        return unassigned("city");
    }
    // 90 is no place of its own, only a heading of counties.
    if city == 90 && county == 0 {
        return unassigned("county");
    }
    Ok(())
}

/// Checks a subdivision of the United States by ISO 3166-2, for example `US-MA`.
///
/// # Errors
/// [`IdentifierError::Format`], [`IdentifierError::Unassigned`].
pub fn check_us(text: &str) -> Result<(), IdentifierError> {
    let Some(state) = text.strip_prefix("US-").filter(|state| state.len() == 2) else {
        return Err(IdentifierError::format(
            "a subdivision by ISO 3166-2 is 'US-' and two capital letters",
            text,
        ));
    };
    if !STATES.contains(&state) {
        return Err(IdentifierError::Unassigned(format!(
            "the United States have no subdivision {text}"
        )));
    }
    Ok(())
}
