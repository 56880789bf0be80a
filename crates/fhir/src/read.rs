//! Reading one resource, one of its versions, or all of them.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::access::Tampered;
use crate::ledger::Call;
use crate::outcome::{Refusal, Refused};
use crate::reactor::off_the_reactor;
use crate::register::store_error;
use crate::request::{Answer, Request};
use crate::server::Inner;
use crate::store::Document;

/// One version of a record on the ledger.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    pub tx_id: String,
    pub value: Option<Record>,
}

/// What of a record matters here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub version: u32,
    pub ct_hash: String,
}

impl Inner {
    /// A stored resource that the caller may know of.
    pub fn stored(&self, request: &Request, kind: &str, id: &str) -> Refused<Document> {
        let document = self
            .store
            .current(kind, id)
            .map_err(store_error)?
            .ok_or_else(|| Refusal::not_found(kind, id))?;
        within_launch(request, &document)?;
        Ok(document)
    }

    /// `GET Type/id`.
    pub async fn read(&self, request: &Request, kind: &str, id: &str) -> Refused<Answer> {
        match kind {
            "Consent" => return self.read_consent(request, id).await,
            "AuditEvent" => return self.read_audit(request, id).await,
            "Provenance" => return self.read_provenance(request, id).await,
            "DeviceDefinition" => return self.read_device_definition(request, id).await,
            "Device" if crate::devices::is_unit(id) => {
                return self.read_device(request, id).await;
            }
            _ => {}
        }
        let document = self.stored(request, kind, id)?;
        let body = self.open_single(request, &document).await?;
        Ok(answer(body, &document))
    }

    /// The versions of a record that the ledger knows, newest first.
    pub async fn versions(&self, request: &Request, id: &str) -> Refused<Vec<Version>> {
        let call = Call::new("records", "RecordHistory", json!({"id": id}));
        self.ask(&request.caller, call).await
    }

    /// `GET Type/id/_history/n`.
    pub async fn vread(
        &self,
        request: &Request,
        kind: &str,
        id: &str,
        version: u32,
    ) -> Refused<Answer> {
        has_versions(kind)?;
        let current = self.stored(request, kind, id)?;
        if current.version == version {
            return self.read(request, kind, id).await;
        }
        let document = self
            .store
            .version(kind, id, version)
            .map_err(store_error)?
            .ok_or_else(|| Refusal::not_found(kind, &format!("{id}/_history/{version}")))?;
        // The decision is about the record, whatever its version.
        self.open_single(request, &current).await?;
        let versions = self.versions(request, id).await?;
        let body = self.open_version(&document, &versions)??;
        Ok(answer(body, &document))
    }

    fn open_version(
        &self,
        document: &Document,
        versions: &[Version],
    ) -> Refused<crate::access::Opened> {
        let tampered = Tampered {
            id: format!(
                "{}/{}/_history/{}",
                document.kind, document.id, document.version
            ),
            access: "none".to_owned(),
        };
        let known = versions.iter().filter_map(|v| v.value.as_ref()).any(|v| {
            v.version == document.version
                && consilium_contracts::vault::verify(&document.sealed.ciphertext, &v.ct_hash)
                    .is_ok()
        });
        if !known {
            return Ok(Err(tampered));
        }
        off_the_reactor(|| self.decrypt(document, tampered))
    }

    /// `GET Type/id/_history`.
    pub async fn history(&self, request: &Request, kind: &str, id: &str) -> Refused<Answer> {
        has_versions(kind)?;
        let current = self.stored(request, kind, id)?;
        self.open_single(request, &current).await?;
        let versions = self.versions(request, id).await?;
        let mut entries = Vec::new();
        for version in (1..=current.version).rev() {
            let document = self.store.version(kind, id, version).map_err(store_error)?;
            let Some(document) = document else { continue };
            let body = self.open_version(&document, &versions)??;
            entries.push(json!({
                "fullUrl": format!("{}/{kind}/{id}", self.settings.base),
                "resource": body,
                "request": {
                    "method": if version == 1 { "POST" } else { "PUT" },
                    "url": if version == 1 { kind.to_owned() } else { format!("{kind}/{id}") },
                },
                "response": {
                    "status": if version == 1 { "201" } else { "200" },
                    "etag": format!("W/\"{version}\""),
                    "lastModified": crate::dates::instant(document.at),
                },
            }));
        }
        Ok(Answer::ok(json!({
            "resourceType": "Bundle",
            "type": "history",
            "total": entries.len(),
            "entry": entries,
        })))
    }
}

/// Refuses types that are made from the ledger and not stored.
fn has_versions(kind: &str) -> Refused<()> {
    if crate::register::RECORDS.contains(&kind) {
        return Ok(());
    }
    Err(Refusal::not_supported(format!(
        "{kind} has no versions here; its transactions are in Provenance"
    )))
}

/// Refuses what is outside of the subject that a launch fixed, as if it were not there.
pub(crate) fn within_launch(request: &Request, document: &Document) -> Refused<()> {
    match &request.caller.launch_patient {
        Some(sid) if *sid != document.sid => Err(Refusal::not_found(&document.kind, &document.id)),
        _ => Ok(()),
    }
}

fn answer(body: Value, document: &Document) -> Answer {
    Answer {
        body: Some(body),
        version: Some(document.version),
        modified: Some(document.at),
        tx: Some(document.tx.clone()),
        ..Answer::default()
    }
}
