//! Where a card is registered: hospitals, clinics and insurers that know it by its handle.

use serde::Deserialize;

use super::application::load;
use super::checkin::{Verdict, burn, judge_here, parse};
use super::holder::{CARE, speaks_for};
use super::model::{Binding, BindingKind, CardState};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;

/// Facilities, and insurers, that a card is bound to at most.
pub(crate) const MAX_OF_KIND: usize = 5;
const MAX_ALL: usize = 2 * MAX_OF_KIND;
/// What a payer is licensed for.
const INSURANCE: &str = "insurance";
const DESKS: &[&str] = &["records", "billing", "adjudicator"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bind {
    handle: String,
    org: String,
    #[serde(default)]
    facility: Option<String>,
    #[serde(default)]
    token: Option<String>,
}

fn all(call: &mut Call<'_>, handle: &str) -> Result<Vec<Binding>, Failure> {
    call.stub
        .range_composite("bind", &[handle], MAX_ALL)?
        .iter()
        .map(|entry| decode("binding", &entry.value))
        .collect()
}

fn kind(call: &mut Call<'_>, org: &str) -> Result<BindingKind, Failure> {
    let config = call.config()?;
    if config.plays(org, Part::Provider) {
        Ok(BindingKind::Provider)
    } else if config.plays(org, Part::Payer) {
        Ok(BindingKind::Payer)
    } else {
        Err(Failure::rule(
            "UNKNOWN_ORG",
            format!("{org} is neither a provider nor a payer"),
        ))
    }
}

pub(super) fn bind(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Bind = call.args()?;
    fields::msp("org", &args.org)?;
    let facility = args.facility.unwrap_or_else(|| args.org.clone());
    fields::code("facility", &facility)?;
    let card = load(call, &args.handle)?;
    let kind = kind(call, &args.org)?;
    if card.state != CardState::Active {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!(
                "card {} is {}, BindFacility needs Active",
                card.handle,
                card.state.name()
            ),
        ));
    }
    if !speaks_for(call, &card)? {
        if call.msp() != args.org {
            return Err(Failure::forbidden(
                "NOT_HOLDER",
                "BindFacility is for the holder, a linked guardian, or the organization itself with a token of the card",
            ));
        }
        call.require_role(DESKS)?;
        let text = args.token.ok_or_else(|| {
            Failure::forbidden(
                "NO_TOKEN",
                "an organization binds a card by a token of the card for the facility",
            )
        })?;
        let token = parse(&text)?;
        let verdict = judge_here(call, &token, &card, &facility)?;
        if verdict != Verdict::Ok {
            return Err(Failure::forbidden(
                verdict.code(),
                format!("the token does not bind card {}", card.handle),
            ));
        }
        burn(call, &token, &card)?;
    }
    let scope = match kind {
        BindingKind::Provider => CARE,
        BindingKind::Payer => INSURANCE,
    };
    let standing = call.organization_standing(&args.org, scope)?;
    if !standing.active {
        return Err(Failure::rule(
            "UNLICENSED",
            format!(
                "{} has no licence for {scope} in force, the registry says {}",
                args.org, standing.reason
            ),
        ));
    }
    let bound = all(call, &card.handle)?;
    if bound
        .iter()
        .any(|one| one.org == args.org && one.facility == facility)
    {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("card {} is bound to {facility}", card.handle),
        ));
    }
    if bound.iter().filter(|one| one.kind == kind).count() >= MAX_OF_KIND {
        return Err(Failure::rule(
            "TOO_MANY_BINDINGS",
            format!("a card is bound to at most {MAX_OF_KIND} facilities and as many insurers"),
        ));
    }
    let binding = Binding {
        handle: card.handle,
        org: args.org,
        facility,
        kind,
        at: call.now,
    };
    store(call, &binding)?;
    call.mark_bureau(&binding.handle)?;
    finish(call, &binding, "Bound", "FacilityBound")
}

fn store(call: &mut Call<'_>, binding: &Binding) -> Result<(), Failure> {
    let Binding {
        handle,
        org,
        facility,
        ..
    } = binding;
    call.store("bind", &[handle, org, facility], binding)
}

fn remove(call: &mut Call<'_>, binding: &Binding) -> Result<(), Failure> {
    let Binding {
        handle,
        org,
        facility,
        ..
    } = binding;
    call.unindex("bind", &[handle, org, facility])
}

fn finish(
    call: &Call<'_>,
    binding: &Binding,
    state: &'static str,
    event: &'static str,
) -> Result<Outcome, Failure> {
    let Binding {
        handle, facility, ..
    } = binding;
    Ok(Outcome::changed(handle, state).event(call, event, handle, state, facility))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unbind {
    handle: String,
    org: String,
    #[serde(default)]
    facility: Option<String>,
}

pub(super) fn unbind(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Unbind = call.args()?;
    fields::msp("org", &args.org)?;
    let facility = args.facility.unwrap_or_else(|| args.org.clone());
    fields::code("facility", &facility)?;
    let card = load(call, &args.handle)?;
    if !speaks_for(call, &card)? {
        if call.msp() != args.org {
            return Err(Failure::forbidden(
                "NOT_HOLDER",
                "UnbindFacility is for the holder, a linked guardian, or the organization itself",
            ));
        }
        call.require_role(DESKS)?;
    }
    let binding: Binding = call
        .load("bind", &[&card.handle, &args.org, &facility])?
        .ok_or_else(|| {
            Failure::not_found(format!("card {} is not bound to {facility}", card.handle))
        })?;
    remove(call, &binding)?;
    call.mark_bureau(&binding.handle)?;
    finish(call, &binding, "Unbound", "FacilityUnbound")
}

/// The new card is registered wherever the old one was.
pub(super) fn move_all(call: &mut Call<'_>, from: &str, to: &str) -> Result<(), Failure> {
    for binding in all(call, from)? {
        remove(call, &binding)?;
        let moved = Binding {
            handle: to.to_owned(),
            ..binding
        };
        store(call, &moved)?;
    }
    Ok(())
}

/// A card that is over is registered nowhere.
pub(super) fn end_all(call: &mut Call<'_>, handle: &str) -> Result<(), Failure> {
    for binding in all(call, handle)? {
        remove(call, &binding)?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByHandle {
    handle: String,
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByHandle = call.args()?;
    let card = load(call, &args.handle)?;
    Ok(Outcome::of(&all(call, &card.handle)?))
}
