//! How a resource becomes a record: validated, sealed, stored, and its fingerprint committed.

use std::collections::BTreeMap;

use consilium_contracts::vault::{Binding, SUITE, VaultError};
use http::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::ledger::{Call, Committed};
use crate::outcome::{Issue, Refusal, Refused};
use crate::reactor::off_the_reactor;
use crate::repeat::created_before;
use crate::request::{Answer, Request, set_meta, strip_meta};
use crate::server::{Inner, now};
use crate::store::{NewDocument, Position, Settlement};
use crate::subject::{self, Subject};
use crate::{Identity, LedgerError, index, references, validate};

/// The epoch of new keys.
const EPOCH: u32 = 0;

/// Types that are stored as records under their custodian.
pub(crate) const RECORDS: &[&str] = &[
    "AdverseEvent",
    "AllergyIntolerance",
    "CarePlan",
    "CareTeam",
    "ChargeItem",
    "Claim",
    "ClaimResponse",
    "Communication",
    "Condition",
    "Coverage",
    "Device",
    "DeviceUseStatement",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "ExplanationOfBenefit",
    "Goal",
    "Group",
    "ImagingStudy",
    "Immunization",
    "Location",
    "Medication",
    "MedicationAdministration",
    "MedicationRequest",
    "MedicationStatement",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "RelatedPerson",
    "ResearchStudy",
    "ServiceRequest",
    "Specimen",
    "SupplyDelivery",
    "Task",
];

/// Types that are made from the ledger, and not stored.
pub(crate) const FROM_LEDGER: &[&str] =
    &["AuditEvent", "Consent", "DeviceDefinition", "Provenance"];

/// A resource that is ready to be sealed.
pub(crate) struct Ready {
    pub id: String,
    pub version: u32,
    pub kind: String,
    pub sid: String,
    pub resource: Value,
}

/// What an import notes with the documents of its batch.
pub(crate) type ImportNote<'i> = Option<(&'i str, Position)>;

/// The status that goes with issues of validation: 400 where the shape is wrong, 422 where only a
/// rule is broken.
pub(crate) fn invalid(issues: Vec<Issue>) -> Box<Refusal> {
    const RULES: &[&str] = &[
        "BAD_CHECK_DIGIT",
        "BAD_IDENTIFIER",
        "BAD_REFERENCE",
        "NO_SUCH_DATE",
        "PERIOD",
    ];
    let status = if issues
        .iter()
        .all(|issue| RULES.contains(&issue.code.as_str()))
    {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::BAD_REQUEST
    };
    Refusal::of(status, issues)
}

/// Refuses a resource that is not of this type, or not valid.
pub(crate) fn valid(resource: &Value, kind: &str) -> Refused<()> {
    let found = validate::kind_of(resource, kind)
        .map_err(|issue| Refusal::of(StatusCode::BAD_REQUEST, vec![issue]))?;
    if found != kind {
        return Err(Refusal::malformed(
            "WRONG_TYPE",
            format!("the path says {kind}, the body is a {found}"),
        ));
    }
    let issues = off_the_reactor(|| validate::check(resource, kind));
    if issues.is_empty() {
        Ok(())
    } else {
        Err(invalid(issues))
    }
}

pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn vault_error(error: VaultError) -> Box<Refusal> {
    Refusal::internal("sealing", error)
}

impl Inner {
    /// The organization that keeps what this caller creates.
    pub fn custodian_of(&self, caller: &Identity) -> Refused<String> {
        if self.settings.custodians.contains_key(&caller.msp) {
            return Ok(caller.msp.clone());
        }
        Err(Refusal::forbidden(
            "NOT_CUSTODIAN",
            format!(
                "this server keeps no records for {}; use that organization's own",
                caller.msp
            ),
        ))
    }

    /// A resource without what the server sets, with its id.
    pub fn ready(
        &self,
        kind: &str,
        id: String,
        version: u32,
        mut resource: Value,
        at: &str,
        patients: &BTreeMap<String, String>,
    ) -> Refused<Ready> {
        strip_meta(&mut resource);
        resource["id"] = id.clone().into();
        let sid = self.sid_of(kind, &id, &resource, at, patients)?;
        Ok(Ready {
            id,
            version,
            kind: kind.to_owned(),
            sid,
            resource,
        })
    }

