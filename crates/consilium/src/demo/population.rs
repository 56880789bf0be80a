//! The demo's health data: FHIR R4 resources in NDJSON, grouped into documents by patient.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::Context;
use serde_json::Value;

/// A patient and what is recorded about it.
pub struct Patient {
    /// Medical record number: goes into the pseudonym and nowhere else.
    pub mrn: String,
    /// Documents of this patient.
    pub documents: Vec<Document>,
    /// FHIR ids of the patient's procedures.
    pub procedures: Vec<String>,
}

/// One document as the hospital stores it: FHIR JSON.
pub struct Document {
    /// Coarse kind, as the records contract has it.
    pub kind: &'static str,
    /// `Type/id` references of non-personal resources.
    pub references: Vec<String>,
    /// The bytes that are encrypted and fingerprinted.
    pub bytes: Vec<u8>,
}

/// Everything that was read.
pub struct Population {
    /// By FHIR id order; those without any document are left out.
    pub patients: Vec<Patient>,
    /// Resources read, by type.
    pub resources: BTreeMap<&'static str, usize>,
}

/// Types that are read, and the kind under which the ledger knows them.
const TYPES: [(&str, &str); 8] = [
    ("Encounter", "other"),
    ("DocumentReference", "clinical-note"),
    ("DiagnosticReport", "lab"),
    ("Observation", "lab"),
    ("ImagingStudy", "imaging"),
    ("Immunization", "immunization"),
    ("Procedure", "procedure"),
    ("Device", "device"),
];
/// Resources that come as many small ones: put together into one Bundle per patient.
const BUNDLED: [&str; 2] = ["Observation", "Immunization"];
/// Resources of one bundle, so that a document stays of a size that people exchange.
const BUNDLE_SIZE: usize = 100;
/// References that a record carries.
const MAX_REFERENCES: usize = 8;

/// Reads the NDJSON files in `folder` for up to `limit` patients.
///
/// # Errors
/// A file is missing or holds no FHIR JSON.
pub fn read(folder: &Path, limit: usize) -> anyhow::Result<Population> {
    let mut patients: BTreeMap<String, Patient> = BTreeMap::new();
    let mut resources = BTreeMap::new();
    for resource in lines(folder, "Patient")? {
        let id = text(&resource, "id")?;
        let mrn = resource["identifier"][0]["value"]
            .as_str()
            .unwrap_or(&id)
            .to_owned();
        patients.insert(
            id,
            Patient {
                mrn,
                documents: Vec::new(),
                procedures: Vec::new(),
            },
        );
    }
    resources.insert("Patient", patients.len());
    for (name, kind) in TYPES {
        let mut bundles: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        let mut count = 0;
        for resource in lines(folder, name)? {
            count += 1;
            let subject = ["subject", "patient"]
                .iter()
                .find_map(|field| resource[*field]["reference"].as_str())
                .and_then(|reference| reference.strip_prefix("Patient/"))
                .map(str::to_owned);
            let Some(subject) = subject else { continue };
            let Some(patient) = patients.get_mut(&subject) else {
                continue;
            };
            if name == "Procedure" {
                patient.procedures.push(text(&resource, "id")?);
            }
            if BUNDLED.contains(&name) {
                bundles.entry(subject).or_default().push(resource);
            } else {
                patient.documents.push(Document {
                    kind,
                    references: vec![format!("{name}/{}", text(&resource, "id")?)],
                    bytes: serde_json::to_vec(&resource)?,
                });
            }
        }
        for (subject, entries) in bundles {
            let Some(patient) = patients.get_mut(&subject) else {
                continue;
            };
            for part in entries.chunks(BUNDLE_SIZE) {
                patient.documents.push(bundle(name, kind, part)?);
            }
        }
        resources.insert(name, count);
    }
    let patients: Vec<_> = patients
        .into_values()
        .filter(|patient| !patient.documents.is_empty())
        .take(limit)
        .collect();
    Ok(Population {
        patients,
        resources,
    })
}

fn bundle(name: &str, kind: &'static str, resources: &[Value]) -> anyhow::Result<Document> {
    let references = resources
        .iter()
        .take(MAX_REFERENCES)
        .map(|resource| Ok(format!("{name}/{}", text(resource, "id")?)))
        .collect::<anyhow::Result<_>>()?;
    let entries: Vec<_> = resources
        .iter()
        .map(|resource| serde_json::json!({ "resource": resource }))
        .collect();
    let bundle = serde_json::json!({
        "resourceType": "Bundle", "type": "collection", "entry": entries,
    });
    Ok(Document {
        kind,
        references,
        bytes: serde_json::to_vec(&bundle)?,
    })
}

fn lines(folder: &Path, name: &str) -> anyhow::Result<Vec<Value>> {
    let path = folder.join(format!("{name}.ndjson"));
    let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    BufReader::new(file)
        .lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(&line?)
                .with_context(|| format!("{} line {}", path.display(), number + 1))
        })
        .collect()
}

fn text(resource: &Value, field: &str) -> anyhow::Result<String> {
    resource[field]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("a resource without `{field}`"))
}
