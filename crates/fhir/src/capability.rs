//! The CapabilityStatement: exactly what works, made from the tables that the server uses.

use serde_json::{Value, json};

use crate::Settings;
use crate::operation;
use crate::register::RECORDS;
use crate::search;

/// A type, its interactions, and its search parameters with their types.
type Offer = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

/// Interactions of types that are not records.
const OTHERS: &[Offer] = &[
    (
        "AuditEvent",
        &["read", "search-type"],
        &[
            ("patient", "reference"),
            ("date", "date"),
            ("outcome", "token"),
            ("agent", "token"),
        ],
    ),
    (
        "Consent",
        &["create", "read", "update", "search-type"],
        &[
            ("patient", "reference"),
            ("status", "token"),
            ("_id", "token"),
        ],
    ),
    (
        "DeviceDefinition",
        &["create", "read", "search-type"],
        &[("identifier", "token")],
    ),
    (
        "Provenance",
        &["read", "search-type"],
        &[("target", "reference")],
    ),
];

/// What every type of record offers.
const RECORD: &[&str] = &[
    "create",
    "read",
    "vread",
    "update",
    "history-instance",
    "search-type",
];

fn codes(list: &[&str]) -> Vec<Value> {
    list.iter().map(|code| json!({"code": code})).collect()
}

fn parameters(list: impl IntoIterator<Item = (&'static str, &'static str)>) -> Vec<Value> {
    list.into_iter()
        .map(|(name, kind)| json!({"name": name, "type": kind}))
        .collect()
}

fn operations(kind: &str, base: &str) -> Vec<Value> {
    operation::offered(kind)
        .into_iter()
        .map(|(name, instance)| {
            let place = if instance { "-i" } else { "" };
            json!({"name": name, "definition": format!("{base}/OperationDefinition/{kind}{place}-{name}")})
        })
        .collect()
}

/// `GET metadata`.
pub(crate) fn statement(settings: &Settings) -> Value {
    let base = settings.base.as_str();
    let mut resources: Vec<(&str, Value)> = RECORDS
        .iter()
        .map(|kind| {
            let resource = json!({
                "type": kind,
                "interaction": codes(RECORD),
                "versioning": "versioned-update",
                "readHistory": true,
                "updateCreate": false,
                "searchParam": parameters(search::parameters(kind)),
                "searchRevInclude": ["Provenance:target"],
                "operation": operations(kind, base),
            });
            (*kind, resource)
        })
        .collect();
    for (kind, interactions, searched) in OTHERS {
        let mut resource = json!({
            "type": kind,
            "interaction": codes(interactions),
            "searchParam": parameters(searched.iter().copied()),
        });
        let operations = operations(kind, base);
        if !operations.is_empty() {
            resource["operation"] = operations.into();
        }
        resources.push((kind, resource));
    }
    resources.sort_by_key(|(kind, _)| *kind);
    let resources: Vec<Value> = resources
        .into_iter()
        .map(|(_, resource)| resource)
        .collect();
    let mut security = json!({
        "service": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}]}],
        "description": "Bearer tokens with SMART scopes, or mutual TLS",
    });
    // Clients that know version 1 of SMART look here, and not in `.well-known`.
    if let Some(endpoint) = &settings.token_endpoint {
        security["extension"] = json!([{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": [{"url": "token", "valueUri": endpoint}],
        }]);
    }
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "software": {"name": "Consilium", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "FHIR R4 over a consortium ledger", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [{
            "mode": "server",
            "security": security,
            "resource": resources,
            "interaction": [{"code": "transaction"}, {"code": "batch"}],
            "operation": [{"name": "import", "definition": format!("{base}/OperationDefinition/import")}],
        }],
    })
}
