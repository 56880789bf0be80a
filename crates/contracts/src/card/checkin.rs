//! A card shown at a facility: the token's check, its verdict, and what a card was used for.

use serde::{Deserialize, Serialize};

use super::application::load;
use super::holder;
use super::life::may_look;
use super::model::{Card, CheckIn};
use super::token::{Token, TokenError};
use crate::failure::Failure;
use crate::fields::{self, sortable};
use crate::key::{composite_range, split_composite_key};
use crate::request::{Call, Outcome};
use crate::roles::Part;

const PAGE: u32 = 200;

/// How a token is judged, in the order in which the reasons are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    BadSignature,
    WrongCard,
    WrongAudience,
    TokenReplay,
    TokenExpired,
    CardInactive,
}

impl Verdict {
    pub fn code(self) -> &'static str {
        match self {
            Verdict::Ok => "OK",
            Verdict::BadSignature => "BAD_SIGNATURE",
            Verdict::WrongCard => "WRONG_CARD",
            Verdict::WrongAudience => "WRONG_AUDIENCE",
            Verdict::TokenReplay => "TOKEN_REPLAY",
            Verdict::TokenExpired => "TOKEN_EXPIRED",
            Verdict::CardInactive => "CARD_INACTIVE",
        }
    }
}

/// Judges a token that was shown with a card.
pub(crate) fn judge(token: &Token, card: &Card, audience: &str, used: bool, now: i64) -> Verdict {
    let claims = token.claims();
    if token.verify(&card.key).is_err() {
        Verdict::BadSignature
    } else if claims.sub != card.handle {
        Verdict::WrongCard
    } else if claims.for_audience(audience).is_err() {
        Verdict::WrongAudience
    } else if used {
        Verdict::TokenReplay
    } else if claims.in_force(now).is_err() {
        Verdict::TokenExpired
    } else if !card.admits(now) {
        Verdict::CardInactive
    } else {
        Verdict::Ok
    }
}

/// 400 `BAD_TOKEN`: what is no token of the one shape is evidence of nothing.
pub(super) fn parse(text: &str) -> Result<Token, Failure> {
    Token::parse(text)
        .map_err(|error: TokenError| Failure::new(400, "BAD_TOKEN", error.to_string()))
}

/// Judges it with what the ledger knows of its use.
pub(super) fn judge_here(
    call: &mut Call<'_>,
    token: &Token,
    card: &Card,
    audience: &str,
) -> Result<Verdict, Failure> {
    // Read in any case, so that of two that show one token at once only one is valid.
    let used = call.exists("jti", &[&card.handle, &token.claims().jti])?;
    Ok(judge(token, card, audience, used, call.now))
}

/// Notes that a token was used.
pub(super) fn burn(call: &mut Call<'_>, token: &Token, card: &Card) -> Result<(), Failure> {
    let claims = token.claims();
    call.store("jti", &[&card.handle, &claims.jti], &claims.exp)
}

/// Whom a token has to be for that the caller presents.
fn audience(call: &Call<'_>) -> String {
    let facility = call.stub.creator().attribute("hc.facility");
    facility.unwrap_or(call.msp()).to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Present {
    check_in_id: String,
    handle: String,
    token: String,
}

pub(super) fn check_in(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["records", "nurse", "physician"])?;
    holder::require_licensed(call)?;
    let args: Present = call.args()?;
    fields::id("checkInId", &args.check_in_id)?;
    let token = parse(&args.token)?;
    let card = load(call, &args.handle)?;
    if call.exists("checkIn", &[&args.check_in_id])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("check-in {} exists", args.check_in_id),
        ));
    }
    let facility = audience(call);
    let verdict = judge_here(call, &token, &card, &facility)?;
    let (state, event) = match verdict {
        Verdict::Ok => ("Admitted", "CheckedIn"),
        _ => ("Refused", "CheckInRefused"),
    };
    let is_cards = !matches!(verdict, Verdict::BadSignature | Verdict::WrongCard);
    if verdict == Verdict::Ok {
        burn(call, &token, &card)?;
    }
    let entry = CheckIn {
        id: args.check_in_id,
        handle: card.handle,
        org: call.msp().to_owned(),
        facility,
        state: state.to_owned(),
        code: verdict.code().to_owned(),
        jti: is_cards.then(|| token.claims().jti.clone()),
        at: call.now,
    };
    call.store("checkIn", &[&entry.id], &entry)?;
    call.index("useOf", &[&entry.handle, &sortable(entry.at), &entry.id])?;
    call.mark_bureau(&entry.handle)?;
    Ok(
        Outcome::verdict(&entry.id, state, state, verdict.code()).event(
            call,
            event,
            &entry.id,
            state,
            verdict.code(),
        ),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shown {
    handle: String,
    token: String,
    facility: String,
}

#[derive(Serialize)]
struct Judged {
    decision: &'static str,
    code: &'static str,
}

/// The verdict without evidence.
pub(super) fn verify(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Shown = call.args()?;
    fields::code("facility", &args.facility)?;
    let token = parse(&args.token)?;
    let card = load(call, &args.handle)?;
    let verdict = judge_here(call, &token, &card, &args.facility)?;
    Ok(Outcome::of(&Judged {
        decision: match verdict {
            Verdict::Ok => "Admitted",
            _ => "Refused",
        },
        code: verdict.code(),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ById {
    check_in_id: String,
}

fn load_entry(call: &mut Call<'_>, id: &str) -> Result<CheckIn, Failure> {
    fields::id("checkInId", id)?;
    call.load("checkIn", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no check-in {id}")))
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ById = call.args()?;
    Ok(Outcome::of(&load_entry(call, &args.check_in_id)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Uses {
    handle: String,
    #[serde(default)]
    bookmark: String,
}

#[derive(Serialize)]
struct UsesPage {
    entries: Vec<CheckIn>,
    #[serde(skip_serializing_if = "String::is_empty")]
    bookmark: String,
}

/// Where a card was shown, oldest first.
pub(super) fn uses(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Uses = call.args()?;
    let card = load(call, &args.handle)?;
    if !may_look(call, &card)? {
        return Err(Failure::forbidden(
            "NOT_HOLDER",
            "CardUses is for the holder, a linked guardian, and the regulator's auditor",
        ));
    }
    let (start, end) = composite_range("useOf", &[&card.handle])?;
    let within = args.bookmark.is_empty() || (start <= args.bookmark && args.bookmark < end);
    if !within {
        return Err(Failure::malformed(
            "the bookmark is not one that CardUses gave for this card",
        ));
    }
    let page = call.stub.range_page(&start, &end, PAGE, &args.bookmark)?;
    let mut entries = Vec::new();
    for entry in page.entries {
        let (_, attributes) = split_composite_key(&entry.key)?;
        if let Some(id) = attributes.last() {
            entries.push(load_entry(call, id)?);
        }
    }
    Ok(Outcome::of(&UsesPage {
        entries,
        bookmark: page.bookmark,
    }))
}
