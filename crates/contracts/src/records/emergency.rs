//! Breaking the glass: access in an emergency without asking for consent, and its review.

use serde::{Deserialize, Serialize};

use super::access::{
    Target, caller_standing, commit_decision, entry, load, need_state, refuse_duplicate, resolve,
};
use super::model::{Access, AccessState, Item, Purpose, RecordState};
use super::register::{MAX_PAGE, last_attribute};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;
use crate::standing::Standing;

/// When the review is due, in seconds.
const REVIEW_WINDOW: i64 = 72 * 3600;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BreakGlass {
    access_id: String,
    target: Target,
    reason_code: String,
    place_ref: String,
}

pub(super) fn break_glass(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: BreakGlass = call.args()?;
    fields::id("accessId", &args.access_id)?;
    fields::code("reasonCode", &args.reason_code)?;
    fields::code("placeRef", &args.place_ref)?;
    refuse_duplicate(call, &args.access_id)?;
    let records = resolve(call, &args.target)?;
    let msp = call.msp().to_owned();
    let may = call.config()?.plays(&msp, Part::Provider) && call.role() == Some("physician");
    let standing = if may {
        caller_standing(call)?
    } else {
        Standing::active()
    };
    let code = if !may || !standing.active {
        "CREDENTIAL"
    } else if records.iter().any(|r| r.state == RecordState::Erased) {
        "ERASED"
    } else {
        "EMERGENCY"
    };
    let state = if code == "EMERGENCY" {
        AccessState::Emergency
    } else {
        AccessState::Denied
    };
    let mut access = entry(call, args.access_id, &records, Purpose::Etreat, state);
    access.code = code.to_owned();
    access.standing = (!standing.active).then_some(standing.reason);
    access.profile = call.config()?.law_profile.name().to_owned();
    access.reason = Some(args.reason_code);
    access.place = Some(args.place_ref);
    access.items = records
        .iter()
        .map(|record| Item {
            id: record.id.clone(),
            version: record.version,
            ct_hash: record.ct_hash.clone(),
            code: code.to_owned(),
        })
        .collect();
    if state == AccessState::Emergency {
        let due = call.now.saturating_add(REVIEW_WINDOW);
        access.review_due = Some(due);
        call.index("openReview", &[&fields::sortable(due), &access.id])?;
    } else {
        access.decision = "Denied".to_owned();
    }
    commit_decision(call, &access, "GlassBroken")
}

#[derive(Deserialize)]
enum ReviewVerdict {
    Justified,
    Abuse,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Review {
    access_id: String,
    verdict: ReviewVerdict,
}

pub(super) fn review(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["auditor"])?;
    let args: Review = call.args()?;
    let mut access = load(call, &args.access_id)?;
    need_state(call, &access, AccessState::Emergency)?;
    if access.org == call.msp() {
        return Err(Failure::forbidden(
            "SELF_REVIEW",
            "an organization does not review its own emergency access",
        ));
    }
    access.state = match args.verdict {
        ReviewVerdict::Justified => AccessState::Justified,
        ReviewVerdict::Abuse => AccessState::Abuse,
    };
    let due = fields::sortable(access.review_due.unwrap_or_default());
    call.unindex("openReview", &[&due, &access.id])?;
    call.store("access", &[&access.id], &access)?;
    let state = access.state.name();
    Ok(Outcome::changed(&access.id, state).event(call, "GlassReviewed", &access.id, state, ""))
}

#[derive(Serialize)]
struct Reviews {
    entries: Vec<Access>,
}

/// Emergency accesses that nobody has reviewed, the most overdue first.
pub(super) fn open_reviews(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["auditor"])?;
    let found = call.stub.range_composite("openReview", &[], MAX_PAGE)?;
    let mut entries = Vec::with_capacity(found.len());
    for entry in found {
        let id = last_attribute(&entry.key)?;
        entries.push(load(call, &id)?);
    }
    Ok(Outcome::of(&Reviews { entries }))
}
