//! Content that a patient without a certificate signs with the key of a health card
//! (healthcare.md §2.3), sent by a clerk.
//!
//! What is signed is a text, taken byte for byte as it was sent: no two programs have to agree on
//! how JSON is written. It says what is to be done and on which channel, so that it serves for
//! nothing else; that it serves once follows from what it does.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::card::token::{CardKey, TokenError, verify_content};
use crate::failure::Failure;
use crate::fields;
use crate::request::Call;
use crate::roles::Part;

const MAX_SIGNED_BYTES: usize = 64 * 1024;
/// How old a signature may be when it is brought: nobody keeps one for a better moment.
const MAX_AGE_SECONDS: i64 = 24 * 3600;
/// How far the signer's clock may be ahead.
const MAX_AHEAD_SECONDS: i64 = crate::MAX_CLOCK_SKEW_SECONDS;
/// Who may bring what a patient has signed.
const CLERKS: &[&str] = &["records", "physician", "nurse", "issuer"];

/// The signed text. `D` is what is particular to the function.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text<D> {
    act: String,
    channel: String,
    sid: String,
    /// When it was signed, seconds since 1970.
    at: i64,
    #[serde(rename = "content")]
    data: D,
}

/// What a card's holder has signed, checked.
pub(super) struct Signed<D> {
    pub sid: String,
    pub data: D,
    /// The handle of the card.
    pub card: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenCard {
    handle: String,
    key: CardKey,
    in_force: bool,
}

/// Checks a detached JWS over a text by the key of a card in force of the text's subject.
///
/// 422 `NO_CARDS` where the configuration names no card contract, 400 `BAD_JWS` for what is no
/// detached JWS of a card, 403 `NOT_SUBJECT` when no card of the subject signed this text for this
/// function and channel, 422 `SIGNATURE_AGE` when that was not within the last 24 hours.
pub(super) fn check<D: DeserializeOwned>(
    call: &mut Call<'_>,
    signed: &str,
    jws: &str,
    expects: &str,
) -> Result<Signed<D>, Failure> {
    call.require(&[Part::Citizen, Part::Provider], CLERKS)?;
    if signed.len() > MAX_SIGNED_BYTES {
        return Err(Failure::malformed(format!(
            "signed has at most {MAX_SIGNED_BYTES} bytes"
        )));
    }
    let text: Text<D> = serde_json::from_str(signed).map_err(|error| {
        Failure::malformed(format!(
            r#"signed is the text {{"act":"{}","channel","sid","at":seconds,"content":{expects}}}: {error}"#,
            call.function()
        ))
    })?;
    fields::sid("sid", &text.sid)?;
    let channel = call.stub.channel_id();
    if text.act != call.function() || text.channel != channel {
        return Err(Failure::forbidden(
            "NOT_SUBJECT",
            format!(
                "the text is signed for another function or channel than {} on {channel}",
                call.function()
            ),
        ));
    }
    let age = call.now.saturating_sub(text.at);
    if !(-MAX_AHEAD_SECONDS..=MAX_AGE_SECONDS).contains(&age) {
        return Err(Failure::rule(
            "SIGNATURE_AGE",
            "the text was not signed within the last 24 hours: sign it again",
        ));
    }
    for card in open_cards(call, &text.sid)? {
        match verify_content(jws, &card.key, signed.as_bytes()) {
            Ok(()) if card.in_force => {
                return Ok(Signed {
                    sid: text.sid,
                    data: text.data,
                    card: card.handle,
                });
            }
            Ok(()) | Err(TokenError::Signature) => {}
            Err(error) => return Err(Failure::new(400, "BAD_JWS", error.to_string())),
        }
    }
    Err(Failure::forbidden(
        "NOT_SUBJECT",
        "no card in force of this subject has signed this text",
    ))
}

/// The subject's open cards, read in this transaction: one that is suspended meanwhile makes it
/// invalid.
fn open_cards(call: &mut Call<'_>, sid: &str) -> Result<Vec<OpenCard>, Failure> {
    let cards = call.config()?.card_contract.clone();
    if cards.is_empty() {
        return Err(Failure::rule(
            "NO_CARDS",
            "the configuration names no contract of health cards: Configure with cardContract",
        ));
    }
    let unexpected = |what: String| {
        Failure::new(
            500,
            "CARDS",
            format!("{cards} does not answer CardsOf: {what}"),
        )
    };
    let answer = call.ask(&cards, "CardsOf", &json!({"sid": sid}))?;
    if !answer.is_endorsable() {
        return Err(unexpected(answer.message));
    }
    serde_json::from_slice(&answer.payload).map_err(|error| unexpected(error.to_string()))
}
