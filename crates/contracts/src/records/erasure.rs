//! Making documents inaccessible: wished by the subject, decided and attested by the custodian.
//!
//! The ledger keeps the fingerprints, which prove that documents existed; the keys are destroyed
//! in the custodian's vault ([`crate::vault::Vault::shred`]); what else is destroyed with them is attested in
//! [`crate::privacy`].

use serde::Deserialize;

use super::consent::{require_voice, voice};
use super::model::{Erasure, ErasureState, Step};
use super::register::{MAX_PAGE, load as load_record};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestErasure {
    erase_id: String,
    sid: String,
    custodian: String,
}

pub(super) fn request(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: RequestErasure = call.args()?;
    fields::id("eraseId", &args.erase_id)?;
    fields::sid("sid", &args.sid)?;
    fields::msp("custodian", &args.custodian)?;
    require_voice(call, &args.sid)?;
    if call.exists("erase", &[&args.erase_id])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("erasure {} exists", args.erase_id),
        ));
    }
    let erasure = Erasure {
        id: args.erase_id,
        sid: args.sid,
        custodian: args.custodian,
        state: ErasureState::Requested,
        ground: None,
        until: None,
        method: None,
        key_ids: Vec::new(),
        at: call.now,
    };
    save(call, &erasure, "ErasureRequested")
}

fn save(call: &mut Call<'_>, erasure: &Erasure, event: &'static str) -> Result<Outcome, Failure> {
    call.store("erase", &[&erasure.id], erasure)?;
    let state = erasure.state.name();
    Ok(Outcome::changed(&erasure.id, state).event(
        call,
        event,
        &erasure.id,
        state,
        &erasure.custodian,
    ))
}

/// The erasure, if the caller's organization is asked for it and it is in this state.
fn own(call: &mut Call<'_>, id: &str, needed: ErasureState) -> Result<Erasure, Failure> {
    fields::id("eraseId", id)?;
    let erasure: Erasure = call
        .load("erase", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no erasure {id}")))?;
    if erasure.custodian != call.msp() {
        return Err(Failure::forbidden(
            "NOT_CUSTODIAN",
            format!("erasure {id} is for {}", erasure.custodian),
        ));
    }
    if erasure.state != needed {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!(
                "erasure {id} is {}, {} needs {}",
                erasure.state.name(),
                call.function(),
                needed.name()
            ),
        ));
    }
    Ok(erasure)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadErasure {
    erase_id: String,
}

/// For the custodian, regulators and the subject; to all others there is none.
pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ReadErasure = call.args()?;
    fields::id("eraseId", &args.erase_id)?;
    let missing = || Failure::not_found(format!("no erasure {}", args.erase_id));
    let erasure: Erasure = call.load("erase", &[&args.erase_id])?.ok_or_else(missing)?;
    let msp = call.msp().to_owned();
    let visible = if matches!(call.role(), Some("patient" | "guardian")) {
        voice(call, &erasure.sid)?.is_some()
    } else {
        erasure.custodian == msp || call.config()?.plays(&msp, Part::Regulator)
    };
    if !visible {
        return Err(missing());
    }
    Ok(Outcome::of(&erasure))
}

#[derive(Deserialize)]
enum ErasureVerdict {
    Accepted,
    Retained,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DecideErasure {
    erase_id: String,
    verdict: ErasureVerdict,
    #[serde(default)]
    ground: Option<String>,
    #[serde(default)]
    until: Option<i64>,
}

pub(super) fn decide(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider, Part::Research], &["dpo"])?;
    let args: DecideErasure = call.args()?;
    let mut erasure = own(call, &args.erase_id, ErasureState::Requested)?;
    match (args.verdict, &args.ground, args.until) {
        (ErasureVerdict::Accepted, None, None) => erasure.state = ErasureState::Accepted,
        (ErasureVerdict::Retained, Some(ground), Some(until)) if until > call.now => {
            fields::code("ground", ground)?;
            erasure.state = ErasureState::Retained;
            erasure.ground = args.ground;
            erasure.until = args.until;
        }
        _ => {
            return Err(Failure::rule(
                "GROUND",
                "Retained names a legal ground and a date in the future, Accepted neither",
            ));
        }
    }
    save(call, &erasure, "ErasureDecided")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AttestErasure {
    erase_id: String,
    ids: Vec<String>,
    key_ids: Vec<String>,
    method: String,
}

pub(super) fn attest(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider, Part::Research], &["dpo"])?;
    let args: AttestErasure = call.args()?;
    fields::count("ids", args.ids.len(), MAX_PAGE)?;
    fields::count("keyIds", args.key_ids.len(), MAX_PAGE)?;
    fields::code("method", &args.method)?;
    for key in &args.key_ids {
        fields::code("keyIds", key)?;
    }
    let mut erasure = own(call, &args.erase_id, ErasureState::Accepted)?;
    let mut ids = args.ids;
    ids.sort();
    ids.dedup();
    for id in ids {
        let mut record = load_record(call, &id)?;
        if record.sid != erasure.sid || record.custodian != erasure.custodian {
            return Err(Failure::rule(
                "NOT_IN_SCOPE",
                format!("record {id} is of another subject or custodian"),
            ));
        }
        record.step(Step::Erase)?;
        record.at = call.now;
        call.store("rec", &[&id], &record)?;
    }
    erasure.state = ErasureState::Erased;
    erasure.method = Some(args.method);
    erasure.key_ids = args.key_ids;
    save(call, &erasure, "Erased")
}
