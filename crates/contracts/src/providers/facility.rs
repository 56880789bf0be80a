//! Facilities: where an organization works, and what it is licensed for there.

use serde::Deserialize;

use super::life::{change, load, need_in_force, save, supervise};
use super::list::licences_of;
use super::model::{Facility, Life, Org, Scheme, State, Step};
use super::organization::{bad_identifier, scopes};
use crate::failure::Failure;
use crate::fields;
use crate::identifiers::area;
use crate::request::{Call, Outcome};
use crate::roles::Part;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterFacility {
    id: String,
    area: String,
    scopes: Vec<String>,
}

/// By the organization itself: the regulator's peer endorses it, and sees that the licences are
/// there.
pub(super) fn register(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(OWNERS, CLERKS)?;
    let args: RegisterFacility = call.args()?;
    fields::id("id", &args.id)?;
    let scopes = scopes(args.scopes)?;
    let msp = call.msp().to_owned();
    let org: Org = load(call, &[&msp])?;
    need_in_force(call, &org.life, "ORG_INACTIVE", &msp)?;
    match org.scheme {
        Scheme::Uscc => area::check_gb2260(&args.area),
        Scheme::Npi => area::check_us(&args.area),
    }
    .map_err(bad_identifier)?;
    let licences = licences_of(call, &msp)?;
    let now = call.now;
    for scope in &scopes {
        let licensed = licences.iter().any(|licence| {
            licence.scopes.contains(scope) && licence.life.lack(None, now).is_none()
        });
        if !licensed {
            return Err(Failure::rule(
                "UNLICENSED",
                format!("{msp} has no licence for {scope} that is in force"),
            ));
        }
    }
    if call.exists("fac", &[&args.id])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("facility {} exists", args.id),
        ));
    }
    call.index("facOf", &[&msp, &args.id])?;
    let facility = Facility {
        id: args.id,
        msp,
        area: args.area,
        scopes,
        life: Life::new(State::Active, now),
    };
    save(call, facility, "FacilityRegistered", "")
}

/// Whose places are registered, and by whom.
pub(super) const OWNERS: &[Part] = &[
    Part::Provider,
    Part::Research,
    Part::Waste,
    Part::Maker,
    Part::Distributor,
];
const CLERKS: &[&str] = &[
    "records",
    "curator",
    "disposer",
    "carrier",
    "regulatory",
    "shipping",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FacilityReason {
    id: String,
    reason_code: String,
}

fn arguments(call: &Call<'_>) -> Result<FacilityReason, Failure> {
    let args: FacilityReason = call.args()?;
    fields::id("id", &args.id)?;
    Ok(args)
}

pub(super) fn suspend(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args = arguments(call)?;
    let event = "FacilitySuspended";
    supervise::<Facility>(call, &[&args.id], Step::Suspend, args.reason_code, event)
}

pub(super) fn reinstate(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args = arguments(call)?;
    let event = "FacilityReinstated";
    supervise::<Facility>(call, &[&args.id], Step::Reinstate, args.reason_code, event)
}

/// For good: by the regulator, or by the organization that closes it.
pub(super) fn revoke(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args = arguments(call)?;
    let event = "FacilityRevoked";
    let msp = call.msp().to_owned();
    if call.config()?.plays(&msp, Part::Regulator) {
        return supervise::<Facility>(call, &[&args.id], Step::Revoke, args.reason_code, event);
    }
    call.require(OWNERS, CLERKS)?;
    fields::code("reasonCode", &args.reason_code)?;
    let facility: Facility = load(call, &[&args.id])?;
    need_own(&facility, &msp)?;
    change(call, facility, Step::Revoke, event, |phase| {
        phase.reason = Some(args.reason_code);
    })
}

/// Refuses facilities of other organizations with 403 `NOT_OWN_FACILITY`.
pub(super) fn need_own(facility: &Facility, msp: &str) -> Result<(), Failure> {
    if facility.msp == msp {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_OWN_FACILITY",
        format!("facility {} is of {}", facility.id, facility.msp),
    ))
}
