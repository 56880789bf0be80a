//! AuditEvent, made from the access decisions on the ledger, permitted and denied.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::dates::{self, EARLIEST, LATEST};
use crate::ledger::Call;
use crate::outcome::{Refusal, Refused};
use crate::request::{Answer, Request};
use crate::server::Inner;

/// An access decision, as the contract keeps it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Access {
    id: String,
    sid: String,
    custodian: String,
    org: String,
    role: Option<String>,
    pid: Option<String>,
    purpose: String,
    items: Vec<Item>,
    decision: String,
    code: String,
    consent: Option<String>,
    state: String,
    at: i64,
    reason: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Item {
    id: String,
    version: u32,
    code: String,
}

#[derive(Deserialize)]
struct Accounts {
    entries: Vec<Access>,
    bookmark: Option<String>,
}

/// AuditEvent.outcome: 0 success, 8 serious failure (denied), 12 major failure (tampered).
fn outcome(access: &Access) -> &'static str {
    match (access.state.as_str(), access.decision.as_str()) {
        ("Tampered", _) => "12",
        (_, "Denied") => "8",
        _ => "0",
    }
}

fn coding(system: &str, code: &str) -> Value {
    json!({"system": system, "code": code})
}

/// The AuditEvent of a decision (IHE BALP, authorization decision).
fn audit_event(access: &Access) -> Value {
    let ours = |name: &str| format!("{}:{name}", crate::SYSTEM);
    let organization = |msp: &str| json!({"identifier": {"system": ours("msp"), "value": msp}});
    let mut requester = json!({
        "type": {"coding": [coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP")]},
        "who": organization(&access.org),
        "requestor": true,
        "role": [{"coding": [coding(&ours("role"), access.role.as_deref().unwrap_or("none"))]}],
        "purposeOfUse": [{"coding": [coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", &access.purpose)]}],
    });
    if let Some(pid) = &access.pid {
        requester["altId"] = pid.as_str().into();
    }
    let detail = |kind: &str, value: &str| json!({"type": kind, "valueString": value});
    let mut decision = vec![
        detail("decision", &access.decision),
        detail("code", &access.code),
        detail("state", &access.state),
        detail("consent", access.consent.as_deref().unwrap_or("none")),
    ];
    if let Some(reason) = &access.reason {
        decision.push(detail("emergency", reason));
    }
    let mut entities = vec![
        json!({
            "what": {"identifier": {"system": ours("access"), "value": access.id}},
            "role": coding("http://terminology.hl7.org/CodeSystem/object-role", "13"),
            "detail": decision,
        }),
        json!({
            "what": {"identifier": {"system": crate::SYSTEM, "value": access.sid}},
            "role": coding("http://terminology.hl7.org/CodeSystem/object-role", "1"),
        }),
    ];
    if let Some(consent) = &access.consent {
        entities.push(json!({"what": {"reference": format!("Consent/{consent}")}}));
    }
    for item in &access.items {
        entities.push(json!({
            "what": {"identifier": {"system": ours("record"), "value": item.id}},
            "role": coding("http://terminology.hl7.org/CodeSystem/object-role", "3"),
            "detail": [detail("version", &item.version.to_string()), detail("code", &item.code)],
        }));
    }
    json!({
        "resourceType": "AuditEvent",
        "id": access.id,
        "type": coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest"),
        "subtype": [coding("http://hl7.org/fhir/restful-interaction", "read")],
        "action": "R",
        "recorded": dates::instant_of_seconds(access.at),
        "outcome": outcome(access),
        "outcomeDesc": access.code,
        "purposeOfEvent": [{"coding": [coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", &access.purpose)]}],
        "agent": [
            requester,
            json!({
                "type": {"coding": [coding("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "CST")]},
                "who": organization(&access.custodian),
                "requestor": false,
            }),
        ],
        "source": {"observer": organization(&access.custodian)},
        "entity": entities,
    })
}

impl Inner {
    /// `GET AuditEvent/[access id]`: for the parties of the access, its subject and auditors.
    pub async fn read_audit(&self, request: &Request, id: &str) -> Refused<Answer> {
        let call = Call::new("records", "ReadAccess", json!({"accessId": id}));
        let access: Access = match self.ask(&request.caller, call).await {
            Err(refusal) if refusal.status == http::StatusCode::NOT_FOUND => {
                return Err(Refusal::not_found("AuditEvent", id));
            }
            other => other?,
        };
        Ok(Answer::ok(audit_event(&access)))
    }

    /// `GET AuditEvent?patient=…` and `$accounting`: every decision about a subject.
    pub async fn search_audit(&self, request: &Request) -> Refused<Answer> {
        let (mut sid, mut from, mut to) = (None, EARLIEST, LATEST);
        let (mut outcomes, mut agents, mut page) = (None, None, None);
        for (name, value) in &request.query {
            match name.as_str() {
                "patient" | "subject" => sid = self.patient_sid(value)?,
                "date" => {
                    let (start, text) = match value.get(..2) {
                        Some(prefix @ ("ge" | "gt" | "sa" | "le" | "lt" | "eb" | "eq")) => {
                            (prefix, &value[2..])
                        }
                        _ => ("eq", value.as_str()),
                    };
                    let span = dates::span(text).ok_or_else(|| {
                        Refusal::malformed(
                            "BAD_PARAMETER",
                            "date is a date with a prefix such as ge before it",
                        )
                    })?;
                    match start {
                        "ge" => from = span.low,
                        "gt" | "sa" => from = span.high,
                        "le" => to = span.high,
                        "lt" | "eb" => to = span.low,
                        _ => (from, to) = (span.low, span.high),
                    }
                }
                "outcome" => outcomes = Some(value.clone()),
                "agent" => agents = Some(value.clone()),
                "_page" => page = Some(value.clone()),
                "_count" | "_format" | "_sort" => {}
                other => {
                    return Err(Refusal::not_supported(format!(
                        "AuditEvent is searched by patient, date, outcome and agent, not by '{}'",
                        other.chars().take(40).collect::<String>()
                    )));
                }
            }
        }
        if sid.is_none() && request.caller.is_person() {
            sid.clone_from(&request.caller.sid);
        }
        let Some(sid) = sid else {
            return Err(Refusal::malformed(
                "NO_PATIENT",
                "AuditEvent is searched by a patient that is known here, or a pseudonym",
            ));
        };
        let mut args = json!({"sid": sid});
        if from > EARLIEST {
            args["from"] = from.div_euclid(1000).max(0).into();
        }
        if to < LATEST {
            args["to"] = to.div_euclid(1000).max(0).into();
        }
        if let Some(page) = page {
            args["bookmark"] = page.into();
        }
        let call = Call::new("records", "Accounting", args);
        let accounts: Accounts = self.ask(&request.caller, call).await?;
        let entries: Vec<Value> = accounts
            .entries
            .iter()
            .filter(|access| {
                outcomes
                    .as_ref()
                    .is_none_or(|wanted| wanted.split(',').any(|o| o == outcome(access)))
            })
            .filter(|access| {
                agents
                    .as_ref()
                    .is_none_or(|wanted| wanted.rsplit('|').next() == Some(access.org.as_str()))
            })
            .map(|access| {
                json!({
                    "fullUrl": format!("{}/AuditEvent/{}", self.settings.base, access.id),
                    "resource": audit_event(access),
                    "search": {"mode": "match"},
                })
            })
            .collect();
        let mut bundle = json!({"resourceType": "Bundle", "type": "searchset"});
        if let Some(bookmark) = accounts.bookmark {
            let mut query = form_urlencoded::Serializer::new(String::new());
            for (name, value) in request.query.iter().filter(|(name, _)| name != "_page") {
                query.append_pair(name, value);
            }
            query.append_pair("_page", &bookmark);
            bundle["link"] = json!([{"relation": "next", "url": format!("{}/AuditEvent?{}", self.settings.base, query.finish())}]);
        } else {
            bundle["total"] = entries.len().into();
        }
        if !entries.is_empty() {
            bundle["entry"] = entries.into();
        }
        Ok(Answer::ok(bundle))
    }
}
