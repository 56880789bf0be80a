//! Opening a card: an application with a proof of identity, and the bureau's decision.
//!
//! The proof is in the collection `cardholders` from the one to the other and is then purged; what
//! stays are salted commitments. The pseudonym is computed where the epochs' keys may be read,
//! which is when the bureau's issuer calls: at once for its own application, at the activation for
//! a hospital desk's.

use serde::Deserialize;

use super::epoch::{self, Pseudonym};
use super::holder;
use super::identity;
use super::model::{CARDHOLDERS, Card, CardScheme, CardState, Holder, Proof, Step};
use super::token::CardKey;
use crate::failure::Failure;
use crate::fields::{self, date_of};
use crate::key::composite_key;
use crate::request::{Call, Outcome, decode, to_json};
use crate::roles::Part;

/// Younger people need a guardian to have a card.
pub(crate) const OF_AGE: i16 = 14;
/// The lowest level of the proof of identity, as the bureau grades it: 1 the number alone, 2 the
/// document seen, 3 the document's chip read or a likeness compared.
const MIN_LEVEL: u8 = 2;

const PROOF_SHAPE: &str = r#"{"idType","idNo","name","birth":"YYYY-MM-DD","salt": at least 32 hexadecimal digits,"cardNo"?,"sid"?}"#;

/// The proof in the transient map, in order and in its one form.
pub(super) fn proof(call: &Call<'_>) -> Result<Proof, Failure> {
    let proof = call.transient("proof", PROOF_SHAPE)?.ok_or_else(|| {
        Failure::malformed(format!(
            "{} needs transient 'proof': {PROOF_SHAPE}",
            call.function()
        ))
    })?;
    epoch::check_proof(proof, date_of(call.now))
}

/// A card's key that no other card has or had: 422 `BAD_KEY`, 409 `KEY_IN_USE`.
pub(super) fn take_key(call: &mut Call<'_>, key: &CardKey, handle: &str) -> Result<(), Failure> {
    key.check()
        .map_err(|error| Failure::rule("BAD_KEY", error.to_string()))?;
    let thumbprint = key.thumbprint();
    if call.exists("keyOf", &[&thumbprint])? {
        return Err(Failure::conflict(
            "KEY_IN_USE",
            "another card has or had this key: make a new one",
        ));
    }
    call.store("keyOf", &[&thumbprint], &handle)
}

/// Refuses a handle that is taken.
pub(super) fn new_handle(call: &mut Call<'_>, name: &str, handle: &str) -> Result<(), Failure> {
    fields::id(name, handle)?;
    if call.exists("card", &[handle])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("card {handle} exists"),
        ));
    }
    Ok(())
}

