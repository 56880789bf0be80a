//! What becomes of a card: suspended, resumed, replaced, revoked, closed.

use serde::{Deserialize, Serialize};

use super::application::{check_period, finish, load, new_handle, take_key, take_place};
use super::binding;
use super::epoch;
use super::holder::{require_holder, speaks_for};
use super::model::{CARDHOLDERS, Card, CardScheme, CardState, Holder, Step, SuspendedBy};
use super::number;
use super::token::CardKey;
use crate::failure::Failure;
use crate::fields;
use crate::key::composite_key;
use crate::request::{Call, Outcome, decode, to_json};

/// Schemes are few, and a person has one open card of each.
const MAX_CARDS: usize = 8;
const PRINT_SHAPE: &str = r#"{"cardNo","salt": at least 32 hexadecimal digits}"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithReason {
    handle: String,
    reason: String,
}

/// In which part somebody suspends or resumes a card.
fn part(call: &mut Call<'_>, card: &Card) -> Result<SuspendedBy, Failure> {
    if call.is_issuer()? {
        return Ok(SuspendedBy::Issuer);
    }
    require_holder(call, card)?;
    Ok(SuspendedBy::Holder)
}

pub(super) fn suspend(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: WithReason = call.args()?;
    fields::code("reason", &args.reason)?;
    let mut card = load(call, &args.handle)?;
    let by = part(call, &card)?;
    card.step(Step::Suspend, call.now)?;
    card.suspended_by = Some(by);
    card.reason = Some(args.reason.clone());
    call.store("card", &[&card.handle], &card)?;
    finish(call, &card, "CardSuspended", &args.reason)
}