    /// The pseudonym under which a resource is registered. `patients` are those of the same
    /// bundle, by reference.
    pub fn sid_of(
        &self,
        kind: &str,
        id: &str,
        resource: &Value,
        at: &str,
        patients: &BTreeMap<String, String>,
    ) -> Refused<String> {
        let named = |id_type: &str, number: &str| {
            self.pseudonyms
                .pseudonym(id_type, number)
                .map_err(|error| Refusal::internal("making a pseudonym", error))
        };
        match subject::of(kind, resource, at)? {
            Subject::Own => {
                let (id_type, number) = subject::identity(resource).ok_or_else(|| {
                    let issue = Issue::error(
                        "business-rule",
                        "NO_IDENTIFIER",
                        "a Patient has an identifier with a value, of which the pseudonym is made",
                    );
                    Refusal::of(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        vec![issue.at(format!("{at}.identifier"))],
                    )
                })?;
                named(&id_type, &number)
            }
            Subject::Patient { reference, element } => {
                let short = references::local(reference)
                    .map_or(reference.to_owned(), |l| format!("{}/{}", l.kind, l.id));
                if let Some(sid) = patients.get(&short) {
                    return Ok(sid.clone());
                }
                let known = match references::local(reference) {
                    Some(local) => self.store.sid_of_patient(local.id).map_err(store_error)?,
                    None => None,
                };
                known.ok_or_else(|| {
                    let issue = Issue::error(
                        "business-rule",
                        "UNKNOWN_PATIENT",
                        "no such Patient is kept here: create it first, or in the same bundle",
                    );
                    Refusal::of(
                        StatusCode::UNPROCESSABLE_ENTITY,
                        vec![issue.at(format!("{at}.{element}.reference"))],
                    )
                })
            }
            Subject::Identifier { system, value } if system == crate::SYSTEM => {
                Ok(value.to_owned())
            }
            Subject::Identifier { system, value } => named(system, value),
            // Nobody's: a pseudonym of the thing itself.
            Subject::Nobody => match subject::identity(resource) {
                Some((id_type, number)) => named(&format!("{kind} {id_type}"), &number),
                None => named(kind, id),
            },
        }
    }

    /// Encrypts resources and finds what they are searched by.
    pub fn seal(&self, custodian: &str, ready: &[Ready]) -> Refused<Vec<NewDocument>> {
        off_the_reactor(|| {
            ready
                .iter()
                .map(|ready| {
                    let binding = Binding {
                        record_id: &ready.id,
                        version: ready.version,
                        sid: &ready.sid,
                    };
                    let plaintext = ready.resource.to_string();
                    let sealed = self
                        .vault
                        .seal(custodian, EPOCH, &binding, plaintext.as_bytes())
                        .map_err(vault_error)?;
                    Ok(NewDocument {
                        id: ready.id.clone(),
                        version: ready.version,
                        kind: ready.kind.clone(),
                        custodian: custodian.to_owned(),
                        sid: ready.sid.clone(),
                        class: subject::coarse_kind(&ready.kind, &ready.resource),
                        confidentiality: subject::confidentiality(&ready.resource),
                        epoch: EPOCH,
                        sealed,
                        entries: index::entries(&ready.kind, &ready.resource),
                    })
                })
                .collect()
        })
    }

