//! Go's duration strings (`2s`, `1m30s`, `1.5h`), as they stand in channel configuration.

use std::time::Duration;

/// A length of time that may be negative: channel configuration can say `-2s`, and what refuses it
/// has to tell it from text that is no duration at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// Zero or longer.
    Forward(Duration),
    /// Shorter than zero.
    Backward(Duration),
}

/// Nanoseconds in a unit.
fn scale(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Parses what Go's `time.ParseDuration` accepts; `None` for anything else, including lengths beyond
/// 2^63 nanoseconds.
pub fn parse(text: &str) -> Option<Signed> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(Signed::Forward(Duration::ZERO));
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit_length = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let scale = scale(unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        if !whole.is_empty() {
            total = total.checked_add(
                whole
                    .parse::<u64>()
                    .ok()
                    .map(u128::from)?
                    .checked_mul(scale)?,
            )?;
        }
        // Digits past the nanosecond are dropped, as in Go.
        let mut place = scale;
        for digit in fraction.bytes() {
            place /= 10;
            total = total.checked_add(u128::from(digit - b'0') * place)?;
        }
        rest = tail;
    }
    let nanoseconds = u64::try_from(total)
        .ok()
        .filter(|n| *n <= i64::MAX as u64)?;
    let length = Duration::from_nanos(nanoseconds);
    Some(if negative && nanoseconds > 0 {
        Signed::Backward(length)
    } else {
        Signed::Forward(length)
    })
}

/// What Go says of a text that [`parse`] does not accept.
pub fn fault(text: &str) -> String {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    while !rest.is_empty() {
        let after = |text: &str| {
            let end = text.find(|c: char| !c.is_ascii_digit());
            end.unwrap_or(text.len())
        };
        let whole = after(rest);
        let (mut digits, mut tail) = (whole, &rest[whole..]);
        if let Some(fraction) = tail.strip_prefix('.') {
            let length = after(fraction);
            digits += length;
            tail = &fraction[length..];
        }
        if digits == 0 {
            break;
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, next) = tail.split_at(end.unwrap_or(tail.len()));
        if unit.is_empty() {
            return format!("time: missing unit in duration {text:?}");
        }
        if scale(unit).is_none() {
            return format!("time: unknown unit {unit:?} in duration {text:?}");
        }
        rest = next;
    }
    format!("time: invalid duration {text:?}")
}

/// Renders a duration as Go prints it (`2s`, `500ms`, `1m30s`, `1h0m0s`, `0s`).
pub fn format(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let (unit, scale) = match nanoseconds {
        0 => return "0s".to_owned(),
        1..1_000 => ("ns", 1),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let decimal = |value: u128, scale: u128| {
        let digits = scale.ilog10() as usize;
        let fraction = format!("{:0digits$}", value % scale);
        match fraction.trim_end_matches('0') {
            "" => (value / scale).to_string(),
            fraction => format!("{}.{fraction}", value / scale),
        }
    };
    if unit != "s" {
        return format!("{}{unit}", decimal(nanoseconds, scale));
    }
    let seconds = decimal(nanoseconds % 60_000_000_000, scale);
    let minutes = nanoseconds / 60_000_000_000;
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        let cases = [
            ("2s", Some(2_000_000_000)),
            ("500ms", Some(500_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("10µs", Some(10_000)),
            ("+5ns", Some(5)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-0s", Some(0)),
            ("2", None),
            ("", None),
            ("-", None),
            ("s", None),
            (".s", None),
            ("1..5s", None),
            ("2 s", None),
            ("2d", None),
            ("9223372036854775808ns", None),
            ("99999999999999999999h", None),
        ];
        for (text, nanoseconds) in cases {
            let expected = nanoseconds.map(|n| Signed::Forward(Duration::from_nanos(n)));
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(parse("-2s"), Some(Signed::Backward(Duration::from_secs(2))));
    }

    #[test]
    fn what_is_no_duration_is_called_what_go_calls_it() {
        let cases = [
            ("", "time: invalid duration \"\""),
            ("soon", "time: invalid duration \"soon\""),
            ("2", "time: missing unit in duration \"2\""),
            ("-1s2", "time: missing unit in duration \"-1s2\""),
            ("2d", "time: unknown unit \"d\" in duration \"2d\""),
            (
                "99999999999999999999h",
                "time: invalid duration \"99999999999999999999h\"",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!((parse(text), fault(text).as_str()), (None, expected));
        }
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        let cases = [
            (0, "0s"),
            (2_000_000_000, "2s"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
            (1_500, "1.5µs"),
        ];
        for (nanoseconds, text) in cases {
            assert_eq!(format(Duration::from_nanos(nanoseconds)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(nanoseconds in 0..i64::MAX as u64) {
            let length = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(parse(&format(length)), Some(Signed::Forward(length)));
        }
        #[test]
        fn no_text_panics(text in "\\PC*") { let _ = (parse(&text), fault(&text)); }
    }
}
