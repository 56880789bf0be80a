//! Units from hand to hand: ship, receive, quarantine, return, destroy.

use serde::{Deserialize, Serialize};

use super::bag::need_bag;
use super::lot::{MAX_UNITS, lot_or_serial};
use super::model::{Step, Unit, UnitId, UnitState};
use super::product::{device_identifier, load as load_product, need_registrant};
use super::recall::is_recalled;
use super::scan::{self, Verdict};
use crate::failure::Failure;
use crate::fields;
use crate::gs1::gtin::check_digit;
use crate::request::{Call, Outcome};
use crate::roles::Part;

const HOLDERS: &[Part] = &[Part::Maker, Part::Distributor, Part::Provider];
const HANDLERS: &[&str] = &["shipping", "supply"];

/// A unit's id with its device identifier checked and in 14 digits.
pub(super) fn unit_id(id: &UnitId) -> Result<UnitId, Failure> {
    lot_or_serial("lot", &id.lot)?;
    if !id.serial.starts_with('#') {
        lot_or_serial("serial", &id.serial)?;
    } else {
        fields::code("serial", &id.serial)?;
    }
    Ok(UnitId {
        di: device_identifier(&id.di)?,
        lot: id.lot.clone(),
        serial: id.serial.clone(),
    })
}

pub(super) fn load_unit(call: &mut Call<'_>, id: &UnitId) -> Result<Unit, Failure> {
    let id = unit_id(id)?;
    call.load("unit", &id.key())?
        .ok_or_else(|| Failure::not_found(format!("no unit {id}")))
}

pub(super) fn need_holder(call: &Call<'_>, unit: &Unit) -> Result<(), Failure> {
    if unit.holder == call.msp() {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_HOLDER",
        format!("unit {} is held by {}", unit.id, unit.holder),
    ))
}

pub(super) fn save_unit(call: &mut Call<'_>, unit: &Unit) -> Result<(), Failure> {
    call.store("unit", &unit.id.key(), unit)
}

/// Loads the units of a batch, each once.
fn load_units(call: &mut Call<'_>, ids: &[UnitId]) -> Result<Vec<Unit>, Failure> {
    fields::count("units", ids.len(), MAX_UNITS)?;
    let mut units = Vec::with_capacity(ids.len());
    let mut seen = std::collections::BTreeSet::new();
    for id in ids {
        let unit = load_unit(call, id)?;
        if !seen.insert(unit.id.clone()) {
            return Err(Failure::conflict(
                "DUPLICATE",
                format!("unit {} is named twice", unit.id),
            ));
        }
        units.push(unit);
    }
    Ok(units)
}

