//! What bad input gets: a precise OperationOutcome, and nothing half done.

mod setup;

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use setup::*;

#[tokio::test]
async fn garbage_is_told_what_it_is() {
    let world = world();
    let post = |path: &str, kind: &str, body: &str| {
        Request::post(path)
            .header("authorization", format!("Bearer {CLINIC}"))
            .header("content-type", kind)
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    let json = "application/fhir+json";
    let deep = "[".repeat(5000);
    for (path, kind, body, refusal) in [
        ("/Observation", json, "{", (400, "structure", "NOT_JSON")),
        (
            "/Observation",
            json,
            "\u{0}\u{1}",
            (400, "structure", "NOT_JSON"),
        ),
        ("/Observation", json, "", (400, "structure", "NOT_JSON")),
        (
            "/Observation",
            json,
            deep.as_str(),
            (400, "structure", "NOT_JSON"),
        ),
        (
            "/Observation",
            json,
            "[]",
            (400, "structure", "NOT_A_RESOURCE"),
        ),
        (
            "/Observation",
            json,
            "{}",
            (400, "structure", "NOT_A_RESOURCE"),
        ),
        (
            "/Observation",
            json,
            r#"{"resourceType":"Elephant"}"#,
            (400, "structure", "UNKNOWN_TYPE"),
        ),
        (
            "/Observation",
            json,
            r#"{"resourceType":"Patient"}"#,
            (400, "invalid", "WRONG_TYPE"),
        ),
        (
            "/Observation",
            "text/plain",
            "{}",
            (415, "not-supported", "MEDIA_TYPE"),
        ),
        (
            "/Observation",
            "application/fhir+xml",
            "<a/>",
            (415, "not-supported", "MEDIA_TYPE"),
        ),
        (
            "/Observation",
            "application/fhir+json; fhirVersion=3.0",
            "{}",
            (415, "not-supported", "FHIR_VERSION"),
        ),
        (
            "/Elephant",
            json,
            "{}",
            (404, "not-supported", "UNKNOWN_TYPE"),
        ),
        ("/Basic", json, "{}", (404, "not-supported", "UNKNOWN_TYPE")),
        (
            "/AuditEvent",
            json,
            "{}",
            (400, "not-supported", "NOT_SUPPORTED"),
        ),
        (
            "/",
            json,
            r#"{"resourceType":"Patient"}"#,
            (400, "invalid", "WRONG_TYPE"),
        ),
        (
            "/",
            json,
            r#"{"resourceType":"Bundle","type":"document"}"#,
            (400, "not-supported", "BUNDLE_TYPE"),
        ),
        (
            "/",
            json,
            r#"{"resourceType":"Bundle","type":"transaction"}"#,
            (400, "invalid", "EMPTY"),
        ),
        (
            "/Patient/$sing",
            json,
            "{}",
            (404, "not-supported", "UNKNOWN_OPERATION"),
        ),
    ] {
        let reply = world.raw(post(path, kind, body)).await;
        assert_eq!(reply.refusal(), refusal, "{path} {kind} {body:.40}");
        assert!(
            reply
                .header("content-type")
                .starts_with("application/fhir+json")
        );
    }
    let large = format!("\"{}\"", "x".repeat(5 * 1024 * 1024));
    assert_eq!(
        world
            .raw(post("/Observation", json, &large))
            .await
            .refusal(),
        (413, "too-costly", "TOO_LARGE")
    );
    let entries: Vec<Value> = (0..1001).map(|_| json!({})).collect();
    let many = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
    assert_eq!(
        world.post("/", CLINIC, &many).await.refusal(),
        (413, "too-costly", "TOO_MANY")
    );
    assert_eq!(world.height(), 0);
}

#[tokio::test]
async fn resources_of_other_releases_are_named_and_nothing_is_stored() {
    let world = world();
    for (file, kind, path) in [
        ("stu3-device.ndjson", "Device", "Device.udi"),
        ("stu3-procedures.ndjson", "Procedure", "Procedure.context"),
    ] {
        let text = String::from_utf8(data(file)).unwrap();
        for line in text.lines() {
            let reply = world
                .post(
                    &format!("/{kind}"),
                    CLINIC,
                    &serde_json::from_str(line).unwrap(),
                )
                .await;
            assert_eq!(reply.status, 400);
            let issues = reply.body["issue"].as_array().unwrap();
            let named = issues.iter().any(|issue| {
                issue["details"]["coding"][0]["code"] == "FHIR_VERSION"
                    && issue["expression"][0] == path
            });
            assert!(named, "{}", reply.body);
        }
    }
    assert_eq!(world.height(), 0);
}

#[tokio::test]
async fn who_may_not_is_told_why() {
    let world = world();
    let nobody = world
        .raw(Request::get("/Patient/1").body(Body::empty()).unwrap())
        .await;
    assert_eq!(nobody.refusal(), (401, "login", "LOGIN"));
    assert_eq!(nobody.header("www-authenticate"), "Bearer realm=\"fhir\"");
    let johnnie = johnnie(&world).await;
    let path = format!("/Observation/{}", johnnie.first("Observation"));
    for (token, status) in [
        ("ClinicMSP physician;user/Observation.rs", 200),
        ("ClinicMSP physician;user/*.r", 200),
        ("ClinicMSP physician;user/Observation.s", 403),
        ("ClinicMSP physician;user/Condition.rs", 403),
    ] {
        assert_eq!(world.get(&path, token).await.status, status, "{token}");
    }
    let observation = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": format!("Patient/{}", johnnie.patient)}});
    for (token, refusal) in [
        (
            "ClinicMSP physician;user/Observation.rs",
            (403, "forbidden", "SCOPE"),
        ),
        ("ClinicMSP supply", (403, "forbidden", "WRONG_ROLE")),
        (
            "InsurerMSP adjudicator",
            (403, "forbidden", "NOT_CUSTODIAN"),
        ),
    ] {
        assert_eq!(
            world
                .post("/Observation", token, &observation)
                .await
                .refusal(),
            refusal,
            "{token}"
        );
    }
    let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "GET", "url": path.trim_start_matches('/')}},
        {"request": {"method": "GET", "url": "Patient/nobody"}},
        {"resource": observation, "request": {"method": "POST", "url": "Observation"}},
    ]});
    let reply = world
        .post("/", "ClinicMSP physician;user/*.rs", &batch)
        .await;
    let statuses: Vec<_> = ok(&reply)["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["response"]["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses, ["200 OK", "404 Not Found", "403 Forbidden"]);
}

