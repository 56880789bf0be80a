//! On the way: handed over and taken, each with a signature of its own, then delivered.

use serde::Deserialize;

use super::bag;
use super::flag::{Raise, Raised, raise};
use super::limits::{
    CONFIRMATION_WORKING_DAYS, STORAGE_SECONDS, TRANSIT_SECONDS, working_days_later,
};
use super::manifest::{
    ByNumber, MAX_BAGS, bags_of, load, need_party, save, set_due, sign, unlicensed,
};
use super::model::{BagState, BagStep, FlagCode, Leg, Manifest, Signature, Step};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Writes a new leg that waits for the signature of `to`.
pub(super) fn begin_leg(
    call: &mut Call<'_>,
    manifest: &mut Manifest,
    gave: Signature,
    to: &str,
) -> Result<(), Failure> {
    manifest.legs += 1;
    let leg = Leg {
        n: manifest.legs,
        gave,
        to: to.to_owned(),
        took: None,
        vehicle: None,
    };
    call.store("leg", &[&manifest.no, &nth(leg.n)], &leg)
}

/// The last leg begun, which waits for its second signature.
fn open_leg(call: &mut Call<'_>, manifest: &Manifest) -> Result<Leg, Failure> {
    call.load("leg", &[&manifest.no, &nth(manifest.legs)])?
        .ok_or_else(|| {
            Failure::new(
                500,
                "LEDGER",
                format!("leg {} of {} is missing", manifest.legs, manifest.no),
            )
        })
}

/// Completes the last leg with the caller's signature and gives it back.
pub(super) fn end_leg(
    call: &mut Call<'_>,
    manifest: &Manifest,
    numbers: (u64, u64),
    vehicle: Option<String>,
) -> Result<Leg, Failure> {
    let mut leg = open_leg(call, manifest)?;
    leg.took = Some(sign(call, Some(numbers)));
    leg.vehicle = vehicle;
    call.store("leg", &[&manifest.no, &nth(leg.n)], &leg)?;
    Ok(leg)
}

/// Numbers within a manifest, as text that sorts.
pub(super) fn nth(n: u32) -> String {
    format!("{n:04}")
}

fn check_numbers(count: u64, grams: u64) -> Result<(), Failure> {
    let most = bag::MAX_GRAMS * MAX_BAGS as u64;
    if count <= 10_000 && (1..=most).contains(&grams) {
        return Ok(());
    }
    Err(Failure::malformed(format!(
        "count is at most 10000 bags, grams 1 to {most}"
    )))
}

