//! Dates as carriers write them.

use jiff::civil::Date;

use super::{CarrierError, malformed};
use crate::gs1::udi::full_year;

/// Whether a text has nothing but digits; also when it is empty.
pub(super) fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// How the expiry date of secondary data is written, by its flag.
#[derive(Clone, Copy)]
pub(super) enum DateForm {
    MonthYear,
    MonthDayYear,
    /// Perhaps followed by the hour.
    YearMonthDay,
    /// Perhaps followed by the hour.
    DayOfYear,
    None,
}

impl DateForm {
    /// Digits, as many as the form has.
    pub fn read(self, text: &str, year: i16) -> Result<Option<Date>, CarrierError> {
        let hour = match (self, text.len()) {
            (DateForm::YearMonthDay, 8) => Some(&text[6..]),
            (DateForm::DayOfYear, 7) => Some(&text[5..]),
            _ => None,
        };
        if hour.is_some_and(|hour| hour > "23") {
            return Err(malformed("an hour is 00 to 23"));
        }
        let date = match self {
            DateForm::None => return Ok(None),
            DateForm::MonthYear => date(&text[2..4], &text[..2], "01", year)?.last_of_month(),
            DateForm::MonthDayYear => date(&text[4..6], &text[..2], &text[2..4], year)?,
            DateForm::YearMonthDay => date(&text[..2], &text[2..4], &text[4..6], year)?,
            DateForm::DayOfYear => day_of_year(&text[..5], year)?,
        };
        Ok(Some(date))
    }
}

fn number(text: &str) -> Result<i16, CarrierError> {
    text.parse().map_err(|_| malformed("a date has digits"))
}

fn date(yy: &str, month: &str, day: &str, current_year: i16) -> Result<Date, CarrierError> {
    let year = full_year(number(yy)?, current_year);
    calendar(year, number(month)?, number(day)?)
}

fn calendar(year: i16, month: i16, day: i16) -> Result<Date, CarrierError> {
    let wrong = || malformed("a date is not in the calendar");
    let month = i8::try_from(month).map_err(|_| wrong())?;
    let day = i8::try_from(day).map_err(|_| wrong())?;
    Date::new(year, month, day).map_err(|_| wrong())
}

/// YYYYMMDD.
pub(super) fn eight_digits(text: &str) -> Result<Date, CarrierError> {
    if text.len() != 8 || !is_digits(text) {
        return Err(malformed("14D and 16D are followed by a date YYYYMMDD"));
    }
    calendar(
        number(&text[..4])?,
        number(&text[4..6])?,
        number(&text[6..])?,
    )
}

/// YYJJJ, the day of the year from 001.
pub(super) fn day_of_year(text: &str, current_year: i16) -> Result<Date, CarrierError> {
    let year = full_year(number(&text[..2])?, current_year);
    nth_day(year, number(&text[2..5])?)
}

/// The n-th day of a year, from 1.
pub(super) fn nth_day(year: i16, day: i16) -> Result<Date, CarrierError> {
    let wrong = || malformed("a day of the year is 001 to 365, or 366");
    let first = Date::new(year, 1, 1).map_err(|_| wrong())?;
    let date = first
        .checked_add(jiff::Span::new().days(i64::from(day) - 1))
        .map_err(|_| wrong())?;
    if date.year() == year && day >= 1 {
        Ok(date)
    } else {
        Err(wrong())
    }
}
