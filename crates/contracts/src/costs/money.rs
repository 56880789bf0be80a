//! Money as a whole number of 1/10 000 of the currency's unit (healthcare.md R7).
//!
//! Every endorser must compute the same bytes, so there is no floating point here: decimals are
//! read from their text, digit by digit, and rounded once, half to even.

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Decimal places that are kept.
const PLACES: usize = 4;
const SCALE: i128 = 10_000;
/// A decimal's text, which bounds the work of reading it.
const MAX_TEXT: usize = 64;
const MAX_EXPONENT: i32 = 64;

/// An amount in 1/10 000 of the currency's unit; in JSON that whole number.
///
/// ```
/// use consilium_contracts::costs::Money;
///
/// let paid = Money::parse("449.66400000000004").unwrap();
/// assert_eq!(paid.units(), 4_496_640);
/// assert_eq!(paid.to_string(), "449.6640");
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(i64);

/// Why there is no such amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not a number as JSON writes them.
    #[error("an amount is a decimal number such as 449.664, without spaces or separators")]
    NotADecimal,
    /// More than 64 characters, or an exponent beyond ±64.
    #[error(
        "an amount has at most {MAX_TEXT} characters and an exponent between -{MAX_EXPONENT} and {MAX_EXPONENT}"
    )]
    TooLong,
    /// Beyond 2⁶³ − 1 units.
    #[error("an amount or a sum is beyond what 64 bits hold, in 1/10 000")]
    Overflow,
}

impl From<MoneyError> for Failure {
    fn from(error: MoneyError) -> Self {
        match error {
            MoneyError::Overflow => Failure::rule("OVERFLOW", error.to_string()),
            MoneyError::NotADecimal | MoneyError::TooLong => Failure::malformed(error.to_string()),
        }
    }
}

impl Money {
    /// Nothing.
    pub const ZERO: Money = Money(0);

    /// So many 1/10 000.
    pub const fn from_units(units: i64) -> Self {
        Money(units)
    }

    /// How many 1/10 000.
    pub const fn units(self) -> i64 {
        self.0
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Reads a decimal number as JSON writes them, rounded half to even to four places.
    ///
    /// # Errors
    /// [`MoneyError`], for other text and for what 64 bits do not hold.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        if text.len() > MAX_TEXT {
            return Err(MoneyError::TooLong);
        }
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, read_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return Err(MoneyError::NotADecimal),
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let leading_zero = whole.len() > 1 && whole.starts_with('0');
        if whole.is_empty() || leading_zero || !digits.iter().all(u8::is_ascii_digit) {
            return Err(MoneyError::NotADecimal);
        }
        // Both are below 200 in size.
        let point = whole.len() as i32 + exponent + PLACES as i32;
        let units = round_half_even(&digits, point).ok_or(MoneyError::Overflow)?;
        Ok(Money(if negative { -units } else { units }))
    }

    /// The sum.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn plus(self, other: Money) -> Result<Self, MoneyError> {
        let sum = self.0.checked_add(other.0);
        sum.map(Money).ok_or(MoneyError::Overflow)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn minus(self, other: Money) -> Result<Self, MoneyError> {
        let difference = self.0.checked_sub(other.0);
        difference.map(Money).ok_or(MoneyError::Overflow)
    }

    /// So many times the amount.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn times(self, count: u32) -> Result<Self, MoneyError> {
        let product = self.0.checked_mul(i64::from(count));
        product.map(Money).ok_or(MoneyError::Overflow)
    }

    /// A rate times a weight in 1/10 000, rounded half to even: what a package (DRG) pays.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn weighted(self, weight: u32) -> Result<Self, MoneyError> {
        let product = i128::from(self.0) * i128::from(weight);
        let (quotient, rest) = (product.div_euclid(SCALE), product.rem_euclid(SCALE));
        let up = match (rest * 2).cmp(&SCALE) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => quotient % 2 != 0,
            std::cmp::Ordering::Greater => true,
        };
        let rounded = i64::try_from(quotient + i128::from(up));
        rounded.map(Money).map_err(|_| MoneyError::Overflow)
    }

    /// The sum of all.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn sum(amounts: impl IntoIterator<Item = Money>) -> Result<Self, MoneyError> {
        amounts.into_iter().try_fold(Money::ZERO, Money::plus)
    }
}

impl std::fmt::Display for Money {
    /// With four places: `449.6640`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let units = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:04}", units / 10_000, units % 10_000)
    }
}

fn read_exponent(text: &str) -> Result<i32, MoneyError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(MoneyError::NotADecimal);
    }
    let exponent: i32 = text.parse().map_err(|_| MoneyError::TooLong)?;
    if exponent.abs() > MAX_EXPONENT {
        return Err(MoneyError::TooLong);
    }
    Ok(exponent)
}

