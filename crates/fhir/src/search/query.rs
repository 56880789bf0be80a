//! What a query asks for, by the published parameters. Pure.

use crate::dates::{self, Span};
use crate::definitions::ParameterKind;
use crate::index;
use crate::outcome::{Refusal, Refused};
use crate::references;
use crate::store::{Comparison, Filter, Order};

/// Values of one parameter, with commas between them.
const MAX_ALTERNATIVES: usize = 200;

/// Conditions of one search, alternatives counted: SQLite takes no expression deeper than 1,000.
const MAX_CONDITIONS: usize = 400;

/// Parameters that every search has.
const COMMON: &[&str] = &[
    "_id",
    "_lastUpdated",
    "_count",
    "_sort",
    "_summary",
    "_format",
    "_pretty",
    "_page",
    "_revinclude",
];

/// A search as asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub filters: Vec<Filter>,
    /// The patient, as written.
    pub patient: Option<String>,
    pub order: Option<(Order, bool)>,
    pub count: Option<usize>,
    pub offset: usize,
    pub only_count: bool,
    pub with_provenance: bool,
}

/// A time with its prefix, `ge2020-01`.
fn time(text: &str) -> Option<(Comparison, Span)> {
    let prefixes = [
        ("eq", Comparison::Equal),
        ("ne", Comparison::NotEqual),
        ("gt", Comparison::Greater),
        ("lt", Comparison::Less),
        ("ge", Comparison::GreaterOrEqual),
        ("le", Comparison::LessOrEqual),
        ("sa", Comparison::StartsAfter),
        ("eb", Comparison::EndsBefore),
    ];
    let found = prefixes
        .iter()
        .find_map(|(prefix, comparison)| Some((*comparison, text.strip_prefix(prefix)?)));
    let (comparison, date) = found.unwrap_or((Comparison::Equal, text));
    Some((comparison, dates::span(date)?))
}

fn times(name: &str, value: &str) -> Refused<Vec<(Comparison, Span)>> {
    value
        .split(',')
        .map(|part| {
            time(part).ok_or_else(|| {
                bad(
                    name,
                    "takes a date such as 2020-02-29, with a prefix such as ge before it",
                )
            })
        })
        .collect()
}

fn bad(name: &str, sentence: &str) -> Box<Refusal> {
    let shown: String = name.chars().take(40).collect();
    Refusal::malformed("BAD_PARAMETER", format!("{shown} {sentence}"))
}

/// Values of a parameter; `\,` is a comma within one.
fn alternatives(value: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match (letter, parts.last_mut()) {
            ('\\', Some(part)) => part.extend(letters.next()),
            (',', _) => parts.push(String::new()),
            (_, Some(part)) => part.push(letter),
            (_, None) => {}
        }
    }
    parts
}

/// Reads a query. Pure.
pub(super) fn parse(kind: &str, query: &[(String, String)], lenient: bool) -> Refused<Asked> {
    let mut asked = Asked::default();
    let mut conditions = 0;
    for (name, value) in query {
        conditions += 1 + value.matches(',').count();
        if conditions > MAX_CONDITIONS {
            return Err(Refusal::malformed(
                "BAD_PARAMETER",
                format!("a search has at most {MAX_CONDITIONS} parameters and alternatives"),
            ));
        }
        if value.is_empty() {
            return Err(bad(name, "has no value"));
        }
        if value.matches(',').count() >= MAX_ALTERNATIVES {
            return Err(bad(name, "has too many alternatives"));
        }
        match name.as_str() {
            "_id" => asked.filters.push(Filter::Ids(alternatives(value))),
            "_lastUpdated" => asked.filters.push(Filter::Updated(times(name, value)?)),
            "_count" => {
                let count = value.parse().map_err(|_| bad(name, "is a number"))?;
                asked.count = Some(count);
            }
            "_page" => {
                let offset: u32 = value.parse().map_err(|_| bad(name, "is what a link had"))?;
                asked.offset = offset as usize;
            }
            "_sort" => asked.order = Some(order(kind, value)?),
            "_summary" if value == "count" => asked.only_count = true,
            "_summary" if value == "false" => {}
            "_revinclude" if value == "Provenance:target" => asked.with_provenance = true,
            "_format" | "_pretty" => {}
            "patient" | "subject" if index::searchable(kind, name).is_some() => {
                asked.patient = Some(value.clone());
            }
            "patient:Patient" | "subject:Patient" => {
                asked.patient = Some(format!("Patient/{value}"))
            }
            _ => match filter(kind, name, value)? {
                Some(filter) => asked.filters.push(filter),
                None if lenient => {}
                None => {
                    return Err(Refusal::new(
                        http::StatusCode::BAD_REQUEST,
                        "not-supported",
                        "UNKNOWN_PARAMETER",
                        format!(
                            "{kind} is not searched by '{}'; metadata lists by what. Prefer: handling=lenient passes over it",
                            name.chars().take(40).collect::<String>()
                        ),
                    ));
                }
            },
        }
    }
    Ok(asked)
}

fn order(kind: &str, value: &str) -> Refused<(Order, bool)> {
    let (name, descending) = match value.strip_prefix('-') {
        Some(name) => (name, true),
        None => (value, false),
    };
    let order = match name {
        "_lastUpdated" => Order::Updated,
        "_id" => Order::Id,
        other => match index::searchable(kind, other) {
            Some(parameter)
                if parameter.kind == ParameterKind::Date && !index::is_blind_date(kind, other) =>
            {
                Order::Date(other.to_owned())
            }
            _ => {
                return Err(bad(
                    "_sort",
                    "is one of _lastUpdated, _id and a parameter of type date",
                ));
            }
        },
    };
    Ok((order, descending))
}

