//! A unit and the procedure it was used in. The patient is a salted commitment in public, and a
//! private value in the custodian's own collection.

use serde::{Deserialize, Serialize};

use super::custody::{finish, load_unit, need_holder};
use super::lot::lot_or_serial;
use super::model::{
    AdverseEvent, Lot, PatientLink, ProductState, Severity, Step, UnitId, UnitState,
};
use super::product::{device_identifier, load as load_product};
use super::recall::is_recalled;
use crate::failure::Failure;
use crate::fields::{self, date_of};
use crate::purge::own_collection;
use crate::request::{Call, Outcome, decode, to_json};
use crate::roles::Part;
use crate::vault::implant_commitment;

const LINK_SHAPE: &str =
    r#"{"sid","procedure","date":"YYYY-MM-DD","salt": at least 32 hexadecimal digits}"#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Implant {
    unit: UnitId,
    procedure_ref: String,
    #[serde(default)]
    patient_commit: Option<String>,
}

/// The commitment that goes on the ledger, and the private value behind it when it was sent.
fn commitment(
    call: &Call<'_>,
    given: Option<String>,
) -> Result<(String, Option<PatientLink>), Failure> {
    if let Some(given) = &given {
        fields::hash("patientCommit", given)?;
    }
    let Some(link) = call.transient::<PatientLink>("implant", LINK_SHAPE)? else {
        return match given {
            Some(given) => Ok((given, None)),
            None => Err(Failure::malformed(format!(
                "{} needs patientCommit, or {LINK_SHAPE} in the transient map under 'implant'",
                call.function()
            ))),
        };
    };
    let salt = fields::salt(&link.salt)?;
    // Do not repeat the value: refusals are logged.
    fields::sid("the transient sid", &link.sid)?;
    let computed = implant_commitment(salt.as_bytes(), &link.sid, &link.procedure, &link.date);
    if given.is_some_and(|given| given != computed) {
        return Err(Failure::rule(
            "COMMIT_MISMATCH",
            "patientCommit is not the commitment to what the transient map holds",
        ));
    }
    Ok((computed, Some(link)))
}

pub(super) fn implant(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["physician"])?;
    call.require_practitioner("implant")?;
    let args: Implant = call.args()?;
    fields::code("procedureRef", &args.procedure_ref)?;
    let (commit, link) = commitment(call, args.patient_commit)?;
    let mut unit = load_unit(call, &args.unit)?;
    if unit.used || unit.state.is_used() {
        return Err(Failure::conflict(
            "ALREADY_USED",
            format!("unit {} is {}", unit.id, unit.state.name()),
        ));
    }
    need_holder(call, &unit)?;
    unit.step(Step::Implant, call.now)?;
    let product = load_product(call, &unit.id.di)?;
    if product.state != ProductState::Certified {
        return Err(Failure::rule(
            "NOT_CERTIFIED",
            format!("product {} is {}", product.di, product.state.name()),
        ));
    }
    let lot: Lot = call
        .load("lot", &[&unit.id.di, &unit.id.lot])?
        .ok_or_else(|| Failure::not_found(format!("no lot {}", unit.id.lot)))?;
    if let Some(expires) = lot.expires
        && date_of(call.now) > expires
    {
        return Err(Failure::rule(
            "EXPIRED",
            format!("unit {} expired on {expires}", unit.id),
        ));
    }
    if is_recalled(call, &unit.id)? {
        return Err(Failure::rule(
            "RECALLED",
            format!("unit {} is under an open recall", unit.id),
        ));
    }
    if let Some(link) = link {
        // The key is the commitment: salted, so its hash in the block reveals nothing.
        let collection = own_collection(call.msp());
        call.stub
            .put_private(&collection, &commit, &to_json(&link))?;
    }
    unit.used = true;
    unit.procedure = Some(args.procedure_ref.clone());
    unit.patient_commit = Some(commit);
    finish(call, unit, "UnitImplanted", &args.procedure_ref)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Explant {
    unit: UnitId,
    procedure_ref: String,
}

pub(super) fn explant(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["physician"])?;
    call.require_own_credential()?;
    let args: Explant = call.args()?;
    fields::code("procedureRef", &args.procedure_ref)?;
    let mut unit = load_unit(call, &args.unit)?;
    need_holder(call, &unit)?;
    unit.step(Step::Explant, call.now)?;
    unit.procedure = Some(args.procedure_ref.clone());
    finish(call, unit, "UnitExplanted", &args.procedure_ref)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByUnit {
    unit: UnitId,
}

#[derive(Serialize)]
struct Patient {
    unit: UnitId,
    patient: PatientLink,
}

/// The private link of an implanted unit, on a peer of the organization that holds it. `None`
/// when this peer does not have it.
pub(super) fn patient_of(
    call: &mut Call<'_>,
    holder: &str,
    commit: &str,
) -> Result<Option<PatientLink>, Failure> {
    match call.stub.get_private(&own_collection(holder), commit) {
        Ok(Some(bytes)) => decode("patient link", &bytes).map(Some),
        // Another organization's peer, or a link that was never sent: nothing to show here.
        Ok(None) | Err(_) => Ok(None),
    }
}

pub(super) fn read_patient(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["physician", "records"])?;
    let args: ByUnit = call.args()?;
    let unit = load_unit(call, &args.unit)?;
    need_holder(call, &unit)?;
    let commit = match (&unit.patient_commit, unit.state) {
        (Some(commit), UnitState::Implanted | UnitState::Explanted) => commit.clone(),
        _ => {
            return Err(Failure::conflict(
                "BAD_STATE",
                format!(
                    "unit {} is {}, ReadPatient needs Implanted or Explanted",
                    unit.id,
                    unit.state.name()
                ),
            ));
        }
    };
    let patient = patient_of(call, &unit.holder, &commit)?.ok_or_else(|| {
        Failure::new(
            404,
            "PRIVATE_DATA_NOT_HERE",
            format!("this peer does not hold the patient of unit {}", unit.id),
        )
    })?;
    Ok(Outcome::of(&Patient {
        unit: unit.id,
        patient,
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReportEvent {
    event_id: String,
    di: String,
    #[serde(default)]
    lot: Option<String>,
    #[serde(default)]
    serial: Option<String>,
    severity: Severity,
    doc_hash: String,
}

pub(super) fn report_event(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(
        &[
            Part::Provider,
            Part::Maker,
            Part::Distributor,
            Part::Citizen,
        ],
        &[
            "physician",
            "nurse",
            "supply",
            "vigilance",
            "patient",
            "guardian",
        ],
    )?;
    let args: ReportEvent = call.args()?;
    fields::id("eventId", &args.event_id)?;
    fields::hash("docHash", &args.doc_hash)?;
    for (name, text) in [("lot", &args.lot), ("serial", &args.serial)] {
        if let Some(text) = text {
            lot_or_serial(name, text)?;
        }
    }
    let di = device_identifier(&args.di)?;
    load_product(call, &di)?;
    if call.exists("adv", &[&args.event_id])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("adverse event {} exists", args.event_id),
        ));
    }
    let event = AdverseEvent {
        id: args.event_id,
        di,
        lot: args.lot,
        serial: args.serial,
        severity: args.severity,
        doc_hash: args.doc_hash,
        org: call.msp().to_owned(),
        at: call.now,
    };
    call.store("adv", &[&event.id], &event)?;
    call.index("advOf", &[&event.di, &event.id])?;
    Ok(Outcome::changed(&event.id, "Open").event(
        call,
        "AdverseEventReported",
        &event.id,
        "Open",
        &event.di,
    ))
}
