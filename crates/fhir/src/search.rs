//! Searching: which parameters, which documents fit, which of them the caller may see.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::access::MAX_BATCH;
use crate::dates::{self, Span};
use crate::definitions::ParameterKind;
use crate::index;
use crate::ledger::Call;
use crate::outcome::{Issue, Refusal, Refused, Severity};
use crate::references;
use crate::register::store_error;
use crate::request::{Answer, Request};
use crate::server::Inner;
use crate::store::{Comparison, Document, Filter, Order, Query};

/// Entries of a page when nothing is asked for, and at most.
const PAGE: usize = 50;

/// Types whose search needs a patient: whoever asks, asks about somebody.
const ABOUT_A_PATIENT: &[&str] = &[
    "AllergyIntolerance",
    "CarePlan",
    "CareTeam",
    "ChargeItem",
    "Claim",
    "ClaimResponse",
    "Condition",
    "Coverage",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "ExplanationOfBenefit",
    "Goal",
    "ImagingStudy",
    "Immunization",
    "MedicationAdministration",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Procedure",
    "Specimen",
];

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
struct Asked {
    filters: Vec<Filter>,
    /// The patient, as written.
    patient: Option<String>,
    order: Option<(Order, bool)>,
    count: Option<usize>,
    offset: usize,
    only_count: bool,
    with_provenance: bool,
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
fn parse(kind: &str, query: &[(String, String)], lenient: bool) -> Refused<Asked> {
    let mut asked = Asked::default();
    for (name, value) in query {
        if value.is_empty() {
            return Err(bad(name, "has no value"));
        }
        match name.as_str() {
            "_id" => asked.filters.push(Filter::Ids(alternatives(value))),
            "_lastUpdated" => asked.filters.push(Filter::Updated(times(name, value)?)),
            "_count" => {
                let count = value.parse().map_err(|_| bad(name, "is a number"))?;
                asked.count = Some(count);
            }
            "_page" => asked.offset = value.parse().map_err(|_| bad(name, "is what a link had"))?,
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

impl Inner {
    /// The pseudonym that a `patient` parameter means: an id, a reference, or a pseudonym.
    pub fn patient_sid(&self, text: &str) -> Refused<Option<String>> {
        let id = match references::local(text) {
            Some(local) if local.kind == "Patient" => local.id,
            Some(_) => return Ok(None),
            None => text,
        };
        if is_sid(id) {
            return Ok(Some(id.to_owned()));
        }
        self.store.sid_of_patient(id).map_err(store_error)
    }

    /// `GET Type?…`.
    pub async fn search(&self, request: &Request, kind: &str) -> Refused<Answer> {
        match kind {
            "Consent" => return self.search_consents(request).await,
            "AuditEvent" => return self.search_audit(request).await,
            "Provenance" => return self.search_provenance(request).await,
            "DeviceDefinition" => return self.search_device_definitions(request).await,
            "Device" if self.asks_for_units(request) => return self.search_units(request).await,
            _ => {}
        }
        let mut asked = parse(kind, &request.query, request.is_lenient())?;
        let caller = &request.caller;
        let mut sid = match &asked.patient {
            Some(text) => match self.patient_sid(text)? {
                Some(sid) => Some(sid),
                // Nobody that is known here: nothing is found.
                None => return Ok(Answer::ok(self.page(request, kind, &asked, Vec::new(), 0))),
            },
            None => None,
        };
        if let Some(launched) = &caller.launch_patient {
            if sid.as_ref().is_some_and(|sid| sid != launched) {
                return Ok(Answer::ok(self.page(request, kind, &asked, Vec::new(), 0)));
            }
            sid = Some(launched.clone());
        }
        if caller.is_person() && sid.is_none() {
            sid.clone_from(&caller.sid);
        }
        if sid.is_none() && ABOUT_A_PATIENT.contains(&kind) {
            return Err(Refusal::malformed(
                "NO_PATIENT",
                format!(
                    "a search of {kind} names its patient: patient=Patient/id, or the pseudonym"
                ),
            ));
        }
        let keeps = self.settings.custodians.contains_key(&caller.msp);
        if !keeps && !caller.is_person() {
            return self
                .search_elsewhere(request, kind, sid.as_deref(), &asked)
                .await;
        }
        if let Some(sid) = sid {
            asked.filters.push(Filter::Subject(sid));
        }
        let (order, descending) = asked.order.clone().unwrap_or((Order::Updated, true));
        let query = Query {
            kind: Some(kind.to_owned()),
            custodian: (!caller.is_person()).then(|| caller.msp.clone()),
            filters: std::mem::take(&mut asked.filters),
            order,
            descending,
            count: if asked.only_count {
                0
            } else {
                asked.count.unwrap_or(PAGE).min(MAX_BATCH)
            },
            offset: asked.offset,
        };
        let (documents, total) = self.store.find(&query).map_err(store_error)?;
        let mut entries = self.visible(request, documents).await?;
        if asked.with_provenance {
            self.add_provenance(request, &mut entries).await?;
        }
        Ok(Answer::ok(self.page(request, kind, &asked, entries, total)))
    }

    /// The documents that the caller may see, opened, as entries; and what was kept back.
    ///
    /// Each subject at each custodian is a decision of its own. When nothing at all is permitted
    /// the decision is committed, and told as a refusal.
    pub async fn visible(
        &self,
        request: &Request,
        documents: Vec<Document>,
    ) -> Refused<Vec<Value>> {
        let mut groups: BTreeMap<(String, String), Vec<(usize, Document)>> = BTreeMap::new();
        for (place, document) in documents.into_iter().enumerate() {
            groups
                .entry((document.custodian.clone(), document.sid.clone()))
                .or_default()
                .push((place, document));
        }
        let (mut entries, mut withheld, mut denial) = (Vec::new(), 0, None);
        let mut tampered = Vec::new();
        for group in groups.into_values() {
            for chunk in group.chunks(MAX_BATCH) {
                let (places, documents): (Vec<usize>, Vec<Document>) =
                    chunk.iter().cloned().unzip();
                let permitted = self.permitted(request, &documents).await?;
                let wanted: Vec<(usize, Document)> = if permitted.contains(&true) {
                    withheld += permitted.iter().filter(|permitted| !**permitted).count();
                    let pairs = places.into_iter().zip(documents).zip(permitted);
                    pairs
                        .filter(|(_, permitted)| *permitted)
                        .map(|(pair, _)| pair)
                        .collect()
                } else {
                    // Asked all the same: a denial leaves its trace.
                    places.into_iter().zip(documents).collect()
                };
                let (places, documents): (Vec<usize>, Vec<Document>) = wanted.into_iter().unzip();
                match self.open(request, &documents).await {
                    Ok(opened) => {
                        for ((place, document), opened) in places.iter().zip(&documents).zip(opened)
                        {
                            match opened {
                                Ok(resource) => {
                                    entries.push((*place, self.matched(document, resource)))
                                }
                                Err(lost) => tampered.push(lost),
                            }
                        }
                    }
                    Err(refusal) if refusal.status == http::StatusCode::FORBIDDEN => {
                        withheld += documents.len();
                        denial = Some(refusal);
                    }
                    Err(refusal) => return Err(refusal),
                }
            }
        }
        if entries.is_empty()
            && tampered.is_empty()
            && let Some(denial) = denial
        {
            return Err(denial);
        }
        entries.sort_by_key(|(place, _)| *place);
        let mut entries: Vec<Value> = entries.into_iter().map(|(_, entry)| entry).collect();
        entries.extend(notes(withheld, tampered));
        Ok(entries)
    }

    fn matched(&self, document: &Document, resource: Value) -> Value {
        json!({
            "fullUrl": format!("{}/{}/{}", self.settings.base, document.kind, document.id),
            "resource": resource,
            "search": {"mode": "match"},
        })
    }

    /// A page of a search, with the links to the others.
    fn page(
        &self,
        request: &Request,
        kind: &str,
        asked: &Asked,
        entries: Vec<Value>,
        total: usize,
    ) -> Value {
        let count = asked.count.unwrap_or(PAGE).min(MAX_BATCH);
        let link = |relation: &str, offset: usize| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            for (name, value) in request.query.iter().filter(|(name, _)| name != "_page") {
                query.append_pair(name, value);
            }
            if offset > 0 {
                query.append_pair("_page", &offset.to_string());
            }
            let query = query.finish();
            let mark = if query.is_empty() { "" } else { "?" };
            json!({"relation": relation, "url": format!("{}/{kind}{mark}{query}", self.settings.base)})
        };
        let mut links = vec![link("self", asked.offset)];
        if asked.offset > 0 {
            links.push(link("first", 0));
            links.push(link("previous", asked.offset.saturating_sub(count)));
        }
        let next = asked.offset.saturating_add(count);
        if next < total && count > 0 && !asked.only_count {
            links.push(link("next", next));
        }
        let mut bundle = json!({
            "resourceType": "Bundle",
            "type": "searchset",
            "total": total,
            "link": links,
        });
        if !entries.is_empty() {
            bundle["entry"] = entries.into();
        }
        bundle
    }

    /// What other organizations keep of a subject: coarse entries of the ledger, as
    /// DocumentReference. Their content has to be asked for by id.
    async fn search_elsewhere(
        &self,
        request: &Request,
        kind: &str,
        sid: Option<&str>,
        asked: &Asked,
    ) -> Refused<Answer> {
        let (Some(sid), "DocumentReference") = (sid, kind) else {
            return Err(Refusal::forbidden(
                "NOT_CUSTODIAN",
                format!(
                    "only the custodian's own staff searches {kind}; search DocumentReference by patient for what there is, and read it by id"
                ),
            ));
        };
        let call = Call::new("records", "ListRecords", json!({"sid": sid}));
        let listed: Value = self.ask(&request.caller, call).await?;
        let records = listed["entries"].as_array().cloned().unwrap_or_default();
        let entries: Vec<Value> = records
            .iter()
            .filter(|record| record["state"] == "Current")
            .map(|record| {
                json!({"fullUrl": format!("{}/DocumentReference/{}", self.settings.base, record["id"].as_str().unwrap_or_default()), "resource": stub(record), "search": {"mode": "match"}})
            })
            .collect();
        let total = entries.len();
        Ok(Answer::ok(self.page(request, kind, asked, entries, total)))
    }
}

/// What the ledger says of a record, as a DocumentReference.
fn stub(record: &Value) -> Value {
    json!({
        "resourceType": "DocumentReference",
        "id": record["id"],
        "meta": {"versionId": record["version"].to_string()},
        "status": "current",
        "category": [{"coding": [{"system": format!("{}:record-kind", crate::SYSTEM), "code": record["kind"]}]}],
        "subject": {"identifier": {"system": crate::SYSTEM, "value": record["sid"]}},
        "custodian": {"identifier": {"system": format!("{}:msp", crate::SYSTEM), "value": record["custodian"]}},
        "date": dates::instant_of_seconds(record["at"].as_i64().unwrap_or_default()),
        "content": [{"attachment": {
            "contentType": "application/fhir+json",
            "size": record["size"],
            "extension": [{"url": format!("{}:sha-256", crate::SYSTEM), "valueString": record["ctHash"]}],
        }}],
    })
}

/// 26 characters of base32.
pub(crate) fn is_sid(text: &str) -> bool {
    text.len() == 26
        && text
            .bytes()
            .all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b))
}

/// What a page does not show, as an entry.
fn notes(withheld: usize, tampered: Vec<crate::access::Tampered>) -> Option<Value> {
    let mut issues = Vec::new();
    if withheld > 0 {
        let mut issue = Issue::error(
            "suppressed",
            "WITHHELD",
            format!("{withheld} more fit, which no consent or law lets you see"),
        );
        issue.severity = Severity::Information;
        issues.push(issue);
    }
    for lost in tampered {
        issues.extend(Box::<Refusal>::from(lost).issues);
    }
    if issues.is_empty() {
        return None;
    }
    let outcome = Refusal::of(http::StatusCode::OK, issues).to_json();
    Some(json!({"resource": outcome, "search": {"mode": "outcome"}}))
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
}