fn filter(kind: &str, name: &str, value: &str) -> Refused<Option<Filter>> {
    let (plain, modifier) = match name.split_once(':') {
        Some((plain, modifier)) => (plain, Some(modifier)),
        None => (name, None),
    };
    let Some(parameter) = index::searchable(kind, plain) else {
        return Ok(None);
    };
    let values = alternatives(value);
    let filter = match (parameter.kind, modifier) {
        (ParameterKind::Date, None) if index::is_blind_date(kind, plain) => {
            let days: Vec<String> = values
                .iter()
                .map(|day| day.strip_prefix("eq").unwrap_or(day).to_owned())
                .collect();
            if days.iter().any(|day| dates::span(day).is_none()) {
                return Err(bad(
                    plain,
                    "is kept as a keyed hash: it can be asked for as an exact day, month or year",
                ));
            }
            Filter::Token(plain.to_owned(), days)
        }
        (ParameterKind::Date, None) => Filter::Date(plain.to_owned(), times(plain, value)?),
        (ParameterKind::Token, None) => Filter::Token(plain.to_owned(), values),
        (ParameterKind::String, None) => {
            let beginnings = values.iter().map(|value| index::prefix(value)).collect();
            Filter::Token(plain.to_owned(), beginnings)
        }
        (ParameterKind::Reference, None) => {
            let targets = values
                .iter()
                .map(|value| match references::local(value) {
                    Some(local) => format!("{}/{}", local.kind, local.id),
                    None => value.clone(),
                })
                .collect();
            Filter::Token(plain.to_owned(), targets)
        }
        (ParameterKind::Reference, Some(target)) if crate::definitions::is_type(target) => {
            let targets = values.iter().map(|id| format!("{target}/{id}")).collect();
            Filter::Token(plain.to_owned(), targets)
        }
        (_, Some(_)) => return Err(bad(name, "has a modifier that is not supported")),
    };
    Ok(Some(filter))
}

/// The parameters that a type is searched by, for the CapabilityStatement.
pub(crate) fn parameters(kind: &str) -> Vec<(&'static str, &'static str)> {
    let mut list: Vec<(&str, &str)> = vec![("_id", "token"), ("_lastUpdated", "date")];
    for (name, parameter) in crate::definitions::parameters(kind) {
        if index::searchable(kind, name).is_some() {
            list.push((
                name,
                match parameter.kind {
                    ParameterKind::Token => "token",
                    ParameterKind::Date => "date",
                    ParameterKind::Reference => "reference",
                    ParameterKind::String => "string",
                },
            ));
        }
    }
    debug_assert!(list.iter().take(2).all(|(name, _)| COMMON.contains(name)));
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(query: &str) -> Refused<Asked> {
        parse(
            "Observation",
            &crate::server::pairs(query.as_bytes()),
            false,
        )
    }

    #[test]
    fn queries_become_filters() {
        let asked = asked("patient=Patient/1&code=http://loinc.org|8302-2,x\\,y&date=ge2020&_count=7&_sort=-date&_page=14").unwrap();
        assert_eq!(asked.patient.as_deref(), Some("Patient/1"));
        assert_eq!((asked.count, asked.offset), (Some(7), 14));
        assert_eq!(asked.order, Some((Order::Date("date".into()), true)));
        assert_eq!(
            asked.filters,
            [
                Filter::Token(
                    "code".into(),
                    vec!["http://loinc.org|8302-2".into(), "x,y".into()]
                ),
                Filter::Date(
                    "date".into(),
                    vec![(Comparison::GreaterOrEqual, dates::span("2020").unwrap())]
                ),
            ]
        );
    }

    #[test]
    fn a_search_has_so_many_conditions() {
        let many = |count: usize| vec![("date".to_owned(), "ge2020,lt1990".to_owned()); count];
        let most = MAX_CONDITIONS / 2;
        let asked = parse("Observation", &many(most), false).unwrap();
        let store = crate::Store::in_memory(&[7; 32]).unwrap();
        let query = crate::store::Query {
            kind: Some("Observation".into()),
            custodian: None,
            filters: asked.filters,
            order: Order::Updated,
            descending: false,
            count: 1,
            offset: 0,
        };
        assert_eq!(store.find(&query).unwrap().1, 0, "the database takes them");
        let refused = parse("Observation", &many(most + 1), false).unwrap_err();
        assert_eq!(refused.issues[0].code, "BAD_PARAMETER");
    }

    #[test]
    fn what_cannot_be_searched_is_refused() {
        for query in [
            "colour=red",
            "code:in=x",
            "date=soon",
            "date=ge",
            "_count=many",
            "_sort=code",
            "_page=x",
            "code=",
            "_summary=text",
            "_include=Observation:subject",
        ] {
            assert_eq!(asked(query).unwrap_err().status.as_u16(), 400, "{query}");
        }
        let lenient = parse("Observation", &[("colour".into(), "red".into())], true).unwrap();
        assert!(lenient.filters.is_empty());
        assert!(parse("Patient", &[("birthdate".into(), "ge2000".into())], false).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
        #[test]
        fn no_query_is_too_strange(name in "(code|date|_page|_sort|_lastUpdated|patient|.{0,10})", value in ".{0,20}") {
            let _ = parse("Observation", &[(name, value)], false);
        }
    }
}
