//! Charges: each at the price in force, with evidence, within the stay, and once.

use serde::Deserialize;
use serde_json::json;

use super::episode::{self, stay_key};
use super::model::{Charge, ChargeState, ChargeStep, Episode, Refusal};
use super::money::Money;
use super::pair::{Pair, Pepper, commit};
use super::places::{conflict, occupy, vacate};
use super::private::{
    ChargeLine, ClaimLine, Evidence, LINE_SHAPE, PriceEntry, PricePage, Stay, When,
};
use super::tariff;
use crate::devices::UnitId;
use crate::failure::Failure;
use crate::fields::{self, date_of};
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Charges of one episode.
pub(super) const MAX_CHARGES: u32 = 9_999;
pub(super) const MAX_MODIFIERS: usize = 4;

/// Numbers as keys, so that they sort.
pub(super) fn seq_text(seq: u32) -> String {
    format!("{seq:04}")
}

pub(super) fn line_key(epi: &str, seq: u32) -> String {
    format!("chg.{epi}.{seq}")
}

/// X12 modifiers for a procedure repeated by the same or another physician.
pub(super) fn is_repeat(modifiers: &[String]) -> bool {
    modifiers.iter().any(|one| one == "76" || one == "77")
}

pub(super) fn load(call: &mut Call<'_>, epi: &str, seq: u32) -> Result<Charge, Failure> {
    call.load("chg", &[epi, &seq_text(seq)])?
        .ok_or_else(|| Failure::not_found(format!("no charge {epi}/{seq}")))
}

pub(super) fn store(call: &mut Call<'_>, charge: &Charge) -> Result<(), Failure> {
    call.store("chg", &[&charge.epi, &seq_text(charge.seq)], charge)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PostCharge {
    epi: String,
    seq: u32,
}

/// What can be said about a line by itself.
fn check_line(line: &ChargeLine, now: i64) -> Result<(), Failure> {
    fields::salt(&line.salt)?;
    fields::code("system", &line.system)?;
    fields::code("code", &line.code)?;
    check_modifiers(&line.modifiers)?;
    if line.price_version.is_some() {
        return Err(Failure::malformed(
            "priceVersion is filled in by the contract",
        ));
    }
    if line.date > date_of(now) {
        return Err(Failure::rule(
            "DATE",
            "the day of the charge lies in the future",
        ));
    }
    let product = line.unit_price.times(line.qty)?;
    if line.qty == 0 || line.unit_price.is_negative() || product != line.amount {
        return Err(Failure::rule(
            "AMOUNT",
            "the amount is not the quantity, at least 1, times the unit price, at least 0",
        ));
    }
    check_evidence(&line.evidence)?;
    if line.evidence.unit.is_some() && line.qty != 1 {
        return Err(Failure::rule("AMOUNT", "a device is charged one by one"));
    }
    Ok(())
}

pub(super) fn check_modifiers(modifiers: &[String]) -> Result<(), Failure> {
    if modifiers.len() > MAX_MODIFIERS {
        return Err(Failure::malformed(format!(
            "a line has up to {MAX_MODIFIERS} modifiers"
        )));
    }
    modifiers
        .iter()
        .try_for_each(|one| fields::code("modifiers", one))
}

/// Something has to show that the service was given.
pub(super) fn check_evidence(evidence: &Evidence) -> Result<(), Failure> {
    let Evidence {
        record,
        order,
        unit,
    } = evidence;
    if record.is_none() && order.is_none() && unit.is_none() {
        return Err(Failure::rule(
            "NO_EVIDENCE",
            "a line refers to a record, an order or a device unit",
        ));
    }
    for (name, reference) in [("record", record), ("order", order)] {
        if let Some(reference) = reference {
            fields::code(name, reference)?;
        }
    }
    Ok(())
}

/// Posts a charge. Refusals that are verdicts stay on the ledger.
pub(super) fn post(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing", "physician", "nurse"])?;
    let args: PostCharge = call.args()?;
    let mut line: ChargeLine = call.needed("line", LINE_SHAPE)?;
    if !(1..=MAX_CHARGES).contains(&args.seq) {
        return Err(Failure::malformed(format!(
            "seq is a number from 1 to {MAX_CHARGES}"
        )));
    }
    check_line(&line, call.now)?;
    let episode = episode::load_own(call, &args.epi)?;
    episode.must_be_open()?;
    if call.exists("chg", &[&episode.id, &seq_text(args.seq)])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("charge {}/{} exists", episode.id, args.seq),
        ));
    }
    let pair = episode.pair();
    let (version, entry) = tariff::entry_for(call, &pair, &line, &episode.currency)?;
    line.price_version = Some(version);
    let pepper = call.pepper(&pair)?;
    if let Some(unit) = &line.evidence.unit {
        must_be_implanted_here(call, unit)?;
    }
    if let Some(code) = verdict(call, &episode, &pepper, &line, &entry)? {
        return refuse(call, &episode, args.seq, &line, code);
    }
    occupy(call, &pepper, &episode.id, args.seq, &line, &entry.parts)?;
    if let Some(unit) = &line.evidence.unit {
        let by = json!({"epi": episode.id, "seq": args.seq});
        call.store("billed", &unit.key(), &by)?;
    }
    let charge = Charge {
        epi: episode.id.clone(),
        seq: args.seq,
        state: ChargeState::Posted,
        commit: commit(&line),
        claim: None,
        reason: None,
        at: call.now,
    };
    call.write_private(&pair, &line_key(&episode.id, args.seq), &line)?;
    finish(call, &pair, charge, "ChargePosted")
}

