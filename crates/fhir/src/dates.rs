//! FHIR's dates of varying precision, as intervals of time.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

/// From (included) to (excluded), milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub low: i64,
    pub high: i64,
}

/// Before all dates and after all dates, for periods without one end.
pub(crate) const EARLIEST: i64 = i64::MIN / 2;
pub(crate) const LATEST: i64 = i64::MAX / 2;

/// The interval that a FHIR date, dateTime or instant stands for. Times without a zone, and dates,
/// are taken as UTC. `None` for what is no date of the calendar.
pub(crate) fn span(text: &str) -> Option<Span> {
    if text.contains('T') {
        return time_span(text);
    }
    let numbers: Vec<&str> = text.splitn(4, '-').collect();
    let lengths: Vec<usize> = numbers.iter().map(|part| part.len()).collect();
    let (first, last) = match (&numbers[..], &lengths[..]) {
        ([year], [4]) => {
            let first = date(year, "1", "1")?;
            (first, first.last_of_year())
        }
        ([year, month], [4, 2]) => {
            let first = date(year, month, "1")?;
            (first, first.last_of_month())
        }
        ([year, month, day], [4, 2, 2]) => {
            let only = date(year, month, day)?;
            (only, only)
        }
        _ => return None,
    };
    Some(Span {
        low: midnight(first)?,
        high: midnight(last)?.checked_add(86_400_000)?,
    })
}

fn date(year: &str, month: &str, day: &str) -> Option<Date> {
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

fn midnight(date: Date) -> Option<i64> {
    let zoned = date.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_millisecond())
}

fn time_span(text: &str) -> Option<Span> {
    // Searches may leave out the seconds and the zone, resources may not (the schema's concern).
    let (civil, offset) = split_zone(text)?;
    let at: DateTime = civil.parse().ok()?;
    let low = offset.to_timestamp(at).ok()?.as_millisecond();
    let minutes_only = civil.matches(':').count() == 1;
    let width = match (minutes_only, civil.split_once('.')) {
        (true, _) => 60_000,
        (false, None) => 1_000,
        (false, Some(_)) => 1,
    };
    Some(Span {
        low,
        high: low.checked_add(width)?,
    })
}

fn split_zone(text: &str) -> Option<(&str, Offset)> {
    if let Some(civil) = text.strip_suffix('Z') {
        return Some((civil, Offset::UTC));
    }
    let time = text.find('T')?;
    let Some(sign) = text[time..].find(['+', '-']).map(|at| at + time) else {
        return Some((text, Offset::UTC));
    };
    let (civil, zone) = text.split_at(sign);
    let (hours, minutes) = zone[1..].split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    let seconds = if zone.starts_with('-') {
        -seconds
    } else {
        seconds
    };
    Some((civil, Offset::from_seconds(seconds).ok()?))
}

/// An instant as FHIR writes it, with milliseconds.
pub(crate) fn instant(milliseconds: i64) -> String {
    let at = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}

/// Seconds since 1970 as FHIR writes an instant.
pub(crate) fn instant_of_seconds(seconds: i64) -> String {
    instant(seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_date_is_the_time_that_it_leaves_open() {
        let day = 86_400_000;
        for (text, low, width) in [
            ("1970", 0, 365 * day),
            ("1972", 2 * 365 * day, 366 * day),
            ("1970-02", 31 * day, 28 * day),
            ("1970-01-02", day, day),
            ("1970-01-01T00:00:01Z", 1_000, 1_000),
            ("1970-01-01T00:00:01.5Z", 1_500, 1),
            ("1970-01-01T01:00:00+01:00", 0, 1_000),
            ("1969-12-31T19:00:00-05:00", 0, 1_000),
            ("1970-01-01T00:01", 60_000, 60_000),
        ] {
            let expected = Span {
                low,
                high: low + width,
            };
            assert_eq!(span(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_no_calendar_has_is_no_date() {
        for text in [
            "",
            "2023-02-29",
            "2023-13-01",
            "2023-1-1",
            "23",
            "2023-02-30T00:00:00Z",
            "2023-02-03T25:00:00Z",
            "yesterday",
            "2023-01-01T00:00:00+99:99",
            "2023-01-01T00:00:00+99999999:00",
        ] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    #[test]
    fn instants_have_milliseconds() {
        assert_eq!(instant(1_500), "1970-01-01T00:00:01.500Z");
        assert_eq!(instant_of_seconds(0), "1970-01-01T00:00:00.000Z");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
        #[test]
        fn a_span_ends_after_it_begins(text in "([0-9T:.+Z-]{0,30}|.{0,12})") {
            if let Some(span) = span(&text) {
                prop_assert!(span.low < span.high);
            }
        }

        #[test]
        fn every_instant_is_in_its_own_span(at in 0i64..4_000_000_000_000) {
            let found = span(&instant(at)).unwrap();
            prop_assert_eq!(found, Span { low: at, high: at + 1 });
        }
    }
}
