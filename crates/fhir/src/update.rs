//! Changing a resource: a new version, never in place of the old one.

use std::collections::BTreeMap;

use http::StatusCode;
use serde_json::json;

use crate::ledger::{Call, Committed};
use crate::outcome::{Refusal, Refused};
use crate::references;
use crate::register::{RECORDS, entry, unresolved, valid};
use crate::repeat::created_before;
use crate::request::{Answer, Request, set_meta};
use crate::server::Inner;

impl Inner {
    /// `PUT Type/id`.
    pub async fn update(&self, request: &Request, kind: &str, id: &str) -> Refused<Answer> {
        if kind == "Consent" {
            return self.update_consent(request, id).await;
        }
        if !RECORDS.contains(&kind) {
            return Err(Refusal::not_supported(format!("{kind} cannot be changed")));
        }
        let resource = request.resource()?;
        valid(&resource, kind)?;
        if resource["id"].as_str() != Some(id) {
            return Err(Refusal::malformed(
                "WRONG_ID",
                "the id in the body is the id in the path",
            ));
        }
        let work = self.amend(request, kind, id, resource);
        let what = format!("{kind}/{id}");
        self.once(request, &what, created_before, work).await
    }

    async fn amend(
        &self,
        request: &Request,
        kind: &str,
        id: &str,
        resource: serde_json::Value,
    ) -> Refused<Answer> {
        let custodian = self.custodian_of(&request.caller)?;
        let before = self.stored(request, kind, id).map_err(|refusal| {
            if refusal.status != StatusCode::NOT_FOUND {
                return refusal;
            }
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "not-supported",
                "NO_CLIENT_IDS",
                format!(
                    "there is no {kind}/{id}, and ids are given by the server: create with POST"
                ),
            )
        })?;
        if before.custodian != custodian {
            return Err(Refusal::forbidden(
                "NOT_CUSTODIAN",
                format!("{kind}/{id} is kept by {}", before.custodian),
            ));
        }
        let basis = request.if_match()?.unwrap_or(before.version);
        if basis != before.version {
            return Err(Refusal::new(
                StatusCode::PRECONDITION_FAILED,
                "conflict",
                "VERSION",
                format!(
                    "{kind}/{id} is at version {}, not {basis}: read it again",
                    before.version
                ),
            ));
        }
        let left = references::unresolved(&resource, kind);
        if !left.is_empty() {
            return Err(unresolved(left));
        }
        let version = before.version.saturating_add(1);
        let none = BTreeMap::new();
        let ready = self.ready(kind, id.to_owned(), version, resource, kind, &none)?;
        if ready.sid != before.sid {
            return Err(Refusal::rule(
                "SUBJECT_CHANGED",
                format!("{kind}/{id} belongs to another subject"),
            ));
        }
        let documents = self.seal(&custodian, std::slice::from_ref(&ready))?;
        let call = Call::new(
            "records",
            "AmendRecord",
            json!({"ifVersion": before.version, "entry": entry(&documents[0])}),
        );
        let location = format!("{kind}/{id}/_history/{version}");
        let remembered = |committed: &Committed| {
            json!({"location": location, "version": version, "tx": committed.tx_id}).to_string()
        };
        let (committed, at) = self
            .commit(request, &documents, call, remembered, None)
            .await?;
        let mut body = ready.resource;
        set_meta(&mut body, version, at, &committed.tx_id);
        Ok(Answer {
            status: StatusCode::OK,
            body: Some(body),
            version: Some(version),
            modified: Some(at),
            location: Some(location),
            tx: Some(committed.tx_id),
        })
    }
}