/// Flags numbers that are not those of the other side.
fn compare(
    call: &mut Call<'_>,
    manifest: &mut Manifest,
    (count, grams): (u64, u64),
    (found_count, found_grams): (u64, u64),
    counterpart: &str,
    raised: &mut Raised,
) -> Result<(), Failure> {
    if count != found_count {
        let flag = Raise::of(FlagCode::Count, counterpart).numbers(count, found_count);
        raise(call, manifest, flag, raised)?;
    }
    if !bag::tolerances(call)?.total(grams, found_grams) {
        let flag = Raise::of(FlagCode::Weight, counterpart).numbers(grams, found_grams);
        raise(call, manifest, flag, raised)?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HandOver {
    no: String,
    count: u64,
    grams: u64,
}

/// By the producer, or by a carrier to the next one.
pub(super) fn hand_over(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider, Part::Waste], &["waste", "carrier"])?;
    let args: HandOver = call.args()?;
    check_numbers(args.count, args.grams)?;
    let mut manifest = load(call, &args.no)?;
    let (giver, role) = match manifest.carrier() {
        None => (manifest.generator.clone(), "waste"),
        Some(carrier) => (carrier.to_owned(), "carrier"),
    };
    need_party(call, &manifest, &giver)?;
    call.require_role(&[role])?;
    manifest.step(Step::HandOver, call.now)?;
    let Some(taker) = manifest.carriers.get(manifest.carried).cloned() else {
        return Err(Failure::rule(
            "LAST_CARRIER",
            format!("manifest {} names no carrier after {giver}", manifest.no),
        ));
    };
    let mut raised = Raised::default();
    let stated = (
        manifest.kept().count() as u64,
        manifest.kept().map(|line| line.grams).sum(),
    );
    let numbers = (args.count, args.grams);
    compare(call, &mut manifest, stated, numbers, &taker, &mut raised)?;
    let gave = sign(call, Some(numbers));
    begin_leg(call, &mut manifest, gave, &taker)?;
    save(call, &manifest)?;
    Ok(raised.answer(call, &manifest, "HandedOver"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptCarriage {
    no: String,
    vehicle: String,
    count: u64,
    grams: u64,
}

pub(super) fn accept_carriage(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Waste], &["carrier"])?;
    let args: AcceptCarriage = call.args()?;
    fields::code("vehicle", &args.vehicle)?;
    check_numbers(args.count, args.grams)?;
    let mut manifest = load(call, &args.no)?;
    let Some(taker) = manifest.carriers.get(manifest.carried).cloned() else {
        return Err(manifest.bad_state(call.function()));
    };
    need_party(call, &manifest, &taker)?;
    manifest.step(Step::Carry, call.now)?;
    let mut raised = Raised::default();
    let numbers = (args.count, args.grams);
    let leg = end_leg(call, &manifest, numbers, Some(args.vehicle))?;
    let gave = (
        leg.gave.count.unwrap_or_default(),
        leg.gave.grams.unwrap_or_default(),
    );
    compare(call, &mut manifest, gave, numbers, &taker, &mut raised)?;
    if unlicensed(call, &taker, &manifest.lines)?.is_some() {
        let flag = Raise::of(FlagCode::Unlicensed, &taker);
        raise(call, &mut manifest, flag, &mut raised)?;
    }
    let mut oldest: Option<(i64, String)> = None;
    for mut bag in bags_of(call, manifest.kept())? {
        if bag.state == BagState::Manifested {
            bag::no_longer_stored(call, &bag)?;
            let candidate = (bag.sealed_at, bag.id.clone());
            oldest = Some(match oldest {
                Some(before) => before.min(candidate),
                None => candidate,
            });
        }
        bag.step(BagStep::Load, call.now)?;
        bag.holder.clone_from(&taker);
        bag::save(call, &bag)?;
    }
    if let Some((sealed_at, id)) = oldest {
        let age = call.now.saturating_sub(sealed_at);
        if age > STORAGE_SECONDS {
            let flag = Raise::of(FlagCode::OverStorage, &taker)
                .bag(&id)
                .numbers(STORAGE_SECONDS.unsigned_abs(), age.unsigned_abs());
            raise(call, &mut manifest, flag, &mut raised)?;
        }
    }
    manifest.carried += 1;
    let due = call.now.saturating_add(TRANSIT_SECONDS);
    set_due(call, &mut manifest, Some(due))?;
    save(call, &manifest)?;
    Ok(raised.answer(call, &manifest, "InTransit"))
}

pub(super) fn deliver(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Waste], &["carrier"])?;
    let args: ByNumber = call.args()?;
    let mut manifest = load(call, &args.no)?;
    let Some(carrier) = manifest.carrier().map(str::to_owned) else {
        return Err(manifest.bad_state(call.function()));
    };
    need_party(call, &manifest, &carrier)?;
    manifest.step(Step::Deliver, call.now)?;
    let mut raised = Raised::default();
    if manifest.carried < manifest.carriers.len() {
        let flag = Raise::of(FlagCode::MissingLeg, &carrier)
            .numbers(manifest.carriers.len() as u64, manifest.carried as u64);
        raise(call, &mut manifest, flag, &mut raised)?;
    }
    let (gave, to) = (sign(call, None), manifest.disposer.clone());
    begin_leg(call, &mut manifest, gave, &to)?;
    let due = working_days_later(call.now, CONFIRMATION_WORKING_DAYS);
    set_due(call, &mut manifest, Some(due))?;
    save(call, &manifest)?;
    Ok(raised.answer(call, &manifest, "Delivered"))
}
