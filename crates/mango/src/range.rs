//! What a selector says about single fields, as far as one range of an index can use it.
//! couchdb: mango_idx_view:field_ranges/1

use std::collections::BTreeMap;

use serde_json::Value;

use crate::collation::{self, encoded};
use crate::field::FieldPath;
use crate::selector::{Selector, Test};

/// The values that a field may have, as encoded bounds. Both are inclusive: what is too much is
/// filtered afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Bounds {
    pub(crate) low: Option<Vec<u8>>,
    pub(crate) high: Option<Vec<u8>>,
}

impl Bounds {
    pub(crate) fn is_empty(&self) -> bool {
        matches!((&self.low, &self.high), (Some(low), Some(high)) if low > high)
    }

    fn raise(&mut self, low: Vec<u8>) {
        if self.low.as_ref().is_none_or(|known| *known < low) {
            self.low = Some(low);
        }
    }

    fn lower(&mut self, high: Vec<u8>) {
        if self.high.as_ref().is_none_or(|known| *known > high) {
            self.high = Some(high);
        }
    }
}

impl Selector {
    /// The fields of which a range of values can be read off, with that range. Only `$and` is seen
    /// through.
    pub(crate) fn ranges(&self) -> BTreeMap<&FieldPath, Bounds> {
        let mut ranges = BTreeMap::new();
        self.add_ranges(&mut ranges);
        ranges
    }

    fn add_ranges<'a>(&'a self, ranges: &mut BTreeMap<&'a FieldPath, Bounds>) {
        match self {
            Self::And(conditions) => {
                for condition in conditions {
                    condition.add_ranges(ranges);
                }
            }
            Self::Field(path, test) if is_indexable(test) => {
                narrow(test, ranges.entry(path).or_default());
            }
            _ => {}
        }
    }

    /// Whether every document that matches has a value at `path`.
    /// couchdb: mango_selector:has_required_fields/2
    pub(crate) fn requires(&self, path: &FieldPath) -> bool {
        match self {
            Self::And(conditions) => conditions.iter().any(|one| one.requires(path)),
            Self::Or(conditions) => {
                !conditions.is_empty() && conditions.iter().all(|one| one.requires(path))
            }
            Self::Field(field, test) => field == path && !matches!(test, Test::Exists(false)),
            Self::Anything | Self::Not(_) => false,
        }
    }

    /// Whether all documents that match have equal values at `path`.
    pub(crate) fn fixes(&self, path: &FieldPath) -> bool {
        match self {
            Self::And(conditions) => conditions.iter().any(|one| one.fixes(path)),
            Self::Field(field, Test::Eq(_)) => field == path,
            _ => false,
        }
    }
}

fn is_indexable(test: &Test) -> bool {
    matches!(
        test,
        Test::Lt(_)
            | Test::Lte(_)
            | Test::Eq(_)
            | Test::Gt(_)
            | Test::Gte(_)
            | Test::BeginsWith(_)
            | Test::Exists(_)
    )
}

fn narrow(test: &Test, bounds: &mut Bounds) {
    match test {
        Test::Lt(value) | Test::Lte(value) => bounds.lower(encoded(value)),
        Test::Gt(value) | Test::Gte(value) => bounds.raise(encoded(value)),
        Test::Eq(value) => {
            bounds.raise(encoded(value));
            bounds.lower(encoded(value));
        }
        // Beyond ASCII what follows may change the weight of what went before: combining
        // characters, contractions.
        Test::BeginsWith(prefix) if prefix.is_ascii() => {
            bounds.raise(encoded(&Value::String(prefix.clone())));
            // Sorts behind everything in the collation.
            bounds.lower(encoded(&Value::String(format!("{prefix}\u{ffff}"))));
        }
        Test::BeginsWith(_) => {
            let (first, behind) = collation::STRINGS;
            bounds.raise(vec![first]);
            bounds.lower(vec![behind]);
        }
        _ => {}
    }
}