fn check_sscc(sscc: &str) -> Result<(), Failure> {
    let malformed = || Failure::malformed("an sscc has 18 digits");
    if sscc.len() != 18 || !sscc.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    let expected = check_digit(&sscc[..17]).ok_or_else(malformed)?;
    if sscc[17..] != expected.to_string() {
        return Err(Failure::rule(
            "BAD_CHECK_DIGIT",
            format!("check digit of sscc {sscc} should be {expected}"),
        ));
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ship {
    units: Vec<UnitId>,
    to: String,
    #[serde(default)]
    sscc: Option<String>,
}

pub(super) fn ship(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(HOLDERS, HANDLERS)?;
    let args: Ship = call.args()?;
    fields::msp("to", &args.to)?;
    if let Some(sscc) = &args.sscc {
        check_sscc(sscc)?;
    }
    if !call.config()?.holds_devices(&args.to) {
        return Err(Failure::rule(
            "UNKNOWN_ORG",
            format!("{} is no organization that holds devices", args.to),
        ));
    }
    if args.to == call.msp() {
        return Err(Failure::rule(
            "SELF_SHIPMENT",
            "units are shipped to another",
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
    let units = load_units(call, &args.units)?;
    for mut unit in units {
        need_holder(call, &unit)?;
        let first = unit.state == UnitState::Manufactured;
        unit.step(Step::Ship, call.now)?;
        if first {
            let product = load_product(call, &unit.id.di)?;
            if !product.in_force(call.now) {
                return Err(Failure::rule(
                    "NOT_CERTIFIED",
                    format!(
                        "product {} is {}, or its certificate is not in force",
                        product.di,
                        product.state.name()
                    ),
                ));
            }
        }
        if is_recalled(call, &unit.id)? {
            return Err(Failure::rule(
                "RECALLED",
                format!("unit {} is recalled: return or destroy it", unit.id),
            ));
        }
        unit.to = Some(args.to.clone());
        unit.sscc.clone_from(&args.sscc);
        save_unit(call, &unit)?;
    }
    let id = args.sscc.unwrap_or_else(|| call.stub.tx_id().to_owned());
    Ok(Outcome::changed(&id, "InTransit").event(call, "UnitsShipped", &id, "InTransit", &args.to))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Receive {
    units: Vec<UnitId>,
    /// The carrier found on each unit, in the same order.
    scans: Vec<String>,
}

#[derive(Serialize)]
struct UnitVerdict {
    unit: String,
    state: &'static str,
    code: &'static str,
}

#[derive(Serialize)]
struct ReceiveAnswer<'a> {
    id: &'a str,
    state: &'a str,
    decision: &'a str,
    code: &'a str,
    units: Vec<UnitVerdict>,
}

pub(super) fn receive(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(HOLDERS, HANDLERS)?;
    let args: Receive = call.args()?;
    if args.units.len() != args.scans.len() {
        return Err(Failure::malformed(format!(
            "Receive takes one scan for each unit, got {} for {}",
            args.scans.len(),
            args.units.len()
        )));
    }
    let units = load_units(call, &args.units)?;
    let org = call.msp().to_owned();
    let mut verdicts = Vec::with_capacity(units.len());
    let mut worst = Verdict::Ok;
    for (nth, (mut unit, carrier)) in units.into_iter().zip(&args.scans).enumerate() {
        if unit.state != UnitState::InTransit {
            return Err(Failure::conflict(
                "BAD_STATE",
                format!(
                    "unit {} is {}, Receive needs InTransit",
                    unit.id,
                    unit.state.name()
                ),
            ));
        }
        if unit.to.as_deref() != Some(org.as_str()) {
            return Err(Failure::forbidden(
                "NOT_RECEIVER",
                format!("unit {} was not sent to {org}", unit.id),
            ));
        }
        let mut scanned = scan::scan(call, carrier)?;
        // Well formed it may be, but the carrier of another unit than the one announced. Without a
        // serial on the label any unit of the lot looks the same.
        let same = scanned
            .unit
            .as_ref()
            .is_some_and(|found| found.id == unit.id)
            || scanned.udi.as_ref().is_some_and(|udi| {
                udi.serial.is_none()
                    && udi.di == unit.id.di
                    && udi.lot.as_deref().unwrap_or("-") == unit.id.lot
            });
        if scanned.verdict == Verdict::Ok {
            // A carrier without serial says nothing about this unit, so ask about it here.
            if !same {
                scanned.verdict = Verdict::UnknownSerial;
            } else if is_recalled(call, &unit.id)? {
                scanned.verdict = Verdict::Recalled;
            } else if unit.used {
                scanned.verdict = Verdict::AlreadyUsed;
            }
        }
        let step = if scanned.verdict == Verdict::Ok {
            Step::ReceiveSound
        } else {
            scan::note(call, &scanned, None, nth)?;
            unit.note = Some(scanned.verdict.code().to_owned());
            if worst == Verdict::Ok {
                worst = scanned.verdict;
            }
            Step::ReceiveUnsound
        };
        unit.step(step, call.now)?;
        let before = std::mem::replace(&mut unit.holder, org.clone());
        unit.to = None;
        let [di, lot, serial] = unit.id.key();
        call.unindex("heldBy", &[&before, di, lot, serial])?;
        call.index("heldBy", &[&org, di, lot, serial])?;
        save_unit(call, &unit)?;
        verdicts.push(UnitVerdict {
            unit: unit.id.to_string(),
            state: unit.state.name(),
            code: scanned.verdict.code(),
        });
    }
    let id = call.stub.tx_id().to_owned();
    let (decision, state) = if worst == Verdict::Ok {
        ("Accepted", "InStock")
    } else {
        ("Quarantined", "Quarantined")
    };
    let answer = ReceiveAnswer {
        id: &id,
        state,
        decision,
        code: worst.code(),
        units: verdicts,
    };
    Ok(Outcome::of(&answer).event(call, "UnitsReceived", &id, state, worst.code()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReleaseQuarantine {
    unit: UnitId,
    finding: String,
}

/// By a regulator's inspector or the maker that registered the product.
pub(super) fn release(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(
        &[Part::Regulator, Part::Maker],
        &["inspector", "recall", "vigilance"],
    )?;
    let args: ReleaseQuarantine = call.args()?;
    fields::code("finding", &args.finding)?;
    let mut unit = load_unit(call, &args.unit)?;
    let msp = call.msp().to_owned();
    if !call.config()?.plays(&msp, Part::Regulator) {
        let product = load_product(call, &unit.id.di)?;
        need_registrant(call, &product)?;
    }
    unit.step(Step::Release, call.now)?;
    if unit.used {
        return Err(Failure::conflict(
            "ALREADY_USED",
            format!("unit {} was implanted once", unit.id),
        ));
    }
    if is_recalled(call, &unit.id)? {
        return Err(Failure::rule(
            "RECALLED",
            format!("unit {} is under an open recall", unit.id),
        ));
    }
    unit.note = Some(args.finding.clone());
    finish(call, unit, "QuarantineReleased", &args.finding)
}

/// Writes a unit and answers with its new state.
pub(super) fn finish(
    call: &mut Call<'_>,
    unit: Unit,
    event: &'static str,
    reference: &str,
) -> Result<Outcome, Failure> {
    save_unit(call, &unit)?;
    let (id, state) = (unit.id.to_string(), unit.state.name());
    Ok(Outcome::changed(&id, state).event(call, event, &id, state, reference))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReturnUnit {
    unit: UnitId,
}

/// Back to the maker, also when quarantined, recalled or explanted.
pub(super) fn return_unit(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(HOLDERS, HANDLERS)?;
    let args: ReturnUnit = call.args()?;
    let mut unit = load_unit(call, &args.unit)?;
    need_holder(call, &unit)?;
    let maker = load_product(call, &unit.id.di)?.registrant;
    if maker == call.msp() {
        return Err(Failure::rule("SELF_SHIPMENT", "the maker has it already"));
    }
    unit.step(Step::Return, call.now)?;
    unit.to = Some(maker.clone());
    finish(call, unit, "UnitReturned", &maker)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DestroyUnit {
    unit: UnitId,
    bag_id: String,
}

pub(super) fn destroy(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(HOLDERS, &["shipping", "supply", "waste"])?;
    let args: DestroyUnit = call.args()?;
    fields::id("bagId", &args.bag_id)?;
    let mut unit = load_unit(call, &args.unit)?;
    need_holder(call, &unit)?;
    unit.step(Step::Destroy, call.now)?;
    need_bag(call, &args.bag_id)?;
    let [di, lot, serial] = unit.id.key();
    call.index("inBag", &[&args.bag_id, di, lot, serial])?;
    unit.note = Some(args.bag_id.clone());
    finish(call, unit, "UnitDestroyed", &args.bag_id)
}
