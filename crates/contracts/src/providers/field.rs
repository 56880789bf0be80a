//! Facts about practitioners that organizations keep right together: one proposes, another
//! confirms. The values are private; on the ledger are salted commitments to them.

use serde::{Deserialize, Serialize};

use super::COLLECTION;
use super::list::{MAX_PAGE, has_credential};
use super::model::{Claim, Field, FieldName};
use super::person::check_text;
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome, decode, to_json};
use crate::roles::Part;
use crate::vault::field_commitment;

const DIRECTORY: &[Part] = &[Part::Provider, Part::Payer];
const CLERKS: &[&str] = &["records", "adjudicator"];
const SHAPE: &str = r#"{"value","salt": at least 32 hexadecimal digits}"#;

/// A private value, under its commitment.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    value: String,
    salt: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByField {
    pid: String,
    field: FieldName,
}

fn need_practitioner(call: &mut Call<'_>, pid: &str) -> Result<(), Failure> {
    fields::id("pid", pid)?;
    if has_credential(call, pid)? {
        return Ok(());
    }
    Err(Failure::not_found(format!("no practitioner {pid}")))
}

/// A new value waits for another organization; one that waited before is forgotten. What is
/// confirmed stays so until the new one is.
pub(super) fn propose(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(DIRECTORY, CLERKS)?;
    let args: ByField = call.args()?;
    let value: Value = call.transient("field", SHAPE)?.ok_or_else(|| {
        Failure::malformed(format!(
            "ProposeField needs {SHAPE} in the transient map under 'field'"
        ))
    })?;
    check_text("value", &value.value)?;
    let salt = fields::salt(&value.salt)?;
    need_practitioner(call, &args.pid)?;
    let name = args.field.name();
    let commit = field_commitment(salt.as_bytes(), &args.pid, name, &value.value);
    let mut field: Field = call
        .load("field", &[&args.pid, name])?
        .unwrap_or_else(|| Field {
            pid: args.pid.clone(),
            field: args.field,
            proposed: None,
            confirmed: None,
            confirmed_by: None,
        });
    let known = |claim: &Option<Claim>| claim.as_ref().is_some_and(|c| c.commit == commit);
    if known(&field.proposed) || known(&field.confirmed) {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("this {name} of {} is proposed or confirmed", args.pid),
        ));
    }
    if let Some(before) = &field.proposed {
        call.stub.purge_private(COLLECTION, &before.commit)?;
    }
    call.stub
        .put_private(COLLECTION, &commit, &to_json(&value))?;
    field.proposed = Some(Claim {
        commit,
        org: call.msp().to_owned(),
        at: call.now,
    });
    save(call, &field, "FieldProposed")
}

fn save(call: &mut Call<'_>, field: &Field, event: &'static str) -> Result<Outcome, Failure> {
    let name = field.field.name();
    call.store("field", &[&field.pid, name], field)?;
    let state = field.state();
    Ok(Outcome::changed(&field.pid, state).event(call, event, &field.pid, state, name))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfirmField {
    pid: String,
    field: FieldName,
    commit: String,
}

/// Another organization says that it knows the same value. `commit` is what it has seen, so that
/// it never confirms what was proposed after.
pub(super) fn confirm(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(DIRECTORY, CLERKS)?;
    let args: ConfirmField = call.args()?;
    fields::hash("commit", &args.commit)?;
    let mut field = load(call, &args.pid, args.field)?;
    let Some(proposed) = field.proposed.take() else {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!(
                "{} of {} is Confirmed, ConfirmField needs Proposed",
                args.field.name(),
                args.pid
            ),
        ));
    };
    if proposed.org == call.msp() {
        return Err(Failure::forbidden(
            "SELF_CONFIRM",
            format!("{} proposed it, another confirms", proposed.org),
        ));
    }
    if proposed.commit != args.commit {
        return Err(Failure::rule(
            "COMMIT_MISMATCH",
            "another value is proposed by now, look at it first",
        ));
    }
    if let Some(before) = field.confirmed.replace(proposed) {
        call.stub.purge_private(COLLECTION, &before.commit)?;
    }
    field.confirmed_by = Some(call.msp().to_owned());
    save(call, &field, "FieldConfirmed")
}

fn load(call: &mut Call<'_>, pid: &str, name: FieldName) -> Result<Field, Failure> {
    fields::id("pid", pid)?;
    let name = name.name();
    call.load("field", &[pid, name])?
        .ok_or_else(|| Failure::not_found(format!("no {name} of {pid}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListFields {
    pid: String,
}

#[derive(Serialize)]
struct Entries {
    entries: Vec<Field>,
}

/// The commitments and who stands for them; not the values.
pub(super) fn list(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ListFields = call.args()?;
    fields::id("pid", &args.pid)?;
    let found = call.stub.range_composite("field", &[&args.pid], MAX_PAGE)?;
    let entries = found
        .iter()
        .map(|entry| decode("field", &entry.value))
        .collect::<Result<_, _>>()?;
    Ok(Outcome::of(&Entries { entries }))
}

#[derive(Serialize)]
struct Known {
    #[serde(flatten)]
    field: Field,
    #[serde(skip_serializing_if = "Option::is_none", rename = "proposedValue")]
    proposed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "confirmedValue")]
    confirmed: Option<String>,
}

/// With the values, for those who keep them right, at a peer that holds the collection.
pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(
        &[Part::Provider, Part::Payer, Part::Regulator],
        &["records", "adjudicator", "certifier", "inspector"],
    )?;
    let args: ByField = call.args()?;
    let field = load(call, &args.pid, args.field)?;
    let mut value_of = |claim: &Option<Claim>| -> Result<Option<String>, Failure> {
        let Some(claim) = claim else {
            return Ok(None);
        };
        let bytes = call.stub.get_private(COLLECTION, &claim.commit)?;
        bytes
            .map(|bytes| decode::<Value>("field value", &bytes).map(|value| value.value))
            .transpose()
    };
    let (proposed, confirmed) = (value_of(&field.proposed)?, value_of(&field.confirmed)?);
    Ok(Outcome::of(&Known {
        field,
        proposed,
        confirmed,
    }))
}
