//! Operations: which there are, and the ones that check a resource against the ledger.

use consilium_contracts::vault::hash;
use http::StatusCode;
use serde_json::{Value, json};

use crate::ledger::Call;
use crate::outcome::{Refusal, Refused};
use crate::reactor::off_the_reactor;
use crate::register::{RECORDS, new_id};
use crate::request::{Answer, Request};
use crate::server::Inner;

/// Operations by type: name, on a resource or on the type, by GET as well as POST.
pub(crate) fn offered(kind: &str) -> Vec<(&'static str, bool)> {
    let mut list = Vec::new();
    if RECORDS.contains(&kind) {
        list.push(("verify", true));
    }
    match kind {
        "Patient" => list.extend([("everything", true), ("match", false), ("erase", true)]),
        "Device" => list.extend([("trace", true), ("verify-udi", false)]),
        "Consent" => list.push(("evaluate", false)),
        "AuditEvent" => list.push(("accounting", false)),
        _ => {}
    }
    list
}

/// A Parameters resource of named values.
pub(crate) fn parameters(values: Vec<(&str, Value)>) -> Value {
    let list: Vec<Value> = values
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let mut parameter = json!({"name": name});
            match value {
                Value::Bool(_) => parameter["valueBoolean"] = value,
                Value::Number(_) => parameter["valueInteger"] = value,
                Value::Object(ref object) if object.contains_key("resourceType") => {
                    parameter["resource"] = value;
                }
                Value::String(_) => parameter["valueString"] = value,
                other => parameter["valueString"] = other.to_string().into(),
            }
            parameter
        })
        .collect();
    json!({"resourceType": "Parameters", "parameter": list})
}

