//! Fingerprints of documents: register, amend, mark as error, verify, read.

use serde::{Deserialize, Serialize};

use super::model::{Confidentiality, Kind, Record, RecordState, Step};
use crate::failure::Failure;
use crate::fields;
use crate::key::{composite_key, split_composite_key};
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;
use crate::stub::StubError;

/// Records that one transaction registers at most.
pub(crate) const MAX_BATCH: usize = 1000;
/// Entries that one page answers at most.
pub(crate) const MAX_PAGE: usize = 200;
const MAX_REFERENCES: usize = 16;

const WRITERS: &[&str] = &["records", "physician"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    id: String,
    sid: String,
    kind: Kind,
    #[serde(default)]
    confidentiality: Confidentiality,
    ct_hash: String,
    pt_commit: String,
    size: u64,
    suite: String,
    #[serde(default)]
    epoch: u32,
    vault_ref: String,
    #[serde(default)]
    fhir: Vec<String>,
}

impl Entry {
    fn check(&self) -> Result<(), Failure> {
        fields::id("id", &self.id)?;
        fields::sid("sid", &self.sid)?;
        fields::hash("ctHash", &self.ct_hash)?;
        fields::hash("ptCommit", &self.pt_commit)?;
        fields::code("suite", &self.suite)?;
        fields::code("vaultRef", &self.vault_ref)?;
        if self.fhir.len() > MAX_REFERENCES {
            return Err(Failure::malformed(format!(
                "fhir has at most {MAX_REFERENCES} references"
            )));
        }
        self.fhir
            .iter()
            .try_for_each(|text| fields::reference(text))
    }

    fn into_record(self, custodian: &str, version: u32, prev: Option<String>, at: i64) -> Record {
        Record {
            id: self.id,
            sid: self.sid,
            custodian: custodian.to_owned(),
            to: None,
            kind: self.kind,
            confidentiality: self.confidentiality,
            ct_hash: self.ct_hash,
            pt_commit: self.pt_commit,
            size: self.size,
            suite: self.suite,
            epoch: self.epoch,
            vault_ref: self.vault_ref,
            fhir: self.fhir,
            version,
            prev,
            state: RecordState::Current,
            reason: None,
            at,
        }
    }
}

