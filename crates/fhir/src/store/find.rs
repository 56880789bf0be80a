//! Searching the custodian's index.

use rusqlite::types::Value as Sql;

use super::rows::{COLUMNS, document};
use super::{Document, Store, StoreError};
use crate::dates::Span;

/// How a time is compared (R4 §3.1.1.4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    StartsAfter,
    EndsBefore,
}

impl Comparison {
    /// Over `low` and `high`, with `?L` and `?H` for the ends of the span.
    fn sql(self, low: &str, high: &str) -> String {
        let within = format!("({low} >= ?L AND {high} <= ?H)");
        match self {
            Comparison::Equal => within,
            Comparison::NotEqual => format!("NOT {within}"),
            Comparison::Greater => format!("{high} > ?H"),
            Comparison::Less => format!("{low} < ?L"),
            Comparison::GreaterOrEqual => format!("({high} > ?H OR {within})"),
            Comparison::LessOrEqual => format!("({low} < ?L OR {within})"),
            Comparison::StartsAfter => format!("{low} >= ?H"),
            Comparison::EndsBefore => format!("{high} <= ?L"),
        }
    }
}

/// One condition; all of a query hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    /// One of these ids.
    Ids(Vec<String>),
    /// Of this subject.
    Subject(String),
    /// The parameter has one of these forms.
    Token(String, Vec<String>),
    /// The parameter has a time that compares with one of these.
    Date(String, Vec<(Comparison, Span)>),
    /// The time of the last change compares with one of these.
    Updated(Vec<(Comparison, Span)>),
}

/// What comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Updated,
    Id,
    Date(String),
}

/// A search in one custodian's documents, or in a subject's at all custodians.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub kind: Option<String>,
    pub custodian: Option<String>,
    pub filters: Vec<Filter>,
    pub order: Order,
    pub descending: bool,
    pub count: usize,
    pub offset: usize,
}

/// SQL with its values.
#[derive(Default)]
struct Text {
    sql: String,
    values: Vec<Sql>,
}

impl Text {
    fn add(&mut self, sql: &str, values: impl IntoIterator<Item = Sql>) {
        self.sql.push_str(sql);
        self.values.extend(values);
    }

    /// Comparisons joined by OR; the placeholders of [`Comparison::sql`] become numbered ones.
    fn times(&mut self, low: &str, high: &str, times: &[(Comparison, Span)]) {
        let parts: Vec<String> = times
            .iter()
            .map(|(comparison, span)| {
                let mut sql = comparison.sql(low, high);
                for (mark, value) in [("?L", span.low), ("?H", span.high)] {
                    if sql.contains(mark) {
                        self.values.push(Sql::Integer(value));
                        sql = sql.replace(mark, &format!("?{}", self.values.len()));
                    }
                }
                sql
            })
            .collect();
        self.sql.push_str(&format!("({})", parts.join(" OR ")));
    }

    fn list(&mut self, values: impl IntoIterator<Item = Sql>) {
        let marks: Vec<String> = values
            .into_iter()
            .map(|value| {
                self.values.push(value);
                format!("?{}", self.values.len())
            })
            .collect();
        self.sql.push_str(&format!("({})", marks.join(",")));
    }

    fn one(&mut self, value: Sql) {
        self.values.push(value);
        self.sql.push_str(&format!("?{}", self.values.len()));
    }
}

impl Store {
    fn conditions(&self, query: &Query) -> Text {
        let mut text = Text::default();
        text.add(" FROM documents d WHERE d.state = 'current'", []);
        if let Some(kind) = &query.kind {
            text.add(" AND d.kind = ", []);
            text.one(Sql::Text(kind.clone()));
        }
        if let Some(custodian) = &query.custodian {
            text.add(" AND d.custodian = ", []);
            text.one(Sql::Text(custodian.clone()));
        }
        let kind = query.kind.as_deref().unwrap_or_default();
        for filter in &query.filters {
            text.add(" AND ", []);
            match filter {
                Filter::Ids(ids) => {
                    text.add("d.id IN ", []);
                    text.list(ids.iter().cloned().map(Sql::Text));
                }
                Filter::Subject(sid) => {
                    text.add("d.sid = ", []);
                    text.one(Sql::Text(sid.clone()));
                }
                Filter::Token(parameter, forms) => {
                    text.add("d.n IN (SELECT t.n FROM tokens t WHERE t.value IN ", []);
                    text.list(
                        forms
                            .iter()
                            .map(|form| Sql::Blob(self.blind(&[kind, parameter, form]).to_vec())),
                    );
                    text.add(")", []);
                }
                Filter::Date(parameter, times) => {
                    text.add(
                        "EXISTS (SELECT 1 FROM dates x WHERE x.n = d.n AND x.parameter = ",
                        [],
                    );
                    text.one(Sql::Text(parameter.clone()));
                    text.add(" AND ", []);
                    text.times("x.low", "x.high", times);
                    text.add(")", []);
                }
                // An instant: from itself to the next millisecond.
                Filter::Updated(times) => text.times("d.at", "d.at + 1", times),
            }
        }
        text
    }

    /// One page of what fits, and how many fit in all.
    pub(crate) fn find(&self, query: &Query) -> Result<(Vec<Document>, usize), StoreError> {
        let mut text = self.conditions(query);
        self.with_database(|database| {
            let total: i64 = database
                .prepare_cached(&format!("SELECT count(*){}", text.sql))?
                .query_row(rusqlite::params_from_iter(&text.values), |row| row.get(0))?;
            let total = usize::try_from(total).unwrap_or_default();
            if query.count == 0 {
                return Ok((Vec::new(), total));
            }
            let direction = if query.descending { "DESC" } else { "ASC" };
            match &query.order {
                Order::Updated => {
                    text.add(&format!(" ORDER BY d.at {direction}, d.n {direction}"), [])
                }
                Order::Id => text.add(&format!(" ORDER BY d.id {direction}"), []),
                Order::Date(parameter) => {
                    let end = if query.descending {
                        "max(x.high)"
                    } else {
                        "min(x.low)"
                    };
                    text.add(
                    &format!(
                        " ORDER BY (SELECT {end} FROM dates x WHERE x.n = d.n AND x.parameter = "
                    ),
                    [],
                );
                    text.one(Sql::Text(parameter.clone()));
                    text.add(&format!(") {direction}, d.n {direction}"), []);
                }
            }
            let page = format!(" LIMIT {} OFFSET {}", query.count, query.offset);
            let columns: Vec<String> = COLUMNS
                .split(", ")
                .map(|name| format!("d.{name}"))
                .collect();
            let sql = format!("SELECT {}{}{page}", columns.join(", "), text.sql);
            let mut statement = database.prepare_cached(&sql)?;
            let rows = statement.query_map(rusqlite::params_from_iter(&text.values), document)?;
            Ok((rows.collect::<Result<_, _>>()?, total))
        })
    }
}
