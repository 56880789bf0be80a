//! Who sees which events: a subject those about itself, an organization its own, an auditor all.

use serde::{Deserialize, Serialize};

use super::model::{Event, EventOutcome};
use crate::failure::Failure;
use crate::fields;
use crate::key::composite_key;
use crate::paging::behind;
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;

/// Events of one page, and of one investigation.
pub(super) const MAX_PAGE: usize = 200;
/// The last second that sorts as text.
const LAST_SECOND: i64 = 999_999_999_999;

/// Which events: of one subject, one organization, one outcome, or all, within a time (`to`
/// excluded) of their recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<EventOutcome>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<i64>,
}

/// Ids and leaves of a range, oldest first.
pub(super) struct Found {
    pub entries: Vec<(String, String)>,
    /// Where the next page begins, when there is one.
    pub bookmark: Option<String>,
}

impl Filter {
    fn check(&self) -> Result<(), Failure> {
        let chosen = [
            self.subject.is_some(),
            self.org.is_some(),
            self.outcome.is_some(),
        ];
        if chosen.into_iter().filter(|chosen| *chosen).count() > 1 {
            return Err(Failure::malformed(
                "ask by subject, by org or by outcome, not by several",
            ));
        }
        if let Some(subject) = &self.subject {
            fields::sid("subject", subject)?;
        }
        if let Some(org) = &self.org {
            fields::msp("org", org)?;
        }
        Ok(())
    }

    /// Reads the index that answers it, at most `limit` entries from the bookmark on.
    pub(super) fn find(
        &self,
        call: &mut Call<'_>,
        bookmark: Option<&str>,
        limit: usize,
    ) -> Result<Found, Failure> {
        self.check()?;
        let (object_type, value) = match self {
            Filter {
                subject: Some(sid), ..
            } => ("evOf", Some(sid.as_str())),
            Filter { org: Some(org), .. } => ("evBy", Some(org.as_str())),
            Filter {
                outcome: Some(outcome),
                ..
            } => ("evOut", Some(outcome.code())),
            _ => ("evAt", None),
        };
        let key = |time: &str| {
            let attributes: Vec<_> = value.into_iter().chain([time]).collect();
            composite_key(object_type, &attributes)
        };
        let from = fields::sortable(self.from.unwrap_or(0).min(LAST_SECOND));
        let to = fields::sortable(self.to.unwrap_or(LAST_SECOND).min(LAST_SECOND));
        let start = match bookmark {
            Some(bookmark) => {
                let (time, id) = bookmark
                    .split_once('~')
                    .ok_or_else(|| Failure::malformed("bookmark is what the page before gave"))?;
                let attributes: Vec<_> = value.into_iter().chain([time, id]).collect();
                behind(object_type, &attributes)?
            }
            None => key(&from)?,
        };
        let found = call.page_between(&start, &key(&to)?, limit)?;
        let mut entries = Vec::with_capacity(found.entries.len());
        let mut last = None;
        for entry in &found.entries {
            if let [.., time, id] = &entry.attributes[..] {
                entries.push((id.clone(), decode(object_type, &entry.value)?));
                last = Some(format!("{time}~{id}"));
            }
        }
        Ok(Found {
            entries,
            bookmark: last.filter(|_| found.more),
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    org: Option<String>,
    #[serde(default)]
    outcome: Option<EventOutcome>,
    #[serde(default)]
    from: Option<i64>,
    #[serde(default)]
    to: Option<i64>,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Events {
    entries: Vec<Event>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<String>,
}

/// Narrows a filter to what the caller may see, or refuses.
fn allowed(call: &mut Call<'_>, mut filter: Filter) -> Result<Filter, Failure> {
    let msp = call.msp().to_owned();
    if matches!(call.role(), Some("patient" | "guardian")) {
        let own = call.sid().map(str::to_owned);
        let asks_others = filter.org.is_some()
            || filter.outcome.is_some()
            || filter
                .subject
                .as_ref()
                .is_some_and(|sid| Some(sid) != own.as_ref());
        if own.is_none() || asks_others {
            return Err(Failure::forbidden(
                "NOT_SUBJECT",
                "patients ask for events about themselves",
            ));
        }
        filter.subject = own;
        return Ok(filter);
    }
    if call.config()?.plays(&msp, Part::Regulator) && call.role() == Some("auditor") {
        return Ok(filter);
    }
    call.require_role(crate::roles::CUSTODIAN_ROLES)?;
    let asks_others = filter.subject.is_some()
        || filter.outcome.is_some()
        || filter.org.as_ref().is_some_and(|org| *org != msp);
    if asks_others {
        return Err(Failure::forbidden(
            "NOT_OWN",
            format!("{msp} asks for its own events, by org; only auditors see those of others"),
        ));
    }
    filter.org = Some(msp);
    Ok(filter)
}

pub(super) fn query(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Query = call.args()?;
    let filter = allowed(
        call,
        Filter {
            subject: args.subject,
            org: args.org,
            outcome: args.outcome,
            from: args.from,
            to: args.to,
        },
    )?;
    let found = filter.find(call, args.bookmark.as_deref(), MAX_PAGE)?;
    let mut entries = Vec::with_capacity(found.entries.len());
    for (id, _) in &found.entries {
        let event: Option<Event> = call.load("ev", &[id])?;
        entries.extend(event);
    }
    Ok(Outcome::of(&Events {
        entries,
        bookmark: found.bookmark,
    }))
}
