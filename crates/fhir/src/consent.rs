//! Consent: a resource whose provisions are the contract's, given and withdrawn by the subject.
//!
//! The root provision and one level below it become the contract's list. What a provision does not
//! name it takes from the root. Denials win, whatever their order.

mod mapping;

use http::StatusCode;
use serde_json::{Value, json};

use crate::ledger::Call;
use crate::outcome::{Refusal, Refused};
use crate::register::{new_id, store_error, valid};
use crate::request::{Answer, Request, set_meta};
use crate::server::{Inner, now};
use crate::subject::{self, Subject};
use mapping::{rule, to_contract, to_resource};

impl Inner {
    fn consent_sid(&self, resource: &Value) -> Refused<String> {
        match subject::of("Consent", resource, "Consent")? {
            Subject::Patient { reference, .. } => self.patient_sid(reference)?.ok_or_else(|| {
                rule(
                    "no such Patient is known here; name the pseudonym as identifier",
                    "Consent.patient.reference",
                )
            }),
            Subject::Identifier { system, value } if system == crate::SYSTEM => {
                Ok(value.to_owned())
            }
            Subject::Identifier { system, value } => self
                .pseudonyms
                .pseudonym(system, value)
                .map_err(|error| Refusal::internal("making a pseudonym", error)),
            _ => Err(rule("a consent names its patient", "Consent.patient")),
        }
    }

    /// `POST Consent`: by the subject or a guardian.
    pub async fn create_consent(&self, request: &Request) -> Refused<Answer> {
        let resource = request.resource()?;
        valid(&resource, "Consent")?;
        if resource["status"] != "active" {
            return Err(rule("a new consent is active", "Consent.status"));
        }
        let sid = self.consent_sid(&resource)?;
        let mut consent = to_contract(&resource)?;
        // The same request makes the same consent, so that the contract recognizes it.
        let id = match request.request_id()? {
            Some(request_id) => {
                let bytes = self
                    .store
                    .blind(&["Consent", &request.caller.msp, request_id]);
                uuid::Builder::from_custom_bytes(bytes)
                    .into_uuid()
                    .to_string()
            }
            None => new_id(),
        };
        consent["id"] = id.clone().into();
        let call = Call::new(
            "records",
            "PutConsent",
            json!({"sid": sid, "consent": consent}),
        )
        .request_id(request.request_id()?);
        let committed = self.submit(&request.caller, call).await?;
        self.store
            .remember_subject("Consent", &id, &sid)
            .map_err(store_error)?;
        let (mut body, at) = (self.consent(request, &sid, &id).await?, now());
        set_meta(&mut body, 1, at, &committed.tx_id);
        Ok(Answer {
            status: StatusCode::CREATED,
            body: Some(body),
            version: Some(1),
            modified: Some(at),
            location: Some(format!("Consent/{id}/_history/1")),
            tx: Some(committed.tx_id),
        })
    }

    async fn consent(&self, request: &Request, sid: &str, id: &str) -> Refused<Value> {
        let call = Call::new("records", "ReadConsent", json!({"sid": sid, "id": id}));
        let consent: Value = self.ask(&request.caller, call).await?;
        let mut resource = to_resource(&consent);
        let at = consent["at"].as_i64().unwrap_or_default();
        set_meta(
            &mut resource,
            version(&consent),
            at.saturating_mul(1000),
            "",
        );
        Ok(resource)
    }

    fn known_consent(&self, request: &Request, id: &str) -> Refused<String> {
        let missing = || Refusal::not_found("Consent", id);
        let sid = self
            .store
            .subject("Consent", id)
            .map_err(store_error)?
            .or_else(|| request.caller.sid.clone())
            .ok_or_else(missing)?;
        self.may_see_consents(request, &sid)
            .map_err(|_| missing())?;
        Ok(sid)
    }

    /// Consents are seen by those whom they bind: the subject, custodians, auditors.
    fn may_see_consents(&self, request: &Request, sid: &str) -> Refused<()> {
        let caller = &request.caller;
        let own = caller.sid.as_deref() == Some(sid);
        let staff = matches!(
            caller.role.as_deref(),
            Some("physician" | "nurse" | "records" | "dpo" | "auditor" | "guardian")
        );
        let launched = caller
            .launch_patient
            .as_ref()
            .is_none_or(|launched| launched == sid);
        if (own || staff) && launched {
            return Ok(());
        }
        Err(Refusal::forbidden(
            "WRONG_ROLE",
            "consents are seen by their subject and by those who keep records",
        ))
    }

