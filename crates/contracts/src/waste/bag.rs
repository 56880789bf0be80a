//! Bags, boxes and drums: sealed, weighed, corrected.

use serde::Deserialize;

use super::class::{Container, check_container, classify};
use super::limits::{STORAGE_SECONDS, Tolerances};
use super::model::{Bag, BagState, BagStep};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Ten tonnes: what no bag, box or drum weighs.
pub(super) const MAX_GRAMS: u64 = 10_000_000;

pub(super) fn load(call: &mut Call<'_>, id: &str) -> Result<Bag, Failure> {
    fields::id("bag", id)?;
    call.load("bag", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no bag {id}")))
}

pub(super) fn save(call: &mut Call<'_>, bag: &Bag) -> Result<(), Failure> {
    call.store("bag", &[&bag.id], bag)
}

/// The entry that keeps a bag's storage time in view while its producer has it.
pub(super) fn store_from(call: &mut Call<'_>, bag: &Bag) -> Result<(), Failure> {
    call.index("stored", &[&fields::sortable(bag.sealed_at), &bag.id])
}

pub(super) fn no_longer_stored(call: &mut Call<'_>, bag: &Bag) -> Result<(), Failure> {
    call.unindex("stored", &[&fields::sortable(bag.sealed_at), &bag.id])
}

/// When a stored bag is too old: `None` once it has left its producer.
pub(super) fn storage_due(bag: &Bag) -> Option<i64> {
    matches!(bag.state, BagState::Sealed | BagState::Manifested)
        .then(|| bag.sealed_at.saturating_add(STORAGE_SECONDS))
}

pub(super) fn check_grams(name: &str, grams: u64) -> Result<(), Failure> {
    if (1..=MAX_GRAMS).contains(&grams) {
        Ok(())
    } else {
        Err(Failure::malformed(format!(
            "{name} is a mass of 1 to {MAX_GRAMS} grams"
        )))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SealBag {
    id: String,
    code: String,
    grams: u64,
    dept: String,
    #[serde(default)]
    container: Container,
    /// Seconds since 1970; now when absent.
    #[serde(default)]
    sealed_at: Option<i64>,
}

pub(super) fn seal(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["waste"])?;
    let args: SealBag = call.args()?;
    fields::id("id", &args.id)?;
    fields::code("dept", &args.dept)?;
    check_grams("grams", args.grams)?;
    let (_, class) = classify(&args.code)?;
    check_container(class, args.container)?;
    let sealed_at = args.sealed_at.unwrap_or(call.now);
    if !(0..=call.now).contains(&sealed_at) {
        return Err(Failure::rule(
            "SEALED_AT",
            "a bag is recorded after it was sealed, sealedAt is in the future or before 1970",
        ));
    }
    if call.exists("bag", &[&args.id])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("bag {} exists", args.id),
        ));
    }
    let bag = Bag {
        id: args.id,
        code: args.code,
        container: args.container,
        grams: args.grams,
        generator: call.msp().to_owned(),
        dept: args.dept,
        sealed_at,
        state: BagState::Sealed,
        holder: call.msp().to_owned(),
        manifest: None,
        reason: None,
        at: call.now,
    };
    save(call, &bag)?;
    store_from(call, &bag)?;
    let state = bag.state.name();
    Ok(Outcome::changed(&bag.id, state).event(call, "BagSealed", &bag.id, state, class.name()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CorrectBag {
    id: String,
    grams: u64,
    reason: String,
}

pub(super) fn correct(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["waste"])?;
    let args: CorrectBag = call.args()?;
    fields::code("reason", &args.reason)?;
    check_grams("grams", args.grams)?;
    let mut bag = load(call, &args.id)?;
    need_generator(call, &bag)?;
    bag.step(BagStep::Correct, call.now)?;
    bag.grams = args.grams;
    bag.reason = Some(args.reason.clone());
    save(call, &bag)?;
    let state = bag.state.name();
    Ok(Outcome::changed(&bag.id, state).event(call, "BagCorrected", &bag.id, state, &args.reason))
}

pub(super) fn need_generator(call: &Call<'_>, bag: &Bag) -> Result<(), Failure> {
    if bag.generator == call.msp() {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_HOLDER",
        format!("bag {} was sealed by {}", bag.id, bag.generator),
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadBag {
    id: String,
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ReadBag = call.args()?;
    let bag = load(call, &args.id)?;
    need_sight(call, &bag)?;
    Ok(Outcome::of(&bag))
}

/// Who may ask for a bag: its producer, its holder, the parties of its manifest, regulators.
pub(super) fn need_sight(call: &mut Call<'_>, bag: &Bag) -> Result<(), Failure> {
    let msp = call.msp().to_owned();
    if bag.generator == msp || bag.holder == msp || call.config()?.plays(&msp, Part::Regulator) {
        return Ok(());
    }
    if let Some(no) = &bag.manifest
        && super::manifest::load(call, no)?.concerns(&msp)
    {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_PARTY",
        format!("{msp} has nothing to do with bag {}", bag.id),
    ))
}

pub(super) fn tolerances(call: &mut Call<'_>) -> Result<Tolerances, Failure> {
    Ok(call.load("tolerances", &[])?.unwrap_or_default())
}

pub(super) fn set_tolerances(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["environment"])?;
    let args: Tolerances = call.args()?;
    let grams = args.bag_grams.max(args.total_grams);
    if args.bag_permille.max(args.total_permille) > 1000 || grams > MAX_GRAMS {
        return Err(Failure::malformed(format!(
            "tolerances are at most 1000 thousandths and {MAX_GRAMS} grams"
        )));
    }
    call.store("tolerances", &[], &args)?;
    Ok(Outcome::changed("tolerances", "Active").event(
        call,
        "TolerancesSet",
        "tolerances",
        "Active",
        "",
    ))
}
