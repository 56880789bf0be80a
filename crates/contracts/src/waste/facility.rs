//! At the facility: bag by bag on the scales, or refused and sent on.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::bag::{self, check_grams};
use super::carriage::{begin_leg, end_leg};
use super::flag::{Raise, Raised, raise};
use super::limits::TRANSIT_SECONDS;
use super::manifest::{
    MAX_BAGS, list, load, need_licence, need_party, new, new_number, save, set_due, sign,
    unlicensed,
};
use super::model::{BagStep, Fate, FlagCode, Line, Manifest, ManifestState, Step, Weighed};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AcceptAtFacility {
    no: String,
    bags: Vec<Scale>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scale {
    bag: String,
    grams: u64,
}

fn weighings(bags: &[Scale]) -> Result<BTreeMap<&str, u64>, Failure> {
    if bags.len() > MAX_BAGS {
        return Err(Failure::malformed(format!(
            "bags has at most {MAX_BAGS} entries, got {}",
            bags.len()
        )));
    }
    let mut found = BTreeMap::new();
    for scale in bags {
        fields::id("bag", &scale.bag)?;
        check_grams("grams", scale.grams)?;
        if found.insert(scale.bag.as_str(), scale.grams).is_some() {
            return Err(Failure::conflict(
                "DUPLICATE",
                format!("bag {} is named twice", scale.bag),
            ));
        }
    }
    Ok(found)
}

/// By the facility, or by the producer that a refused load comes back to.
pub(super) fn accept(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Waste, Part::Provider], &["disposer", "waste"])?;
    let args: AcceptAtFacility = call.args()?;
    let mut found = weighings(&args.bags)?;
    let mut manifest = load(call, &args.no)?;
    let receiver = manifest.disposer.clone();
    need_party(call, &manifest, &receiver)?;
    let is_return = manifest.is_return();
    call.require_role(&[if is_return { "waste" } else { "disposer" }])?;
    if manifest.state != ManifestState::Delivered {
        return Err(manifest.bad_state(call.function()));
    }
    let total = found.values().sum();
    end_leg(call, &manifest, (found.len() as u64, total), None)?;
    // The producer answers for every flag: when it is the receiver itself, the carrier does too.
    let carrier = manifest.carrier().unwrap_or_default().to_owned();
    let counterpart = if is_return { &carrier } else { &receiver };
    let mut raised = Raised::default();
    weigh(call, &mut manifest, &mut found, counterpart, &mut raised)?;
    for (bag, grams) in found {
        manifest.extra.push(Weighed {
            bag: bag.to_owned(),
            grams,
        });
        let flag = Raise::of(FlagCode::ExtraBag, counterpart)
            .bag(bag)
            .found(grams)
            .holding();
        raise(call, &mut manifest, flag, &mut raised)?;
    }
    if !is_return && unlicensed(call, &receiver, &manifest.lines)?.is_some() {
        let flag = Raise::of(FlagCode::Unlicensed, &receiver);
        raise(call, &mut manifest, flag, &mut raised)?;
    }
    let step = match (manifest.undecided, is_return) {
        (0, false) => Step::Accept,
        (0, true) => Step::TakeBack,
        _ => Step::Dispute,
    };
    manifest.step(step, call.now)?;
    set_due(call, &mut manifest, None)?;
    save(call, &manifest)?;
    let event = match step {
        Step::Dispute => "DiscrepancyFlagged",
        _ => "Accepted",
    };
    Ok(raised.answer(call, &manifest, event))
}