pub(super) fn load(call: &mut Call<'_>, id: &str) -> Result<Record, Failure> {
    fields::id("id", id)?;
    call.load("rec", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no record {id}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterRecords {
    records: Vec<Entry>,
}

pub(super) fn register(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider, Part::Research], WRITERS)?;
    call.require_own_credential()?;
    let args: RegisterRecords = call.args()?;
    fields::count("records", args.records.len(), MAX_BATCH)?;
    let count = args.records.len();
    let custodian = call.msp().to_owned();
    let mut seen = std::collections::BTreeSet::new();
    for (index, entry) in args.records.into_iter().enumerate() {
        entry.check().map_err(|failure| Failure {
            sentence: format!("records[{index}]: {}", failure.sentence),
            ..failure
        })?;
        // Reads do not see this transaction's own writes: a batch has to be compared with itself.
        if !seen.insert(entry.id.clone()) || call.exists("rec", &[&entry.id])? {
            return Err(Failure::conflict(
                "DUPLICATE",
                format!("record {} exists", entry.id),
            ));
        }
        let record = entry.into_record(&custodian, 1, None, call.now);
        call.index("bySubject", &[&record.sid, &record.id])?;
        call.index("byCustodian", &[&custodian, &record.id])?;
        call.store("rec", &[&record.id], &record)?;
    }
    let id = call.stub.tx_id().to_owned();
    Ok(Outcome::changed(&id, "Current").event(
        call,
        "RecordsRegistered",
        &id,
        "Current",
        &count.to_string(),
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AmendRecord {
    if_version: u32,
    entry: Entry,
}

/// Refuses documents that another keeps with 403 `NOT_CUSTODIAN`.
pub(super) fn need_custodian(call: &Call<'_>, record: &Record) -> Result<(), Failure> {
    if record.custodian == call.msp() {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_CUSTODIAN",
        format!("record {} is kept by {}", record.id, record.custodian),
    ))
}

pub(super) fn amend(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider, Part::Research], WRITERS)?;
    call.require_own_credential()?;
    let AmendRecord { if_version, entry } = call.args()?;
    entry.check()?;
    let mut before = load(call, &entry.id)?;
    need_custodian(call, &before)?;
    before.step(Step::Amend)?;
    if before.version != if_version {
        return Err(Failure::new(
            412,
            "VERSION",
            format!(
                "record {} is at version {}, not {if_version}",
                before.id, before.version
            ),
        ));
    }
    if before.sid != entry.sid {
        return Err(Failure::rule(
            "SUBJECT_CHANGED",
            format!("record {} belongs to another subject", before.id),
        ));
    }
    let version = before
        .version
        .checked_add(1)
        .ok_or_else(|| Failure::rule("VERSION_LIMIT", "no more versions"))?;
    let custodian = call.msp().to_owned();
    let record = entry.into_record(&custodian, version, Some(before.ct_hash), call.now);
    call.store("rec", &[&record.id], &record)?;
    Ok(Outcome::changed(&record.id, "Current").event(
        call,
        "RecordAmended",
        &record.id,
        "Current",
        &version.to_string(),
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MarkError {
    id: String,
    reason_code: String,
}

pub(super) fn mark_error(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider, Part::Research], WRITERS)?;
    call.require_own_credential()?;
    let args: MarkError = call.args()?;
    fields::code("reasonCode", &args.reason_code)?;
    let mut record = load(call, &args.id)?;
    need_custodian(call, &record)?;
    record.step(Step::MarkError)?;
    record.reason = Some(args.reason_code);
    record.at = call.now;
    call.store("rec", &[&record.id], &record)?;
    Ok(Outcome::changed(&record.id, record.state.name()).event(
        call,
        "RecordInError",
        &record.id,
        record.state.name(),
        "",
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Verify {
    id: String,
    ct_hash: String,
}

pub(super) fn verify(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Verify = call.args()?;
    fields::hash("ctHash", &args.ct_hash)?;
    let record = load(call, &args.id)?;
    let (decision, code) = if record.ct_hash == args.ct_hash {
        ("Intact", "OK")
    } else {
        ("Tampered", "TAMPERED")
    };
    Ok(Outcome::verdict(
        &record.id,
        record.state.name(),
        decision,
        code,
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ById {
    id: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ById = call.args()?;
    Ok(Outcome::of(&load(call, &args.id)?))
}

/// One version of a value, with the transaction that wrote it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version<T> {
    tx_id: String,
    at: i64,
    value: Option<T>,
}

pub(super) fn history(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ById = call.args()?;
    fields::id("id", &args.id)?;
    let entries = call.stub.history(&composite_key("rec", &[&args.id])?)?;
    if entries.is_empty() {
        return Err(Failure::not_found(format!("no record {}", args.id)));
    }
    let versions = entries
        .into_iter()
        .map(|entry| {
            let value = entry
                .value
                .map(|bytes| decode::<Record>("record", &bytes))
                .transpose()?;
            Ok(Version {
                tx_id: entry.tx_id,
                at: entry.timestamp.seconds,
                value,
            })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    Ok(Outcome::of(&versions))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListRecords {
    sid: String,
    #[serde(default)]
    kinds: Vec<Kind>,
    #[serde(default)]
    custodian: Option<String>,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Page<T> {
    entries: Vec<T>,
    /// Give it back to get what follows; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<String>,
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ListRecords = call.args()?;
    fields::sid("sid", &args.sid)?;
    let (ids, bookmark) = ids_after(call, "bySubject", &args.sid, args.bookmark.as_deref())?;
    let mut entries = Vec::new();
    for id in ids {
        let record = load(call, &id)?;
        let wanted = (args.kinds.is_empty() || args.kinds.contains(&record.kind))
            && args
                .custodian
                .as_ref()
                .is_none_or(|c| *c == record.custodian);
        if wanted {
            entries.push(record);
        }
    }
    Ok(Outcome::of(&Page { entries, bookmark }))
}

/// One page of an index `object_type~owner~id`: the ids, and the bookmark when there are more.
pub(super) fn ids_after(
    call: &mut Call<'_>,
    object_type: &str,
    owner: &str,
    bookmark: Option<&str>,
) -> Result<(Vec<String>, Option<String>), Failure> {
    Ok(call.page(object_type, &[owner], bookmark, MAX_PAGE)?.ids())
}

/// The last attribute of an index key.
pub(super) fn last_attribute(key: &str) -> Result<String, Failure> {
    let (_, attributes) = split_composite_key(key).map_err(StubError::from)?;
    Ok(attributes.last().copied().unwrap_or_default().to_owned())
}
