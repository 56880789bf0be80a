//! `Patient/[id]/$everything` and `Patient/$match`.

use http::StatusCode;
use serde_json::{Value, json};

use crate::access::MAX_BATCH;
use crate::outcome::{Refusal, Refused};
use crate::register::{RECORDS, store_error, valid};
use crate::request::{Answer, Request};
use crate::server::Inner;
use crate::store::{Filter, Order, Query};
use crate::subject;

impl Inner {
    /// Everything that is kept of a patient and that the caller may see, page by page.
    pub async fn everything(&self, request: &Request, id: &str) -> Refused<Answer> {
        let patient = self.stored(request, "Patient", id)?;
        let number = |name: &str, default: u32| -> usize {
            let asked = request.parameter(name).and_then(|text| text.parse().ok());
            asked.unwrap_or(default) as usize
        };
        let (count, offset) = (
            number("_count", 200).clamp(1, MAX_BATCH),
            number("_page", 0),
        );
        let mut query = Query {
            kind: None,
            // A person's own are wanted from everywhere, a custodian's staff sees its own.
            custodian: (!request.caller.is_person()).then(|| patient.custodian.clone()),
            filters: vec![Filter::Subject(patient.sid.clone())],
            order: Order::Updated,
            descending: false,
            count,
            offset,
        };
        if let Some(kind) = request.parameter("_type") {
            if !RECORDS.contains(&kind) {
                return Err(Refusal::not_supported("_type is one type of record"));
            }
            query.kind = Some(kind.to_owned());
        }
        let (documents, total) = self.store.find(&query).map_err(store_error)?;
        let entries = self.visible(request, documents).await?;
        let narrowed = query
            .kind
            .as_ref()
            .map(|kind| format!("&_type={kind}"))
            .unwrap_or_default();
        let url = |offset: usize| {
            format!(
                "{}/Patient/{id}/$everything?_count={count}&_page={offset}{narrowed}",
                self.settings.base
            )
        };
        let mut links = vec![json!({"relation": "self", "url": url(offset)})];
        if offset.saturating_add(count) < total {
            links.push(json!({"relation": "next", "url": url(offset.saturating_add(count))}));
        }
        let mut bundle =
            json!({"resourceType": "Bundle", "type": "searchset", "total": total, "link": links});
        if !entries.is_empty() {
            bundle["entry"] = entries.into();
        }
        Ok(Answer::ok(bundle))
    }

    /// The one patient who has the identifiers of the resource that is given: by pseudonym, so
    /// that people of the same name are never taken for one another.
    pub async fn match_patient(&self, request: &Request) -> Refused<Answer> {
        let body = request.resource()?;
        let resource = if body["resourceType"] == "Parameters" {
            let parameters = body["parameter"].as_array().cloned().unwrap_or_default();
            let named = parameters.iter().find(|p| p["name"] == "resource");
            named.map_or(Value::Null, |p| p["resource"].clone())
        } else {
            body
        };
        valid(&resource, "Patient")?;
        let mut entries = Vec::new();
        if let Some((id_type, number)) = subject::identity(&resource) {
            let sid = self
                .pseudonyms
                .pseudonym(&id_type, &number)
                .map_err(|error| Refusal::internal("making a pseudonym", error))?;
            let query = Query {
                kind: Some("Patient".to_owned()),
                custodian: (!request.caller.is_person()).then(|| request.caller.msp.clone()),
                filters: vec![Filter::Subject(sid)],
                order: Order::Updated,
                descending: true,
                // One person is one entry, however many times it was registered.
                count: 1,
                offset: 0,
            };
            let (documents, _) = self.store.find(&query).map_err(store_error)?;
            for document in documents {
                let resource = self.open_single(request, &document).await?;
                entries.push(json!({
                    "fullUrl": format!("{}/Patient/{}", self.settings.base, document.id),
                    "resource": resource,
                    "search": {
                        "mode": "match",
                        "score": 1,
                        "extension": [{"url": "http://hl7.org/fhir/StructureDefinition/match-grade", "valueCode": "certain"}],
                    },
                }));
            }
        }
        let mut bundle =
            json!({"resourceType": "Bundle", "type": "searchset", "total": entries.len()});
        if !entries.is_empty() {
            bundle["entry"] = entries.into();
        }
        Ok(Answer {
            status: StatusCode::OK,
            body: Some(bundle),
            ..Answer::default()
        })
    }
}
