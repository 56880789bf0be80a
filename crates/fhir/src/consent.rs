//! Consent: a resource whose provisions are the contract's, given and withdrawn by the subject.
//!
//! The root provision and one level below it become the contract's list. What a provision does not
//! name it takes from the root. Denials win, whatever their order.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::dates;
use crate::element::text;
use crate::ledger::Call;
use crate::outcome::{Issue, Refusal, Refused};
use crate::register::{new_id, store_error, valid};
use crate::request::{Answer, Request, set_meta};
use crate::server::{Inner, now};
use crate::subject::{self, Subject};

fn ours(name: &str) -> String {
    format!("{}:{name}", crate::SYSTEM)
}

fn rule(sentence: &str, at: &str) -> Box<Refusal> {
    let issue = Issue::error("business-rule", "CONSENT", sentence).at(at);
    Refusal::of(StatusCode::UNPROCESSABLE_ENTITY, vec![issue])
}

/// The codes of a list of Coding or CodeableConcept.
fn codes(provision: &Value, name: &str) -> Vec<String> {
    let list = provision[name].as_array().into_iter().flatten();
    list.flat_map(|item| match item["coding"].as_array() {
        Some(codings) => codings.clone(),
        None => vec![item.clone()],
    })
    .filter_map(|coding| coding["code"].as_str().map(str::to_owned))
    .collect()
}

/// Organizations (MSP ids) and roles of the actors.
fn actors(provision: &Value, at: &str) -> Refused<(Vec<String>, Vec<String>)> {
    let (mut orgs, mut roles) = (Vec::new(), Vec::new());
    for (place, actor) in provision["actor"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let identified = text(actor, &["reference", "identifier", "value"]);
        let referred = text(actor, &["reference", "reference"])
            .and_then(|reference| reference.strip_prefix("Organization/"));
        match identified.or(referred) {
            Some(msp) => orgs.push(msp.to_owned()),
            None => {
                return Err(rule(
                    "an actor is an organization of the consortium: reference.identifier with its MSP id, or Organization/[MSP id]",
                    &format!("{at}.actor[{place}].reference"),
                ));
            }
        }
        for coding in actor["role"]["coding"].as_array().into_iter().flatten() {
            if coding["system"] == ours("role").as_str()
                && let Some(code) = coding["code"].as_str()
            {
                roles.push(code.to_owned());
            }
        }
    }
    Ok((orgs, roles))
}

/// One provision for the contract; `root` lends what is missing.
fn provision(of: &Value, root: &Value, at: &str) -> Refused<Value> {
    let (mut orgs, mut roles) = actors(of, at)?;
    if orgs.is_empty() && roles.is_empty() {
        (orgs, roles) = actors(root, at)?;
    }
    let or_root = |name: &str| {
        let own = codes(of, name);
        if own.is_empty() {
            codes(root, name)
        } else {
            own
        }
    };
    let mut provision = Map::new();
    provision.insert(
        "type".into(),
        of["type"].as_str().unwrap_or("permit").into(),
    );
    provision.insert("orgs".into(), orgs.into());
    provision.insert("roles".into(), roles.into());
    provision.insert("purposes".into(), or_root("purpose").into());
    provision.insert("kinds".into(), or_root("class").into());
    let labels = or_root("securityLabel");
    let level = labels
        .iter()
        .find(|label| matches!(label.as_str(), "N" | "R" | "V"));
    if let Some(level) = level {
        provision.insert("confidentiality".into(), level.as_str().into());
    }
    let obligations: Vec<String> = labels
        .iter()
        .filter(|label| !matches!(label.as_str(), "N" | "R" | "V"))
        .cloned()
        .collect();
    provision.insert("obligations".into(), obligations.into());
    Ok(Value::Object(provision))
}

/// The contract's consent of a resource, without its id. Pure.
fn to_contract(resource: &Value) -> Refused<Value> {
    let root = &resource["provision"];
    if !root.is_object() {
        return Err(rule(
            "a consent says what it permits or denies",
            "Consent.provision",
        ));
    }
    let end = |name: &str| text(root, &["period", name]).and_then(dates::span);
    let Some(to) = end("end") else {
        return Err(rule("a consent has an end", "Consent.provision.period.end"));
    };
    let mut period = json!({"to": to.high.div_euclid(1000)});
    if let Some(from) = end("start") {
        period["from"] = from.low.div_euclid(1000).into();
    }
    let nested = root["provision"].as_array().cloned().unwrap_or_default();
    let mut provisions = Vec::new();
    // A root that only frames those below it says nothing by itself.
    if root["actor"].is_array() || nested.is_empty() {
        provisions.push(provision(root, root, "Consent.provision")?);
    }
    for (place, inner) in nested.iter().enumerate() {
        let at = format!("Consent.provision.provision[{place}]");
        if inner["provision"].is_array() {
            return Err(rule("provisions are nested one level deep", &at));
        }
        provisions.push(provision(inner, root, &at)?);
    }
    Ok(json!({"period": period, "provisions": provisions}))
}

