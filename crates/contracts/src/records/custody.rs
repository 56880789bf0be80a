//! Documents that go to another custodian: handed over by one, accepted by the other.
//!
//! The ciphertext stays as it is; its key is wrapped anew for the other's vault, between the two.
//! Until the other has accepted, the first keeps it and decides nothing new about it.

use serde::Deserialize;

use super::model::{Record, RecordState, Step};
use super::register::{load, need_custodian};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

const CUSTODIANS: &[Part] = &[Part::Provider, Part::Research];
const CLERKS: &[&str] = &["records", "dpo"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferCustody {
    id: String,
    to: String,
}

/// By the custodian; nothing changes hands before the other accepts.
pub(super) fn transfer(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(CUSTODIANS, CLERKS)?;
    call.require_own_credential()?;
    let args: TransferCustody = call.args()?;
    fields::msp("to", &args.to)?;
    let config = call.config()?;
    if !CUSTODIANS.iter().any(|part| config.plays(&args.to, *part)) {
        return Err(Failure::rule(
            "UNKNOWN_ORG",
            format!("{} is no organization that keeps documents", args.to),
        ));
    }
    if args.to == call.msp() {
        return Err(Failure::rule(
            "SELF_TRANSFER",
            "documents are transferred to another",
        ));
    }
    let receiver = call.organization_standing(&args.to, "")?;
    if !receiver.active {
        return Err(Failure::rule(
            "ORG_INACTIVE",
            format!(
                "{} receives nothing, the registry says {}",
                args.to, receiver.reason
            ),
        ));
    }
    let mut record = load(call, &args.id)?;
    need_custodian(call, &record)?;
    record.step(Step::Transfer)?;
    record.to = Some(args.to.clone());
    finish(call, record, "CustodyOffered", &args.to)
}

fn finish(
    call: &mut Call<'_>,
    mut record: Record,
    event: &'static str,
    reference: &str,
) -> Result<Outcome, Failure> {
    record.at = call.now;
    call.store("rec", &[&record.id], &record)?;
    let state = record.state.name();
    Ok(Outcome::changed(&record.id, state).event(call, event, &record.id, state, reference))
}

fn need_receiver(call: &Call<'_>, record: &Record) -> Result<(), Failure> {
    match &record.to {
        Some(to) if to != call.msp() => Err(Failure::forbidden(
            "NOT_RECEIVER",
            format!("record {} is on its way to {to}", record.id),
        )),
        // Nobody is to receive it: its state says so.
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AcceptCustody {
    id: String,
    ct_hash: String,
    vault_ref: String,
    #[serde(default)]
    epoch: u32,
}

/// By the receiver, which has the ciphertext in its vault and its key under its own.
pub(super) fn accept(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(CUSTODIANS, CLERKS)?;
    call.require_own_credential()?;
    let args: AcceptCustody = call.args()?;
    fields::hash("ctHash", &args.ct_hash)?;
    fields::code("vaultRef", &args.vault_ref)?;
    let mut record = load(call, &args.id)?;
    need_receiver(call, &record)?;
    record.step(Step::Accept)?;
    if record.ct_hash != args.ct_hash {
        return Err(Failure::rule(
            "TAMPERED",
            format!(
                "what arrived is not record {}: refuse it with CancelTransfer",
                record.id
            ),
        ));
    }
    let receiver = call.msp().to_owned();
    call.unindex("byCustodian", &[&record.custodian, &record.id])?;
    call.index("byCustodian", &[&receiver, &record.id])?;
    let before = std::mem::replace(&mut record.custodian, receiver);
    record.to = None;
    record.vault_ref = args.vault_ref;
    record.epoch = args.epoch;
    finish(call, record, "CustodyTransferred", &before)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelTransfer {
    id: String,
}

/// By the custodian that thinks better of it, or by the receiver that refuses.
pub(super) fn cancel(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(CUSTODIANS, CLERKS)?;
    let args: CancelTransfer = call.args()?;
    let mut record = load(call, &args.id)?;
    if record.state == RecordState::Transferring && need_receiver(call, &record).is_ok() {
        // The receiver.
    } else {
        need_custodian(call, &record)?;
    }
    record.step(Step::Cancel)?;
    record.to = None;
    finish(call, record, "CustodyCancelled", "")
}
