//! The steps that organizations, licences, facilities and credentials all take.

use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

use super::model::{Life, Living, Phase, Step};

/// Those of a regulator who suspend and revoke.
pub(super) const SUPERVISORS: &[&str] = &["certifier", "inspector"];

/// Loads it by its key, or refuses with 404.
pub(super) fn load<T: Living>(call: &mut Call<'_>, key: &[&str]) -> Result<T, Failure> {
    call.load(T::TYPE, key)?
        .ok_or_else(|| Failure::not_found(format!("no {} {}", T::NAME, key.join("/"))))
}

/// Writes it, answers with its state and tells of it.
pub(super) fn save<T: Living>(
    call: &mut Call<'_>,
    mut thing: T,
    event: &'static str,
    reference: &str,
) -> Result<Outcome, Failure> {
    let state = thing.life().now.state.name();
    call.store(T::TYPE, &thing.key(), &thing)?;
    Ok(Outcome::changed(thing.id(), state).event(call, event, thing.id(), state, reference))
}

/// Takes a step, writes and tells.
pub(super) fn change<T: Living>(
    call: &mut Call<'_>,
    mut thing: T,
    step: Step,
    event: &'static str,
    change: impl FnOnce(&mut Phase),
) -> Result<Outcome, Failure> {
    let what = format!("{} {}", T::NAME, thing.key().join("/"));
    let now = call.now;
    thing.life().step(&what, step, now, change)?;
    let reference = thing.life().now.reason.clone().unwrap_or_default();
    save(call, thing, event, &reference)
}

/// A regulator suspends, reinstates or revokes, and says why by a code.
pub(super) fn supervise<T: Living>(
    call: &mut Call<'_>,
    key: &[&str],
    step: Step,
    reason: String,
    event: &'static str,
) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], SUPERVISORS)?;
    fields::code("reasonCode", &reason)?;
    let thing: T = load(call, key)?;
    change(call, thing, step, event, |phase| {
        phase.reason = Some(reason);
    })
}

/// The bounds of something that begins to be in force.
pub(super) fn period(call: &Call<'_>, from: Option<i64>, to: i64) -> Result<(i64, i64), Failure> {
    let from = from.unwrap_or(call.now);
    if to <= call.now || to <= from {
        return Err(Failure::rule(
            "PERIOD",
            "validTo is in the future and after validFrom",
        ));
    }
    Ok((from, to))
}

/// A later end, with new evidence.
pub(super) fn renew<T: Living>(
    call: &mut Call<'_>,
    key: &[&str],
    valid_to: i64,
    source_hash: String,
    event: &'static str,
) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["certifier"])?;
    fields::hash("sourceHash", &source_hash)?;
    let mut thing: T = load(call, key)?;
    let before = thing.life().now.valid_to;
    if valid_to <= call.now || before.is_some_and(|before| valid_to <= before) {
        return Err(Failure::rule(
            "PERIOD",
            "a renewal ends in the future and later than what it renews",
        ));
    }
    change(call, thing, Step::Renew, event, |phase| {
        phase.valid_to = Some(valid_to);
        phase.source_hash = Some(source_hash);
    })
}

/// Refuses with 422 `code` what is not in force now.
pub(super) fn need_in_force(
    call: &Call<'_>,
    life: &Life,
    code: &'static str,
    what: &str,
) -> Result<(), Failure> {
    match life.lack(None, call.now) {
        None => Ok(()),
        Some(lack) => Err(Failure::rule(
            code,
            format!("{what} is not in force: {}", lack.code()),
        )),
    }
}
