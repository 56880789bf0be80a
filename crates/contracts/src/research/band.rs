//! Numbers of people as bands: what is below the minimum group size is never told apart.

use crate::failure::Failure;

/// Lower bounds of the bands, and the bands of the numbers from there on.
const BANDS: [(u32, &str); 5] = [
    (10, "10-49"),
    (50, "50-99"),
    (100, "100-499"),
    (500, "500-999"),
    (1000, "1000+"),
];

/// The minimum group size where a dataset names no larger one.
pub(super) const DEFAULT_MINIMUM: u32 = BANDS[0].0;

fn below(minimum: u32) -> String {
    format!("<{minimum}")
}

/// The minimum group sizes that a dataset may have: the lower bounds of the bands.
pub(super) fn check_minimum(minimum: u32) -> Result<(), Failure> {
    if BANDS.iter().any(|(lower, _)| *lower == minimum) {
        return Ok(());
    }
    let bounds: Vec<_> = BANDS.iter().map(|(lower, _)| lower.to_string()).collect();
    Err(Failure::malformed(format!(
        "minimum is one of {}, got {minimum}",
        bounds.join(", ")
    )))
}

/// The band of a number of people, for whoever answers a count: `<10`, `10-49`, `50-99`,
/// `100-499`, `500-999` or `1000+`. With a larger `minimum` the bands up to there are one,
/// `<50` for example.
///
/// ```
/// use consilium_contracts::research::band;
/// assert_eq!(band(12, 10), "10-49");
/// assert_eq!(band(7, 10), "<10");
/// assert_eq!(band(12, 50), "<50");
/// ```
pub fn band(people: u64, minimum: u32) -> String {
    if people < u64::from(minimum) {
        return below(minimum);
    }
    BANDS
        .iter()
        .rev()
        .find(|(lower, _)| people >= u64::from(*lower))
        .map_or_else(|| below(DEFAULT_MINIMUM), |(_, band)| (*band).to_owned())
}

/// The bands that answers about a dataset of this minimum may have.
pub(super) fn bands(minimum: u32) -> Vec<String> {
    std::iter::once(below(minimum))
        .chain(
            BANDS
                .iter()
                .filter(|(lower, _)| *lower >= minimum)
                .map(|(_, band)| (*band).to_owned()),
        )
        .collect()
}

/// Refuses everything that is no band of this minimum, exact numbers above all.
///
/// # Errors
/// 422 `BAND`; the sentence does not repeat what was sent, it might be the number.
pub(super) fn check(name: &str, band: &str, minimum: u32) -> Result<(), Failure> {
    let allowed = bands(minimum);
    if allowed.iter().any(|known| known == band) {
        return Ok(());
    }
    Err(Failure::rule(
        "BAND",
        format!("{name} is one of {}, never a number", allowed.join(", ")),
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bands_begin_where_they_say() {
        for (people, minimum, expected) in [
            (0, 10, "<10"),
            (9, 10, "<10"),
            (10, 10, "10-49"),
            (49, 10, "10-49"),
            (50, 10, "50-99"),
            (499, 10, "100-499"),
            (999, 10, "500-999"),
            (u64::MAX, 10, "1000+"),
            (49, 50, "<50"),
            (50, 50, "50-99"),
            (999, 1000, "<1000"),
        ] {
            assert_eq!(
                band(people, minimum),
                expected,
                "{people} of at least {minimum}"
            );
        }
        for minimum in [0, 1, 9, 11, 99] {
            assert_eq!(check_minimum(minimum).unwrap_err().code, "MALFORMED");
        }
    }

    proptest! {
        #[test]
        fn numbers_below_the_minimum_cannot_be_told_apart(
            a in 0u64..1000, b in 0u64..1000, n in 0usize..5, any in 0u64..100_000,
        ) {
            let minimum = BANDS[n].0;
            check_minimum(minimum).unwrap();
            let m = u64::from(minimum);
            prop_assert_eq!(band(a % m, minimum), band(b % m, minimum));
            prop_assert_ne!(band(m + a, minimum), band(b % m, minimum));
            check("band", &band(any, minimum), minimum).unwrap();
            prop_assert_eq!(check("band", &any.to_string(), minimum).unwrap_err().code, "BAND");
        }
    }
}