/// Takes the bags of the manifest out of what was weighed, and flags what is not as written.
fn weigh(
    call: &mut Call<'_>,
    manifest: &mut Manifest,
    found: &mut BTreeMap<&str, u64>,
    counterpart: &str,
    raised: &mut Raised,
) -> Result<(), Failure> {
    let tolerances = bag::tolerances(call)?;
    let receiver = call.msp().to_owned();
    let is_return = manifest.is_return();
    let mut lines = std::mem::take(&mut manifest.lines);
    let (mut stated_sum, mut found_sum) = (0, 0);
    for line in lines.iter_mut().filter(|line| line.fate.is_none()) {
        let mut bag = bag::load(call, &line.bag)?;
        if let Some(grams) = found.remove(line.bag.as_str()) {
            line.fate = Some(Fate::Received);
            line.found = Some(grams);
            stated_sum += line.grams;
            found_sum += grams;
            if !tolerances.bag(line.grams, grams) {
                let flag = Raise::of(FlagCode::Weight, counterpart)
                    .bag(&line.bag)
                    .numbers(line.grams, grams)
                    .holding();
                raise(call, manifest, flag, raised)?;
            }
            bag.holder.clone_from(&receiver);
            if is_return {
                bag.step(BagStep::TakeBack, call.now)?;
                bag.manifest = None;
                bag::store_from(call, &bag)?;
            } else {
                bag.step(BagStep::Receive, call.now)?;
            }
        } else {
            line.fate = Some(Fate::Missing);
            let flag = Raise::of(FlagCode::MissingBag, counterpart)
                .bag(&line.bag)
                .expected(line.grams)
                .holding();
            raise(call, manifest, flag, raised)?;
            bag.step(BagStep::Miss, call.now)?;
        }
        bag::save(call, &bag)?;
    }
    manifest.lines = lines;
    if !tolerances.total(stated_sum, found_sum) {
        let flag = Raise::of(FlagCode::Weight, counterpart)
            .numbers(stated_sum, found_sum)
            .holding();
        raise(call, manifest, flag, raised)?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RejectLoad {
    no: String,
    /// The number of the manifest that the refused bags go on with.
    new_no: String,
    /// All of them when absent.
    #[serde(default)]
    bags: Option<Vec<String>>,
    reason: String,
    /// Where they go; back to the producer when absent.
    #[serde(default)]
    alt_facility: Option<String>,
}

pub(super) fn reject(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Waste], &["disposer"])?;
    let args: RejectLoad = call.args()?;
    fields::code("reason", &args.reason)?;
    let mut manifest = load(call, &args.no)?;
    let facility = manifest.disposer.clone();
    need_party(call, &manifest, &facility)?;
    let refused = mark_refused(call, &mut manifest, args.bags.as_deref())?;
    let all = manifest.kept().next().is_none();
    let step = if all {
        Step::RejectAll
    } else {
        Step::RejectPart
    };
    manifest.step(step, call.now)?;
    let scheme = new_number(call, &args.new_no)?;
    if scheme != manifest.scheme {
        return Err(Failure::rule(
            "BAD_NUMBER",
            format!(
                "manifest {} is one of {}, and so is the one that follows it",
                manifest.no,
                manifest.scheme.name()
            ),
        ));
    }
    let to = match args.alt_facility {
        None => manifest.generator.clone(),
        Some(facility) => {
            fields::msp("altFacility", &facility)?;
            if facility == call.msp() {
                return Err(Failure::rule(
                    "SELF_REJECTION",
                    "a refused load goes to another facility, or back",
                ));
            }
            need_licence(call, &facility, &refused)?;
            facility
        }
    };
    let Some(carrier) = manifest.carrier().map(str::to_owned) else {
        return Err(manifest.bad_state(call.function()));
    };
    for line in &refused {
        let mut bag = bag::load(call, &line.bag)?;
        bag.manifest = Some(args.new_no.clone());
        bag.at = call.now;
        bag::save(call, &bag)?;
    }
    let numbers = (
        refused.len() as u64,
        refused.iter().map(|line| line.grams).sum(),
    );
    let mut next = new(
        call,
        &args.new_no,
        scheme,
        vec![carrier.clone()],
        to,
        refused,
    );
    next.generator.clone_from(&manifest.generator);
    next.state = ManifestState::HandedOver;
    next.previous = Some(manifest.no.clone());
    next.reason = Some(args.reason.clone());
    let gave = sign(call, Some(numbers));
    begin_leg(call, &mut next, gave, &carrier)?;
    let due = call.now.saturating_add(TRANSIT_SECONDS);
    set_due(call, &mut next, Some(due))?;
    save(call, &next)?;
    list(call, &next)?;
    manifest.next.push(args.new_no.clone());
    if all {
        set_due(call, &mut manifest, None)?;
    }
    save(call, &manifest)?;
    let state = manifest.state.name();
    Ok(Outcome::changed(&manifest.no, state).event(
        call,
        "LoadRejected",
        &manifest.no,
        state,
        &args.new_no,
    ))
}

/// Marks the lines that are refused and gives them as lines of the next manifest.
fn mark_refused(
    call: &Call<'_>,
    manifest: &mut Manifest,
    bags: Option<&[String]>,
) -> Result<Vec<Line>, Failure> {
    if manifest.state != ManifestState::Delivered {
        return Err(manifest.bad_state(call.function()));
    }
    if let Some(bags) = bags {
        fields::count("bags", bags.len(), MAX_BAGS)?;
        for bag in bags {
            if !manifest.kept().any(|line| line.bag == *bag) {
                return Err(Failure::rule(
                    "NOT_ON_MANIFEST",
                    format!("bag {bag} is not on manifest {}", manifest.no),
                ));
            }
        }
    }
    let mut refused = Vec::new();
    for line in &mut manifest.lines {
        let named = bags.is_none_or(|bags| bags.contains(&line.bag));
        if named && line.fate.is_none() {
            refused.push(line.clone());
            line.fate = Some(Fate::Rejected);
        }
    }
    Ok(refused)
}