/// The number whose digits these are with the point after `point` of them, to the next whole one.
fn round_half_even(digits: &[u8], point: i32) -> Option<i64> {
    let at = usize::try_from(point).unwrap_or(0);
    let mut whole: i64 = 0;
    for place in 0..at {
        let digit = digits.get(place).map_or(0, |digit| digit - b'0');
        whole = whole.checked_mul(10)?.checked_add(i64::from(digit))?;
    }
    // With the point before the first digit by more than one place the rest is below 1/10.
    let rest = if point < 0 {
        &[]
    } else {
        digits.get(at..).unwrap_or_default()
    };
    let up = match rest.split_first() {
        None => false,
        Some((b'5', after)) => whole % 2 != 0 || after.iter().any(|digit| *digit != b'0'),
        Some((first, _)) => *first > b'5',
    };
    whole.checked_add(i64::from(up))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_exactly_and_rounded_half_to_even() {
        for (text, units) in [
            ("449.66400000000004", 4_496_640),
            ("687.08", 6_870_800),
            ("140.52", 1_405_200),
            ("125", 1_250_000),
            ("0", 0),
            ("-0.0", 0),
            ("-1.5", -15_000),
            ("0.00005", 0),
            ("0.00015", 2),
            ("0.00025", 2),
            ("0.000250000001", 3),
            ("0.00004999999", 0),
            ("0.000009", 0),
            ("1.4052e2", 1_405_200),
            ("14052E-2", 1_405_200),
            ("5e-5", 0),
            ("6e-5", 1),
            ("9e-6", 0),
            ("1e+3", 10_000_000),
            ("922337203685477.5807", i64::MAX),
            ("0e64", 0),
        ] {
            assert_eq!(Money::parse(text), Ok(Money(units)), "{text}");
        }
        for (text, error) in [
            ("", MoneyError::NotADecimal),
            ("-", MoneyError::NotADecimal),
            (".5", MoneyError::NotADecimal),
            ("5.", MoneyError::NotADecimal),
            ("+5", MoneyError::NotADecimal),
            ("007", MoneyError::NotADecimal),
            ("1,000", MoneyError::NotADecimal),
            ("1.2.3", MoneyError::NotADecimal),
            ("１", MoneyError::NotADecimal),
            ("NaN", MoneyError::NotADecimal),
            ("1e", MoneyError::NotADecimal),
            ("1e+-3", MoneyError::NotADecimal),
            ("1e65", MoneyError::TooLong),
            ("1e99999999999", MoneyError::TooLong),
            ("922337203685477.58075", MoneyError::Overflow),
            ("922337203685477.5808", MoneyError::Overflow),
            ("1e40", MoneyError::Overflow),
        ] {
            assert_eq!(Money::parse(text), Err(error), "{text}");
        }
        assert_eq!(Money::parse(&"1".repeat(65)), Err(MoneyError::TooLong));
    }

    #[test]
    fn what_64_bits_do_not_hold_is_an_error() {
        let most = Money(i64::MAX);
        assert_eq!(most.plus(Money(1)), Err(MoneyError::Overflow));
        assert_eq!(Money(i64::MIN).minus(Money(1)), Err(MoneyError::Overflow));
        assert_eq!(most.times(2), Err(MoneyError::Overflow));
        assert_eq!(most.weighted(10_001), Err(MoneyError::Overflow));
        assert_eq!(most.weighted(10_000), Ok(most));
        assert_eq!(Money(3).weighted(5_000), Ok(Money(2)));
        assert_eq!(Money(5).weighted(5_000), Ok(Money(2)));
        assert_eq!(Money::sum([most, Money(1)]), Err(MoneyError::Overflow));
        assert!(serde_json::from_str::<Money>("1.5").is_err());
        let failure = Failure::from(MoneyError::Overflow);
        assert_eq!((failure.status, failure.code), (422, "OVERFLOW"));
    }

    proptest! {
        #[test]
        fn text_and_amount_are_the_same(units in any::<i64>()) {
            prop_assume!(units != i64::MIN);
            let text = Money(units).to_string();
            prop_assert_eq!(Money::parse(&text), Ok(Money(units)));
            let json = serde_json::to_string(&Money(units)).unwrap();
            prop_assert_eq!(serde_json::from_str::<Money>(&json).unwrap(), Money(units));
        }

        #[test]
        fn reading_agrees_with_arithmetic_on_fractions(mantissa in 0i64..1_000_000_000_000_000, places in 0usize..15) {
            let digits = format!("{mantissa:0width$}", width = places + 1);
            let (whole, fraction) = digits.split_at(digits.len() - places);
            let text = if places == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") };
            let divisor = 10i128.pow(places as u32);
            let scaled = i128::from(mantissa) * SCALE;
            let (quotient, rest) = (scaled / divisor, scaled % divisor);
            let up = rest * 2 > divisor || (rest * 2 == divisor && quotient % 2 == 1);
            let expected = i64::try_from(quotient + i128::from(up)).map(Money).map_err(|_| MoneyError::Overflow);
            prop_assert_eq!(Money::parse(&text), expected);
            // The same number with an exponent.
            prop_assert_eq!(Money::parse(&format!("{mantissa}e-{places}")), expected);
        }

        #[test]
        fn any_text_is_answered(text in "\\PC{0,70}") {
            let _ = Money::parse(&text);
        }
    }
}