/// The one pseudonym that a card gets, if its holder has no open card of the scheme under any.
fn place(
    call: &mut Call<'_>,
    proof: &Proof,
    scheme: CardScheme,
    epoch: Option<u32>,
) -> Result<Pseudonym, Failure> {
    let all = epoch::pseudonyms(call, proof)?;
    let chosen = match epoch {
        Some(epoch) => all.iter().find(|one| one.epoch == epoch),
        None => all.last(),
    };
    let chosen = chosen.cloned().ok_or_else(|| {
        Failure::rule(
            "EPOCH_RETIRED",
            "the application's epoch is over: revoke it and apply again",
        )
    })?;
    if proof.sid.as_ref().is_some_and(|sid| *sid != chosen.sid) {
        return Err(Failure::rule(
            "SID_MISMATCH",
            format!(
                "the pseudonym is not that of the proof under epoch {}",
                chosen.epoch
            ),
        ));
    }
    for one in &all {
        if call.exists("active", &[&one.sid, scheme.name()])? {
            return Err(Failure::conflict(
                "ALREADY_OPEN",
                format!("this person has an open {} card", scheme.name()),
            ));
        }
    }
    Ok(chosen)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Apply {
    handle: String,
    scheme: CardScheme,
    card_key: CardKey,
}

pub(super) fn apply(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let by_issuer = call.is_issuer()?;
    if !by_issuer {
        if call.bureau()? == call.msp() {
            call.require_role(&["issuer"])?;
        }
        call.require(&[Part::Provider], &["records"])?;
        holder::require_licensed(call)?;
    }
    let args: Apply = call.args()?;
    new_handle(call, "handle", &args.handle)?;
    let proof = proof(call)?;
    if let Some(sid) = &proof.sid {
        fields::sid("the transient sid", sid)?;
    }
    take_key(call, &args.card_key, &args.handle)?;
    let pseudonym = if by_issuer {
        Some(place(call, &proof, args.scheme, None)?)
    } else {
        None
    };
    let (sid, epoch) = pseudonym.map(|one| (one.sid, one.epoch)).unzip();
    let card = Card {
        handle: args.handle,
        scheme: args.scheme,
        state: CardState::Applied,
        issuer: call.bureau()?,
        applied_at: call.msp().to_owned(),
        sid,
        epoch,
        key: args.card_key,
        valid_to: None,
        evidence_hash: None,
        suspended_by: None,
        reason: None,
        replaces: None,
        replaced_by: None,
        at: call.now,
    };
    let key = composite_key("proof", &[&card.handle])?;
    call.stub.put_private(CARDHOLDERS, &key, &to_json(&proof))?;
    call.store("card", &[&card.handle], &card)?;
    call.guard("card", &[&card.handle])?;
    finish(call, &card, "CardApplied", "")
}

/// Answers with the card's state, and tells everybody of it.
pub(super) fn finish(
    call: &Call<'_>,
    card: &Card,
    event: &'static str,
    reference: &str,
) -> Result<Outcome, Failure> {
    let state = card.state.name();
    Ok(Outcome::changed(&card.handle, state).event(call, event, &card.handle, state, reference))
}

pub(super) fn load(call: &mut Call<'_>, handle: &str) -> Result<Card, Failure> {
    fields::id("handle", handle)?;
    call.load("card", &[handle])?
        .ok_or_else(|| Failure::not_found(format!("no card {handle}")))
}

/// Takes the one place for this card. The entry was read before, so that of two cards that open
/// at once one is invalid.
pub(super) fn take_place(call: &mut Call<'_>, card: &Card) -> Result<(), Failure> {
    let sid = card.holder()?.to_owned();
    call.store("active", &[&sid, card.scheme.name()], &card.handle)?;
    call.guard("active", &[&sid, card.scheme.name()])?;
    match card.epoch {
        Some(epoch) => epoch::hold(call, epoch, &card.handle),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Activate {
    handle: String,
    evidence_hash: String,
    level: u8,
    valid_to: i64,
}

pub(super) fn activate(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require_issuer()?;
    let args: Activate = call.args()?;
    fields::hash("evidenceHash", &args.evidence_hash)?;
    let mut card = load(call, &args.handle)?;
    card.step(Step::Activate, call.now)?;
    check_period(call, args.valid_to)?;
    if args.level < MIN_LEVEL {
        return Err(Failure::rule(
            "PROOF_LEVEL",
            format!("identity is proved at level {MIN_LEVEL} at least: see the document"),
        ));
    }
    let key = composite_key("proof", &[&card.handle])?;
    let bytes = call.stub.get_private(CARDHOLDERS, &key)?.ok_or_else(|| {
        Failure::not_found(format!("no proof of identity for card {}", card.handle))
    })?;
    let proof: Proof = decode("proof", &bytes)?;
    let place = place(call, &proof, card.scheme, card.epoch)?;
    // Asked whatever the age, so that what was read does not tell a child's card.
    let guarded = holder::has_guardian(call, &place.sid)?;
    if identity::younger_than(proof.birth, date_of(call.now), OF_AGE) && !guarded {
        return Err(Failure::rule(
            "GUARDIAN_REQUIRED",
            format!("under {OF_AGE} a guardian is linked first: LinkGuardian"),
        ));
    }
    card.sid = Some(place.sid);
    card.epoch = Some(place.epoch);
    card.evidence_hash = Some(args.evidence_hash);
    card.valid_to = Some(args.valid_to);
    call.store("card", &[&card.handle], &card)?;
    take_place(call, &card)?;
    call.stub.purge_private(CARDHOLDERS, &key)?;
    let holder_key = composite_key("holder", &[&card.handle])?;
    call.stub
        .put_private(CARDHOLDERS, &holder_key, &to_json(&Holder::of(&proof)))?;
    finish(call, &card, "CardActivated", "")
}

/// 422 `PERIOD` unless a card's validity ends in the future.
pub(super) fn check_period(call: &Call<'_>, valid_to: i64) -> Result<(), Failure> {
    if valid_to > call.now {
        Ok(())
    } else {
        Err(Failure::rule(
            "PERIOD",
            "a card's validity ends in the future",
        ))
    }
}
