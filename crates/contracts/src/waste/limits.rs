//! How far weights may differ, and how long things may take. Pure.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

/// Waste leaves its producer within 48 hours of being sealed (医疗废物管理条例, article 17).
pub(crate) const STORAGE_SECONDS: i64 = 48 * 3600;
/// A carrier delivers, or hands over, within a day.
pub(crate) const TRANSIT_SECONDS: i64 = 24 * 3600;
/// A facility accepts or refuses what was delivered within five working days.
pub(crate) const CONFIRMATION_WORKING_DAYS: u32 = 5;

const DAY: i64 = 86_400;

/// How much two scales may differ: a share in thousandths or a number of grams, whichever is more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Tolerances {
    pub bag_permille: u32,
    pub bag_grams: u64,
    pub total_permille: u32,
    pub total_grams: u64,
}

impl Default for Tolerances {
    fn default() -> Self {
        Tolerances {
            bag_permille: 50,
            bag_grams: 100,
            total_permille: 20,
            total_grams: 500,
        }
    }
}

fn within(stated: u64, found: u64, permille: u32, grams: u64) -> bool {
    let share = u128::from(stated) * u128::from(permille);
    let difference = u128::from(stated.abs_diff(found));
    difference <= u128::from(grams) || difference * 1000 <= share
}

impl Tolerances {
    /// Whether one bag weighs what is written on it, in grams.
    pub fn bag(&self, stated: u64, found: u64) -> bool {
        within(stated, found, self.bag_permille, self.bag_grams)
    }

    /// Whether a load weighs what is written on its manifest, in grams.
    pub fn total(&self, stated: u64, found: u64) -> bool {
        within(stated, found, self.total_permille, self.total_grams)
    }
}

/// The same time of the day that many working days later. Saturdays and Sundays of UTC are none;
/// public holidays are not known here.
pub(crate) fn working_days_later(seconds: i64, days: u32) -> i64 {
    let mut at = seconds;
    let mut left = days;
    while left > 0 {
        at = at.saturating_add(DAY);
        let Ok(instant) = Timestamp::from_second(at) else {
            return at;
        };
        let weekday = Offset::UTC.to_datetime(instant).weekday();
        if !matches!(weekday, Weekday::Saturday | Weekday::Sunday) {
            left -= 1;
        }
    }
    at
}
