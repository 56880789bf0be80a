//! Searching: which parameters, which documents fit, which of them the caller may see.

mod query;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::access::MAX_BATCH;
use crate::dates;
use crate::ledger::Call;
use crate::outcome::{Issue, Refusal, Refused, Severity};
use crate::references;
use crate::register::store_error;
use crate::request::{Answer, Request};
use crate::server::Inner;
use crate::store::{Document, Filter, Order, Query};

pub(crate) use query::parameters;
use query::{Asked, parse};

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