    /// `GET Consent/[id]`.
    pub async fn read_consent(&self, request: &Request, id: &str) -> Refused<Answer> {
        let sid = self.known_consent(request, id)?;
        let body = self.consent(request, &sid, id).await?;
        let version = body["meta"]["versionId"]
            .as_str()
            .and_then(|v| v.parse().ok());
        Ok(Answer {
            version,
            ..Answer::ok(body)
        })
    }

    /// `PUT Consent/[id]` with status `inactive`, `rejected` or `entered-in-error`: withdrawal.
    /// A consent is never changed; another one takes its place.
    pub async fn update_consent(&self, request: &Request, id: &str) -> Refused<Answer> {
        let resource = request.resource()?;
        valid(&resource, "Consent")?;
        let sid = self.known_consent(request, id)?;
        if !matches!(
            resource["status"].as_str(),
            Some("inactive" | "rejected" | "entered-in-error")
        ) {
            return Err(rule(
                "a consent is not changed: set it inactive to withdraw it, and give another",
                "Consent.status",
            ));
        }
        if request.if_match()?.is_some_and(|version| version != 1) {
            return Err(Refusal::new(
                StatusCode::PRECONDITION_FAILED,
                "conflict",
                "VERSION",
                "an active consent is at version 1",
            ));
        }
        let call = Call::new("records", "RevokeConsent", json!({"sid": sid, "id": id}))
            .request_id(request.request_id()?);
        let committed = self.submit(&request.caller, call).await?;
        let (mut body, at) = (self.consent(request, &sid, id).await?, now());
        set_meta(&mut body, 2, at, &committed.tx_id);
        Ok(Answer {
            body: Some(body),
            version: Some(2),
            modified: Some(at),
            tx: Some(committed.tx_id),
            ..Answer::default()
        })
    }

    /// `GET Consent?patient=…`: those that are active.
    pub async fn search_consents(&self, request: &Request) -> Refused<Answer> {
        let mut sid = request
            .caller
            .is_person()
            .then(|| request.caller.sid.clone())
            .flatten();
        for (name, value) in &request.query {
            match name.as_str() {
                "patient" => sid = self.patient_sid(value)?,
                "status" | "_id" | "_count" | "_format" => {}
                other => {
                    return Err(Refusal::not_supported(format!(
                        "Consent is searched by patient, status and _id, not by '{}'",
                        other.chars().take(40).collect::<String>()
                    )));
                }
            }
        }
        let Some(sid) = sid else {
            return Err(Refusal::malformed(
                "NO_PATIENT",
                "Consent is searched by a patient that is known here, or a pseudonym",
            ));
        };
        self.may_see_consents(request, &sid)?;
        let call = Call::new("records", "ListConsents", json!({"sid": sid}));
        let consents: Vec<Value> = self.ask(&request.caller, call).await?;
        let wanted = |name: &str, value: &str| {
            request
                .parameter(name)
                .is_none_or(|asked| asked.split(',').any(|one| one == value))
        };
        let entries: Vec<Value> = consents
            .iter()
            .map(to_resource)
            .filter(|resource| wanted("status", resource["status"].as_str().unwrap_or_default()))
            .filter(|resource| wanted("_id", resource["id"].as_str().unwrap_or_default()))
            .map(|resource| {
                json!({
                    "fullUrl": format!("{}/Consent/{}", self.settings.base, resource["id"].as_str().unwrap_or_default()),
                    "resource": resource,
                    "search": {"mode": "match"},
                })
            })
            .collect();
        let mut bundle =
            json!({"resourceType": "Bundle", "type": "searchset", "total": entries.len()});
        if !entries.is_empty() {
            bundle["entry"] = entries.into();
        }
        Ok(Answer::ok(bundle))
    }

    /// `Consent/$evaluate?target=Type/id`: what a read would be told, without asking.
    pub async fn evaluate_consent(&self, request: &Request) -> Refused<Answer> {
        let target = crate::operation::needed(request, "target")?;
        let id = crate::references::local(&target).map_or(target.as_str(), |local| local.id);
        let call = Call::new(
            "records",
            "EvaluateAccess",
            json!({"target": {"records": [id]}, "purpose": request.purpose()?.code}),
        );
        let run: Value = self.ask(&request.caller, call).await?;
        Ok(Answer::ok(crate::operation::parameters(vec![
            ("decision", run["decision"].clone()),
            ("code", run["code"].clone()),
            ("profile", run["profile"].clone()),
        ])))
    }
}

/// Given is the first version, withdrawn the second.
fn version(consent: &Value) -> u32 {
    if consent["state"] == "Active" { 1 } else { 2 }
}
