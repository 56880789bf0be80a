//! Selectors: parsing, with CouchDB's normal form as the outcome.
//!
//! Field names are joined into paths down to the operators, and negations are pushed down to them,
//! as long as no array lies between. couchdb: mango_selector:normalize/1

use std::cell::Cell;
use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::collation::encoded;
use crate::error::{MangoError, term};
use crate::field::FieldPath;

/// Conditions in a selector.
const CONDITIONS: usize = 2_000;

/// Elements of all lists of values in a selector.
const ITEMS: usize = 10_000;

/// Regular expressions in a selector.
const REGEXES: usize = 8;

/// How large a compiled regular expression may be, and what is kept while it runs. Words of any
/// script are large: `\w{3,20}` needs nearly all of it.
const REGEX_BYTES: usize = 1024 * 1024;

/// A condition on a document in normal form.
#[derive(Debug, Clone)]
pub(crate) enum Selector {
    /// Matches everything: `{}` at the top.
    Anything,
    /// All of them; none at all matches everything.
    And(Vec<Selector>),
    /// One of them; none at all matches everything.
    Or(Vec<Selector>),
    /// Not this one; only within conditions on elements of arrays.
    Not(Box<Selector>),
    /// There is a value at the path, and it passes the test.
    Field(FieldPath, Test),
}

/// A test of one value.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    /// Less than.
    Lt(Value),
    /// Less than or equal to.
    Lte(Value),
    /// Equal to.
    Eq(Value),
    /// Not equal to.
    Ne(Value),
    /// Greater than or equal to.
    Gte(Value),
    /// Greater than.
    Gt(Value),
    /// Equal to one of these, or an array with such an element. Encoded: equal values are those of
    /// equal encodings.
    In(BTreeSet<Vec<u8>>),
    /// Not [`Test::In`].
    Nin(BTreeSet<Vec<u8>>),
    /// There is a value, or there is none.
    Exists(bool),
    /// Of that type.
    Type(String),
    /// An integer with that remainder.
    Mod(i64, i64),
    /// A string that matches somewhere.
    Regex(Regex),
    /// A string that begins so.
    BeginsWith(String),
    /// An array that has all of these.
    All(Vec<Value>),
    /// An array of that length.
    Size(u64),
    /// An array with an element that matches.
    ElemMatch(Box<Selector>),
    /// An array that is not empty and whose elements all match.
    AllMatch(Box<Selector>),
    /// An object with a member whose name matches.
    KeyMapMatch(Box<Selector>),
    /// There is a value, but it does not pass.
    Not(Box<Test>),
}

/// Whether negations are pushed to the operators; within array elements they stay where they are.
#[derive(Clone, Copy, PartialEq)]
enum Negations {
    Pushed { negated: bool },
    Kept,
}

impl Selector {
    /// Parses the value of `selector` or `partial_filter_selector`.
    ///
    /// # Errors
    /// CouchDB's, for example `invalid_operator` or `bad_arg`; the latter also for more than one
    /// selector may have of something.
    pub(crate) fn parse(value: &Value) -> Result<Self, MangoError> {
        let Value::Object(members) = value else {
            return Err(MangoError::refused(
                "invalid_selector_json",
                format!("Selector must be a JSON object, not: {}", term(value)),
            ));
        };
        if members.is_empty() {
            return Ok(Self::Anything);
        }
        let parser = Parser {
            path: FieldPath::default(),
            negations: Negations::Pushed { negated: false },
            budget: &Budget::default(),
        };
        match parser.condition(value)? {
            Self::Field(path, _) if path.is_empty() => Err(MangoError::refused(
                "invalid_selector",
                "One or more conditions is missing a field name.",
            )),
            selector => Ok(selector),
        }
    }
}

/// What a selector has already of that which costs memory, or time for every document.
#[derive(Default)]
struct Budget {
    conditions: Cell<usize>,
    items: Cell<usize>,
    regexes: Cell<usize>,
}