    /// Stores documents, commits their fingerprints with `call`, and settles or discards them.
    pub async fn commit(
        &self,
        request: &Request,
        documents: &[NewDocument],
        call: Call,
        answer: impl FnOnce(&Committed) -> String,
        import: ImportNote<'_>,
    ) -> Refused<(Committed, i64)> {
        let names: Vec<(String, u32)> = documents
            .iter()
            .map(|document| (document.id.clone(), document.version))
            .collect();
        let request_id = request.request_id()?;
        self.store
            .prepare(documents, request_id, now())
            .map_err(|error| {
                if !error.is_duplicate() {
                    return store_error(error);
                }
                Refusal::new(
                    StatusCode::CONFLICT,
                    "conflict",
                    "MVCC",
                    "another change of the same resource is on its way; try again",
                )
            })?;
        let call = call.request_id(request_id);
        match self.submit(&request.caller, call).await {
            Ok(committed) => {
                let at = now();
                let settlement = Settlement {
                    tx: &committed.tx_id,
                    block: committed.block,
                    at,
                    request: request_id
                        .map(|id| (request.caller.msp.as_str(), id, answer(&committed))),
                    import,
                };
                self.store
                    .settle(&names, &settlement)
                    .map_err(store_error)?;
                Ok((committed, at))
            }
            // Nobody knows yet: `recover` will ask.
            Err(error @ LedgerError::Pending { .. }) => Err(error.into()),
            Err(error) => {
                self.store.discard(&names).map_err(store_error)?;
                Err(error.into())
            }
        }
    }

    /// `POST Type`.
    pub async fn create(&self, request: &Request, kind: &str) -> Refused<Answer> {
        match kind {
            "Consent" => return self.create_consent(request).await,
            "DeviceDefinition" => return self.create_device_definition(request).await,
            "Device" if !self.settings.custodians.contains_key(&request.caller.msp) => {
                return self.create_device(request).await;
            }
            _ if RECORDS.contains(&kind) => {}
            _ => {
                return Err(Refusal::not_supported(format!(
                    "{kind} cannot be created; it is made from the ledger"
                )));
            }
        }
        let resource = request.resource()?;
        valid(&resource, kind)?;
        let work = self.create_record(request, kind, resource);
        self.once(request, kind, created_before, work).await
    }

    async fn create_record(
        &self,
        request: &Request,
        kind: &str,
        resource: Value,
    ) -> Refused<Answer> {
        let custodian = self.custodian_of(&request.caller)?;
        let left = references::unresolved(&resource, kind);
        if !left.is_empty() {
            return Err(unresolved(left));
        }
        let ready = self.ready(kind, new_id(), 1, resource, kind, &BTreeMap::new())?;
        let documents = self.seal(&custodian, std::slice::from_ref(&ready))?;
        let call = Call::new("records", "RegisterRecords", records(&documents));
        let location = format!("{kind}/{}/_history/1", ready.id);
        let answer = |committed: &Committed| {
            json!({"location": location, "version": 1, "tx": committed.tx_id}).to_string()
        };
        let (committed, at) = self.commit(request, &documents, call, answer, None).await?;
        let mut body = ready.resource;
        set_meta(&mut body, 1, at, &committed.tx_id);
        Ok(Answer {
            status: StatusCode::CREATED,
            body: Some(body),
            version: Some(1),
            modified: Some(at),
            location: Some(location),
            tx: Some(committed.tx_id),
        })
    }
}

/// The argument of `RegisterRecords`.
pub(crate) fn records(documents: &[NewDocument]) -> Value {
    json!({"records": documents.iter().map(entry).collect::<Vec<_>>()})
}

/// One document's fingerprint as the contract takes it.
pub(crate) fn entry(document: &NewDocument) -> Value {
    let fingerprint = &document.sealed.fingerprint;
    json!({
        "id": document.id,
        "sid": document.sid,
        "kind": document.class,
        "confidentiality": document.confidentiality,
        "ctHash": fingerprint.ct_hash,
        "ptCommit": fingerprint.pt_commit,
        "size": fingerprint.size,
        "suite": SUITE,
        "epoch": document.epoch,
        "vaultRef": format!("v:{}", document.id),
    })
}

/// 422 with one issue for each reference that leads nowhere.
pub(crate) fn unresolved(paths: Vec<String>) -> Box<Refusal> {
    let issues = paths
        .into_iter()
        .map(|path| {
            Issue::error(
                "value",
                "UNRESOLVED_REFERENCE",
                "no entry of this bundle has this fullUrl",
            )
            .at(path)
        })
        .collect();
    Refusal::of(StatusCode::UNPROCESSABLE_ENTITY, issues)
}

pub(crate) fn store_error(error: crate::StoreError) -> Box<Refusal> {
    Refusal::internal("the local store", error)
}
