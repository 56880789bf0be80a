//! Who may speak for a card: its holder by the pseudonym in the certificate, and guardians.

use serde::{Deserialize, Serialize};

use super::application;
use super::model::{CARDHOLDERS, Card, Holder};
use crate::failure::Failure;
use crate::fields;
use crate::guardian;
use crate::key::{composite_key, split_composite_key};
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;

/// Guardians that one person has at most, those whose time is over included.
pub(crate) const MAX_GUARDIANS: usize = 8;
/// What a provider is licensed for that opens cards and admits with them.
pub(super) const CARE: &str = "care";

/// Refuses a provider whose own licence is not in force with 403 `CREDENTIAL`.
pub(super) fn require_licensed(call: &mut Call<'_>) -> Result<(), Failure> {
    let msp = call.msp().to_owned();
    let standing = call.organization_standing(&msp, CARE)?;
    if standing.active {
        return Ok(());
    }
    Err(Failure::forbidden(
        "CREDENTIAL",
        format!(
            "{} needs a licence for {CARE} that is in force, the registry says {msp} is {}",
            call.function(),
            standing.reason
        ),
    ))
}

/// Whether the caller is the card's holder, or a guardian of the holder now.
pub(super) fn speaks_for(call: &mut Call<'_>, card: &Card) -> Result<bool, Failure> {
    let msp = call.msp().to_owned();
    if !call.config()?.plays(&msp, Part::Citizen) {
        return Ok(false);
    }
    let (Some(own), Some(sid)) = (call.sid().map(str::to_owned), &card.sid) else {
        return Ok(false);
    };
    match call.role() {
        Some("patient") => Ok(own == *sid),
        Some("guardian") => {
            // The pseudonym comes from a certificate: it need not be one.
            fields::sid("hc.sid", &own)?;
            call.is_guardian(&own, sid)
        }
        _ => Ok(false),
    }
}

/// Refuses everybody but holder and guardians with 403 `NOT_HOLDER`.
pub(super) fn require_holder(call: &mut Call<'_>, card: &Card) -> Result<(), Failure> {
    if speaks_for(call, card)? {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_HOLDER",
        format!(
            "{} is for the holder (hc.role patient with the card's hc.sid) or a linked guardian",
            call.function()
        ),
    ))
}

/// Whether somebody is the guardian of this person now.
pub(super) fn has_guardian(call: &mut Call<'_>, sid: &str) -> Result<bool, Failure> {
    for guardian in guardians(call, sid)? {
        if call.is_guardian(&guardian, sid)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn guardians(call: &mut Call<'_>, sid: &str) -> Result<Vec<String>, Failure> {
    let entries = call.stub.range_composite("wardOf", &[sid], MAX_GUARDIANS)?;
    let mut guardians = Vec::new();
    for entry in entries {
        let (_, attributes) = split_composite_key(&entry.key)?;
        guardians.extend(attributes.last().map(|last| (*last).to_owned()));
    }
    Ok(guardians)
}

pub(super) fn link_guardian(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require_issuer()?;
    let (pair, outcome) = guardian::link(call)?;
    let known = guardians(call, &pair.sid)?;
    if !known.contains(&pair.guardian_sid) {
        if known.len() >= MAX_GUARDIANS {
            return Err(Failure::rule(
                "TOO_MANY_GUARDIANS",
                format!("a person has at most {MAX_GUARDIANS} guardians: unlink one first"),
            ));
        }
        call.index("wardOf", &[&pair.sid, &pair.guardian_sid])?;
    }
    call.guard("ward", &pair.key())?;
    Ok(outcome)
}

pub(super) fn unlink_guardian(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require_issuer()?;
    let (pair, outcome) = guardian::unlink(call)?;
    call.unindex("wardOf", &[&pair.sid, &pair.guardian_sid])?;
    Ok(outcome)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByHandle {
    handle: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Match {
    /// The document is that of the opening.
    id: bool,
    /// Name and birth date are those of the opening.
    person: bool,
}

/// Whether a proof is the one that the card was opened with.
pub(super) fn verify(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require_issuer()?;
    let args: ByHandle = call.args()?;
    let card = application::load(call, &args.handle)?;
    let mut proof = application::proof(call)?;
    let key = composite_key("holder", &[&card.handle])?;
    let bytes = call.stub.get_private(CARDHOLDERS, &key)?.ok_or_else(|| {
        Failure::not_found(format!(
            "nothing is kept of the holder of card {}",
            card.handle
        ))
    })?;
    let stored: Holder = decode("holder", &bytes)?;
    proof.salt = stored.salt.clone();
    let said = Holder::of(&proof);
    Ok(Outcome::of(&Match {
        id: said.id_commit == stored.id_commit,
        person: said.person_commit == stored.person_commit,
    }))
}