pub(super) fn resume(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: WithReason = call.args()?;
    fields::code("reason", &args.reason)?;
    let mut card = load(call, &args.handle)?;
    let by = part(call, &card)?;
    card.step(Step::Resume, call.now)?;
    if card.suspended_by == Some(SuspendedBy::Issuer) && by == SuspendedBy::Holder {
        return Err(Failure::forbidden(
            "ISSUER_HOLD",
            format!("the bureau suspended card {}, and lifts it", card.handle),
        ));
    }
    card.suspended_by = None;
    card.reason = Some(args.reason.clone());
    call.store("card", &[&card.handle], &card)?;
    finish(call, &card, "CardResumed", &args.reason)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Replace {
    handle: String,
    new_handle: String,
    new_key: CardKey,
    valid_to: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Print {
    card_no: String,
    salt: String,
}

pub(super) fn replace(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require_issuer()?;
    let args: Replace = call.args()?;
    let mut old = load(call, &args.handle)?;
    old.step(Step::Replace, call.now)?;
    new_handle(call, "newHandle", &args.new_handle)?;
    check_period(call, args.valid_to)?;
    take_key(call, &args.new_key, &args.new_handle)?;
    let print: Option<Print> = call.transient("print", PRINT_SHAPE)?;
    if let Some(print) = &print {
        fields::salt(&print.salt)?;
        if !number::is_printed(&print.card_no) {
            return Err(Failure::rule(
                "BAD_CARD_NO",
                "the printed number is 80156, four digits of the issuer, nine random ones and a check digit",
            ));
        }
    }
    let new = Card {
        handle: args.new_handle,
        state: CardState::Active,
        key: args.new_key,
        valid_to: Some(args.valid_to),
        suspended_by: None,
        reason: None,
        replaces: Some(old.handle.clone()),
        replaced_by: None,
        at: call.now,
        ..old.clone()
    };
    old.replaced_by = Some(new.handle.clone());
    old.suspended_by = None;
    call.store("card", &[&old.handle], &old)?;
    call.store("card", &[&new.handle], &new)?;
    call.guard("card", &[&new.handle])?;
    if let Some(epoch) = old.epoch {
        epoch::let_go(call, epoch, &old.handle)?;
    }
    take_place(call, &new)?;
    binding::move_all(call, &old.handle, &new.handle)?;
    // The same person: the commitments go on under the new handle.
    let from = composite_key("holder", &[&old.handle])?;
    let bytes = call
        .stub
        .get_private(CARDHOLDERS, &from)?
        .ok_or_else(|| Failure::not_found(format!("no holder of card {}", old.handle)))?;
    let mut holder: Holder = decode("holder", &bytes)?;
    holder.card_no = print.map(|print| print.card_no);
    let to = composite_key("holder", &[&new.handle])?;
    call.stub.put_private(CARDHOLDERS, &to, &to_json(&holder))?;
    call.stub.purge_private(CARDHOLDERS, &from)?;
    finish(call, &old, "CardReplaced", &new.handle)
}

/// Gives the place back that an open card had, and ends its bindings.
fn release(call: &mut Call<'_>, card: &Card) -> Result<(), Failure> {
    let sid = card.holder()?.to_owned();
    call.unindex("active", &[&sid, card.scheme.name()])?;
    if let Some(epoch) = card.epoch {
        epoch::let_go(call, epoch, &card.handle)?;
    }
    binding::end_all(call, &card.handle)
}

pub(super) fn revoke(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require_issuer()?;
    let args: WithReason = call.args()?;
    fields::code("reason", &args.reason)?;
    let mut card = load(call, &args.handle)?;
    if card.state.is_open() {
        release(call, &card)?;
    }
    let applied = card.state == CardState::Applied;
    card.step(Step::Revoke, call.now)?;
    if applied {
        // Nothing came of the application: the proof is not kept.
        let key = composite_key("proof", &[&card.handle])?;
        call.stub.purge_private(CARDHOLDERS, &key)?;
    }
    card.suspended_by = None;
    card.reason = Some(args.reason.clone());
    call.store("card", &[&card.handle], &card)?;
    finish(call, &card, "CardRevoked", &args.reason)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByHandle {
    handle: String,
}

pub(super) fn close(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByHandle = call.args()?;
    let mut card = load(call, &args.handle)?;
    require_holder(call, &card)?;
    card.step(Step::Close, call.now)?;
    release(call, &card)?;
    call.store("card", &[&card.handle], &card)?;
    purge(call, &card)?;
    finish(call, &card, "CardClosed", "")
}

fn purge(call: &mut Call<'_>, card: &Card) -> Result<(), Failure> {
    let key = composite_key("holder", &[&card.handle])?;
    Ok(call.stub.purge_private(CARDHOLDERS, &key)?)
}

/// Purges what is left of the holder of a revoked card, once nobody has to look into it any more.
pub(super) fn purge_holder(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require_issuer()?;
    let args: ByHandle = call.args()?;
    let card = load(call, &args.handle)?;
    if card.state != CardState::Revoked {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!(
                "card {} is {}, PurgeHolder needs Revoked",
                card.handle,
                card.state.name()
            ),
        ));
    }
    let key = composite_key("holder", &[&card.handle])?;
    if call.stub.get_private_hash(CARDHOLDERS, &key)?.is_none() {
        return Err(Failure::not_found(format!(
            "nothing is kept of the holder of card {}",
            card.handle
        )));
    }
    purge(call, &card)?;
    finish(call, &card, "HolderPurged", "")
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByHandle = call.args()?;
    Ok(Outcome::of(&load(call, &args.handle)?))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    tx_id: String,
    at: i64,
    card: Card,
}

pub(super) fn history(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ByHandle = call.args()?;
    let card = load(call, &args.handle)?;
    let key = composite_key("card", &[&card.handle])?;
    let mut changes = Vec::new();
    for entry in call.stub.history(&key)? {
        if let Some(value) = &entry.value {
            changes.push(Change {
                tx_id: entry.tx_id,
                at: entry.timestamp.seconds,
                card: decode("card", value)?,
            });
        }
    }
    Ok(Outcome::of(&changes))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BySid {
    sid: String,
}

/// An open card, as other contracts ask for it: whose key may sign for a pseudonym.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OpenCard {
    handle: String,
    scheme: CardScheme,
    state: CardState,
    key: CardKey,
    valid_to: Option<i64>,
    /// Whether it admits, and may sign, at the time of asking.
    in_force: bool,
}

pub(super) fn cards_of(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: BySid = call.args()?;
    fields::sid("sid", &args.sid)?;
    let entries = call
        .stub
        .range_composite("active", &[&args.sid], MAX_CARDS)?;
    let mut cards = Vec::new();
    for entry in entries {
        let handle: String = decode("open card", &entry.value)?;
        let card = load(call, &handle)?;
        cards.push(OpenCard {
            in_force: card.admits(call.now),
            handle: card.handle,
            scheme: card.scheme,
            state: card.state,
            key: card.key,
            valid_to: card.valid_to,
        });
    }
    Ok(Outcome::of(&cards))
}

/// Whether the caller may see what the card was used for: holder, guardian, regulator's auditor.
pub(super) fn may_look(call: &mut Call<'_>, card: &Card) -> Result<bool, Failure> {
    if speaks_for(call, card)? {
        return Ok(true);
    }
    let msp = call.msp().to_owned();
    let regulator = call.config()?.plays(&msp, crate::roles::Part::Regulator);
    Ok(regulator && call.role() == Some("auditor"))
}
