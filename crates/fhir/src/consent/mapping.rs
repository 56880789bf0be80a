//! A Consent resource's provisions and the contract's, one as the other. Pure.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::dates;
use crate::element::text;
use crate::outcome::{Issue, Refusal, Refused};

fn ours(name: &str) -> String {
    format!("{}:{name}", crate::SYSTEM)
}

pub(super) fn rule(sentence: &str, at: &str) -> Box<Refusal> {
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
pub(super) fn to_contract(resource: &Value) -> Refused<Value> {
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
pub(super) fn to_resource(consent: &Value) -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::valid;

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