impl Budget {
    fn condition(&self, operator: &str) -> Result<(), MangoError> {
        spend(&self.conditions, 1, CONDITIONS, operator, "conditions")
    }

    fn items(&self, operator: &str, count: usize) -> Result<(), MangoError> {
        spend(&self.items, count, ITEMS, operator, "list items")
    }

    fn regex(&self, operator: &str) -> Result<(), MangoError> {
        spend(&self.regexes, 1, REGEXES, operator, "regular expressions")
    }
}

fn spend(
    spent: &Cell<usize>,
    more: usize,
    limit: usize,
    operator: &str,
    what: &str,
) -> Result<(), MangoError> {
    spent.set(spent.get().saturating_add(more));
    if spent.get() > limit {
        return Err(MangoError::too_much(operator, limit, what));
    }
    Ok(())
}

#[derive(Clone)]
struct Parser<'a> {
    path: FieldPath,
    negations: Negations,
    budget: &'a Budget,
}

impl Parser<'_> {
    /// What stands at a place where a condition may stand.
    fn condition(&self, value: &Value) -> Result<Selector, MangoError> {
        match value {
            Value::Object(members) if !members.is_empty() => {
                let mut conditions = members
                    .iter()
                    .map(|(name, value)| self.member(name, value))
                    .collect::<Result<Vec<_>, _>>()?;
                if conditions.len() == 1
                    && let Some(only) = conditions.pop()
                {
                    return Ok(only);
                }
                Ok(self.combine(true, conditions))
            }
            value => {
                self.budget.condition("$eq")?;
                Ok(self.field(Test::Eq(value.clone())))
            }
        }
    }

    fn member(&self, name: &str, value: &Value) -> Result<Selector, MangoError> {
        let bad_argument = || MangoError::bad_argument(name, value);
        match name {
            "$and" | "$or" | "$nor" => {
                let Value::Array(conditions) = value else {
                    return Err(bad_argument());
                };
                self.budget.condition(name)?;
                let inner = if name == "$nor" {
                    self.negated()
                } else {
                    self.clone()
                };
                let conditions = conditions
                    .iter()
                    .map(|condition| inner.condition(condition))
                    .collect::<Result<Vec<_>, _>>()?;
                Ok(match (name, self.negations) {
                    ("$nor", Negations::Kept) => Selector::And(
                        conditions
                            .into_iter()
                            .map(|condition| Selector::Not(Box::new(condition)))
                            .collect(),
                    ),
                    _ => self.combine(name != "$or", conditions),
                })
            }
            "$not" => {
                if !value.is_object() {
                    return Err(bad_argument());
                }
                let condition = self.negated().condition(value)?;
                Ok(match self.negations {
                    Negations::Kept => Selector::Not(Box::new(condition)),
                    Negations::Pushed { .. } => condition,
                })
            }
            _ if name.starts_with('$') => {
                self.budget.condition(name)?;
                Ok(self.field(test(name, value, self.budget)?))
            }
            _ => {
                let path = self.path.join(&FieldPath::parse(name)?)?;
                let inner = Self {
                    path,
                    ..self.clone()
                };
                inner.condition(value)
            }
        }
    }

    fn negated(&self) -> Self {
        let negations = match self.negations {
            Negations::Pushed { negated } => Negations::Pushed { negated: !negated },
            Negations::Kept => Negations::Kept,
        };
        Self {
            negations,
            ..self.clone()
        }
    }

    /// De Morgan, where negations are pushed.
    fn combine(&self, all: bool, conditions: Vec<Selector>) -> Selector {
        if all != (self.negations == Negations::Pushed { negated: true }) {
            Selector::And(conditions)
        } else {
            Selector::Or(conditions)
        }
    }

    fn field(&self, test: Test) -> Selector {
        let test = match self.negations {
            Negations::Pushed { negated: true } => negate(test),
            _ => test,
        };
        Selector::Field(self.path.clone(), test)
    }
}