fn concepts(system: &str, list: &Value) -> Vec<Value> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|code| json!({"system": system, "code": code}))
        .collect()
}

fn to_provision(of: &Value) -> Value {
    let mut provision = json!({"type": of["type"]});
    let roles: Vec<Value> = concepts(&ours("role"), &of["roles"]);
    let role = if roles.is_empty() {
        json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]})
    } else {
        json!({"coding": roles})
    };
    let actors: Vec<Value> = of["orgs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|msp| json!({"role": role, "reference": {"identifier": {"system": ours("msp"), "value": msp}}}))
        .collect();
    if !actors.is_empty() {
        provision["actor"] = actors.into();
    }
    let act = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
    let purposes = concepts(act, &of["purposes"]);
    if !purposes.is_empty() {
        provision["purpose"] = purposes.into();
    }
    let kinds = concepts(&ours("record-kind"), &of["kinds"]);
    if !kinds.is_empty() {
        provision["class"] = kinds.into();
    }
    let mut labels = Vec::new();
    if let Some(level) = of["confidentiality"].as_str() {
        labels.push(json!({"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": level}));
    }
    labels.extend(concepts(&ours("obligation"), &of["obligations"]));
    if !labels.is_empty() {
        provision["securityLabel"] = labels.into();
    }
    provision
}

/// The resource of a consent on the ledger. Pure.
fn to_resource(consent: &Value) -> Value {
    let state = if consent["state"] == "Active" {
        "active"
    } else {
        "inactive"
    };
    let end = |name: &str| {
        dates::instant_of_seconds(consent["period"][name].as_i64().unwrap_or_default())
    };
    let provisions: Vec<Value> = consent["provisions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(to_provision)
        .collect();
    json!({
        "resourceType": "Consent",
        "id": consent["id"],
        "status": state,
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"identifier": {"system": crate::SYSTEM, "value": consent["sid"]}},
        "dateTime": dates::instant_of_seconds(consent["at"].as_i64().unwrap_or_default()),
        "policyRule": {"text": "The provisions below; a denial wins."},
        "provision": {"period": {"start": end("from"), "end": end("to")}, "provision": provisions},
    })
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provisions_go_to_the_contract_and_come_back() {
        let resource = json!({
            "resourceType": "Consent", "status": "active",
            "provision": {
                "period": {"start": "2026-01-01", "end": "2026-12-31"},
                "purpose": [{"code": "TREAT"}],
                "provision": [
                    {"type": "permit", "actor": [{"role": {"text": "x"}, "reference": {"identifier": {"value": "HospitalMSP"}}}], "class": [{"code": "lab"}]},
                    {"type": "deny", "actor": [{"role": {"coding": [{"system": "urn:consilium:role", "code": "billing"}]}, "reference": {"reference": "Organization/HospitalMSP"}}], "securityLabel": [{"code": "R"}, {"code": "NOAUTH"}]},
                ],
            },
        });
        let consent = to_contract(&resource).unwrap();
        assert_eq!(
            consent["period"],
            json!({"from": 1_767_225_600, "to": 1_798_761_600})
        );
        assert_eq!(
            consent["provisions"],
            json!([
                {"type": "permit", "orgs": ["HospitalMSP"], "roles": [], "purposes": ["TREAT"], "kinds": ["lab"], "obligations": []},
                {"type": "deny", "orgs": ["HospitalMSP"], "roles": ["billing"], "purposes": ["TREAT"], "kinds": [], "confidentiality": "R", "obligations": ["NOAUTH"]},
            ])
        );
        let mut stored = consent.clone();
        stored["state"] = "Active".into();
        stored["id"] = "c".into();
        stored["sid"] = "JOHNNIEJOHNNIEJOHNNIEJOHNN".into();
        let back = to_resource(&stored);
        valid(&back, "Consent").unwrap();
        assert_eq!(
            to_contract(&back).unwrap()["provisions"],
            consent["provisions"]
        );
    }

    #[test]
    fn what_the_contract_cannot_hold_is_refused_where_it_stands() {
        let with = |provision: Value| json!({"resourceType": "Consent", "provision": provision});
        let end = json!({"end": "2026-12-31"});
        for (resource, path) in [
            (json!({"resourceType": "Consent"}), "Consent.provision"),
            (with(json!({})), "Consent.provision.period.end"),
            (
                with(
                    json!({"period": end, "actor": [{"reference": {"reference": "Practitioner/1"}}]}),
                ),
                "Consent.provision.actor[0].reference",
            ),
            (
                with(json!({"period": end, "provision": [{"provision": [{}]}]})),
                "Consent.provision.provision[0]",
            ),
        ] {
            let refusal = to_contract(&resource).unwrap_err();
            assert_eq!(refusal.issues[0].expression.as_deref(), Some(path));
        }
    }
}
