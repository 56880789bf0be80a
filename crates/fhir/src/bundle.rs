//! Bundles: a transaction is one transaction of the ledger, a batch is judged entry by entry.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::Interaction;
use crate::identity::Action;
use crate::ledger::{Call, Committed};
use crate::outcome::{Issue, Refusal, Refused};
use crate::reactor::off_the_reactor;
use crate::references::{self, Places};
use crate::register::{RECORDS, Ready, invalid, new_id, records, unresolved};
use crate::request::{Answer, Request};
use crate::server::{Inner, pairs, require_scope};
use crate::store::NewDocument;
use crate::{dates, subject, validate};

/// Entries of one bundle, which are registered by one transaction.
pub(crate) const MAX_ENTRIES: usize = 1000;

/// An entry that creates a record.
struct Entry {
    /// Its place in the bundle.
    place: usize,
    kind: String,
    id: String,
    resource: Value,
}

/// Places and what became of them, for the answer.
type Results = BTreeMap<usize, Value>;

fn path(place: usize) -> String {
    format!("Bundle.entry[{place}]")
}

fn entry_issue(place: usize, code: &'static str, sentence: impl Into<String>) -> Issue {
    Issue::error("value", code, sentence).at(path(place))
}

impl Inner {
    /// `POST` to the base.
    pub async fn bundle(&self, request: &Request) -> Refused<Answer> {
        let bundle = request.resource()?;
        let kind = validate::kind_of(&bundle, "Bundle")
            .map_err(|issue| Refusal::of(StatusCode::BAD_REQUEST, vec![issue]))?;
        if kind != "Bundle" {
            return Err(Refusal::malformed(
                "WRONG_TYPE",
                format!("the base takes a Bundle, this is a {kind}; POST it to /{kind}"),
            ));
        }
        let entries = bundle["entry"].as_array().map_or(0, Vec::len);
        if entries > MAX_ENTRIES {
            return Err(Refusal::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-costly",
                "TOO_MANY",
                format!("a bundle has at most {MAX_ENTRIES} entries, this one has {entries}"),
            ));
        }
        match bundle["type"].as_str() {
            Some("transaction") => {
                let replay =
                    |answer: &str| Answer::ok(serde_json::from_str(answer).unwrap_or_default());
                let work = self.transaction(request, bundle);
                self.once(request, "transaction", replay, work).await
            }
            Some("batch") => self.batch(request, bundle).await,
            other => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "not-supported",
                "BUNDLE_TYPE",
                format!(
                    "a bundle that is posted is a transaction or a batch, this is {}",
                    other.unwrap_or("neither")
                ),
            )),
        }
    }

    async fn transaction(&self, request: &Request, bundle: Value) -> Refused<Answer> {
        let issues = off_the_reactor(|| validate::check(&bundle, "Bundle"));
        if !issues.is_empty() {
            return Err(invalid(issues));
        }
        let custodian = self.custodian_of(&request.caller)?;
        let (entries, places) = self.creates(request, &bundle)?;
        if entries.is_empty() {
            return Err(Refusal::malformed("EMPTY", "the bundle has no entries"));
        }
        let mut ready = Vec::with_capacity(entries.len());
        let resolved = self.resolve(entries, &places, true)?;
        let patients = self.patients(&resolved)?;
        let mut issues = Vec::new();
        let kept: Vec<(usize, String)> = resolved
            .iter()
            .map(|entry| (entry.place, entry.id.clone()))
            .collect();
        for entry in resolved {
            let at = format!("{}.resource", path(entry.place));
            match self.ready(&entry.kind, entry.id, 1, entry.resource, &at, &patients) {
                Ok(done) => ready.push(done),
                Err(refusal) => issues.extend(refusal.issues),
            }
        }
        if !issues.is_empty() {
            return Err(Refusal::of(StatusCode::UNPROCESSABLE_ENTITY, issues));
        }
        let documents = self.seal(&custodian, &ready)?;
        let call = Call::new("records", "RegisterRecords", records(&documents));
        let respond = |committed: &Committed, at: Option<i64>| {
            let mut results = Results::new();
            for ((place, id), document) in kept.iter().zip(&documents) {
                results.insert(*place, created(&document.kind, id, &committed.tx_id, at));
            }
            response("transaction-response", results.into_values().collect())
        };
        let remembered = |committed: &Committed| respond(committed, None).to_string();
        let (committed, at) = self
            .commit(request, &documents, call, remembered, None)
            .await?;
        Ok(Answer {
            body: Some(respond(&committed, Some(at))),
            tx: Some(committed.tx_id),
            ..Answer::default()
        })
    }

    /// The entries of a transaction, all of which have to create records.
    fn creates(&self, request: &Request, bundle: &Value) -> Refused<(Vec<Entry>, Places)> {
        let (mut entries, mut places, mut issues) = (Vec::new(), Places::new(), Vec::new());
        for (place, entry) in list(bundle).iter().enumerate() {
            let method = entry["request"]["method"].as_str().unwrap_or_default();
            let url = entry["request"]["url"].as_str().unwrap_or_default();
            let kind = entry["resource"]["resourceType"]
                .as_str()
                .unwrap_or_default();
            if method != "POST" || !entry["request"]["ifNoneExist"].is_null() {
                issues.push(entry_issue(
                    place,
                    "NOT_SUPPORTED",
                    "a transaction creates: unconditional POST only. Send the rest as a batch",
                ));
            } else if url.trim_matches('/') != kind {
                issues.push(entry_issue(
                    place,
                    "WRONG_TYPE",
                    format!("request.url is '{kind}', the type of the resource"),
                ));
            } else if !RECORDS.contains(&kind) {
                issues.push(entry_issue(
                    place,
                    "NOT_SUPPORTED",
                    format!("a {kind} is not stored as a record; POST it by itself"),
                ));
            } else {
                require_scope(&request.caller, Action::Create, kind)?;
                let id = new_id();
                if let Some(url) = entry["fullUrl"].as_str()
                    && places
                        .insert(url.to_owned(), format!("{kind}/{id}"))
                        .is_some()
                {
                    issues.push(entry_issue(
                        place,
                        "DUPLICATE",
                        "two entries have this fullUrl",
                    ));
                }
                entries.push(Entry {
                    place,
                    kind: kind.to_owned(),
                    id,
                    resource: entry["resource"].clone(),
                });
            }
        }
        if issues.is_empty() {
            Ok((entries, places))
        } else {
            Err(Refusal::of(StatusCode::UNPROCESSABLE_ENTITY, issues))
        }
    }

    /// Entries with their references followed. `strictly`: none may lead nowhere.
    fn resolve(
        &self,
        mut entries: Vec<Entry>,
        places: &Places,
        strictly: bool,
    ) -> Refused<Vec<Entry>> {
        let mut left = Vec::new();
        for entry in &mut entries {
            references::rewrite(&mut entry.resource, places);
            if strictly {
                let at = format!("{}.resource", path(entry.place));
                left.extend(references::unresolved(&entry.resource, &at));
            }
        }
        if left.is_empty() {
            Ok(entries)
        } else {
            Err(unresolved(left))
        }
    }

    /// The pseudonyms of the patients of a bundle, by reference.
    fn patients(&self, entries: &[Entry]) -> Refused<BTreeMap<String, String>> {
        let mut patients = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.kind == "Patient") {
            let at = format!("{}.resource", path(entry.place));
            let sid = self.sid_of("Patient", &entry.id, &entry.resource, &at, &BTreeMap::new())?;
            patients.insert(format!("Patient/{}", entry.id), sid);
        }
        Ok(patients)
    }

    /// Entries are independent; those that create records are committed together, since each
    /// would be a transaction of its own otherwise.
    async fn batch(&self, request: &Request, bundle: Value) -> Refused<Answer> {
        let mut results = Results::new();
        let mut creates = Vec::new();
        let mut places = Places::new();
        for (place, entry) in list(&bundle).iter().enumerate() {
            let kind = entry["resource"]["resourceType"]
                .as_str()
                .unwrap_or_default();
            let posts = entry["request"]["method"].as_str() == Some("POST")
                && entry["request"]["url"].as_str() == Some(kind)
                && RECORDS.contains(&kind);
            if !posts {
                continue;
            }
            let at = format!("{}.resource", path(place));
            let issues = off_the_reactor(|| validate::check(&entry["resource"], &at));
            let scope = require_scope(&request.caller, Action::Create, kind);
            if let Err(refusal) = scope.and(if issues.is_empty() {
                Ok(())
            } else {
                Err(invalid(issues))
            }) {
                results.insert(place, refused(&refusal));
                continue;
            }
            let id = new_id();
            if let Some(url) = entry["fullUrl"].as_str() {
                if places.contains_key(url) {
                    let issue = entry_issue(place, "DUPLICATE", "two entries have this fullUrl");
                    let refusal = Refusal::of(StatusCode::BAD_REQUEST, vec![issue]);
                    results.insert(place, refused(&refusal));
                    continue;
                }
                places.insert(url.to_owned(), format!("{kind}/{id}"));
            }
            creates.push(Entry {
                place,
                kind: kind.to_owned(),
                id,
                resource: entry["resource"].clone(),
            });
        }
        let tx = self
            .batch_creates(request, creates, &places, &mut results)
            .await?;
        for (place, entry) in list(&bundle).iter().enumerate() {
            if results.contains_key(&place) {
                continue;
            }
            let result = self.batch_entry(request, entry).await;
            results.insert(place, result.unwrap_or_else(|refusal| refused(&refusal)));
        }
        Ok(Answer {
            body: Some(response("batch-response", results.into_values().collect())),
            tx,
            ..Answer::default()
        })
    }

    async fn batch_creates(
        &self,
        request: &Request,
        creates: Vec<Entry>,
        places: &Places,
        results: &mut Results,
    ) -> Refused<Option<String>> {
        if creates.is_empty() {
            return Ok(None);
        }
        let custodian = match self.custodian_of(&request.caller) {
            Ok(custodian) => custodian,
            Err(refusal) => {
                results.extend(creates.iter().map(|entry| (entry.place, refused(&refusal))));
                return Ok(None);
            }
        };
        let resolved = self.resolve(creates, places, false)?;
        let mut patients = BTreeMap::new();
        for entry in resolved.iter().filter(|entry| entry.kind == "Patient") {
            if let Some((id_type, number)) = subject::identity(&entry.resource)
                && let Ok(sid) = self.pseudonyms.pseudonym(&id_type, &number)
            {
                patients.insert(format!("Patient/{}", entry.id), sid);
            }
        }
        let mut ready: Vec<(usize, Ready)> = Vec::new();
        for entry in resolved {
            let at = format!("{}.resource", path(entry.place));
            match self.ready(&entry.kind, entry.id, 1, entry.resource, &at, &patients) {
                Ok(done) => ready.push((entry.place, done)),
                Err(refusal) => {
                    results.insert(entry.place, refused(&refusal));
                }
            }
        }
        let (kept, ready): (Vec<usize>, Vec<Ready>) = ready.into_iter().unzip();
        if ready.is_empty() {
            return Ok(None);
        }
        let documents: Vec<NewDocument> = self.seal(&custodian, &ready)?;
        let call = Call::new("records", "RegisterRecords", records(&documents));
        let done = self
            .commit(request, &documents, call, |_| String::new(), None)
            .await;
        match done {
            Ok((committed, at)) => {
                for (place, document) in kept.iter().zip(&documents) {
                    results.insert(
                        *place,
                        created(&document.kind, &document.id, &committed.tx_id, Some(at)),
                    );
                }
                Ok(Some(committed.tx_id))
            }
            Err(refusal) => {
                results.extend(kept.iter().map(|place| (*place, refused(&refusal))));
                Ok(None)
            }
        }
    }

    /// Any other entry of a batch: what it asks for, as if it had come by itself.
    async fn batch_entry(&self, request: &Request, entry: &Value) -> Refused<Value> {
        let method: Method = entry["request"]["method"]
            .as_str()
            .unwrap_or_default()
            .parse()
            .map_err(|_| Refusal::malformed("METHOD", "request.method is no method of HTTP"))?;
        let url = entry["request"]["url"].as_str().unwrap_or_default();
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let interaction = Interaction::parse(&method, path)?;
        if interaction == Interaction::Bundle {
            return Err(Refusal::not_supported("a batch has no bundles in it"));
        }
        let mut headers = request.headers.clone();
        for name in ["if-match", "x-request-id", "prefer"] {
            headers.remove(name);
        }
        if let Some(value) = entry["request"]["ifMatch"].as_str()
            && let Ok(value) = value.parse()
        {
            headers.insert("if-match", value);
        }
        let inner = Request {
            caller: request.caller.clone(),
            query: pairs(query.as_bytes()),
            headers,
            body: match entry.get("resource") {
                Some(resource) => Bytes::from(resource.to_string()),
                None => Bytes::new(),
            },
        };
        let answer = self.answer(&inner, interaction).await?;
        let mut response = json!({"status": status_text(answer.status)});
        if let Some(version) = answer.version {
            response["etag"] = format!("W/\"{version}\"").into();
        }
        if let Some(at) = answer.modified {
            response["lastModified"] = dates::instant(at).into();
        }
        if let Some(location) = answer.location {
            response["location"] = location.into();
        }
        let mut result = json!({"response": response});
        if let Some(body) = answer.body {
            result["resource"] = body;
        }
        Ok(result)
    }
}

fn list(bundle: &Value) -> &[Value] {
    bundle["entry"].as_array().map_or(&[], Vec::as_slice)
}

fn status_text(status: StatusCode) -> String {
    format!(
        "{} {}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default()
    )
}

/// The answer to an entry that was created.
pub(crate) fn created(kind: &str, id: &str, tx: &str, at: Option<i64>) -> Value {
    let mut response = json!({
        "status": "201 Created",
        "location": format!("{kind}/{id}/_history/1"),
        "etag": "W/\"1\"",
        "extension": [{"url": format!("{}:ledger-tx", crate::SYSTEM), "valueString": tx}],
    });
    if let Some(at) = at {
        response["lastModified"] = dates::instant(at).into();
    }
    json!({"response": response})
}

fn refused(refusal: &Refusal) -> Value {
    json!({"response": {"status": status_text(refusal.status), "outcome": refusal.to_json()}})
}

/// A bundle of answers.
pub(crate) fn response(kind: &str, entries: Vec<Value>) -> Value {
    json!({"resourceType": "Bundle", "type": kind, "entry": entries})
}