fn finish(
    call: &mut Call<'_>,
    pair: &Pair,
    charge: Charge,
    event: &'static str,
) -> Result<Outcome, Failure> {
    call.mark_pair(pair, &charge.epi)?;
    store(call, &charge)?;
    let id = format!("{}/{}", charge.epi, charge.seq);
    let state = charge.state.name();
    Ok(Outcome::changed(&id, state).event(call, event, &id, state, &charge.epi))
}

fn verdict(
    call: &mut Call<'_>,
    episode: &Episode,
    pepper: &Pepper,
    line: &ChargeLine,
    entry: &PriceEntry,
) -> Result<Option<&'static str>, Failure> {
    let stay: Stay = call.must_read(&episode.pair(), &stay_key(&episode.id))?;
    match stay.when(line.date) {
        When::AfterDeath => return Ok(Some("AFTER_DEATH")),
        When::OutsideStay => return Ok(Some("OUTSIDE_STAY")),
        When::InStay => {}
    }
    if let Some(unit) = &line.evidence.unit
        && call.exists("billed", &unit.key())?
    {
        return Ok(Some("UNIT_BILLED"));
    }
    conflict(call, pepper, &episode.id, line, &entry.parts)
}

fn refuse(
    call: &mut Call<'_>,
    episode: &Episode,
    seq: u32,
    line: &ChargeLine,
    code: &'static str,
) -> Result<Outcome, Failure> {
    let tx = call.stub.tx_id().to_owned();
    let refusal = Refusal {
        seq,
        code: code.to_owned(),
        commit: commit(line),
        at: call.now,
    };
    call.write_private(
        &episode.pair(),
        &format!("refused.{}.{tx}", episode.id),
        line,
    )?;
    call.store("verdict", &[&episode.id, &tx], &refusal)?;
    let id = format!("{}/{seq}", episode.id);
    Ok(Outcome::verdict(&id, "Refused", "Refused", code).event(
        call,
        "ChargeRefused",
        &id,
        "Refused",
        code,
    ))
}

/// A device line wants that unit implanted at the caller, where the configuration says which
/// chaincode knows. 422 `NO_EVIDENCE` otherwise.
fn must_be_implanted_here(call: &mut Call<'_>, unit: &UnitId) -> Result<(), Failure> {
    for (name, part) in [
        ("di", &unit.di),
        ("lot", &unit.lot),
        ("serial", &unit.serial),
    ] {
        let fits = (1..=64).contains(&part.len()) && !part.chars().any(char::is_control);
        if !fits {
            return Err(Failure::malformed(format!(
                "{name} of a unit has 1 to 64 printable characters"
            )));
        }
    }
    let devices = call.config()?.devices_contract.clone();
    if devices.is_empty() {
        return Ok(());
    }
    let answer = call.ask(&devices, "ReadUnit", &json!({"unit": unit}))?;
    let missing = |sentence: String| Failure::rule("NO_EVIDENCE", sentence);
    if answer.status == 404 {
        return Err(missing(format!("{devices} has no such unit")));
    }
    if !answer.is_endorsable() {
        return Err(Failure::new(
            500,
            "DEVICES",
            format!("{devices} does not answer ReadUnit: {}", answer.message),
        ));
    }
    #[derive(Deserialize)]
    struct Found {
        state: String,
        holder: String,
    }
    let found: Found = serde_json::from_slice(&answer.payload).map_err(|error| {
        Failure::new(
            500,
            "DEVICES",
            format!("{devices} answers ReadUnit with something else: {error}"),
        )
    })?;
    if found.state == "Implanted" && found.holder == call.msp() {
        return Ok(());
    }
    Err(missing(format!(
        "the unit is {} at {}, it has to be Implanted at {}",
        found.state,
        found.holder,
        call.msp()
    )))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReverseCharge {
    epi: String,
    seq: u32,
    reason: String,
}

/// Takes back a charge that no claim bills. Its number stays used.
pub(super) fn reverse(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["billing"])?;
    let args: ReverseCharge = call.args()?;
    fields::code("reason", &args.reason)?;
    let episode = episode::load_own(call, &args.epi)?;
    episode.must_be_open()?;
    let mut charge = load(call, &episode.id, args.seq)?;
    charge.step(ChargeStep::Reverse)?;
    let pair = episode.pair();
    let line: ChargeLine = call.must_read(&pair, &line_key(&episode.id, args.seq))?;
    let pepper = call.pepper(&pair)?;
    let parts = parts_of(call, &pair, &line)?;
    vacate(call, &pepper, &episode.id, args.seq, &line, &parts)?;
    if let Some(unit) = &line.evidence.unit {
        call.unindex("billed", &unit.key())?;
    }
    charge.reason = Some(args.reason);
    charge.at = call.now;
    finish(call, &pair, charge, "ChargeReversed")
}

/// The parts of the package that a posted line is, from the page that it was checked against.
fn parts_of(call: &mut Call<'_>, pair: &Pair, line: &ChargeLine) -> Result<Vec<String>, Failure> {
    let version = line.price_version.as_deref().unwrap_or_default();
    let page: PricePage = call.must_read(pair, &tariff::page_key(version, line.page))?;
    Ok(page
        .entries
        .into_iter()
        .find(|entry| entry.system == line.system && entry.code == line.code)
        .map(|entry| entry.parts)
        .unwrap_or_default())
}

/// Whether a claim's line says the same as the charge that it bills.
pub(super) fn agrees(charge: &ChargeLine, line: &ClaimLine, net: Money) -> bool {
    charge.date == line.date
        && charge.system == line.system
        && charge.code == line.code
        && charge.modifiers == line.modifiers
        && charge.amount == net
}