/// A value from the query, or from a Parameters body.
pub(crate) fn input(request: &Request, name: &str) -> Refused<Option<String>> {
    if let Some(value) = request.parameter(name) {
        return Ok(Some(value.to_owned()));
    }
    if request.body.is_empty() {
        return Ok(None);
    }
    let body = request.resource()?;
    let mut list = body["parameter"].as_array().into_iter().flatten();
    let found = list.find(|parameter| parameter["name"] == name);
    Ok(found.and_then(|parameter| {
        let object = parameter.as_object()?;
        let (_, value) = object.iter().find(|(key, _)| key.starts_with("value"))?;
        Some(match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }))
}

/// A value that has to be there.
pub(crate) fn needed(request: &Request, name: &str) -> Refused<String> {
    input(request, name)?.ok_or_else(|| {
        Refusal::malformed(
            "MISSING",
            format!("the operation needs the parameter {name}"),
        )
    })
}

impl Inner {
    /// `$name`.
    pub async fn operation(
        &self,
        request: &Request,
        kind: &str,
        id: Option<&str>,
        name: &str,
        posted: bool,
    ) -> Refused<Answer> {
        match (kind, id, name) {
            (_, Some(id), "verify" | "verify-integrity") if RECORDS.contains(&kind) => {
                self.verify(request, kind, id).await
            }
            ("", None, "import") => self.import_posted(request, posted).await,
            ("Patient", Some(id), "everything") => self.everything(request, id).await,
            ("Patient", None, "match") if posted => self.match_patient(request).await,
            ("Patient", Some(id), "erase") if posted => self.erase(request, id).await,
            ("Device", Some(id), "trace") => self.trace(request, id).await,
            ("Device", None, "verify-udi") => self.verify_udi(request, posted).await,
            ("Consent", None, "evaluate") => self.evaluate_consent(request).await,
            ("AuditEvent", None, "accounting") => self.search_audit(request).await,
            _ => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "not-supported",
                "UNKNOWN_OPERATION",
                format!(
                    "there is no operation ${name} here, or not by this method; metadata lists what there is"
                ),
            )),
        }
    }

    /// Compares what is stored with the ledger, without reading it: no key is needed, and nothing
    /// is disclosed.
    async fn verify(&self, request: &Request, kind: &str, id: &str) -> Refused<Answer> {
        let document = self.stored(request, kind, id)?;
        let found = hash(&document.sealed.ciphertext);
        let call = Call::new("records", "ReadRecord", json!({"id": id}));
        let record: Value = self.ask(&request.caller, call).await?;
        if record["state"] == "Erased" {
            return Err(Refusal::new(
                StatusCode::GONE,
                "deleted",
                "ERASED",
                format!(
                    "{kind}/{id} was erased; its fingerprint is {}",
                    record["ctHash"]
                ),
            ));
        }
        let intact = record["ctHash"].as_str() == Some(&found)
            && record["version"].as_u64() == Some(document.version.into());
        if !intact {
            return Err(Refusal::tampered(format!(
                "{kind}/{id} is stored as version {} with hash {found}; the ledger has version {} with hash {}",
                document.version, record["version"], record["ctHash"]
            )));
        }
        let proof = self.ledger.proof(&request.caller, &document.tx).await?;
        Ok(Answer {
            tx: Some(document.tx.clone()),
            ..Answer::ok(parameters(vec![
                ("result", "Intact".into()),
                ("hash", found.into()),
                ("version", document.version.into()),
                ("channel", proof.channel.clone().into()),
                ("block", proof.block.into()),
                ("transaction", proof.tx_id.clone().into()),
                ("validation", proof.validation.clone().into()),
                (
                    "provenance",
                    self.provenance_of(
                        &proof,
                        &[(kind.to_owned(), id.to_owned(), document.version)],
                    ),
                ),
            ]))
        })
    }

    /// `$erase`: the subject's wish, the custodian's decision, and the destruction of the keys, as
    /// the parameter `action` says.
    async fn erase(&self, request: &Request, id: &str) -> Refused<Answer> {
        let patient = self.stored(request, "Patient", id)?;
        let (action, custodian) = (needed(request, "action")?, patient.custodian.clone());
        let erase_id = match action.as_str() {
            "request" => new_id(),
            _ => needed(request, "eraseId")?,
        };
        let call = match action.as_str() {
            "request" => Call::new(
                "records",
                "RequestErasure",
                json!({"eraseId": erase_id, "sid": patient.sid, "custodian": custodian}),
            ),
            "retain" => {
                let until = needed(request, "until")?;
                let span = crate::dates::span(&until).ok_or_else(|| {
                    Refusal::malformed("BAD_PARAMETER", "until is a date such as 2040-12-31")
                })?;
                Call::new(
                    "records",
                    "DecideErasure",
                    json!({"eraseId": erase_id, "verdict": "Retained", "ground": needed(request, "ground")?, "until": span.low.div_euclid(1000)}),
                )
            }
            "accept" => Call::new(
                "records",
                "DecideErasure",
                json!({"eraseId": erase_id, "verdict": "Accepted"}),
            ),
            "attest" => {
                return self
                    .attest(request, &patient.sid, &custodian, &erase_id)
                    .await;
            }
            _ => {
                return Err(Refusal::malformed(
                    "BAD_PARAMETER",
                    "action is one of request, retain, accept and attest",
                ));
            }
        };
        let call = call.request_id(request.request_id()?);
        let committed = self.submit(&request.caller, call).await?;
        let state: Value = serde_json::from_slice(&committed.payload).unwrap_or_default();
        Ok(Answer {
            tx: Some(committed.tx_id),
            ..Answer::ok(parameters(vec![
                ("eraseId", erase_id.into()),
                ("state", state["state"].clone()),
            ]))
        })
    }

    /// Destroys keys and ciphertexts after the ledger says that it was decided: first the
    /// attestation is committed, then the keys go. Asked again after a crash in between, it goes on
    /// with the keys.
    async fn attest(
        &self,
        request: &Request,
        sid: &str,
        custodian: &str,
        erase_id: &str,
    ) -> Refused<Answer> {
        let call = Call::new("records", "ReadErasure", json!({"eraseId": erase_id}));
        let erasure: Value = self.ask(&request.caller, call).await?;
        let tx = match erasure["state"].as_str() {
            Some("Erased") => None,
            _ => Some(
                self.attest_erasure(request, sid, custodian, erase_id)
                    .await?,
            ),
        };
        let keys = off_the_reactor(|| self.vault.shred(custodian, sid))
            .map_err(|error| Refusal::internal("destroying keys", error))?;
        let documents = self
            .store
            .erase(custodian, sid)
            .map_err(crate::register::store_error)?;
        Ok(Answer {
            tx,
            ..Answer::ok(parameters(vec![
                ("eraseId", erase_id.into()),
                ("state", "Erased".into()),
                ("documents", documents.into()),
                ("keys", keys.into()),
            ]))
        })
    }

    /// Commits the attestation of what is not erased yet; gives the transaction.
    async fn attest_erasure(
        &self,
        request: &Request,
        sid: &str,
        custodian: &str,
        erase_id: &str,
    ) -> Refused<String> {
        let call = Call::new(
            "records",
            "ListRecords",
            json!({"sid": sid, "custodian": custodian}),
        );
        let listed: Value = self.ask(&request.caller, call).await?;
        if listed["bookmark"].is_string() {
            return Err(Refusal::rule(
                "TOO_MANY_RECORDS",
                "one attestation names at most 200 records; this subject has more",
            ));
        }
        let ids: Vec<&str> = listed["entries"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|record| record["state"] != "Erased")
            .filter_map(|record| record["id"].as_str())
            .collect();
        let call = Call::new(
            "records",
            "AttestErasure",
            json!({"eraseId": erase_id, "ids": ids, "keyIds": ["kek:0"], "method": "KEY_DESTRUCTION"}),
        );
        let committed = self.submit(&request.caller, call).await?;
        Ok(committed.tx_id)
    }
}
