//! After a permit: the custodian releases the key, the requester says what arrived.

use serde::Deserialize;

use super::access::{load, need_state, standing_of_staff};
use super::consent::active;
use super::model::{Access, AccessState};
use super::register::{MAX_PAGE, load as load_record};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;
use crate::standing::Standing;

/// How long after the decision a key may be released, in seconds.
const RELEASE_WINDOW: i64 = 15 * 60;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfirmRelease {
    access_id: String,
    key_fingerprint: String,
}

pub(super) fn confirm_release(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider, Part::Research], &["records", "dpo"])?;
    let args: ConfirmRelease = call.args()?;
    fields::hash("keyFingerprint", &args.key_fingerprint)?;
    let mut access = load(call, &args.access_id)?;
    if access.custodian != call.msp() {
        return Err(Failure::forbidden(
            "NOT_CUSTODIAN",
            format!(
                "access {} is to documents of {}",
                access.id, access.custodian
            ),
        ));
    }
    need_state(call, &access, AccessState::Permitted)?;
    if call.now.saturating_sub(access.at) > RELEASE_WINDOW {
        return Err(Failure::rule(
            "GRANT_EXPIRED",
            format!(
                "access {} was decided more than {RELEASE_WINDOW} s ago",
                access.id
            ),
        ));
    }
    if let Some(id) = &access.consent {
        // Read again, so that a revocation committed meanwhile stops the key (R5).
        let in_force = active(call, &access.sid)?
            .iter()
            .any(|consent| consent.id == *id && consent.period.holds(call.now));
        if !in_force {
            return Err(Failure::forbidden(
                "NO_CONSENT",
                format!(
                    "the consent that access {} rests on is no longer active",
                    access.id
                ),
            ));
        }
    }
    for item in &access.items {
        let record = load_record(call, &item.id)?;
        if record.custodian != access.custodian {
            return Err(Failure::conflict(
                "CUSTODY_CHANGED",
                format!(
                    "record {} is kept by {} by now",
                    record.id, record.custodian
                ),
            ));
        }
    }
    let may_still = still_in_force(call, &access)?;
    if !may_still.active {
        return Err(Failure::forbidden(
            "CREDENTIAL",
            format!(
                "the requester of access {} may no longer ask, the registry says {}",
                access.id, may_still.reason
            ),
        ));
    }
    access.state = AccessState::Released;
    access.key_fingerprint = Some(args.key_fingerprint);
    call.store("access", &[&access.id], &access)?;
    Ok(Outcome::changed(&access.id, "Released").event(
        call,
        "KeyReleased",
        &access.id,
        "Released",
        "",
    ))
}

/// Asks the registry about the requester again, so that a suspension committed meanwhile stops the
/// key too.
fn still_in_force(call: &mut Call<'_>, access: &Access) -> Result<Standing, Failure> {
    match access.role.as_deref() {
        None | Some("patient" | "guardian") => Ok(Standing::active()),
        Some(role) => standing_of_staff(call, &access.org, role, access.pid.as_deref(), None),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfirmReceipt {
    access_id: String,
    received: Vec<Received>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Received {
    id: String,
    ct_hash: String,
}

pub(super) fn confirm_receipt(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ConfirmReceipt = call.args()?;
    fields::count("received", args.received.len(), MAX_PAGE)?;
    for received in &args.received {
        fields::hash("ctHash", &received.ct_hash)?;
    }
    let mut access = load(call, &args.access_id)?;
    let pid = call.stub.creator().attribute("hc.pid");
    if access.org != call.msp() || access.pid.as_deref() != pid {
        return Err(Failure::forbidden(
            "NOT_REQUESTER",
            format!("access {} was requested by another", access.id),
        ));
    }
    need_state(call, &access, AccessState::Released)?;
    let complete = args.received.len() == access.items.len()
        && access
            .items
            .iter()
            .all(|item| args.received.iter().any(|received| received.id == item.id));
    if !complete {
        return Err(Failure::rule(
            "INCOMPLETE",
            format!(
                "access {} is to {} documents, each is received once",
                access.id,
                access.items.len()
            ),
        ));
    }
    access.tampered = access
        .items
        .iter()
        .filter(|item| {
            args.received
                .iter()
                .any(|received| received.id == item.id && received.ct_hash != item.ct_hash)
        })
        .map(|item| item.id.clone())
        .collect();
    let (state, event, decision, code) = if access.tampered.is_empty() {
        (AccessState::Received, "ReceiptConfirmed", "Intact", "OK")
    } else {
        (
            AccessState::Tampered,
            "TamperDetected",
            "Tampered",
            "TAMPERED",
        )
    };
    access.state = state;
    call.store("access", &[&access.id], &access)?;
    let custodian = access.custodian.clone();
    Ok(
        Outcome::verdict(&access.id, state.name(), decision, code).event(
            call,
            event,
            &access.id,
            state.name(),
            &custodian,
        ),
    )
}