/// couchdb: mango_selector:negate/1
fn negate(test: Test) -> Test {
    match test {
        Test::Lt(value) => Test::Gte(value),
        Test::Lte(value) => Test::Gt(value),
        Test::Eq(value) => Test::Ne(value),
        Test::Ne(value) => Test::Eq(value),
        Test::Gte(value) => Test::Lt(value),
        Test::Gt(value) => Test::Lte(value),
        Test::In(values) => Test::Nin(values),
        Test::Nin(values) => Test::In(values),
        Test::Exists(exists) => Test::Exists(!exists),
        other => Test::Not(Box::new(other)),
    }
}

/// An operator and its argument. couchdb: mango_selector:norm_ops/1
fn test(operator: &str, argument: &Value, budget: &Budget) -> Result<Test, MangoError> {
    let bad_argument = || MangoError::bad_argument(operator, argument);
    let invalid =
        || MangoError::refused("invalid_operator", format!("Invalid operator: {operator}"));
    let value = || argument.clone();
    let list = || {
        let items = argument.as_array().ok_or_else(bad_argument)?;
        budget.items(operator, items.len())?;
        Ok(items)
    };
    let set = || Ok::<_, MangoError>(list()?.iter().map(encoded).collect());
    let elements = || {
        if !argument.is_object() {
            return Err(bad_argument());
        }
        let parser = Parser {
            path: FieldPath::default(),
            negations: Negations::Kept,
            budget,
        };
        parser.condition(argument).map(Box::new)
    };
    Ok(match operator {
        "$lt" => Test::Lt(value()),
        "$lte" => Test::Lte(value()),
        "$eq" => Test::Eq(value()),
        "$ne" => Test::Ne(value()),
        "$gte" => Test::Gte(value()),
        "$gt" => Test::Gt(value()),
        "$in" => Test::In(set()?),
        "$nin" => Test::Nin(set()?),
        "$exists" => Test::Exists(argument.as_bool().ok_or_else(bad_argument)?),
        "$type" => Test::Type(argument.as_str().ok_or_else(bad_argument)?.into()),
        "$mod" => match argument.as_array().map(Vec::as_slice) {
            Some([divisor, remainder]) => {
                let divisor = divisor.as_i64().ok_or_else(bad_argument)?;
                let remainder = remainder.as_i64().ok_or_else(bad_argument)?;
                // CouchDB fails on the first document instead.
                if divisor == 0 {
                    return Err(bad_argument());
                }
                Test::Mod(divisor, remainder)
            }
            _ => return Err(bad_argument()),
        },
        "$regex" => {
            let pattern = argument.as_str().ok_or_else(invalid)?;
            budget.regex(operator)?;
            let regex = RegexBuilder::new(pattern)
                .size_limit(REGEX_BYTES)
                .dfa_size_limit(REGEX_BYTES)
                .build();
            Test::Regex(regex.map_err(|_| bad_argument())?)
        }
        "$beginsWith" => Test::BeginsWith(argument.as_str().ok_or_else(invalid)?.into()),
        "$all" => Test::All(list()?.clone()),
        "$size" => Test::Size(argument.as_u64().ok_or_else(bad_argument)?),
        "$elemMatch" => Test::ElemMatch(elements()?),
        "$allMatch" => Test::AllMatch(elements()?),
        "$keyMapMatch" => Test::KeyMapMatch(elements()?),
        // Text search needs an index of a kind that Fabric does not let chaincodes declare.
        "$text" => return Err(MangoError::no_usable_index()),
        "$where" | "$geoWithin" | "$geoIntersects" | "$near" | "$nearSphere" => {
            return Err(MangoError::refused(
                "not_supported",
                format!("Unsupported operator: {operator}"),
            ));
        }
        _ => return Err(invalid()),
    })
}

#[cfg(test)]
mod tests;