#[tokio::test]
async fn restricted_documents_want_a_stated_purpose() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let observation = json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": format!("Patient/{}", johnnie.patient)},
        "meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}});
    let created = world.post("/Observation", CLINIC, &observation).await;
    let path = format!("/Observation/{}", created.body["id"].as_str().unwrap());
    assert_eq!(
        world.get(&path, CLINIC_DOCTOR).await.refusal(),
        (403, "forbidden", "PURPOSE")
    );
    ok(&world
        .send(
            Method::GET,
            &path,
            CLINIC_DOCTOR,
            &[("x-purpose-of-use", "TREAT")],
            None,
        )
        .await);
    let wrong = world
        .send(
            Method::GET,
            &path,
            CLINIC_DOCTOR,
            &[("x-purpose-of-use", "CURIOSITY")],
            None,
        )
        .await;
    assert_eq!(wrong.refusal(), (400, "invalid", "MALFORMED"));
}

#[tokio::test]
async fn a_transaction_with_a_wrong_entry_does_nothing() {
    let world = world();
    let johnnie = bundle("johnnie");
    let refused = |change: fn(&mut Value)| {
        let mut bundle = johnnie.clone();
        bundle["entry"].as_array_mut().unwrap().truncate(4);
        change(&mut bundle["entry"]);
        bundle
    };
    for (bundle, code, path) in [
        (
            refused(|e| e[1]["request"]["method"] = "PUT".into()),
            "NOT_SUPPORTED",
            "Bundle.entry[1]",
        ),
        (
            refused(|e| e[1]["request"]["ifNoneExist"] = "identifier=x".into()),
            "NOT_SUPPORTED",
            "Bundle.entry[1]",
        ),
        (
            refused(|e| e[1]["request"]["url"] = "Patient".into()),
            "WRONG_TYPE",
            "Bundle.entry[1]",
        ),
        (
            refused(|e| e[2]["fullUrl"] = e[1]["fullUrl"].clone()),
            "DUPLICATE",
            "Bundle.entry[2]",
        ),
        (
            refused(|e| e[0]["resource"]["identifier"] = json!([{"system": "s"}])),
            "NO_IDENTIFIER",
            "Bundle.entry[0].resource.identifier",
        ),
        (
            refused(|e| e[0]["fullUrl"] = "urn:uuid:00000000-0000-0000-0000-000000000000".into()),
            "UNRESOLVED_REFERENCE",
            "Bundle.entry[3].resource.subject.reference",
        ),
    ] {
        let reply = world.post("/", CLINIC, &bundle).await;
        assert_eq!(reply.status, 422, "{code} {}", reply.body);
        let issue = &reply.body["issue"][0];
        assert_eq!(issue["details"]["coding"][0]["code"], code);
        assert_eq!(issue["expression"][0], path);
    }
    assert_eq!(world.height(), 0);
}

#[tokio::test]
async fn searches_that_ask_too_much_are_refused() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let many = vec!["x"; 300].join(",");
    for (query, status) in [
        (format!("code={many}"), 400),
        ("_page=18446744073709551615".to_owned(), 400),
        ("_page=4294967295".to_owned(), 200),
        ("_count=18446744073709551615".to_owned(), 200),
        ("code=%ff%fe".to_owned(), 200),
    ] {
        let path = format!("/Observation?patient={}&{query}", johnnie.patient);
        assert_eq!(
            world.get(&path, CLINIC_DOCTOR).await.status,
            status,
            "{query:.40}"
        );
    }
    assert_eq!(
        world
            .get("/Observation?code=x", CLINIC_DOCTOR)
            .await
            .refusal(),
        (400, "invalid", "NO_PATIENT")
    );
    let everything = format!("/Patient/{}/$everything?_page=4294967295", johnnie.patient);
    assert_eq!(
        ok(&world.get(&everything, CLINIC_DOCTOR).await)["total"],
        235
    );
    let claims = format!("/Patient/{}/$everything?_type=Claim", johnnie.patient);
    assert_eq!(ok(&world.get(&claims, CLINIC_DOCTOR).await)["total"], 26);
    let two = format!(
        "/Patient/{}/$everything?_type=Claim,Condition",
        johnnie.patient
    );
    assert_eq!(world.get(&two, CLINIC_DOCTOR).await.status, 400);
}

#[tokio::test]
async fn other_formats_are_refused_and_json_is_given() {
    let world = world();
    for (path, accept, status) in [
        ("/metadata", "application/fhir+json", 200),
        ("/metadata?_format=json", "*/*", 200),
        ("/metadata?_format=xml", "*/*", 406),
        ("/metadata", "application/fhir+xml", 406),
    ] {
        let request = Request::get(path)
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        assert_eq!(world.raw(request).await.status, status, "{path} {accept}");
    }
}
