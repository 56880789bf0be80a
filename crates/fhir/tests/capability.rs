//! What `metadata` lists is what works.

mod setup;

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use setup::*;

#[tokio::test]
async fn every_listed_interaction_and_parameter_is_answered() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let reply = world
        .raw(Request::get("/metadata").body(Body::empty()).unwrap())
        .await;
    let statement = ok(&reply).clone();
    assert_eq!(statement["fhirVersion"], "4.0.1");
    for resource in statement["rest"][0]["resource"].as_array().unwrap() {
        let kind = resource["type"].as_str().unwrap();
        let listed = |code: &str| {
            resource["interaction"]
                .as_array()
                .unwrap()
                .iter()
                .any(|i| i["code"] == code)
        };
        for parameter in resource["searchParam"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let value = match (name, parameter["type"].as_str().unwrap()) {
                ("patient" | "subject", _) => johnnie.patient.clone(),
                (_, "date") => "2020-01-01".to_owned(),
                ("target", _) => format!("Observation/{}", johnnie.first("Observation")),
                _ => "x".to_owned(),
            };
            let mut query = format!("{name}={value}");
            if name != "patient" {
                query.push_str(&format!("&patient={}", johnnie.patient));
            }
            let has_patient = resource["searchParam"]
                .as_array()
                .unwrap()
                .iter()
                .any(|p| p["name"] == "patient");
            if !has_patient {
                query = format!("{name}={value}");
            }
            let token = if kind == "AuditEvent" {
                AUDITOR
            } else {
                CLINIC_DOCTOR
            };
            let found = world.get(&format!("/{kind}?{query}"), token).await;
            assert_eq!(found.status, 200, "{kind}?{query}: {}", found.body);
        }
        // What is listed is known here: nothing is answered with 405 or as not supported.
        for (code, method, path) in [
            ("read", Method::GET, format!("/{kind}/none")),
            ("vread", Method::GET, format!("/{kind}/none/_history/1")),
            (
                "history-instance",
                Method::GET,
                format!("/{kind}/none/_history"),
            ),
        ] {
            let reply = world.send(method, &path, AUDITOR, &[], None).await;
            assert_eq!(
                (code, listed(code)),
                (code, reply.refusal() == (404, "not-found", "NOT_FOUND")),
                "{path}: {}",
                reply.body
            );
        }
        for (code, method, path) in [
            ("create", Method::POST, format!("/{kind}")),
            ("update", Method::PUT, format!("/{kind}/none")),
        ] {
            let reply = world
                .send(method, &path, CLINIC, &[], Some(&json!({})))
                .await;
            assert_eq!(
                listed(code),
                reply.refusal().2 == "NOT_A_RESOURCE",
                "{kind} {code}: {}",
                reply.body
            );
        }
        for operation in resource["operation"].as_array().into_iter().flatten() {
            let name = operation["name"].as_str().unwrap();
            let instance = operation["definition"].as_str().unwrap().contains("-i-");
            let path = if instance {
                format!("/{kind}/none/${name}")
            } else {
                format!("/{kind}/${name}")
            };
            let body = json!({"resourceType": "Parameters"});
            let reply = world
                .send(Method::POST, &path, CLINIC_DOCTOR, &[], Some(&body))
                .await;
            assert_ne!(reply.refusal().2, "UNKNOWN_OPERATION", "{path}");
        }
    }
}

#[tokio::test]
async fn every_listed_type_is_created_read_changed_and_found() {
    let world = world();
    let johnnie = johnnie(&world).await;
    for (kind, ids) in &johnnie.by_type {
        let path = format!("/{kind}/{}", ids[0]);
        let body: Value = ok(&world.get(&path, CLINIC_DOCTOR).await).clone();
        let changed = world.put(&path, CLINIC, &body).await;
        assert_eq!(
            (changed.status, changed.header("etag")),
            (200, "W/\"2\""),
            "{kind}: {}",
            changed.body
        );
        let history = world.get(&format!("{path}/_history"), CLINIC_DOCTOR).await;
        assert_eq!(ok(&history)["total"], 2, "{kind}");
        let found = world
            .get(
                &format!("/{kind}?_id={}&patient={}", ids[0], johnnie.patient),
                CLINIC_DOCTOR,
            )
            .await;
        let found = if found.status == 400 {
            world
                .get(&format!("/{kind}?_id={}", ids[0]), CLINIC_DOCTOR)
                .await
        } else {
            found
        };
        assert_eq!(ok(&found)["total"], 1, "{kind}");
    }
}
