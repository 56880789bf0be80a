//! Consent of the subject or guardian, and who is guardian of whom.

use serde::Deserialize;

use super::model::{Consent, ConsentState, Period, Provision, Purpose, Rule};
use super::register::last_attribute;
use super::signed;
use crate::failure::Failure;
use crate::fields;
use crate::guardian;
use crate::request::{Call, Outcome};
use crate::roles::{LawProfile, Part};

/// Consents of one subject that may be active at a time.
pub(crate) const MAX_ACTIVE: usize = 64;
const MAX_PROVISIONS: usize = 16;
const MAX_LIST: usize = 32;

/// In which capacity a caller speaks for a subject.
pub(super) enum Voice {
    Subject,
    Guardian(String),
    /// By the signature of this health card, through a clerk.
    Card(String),
}

/// Whether the caller is the subject or its guardian. Reads the guardianship when it matters.
pub(super) fn voice(call: &mut Call<'_>, sid: &str) -> Result<Option<Voice>, Failure> {
    let msp = call.msp().to_owned();
    if !call.config()?.plays(&msp, Part::Citizen) {
        return Ok(None);
    }
    let (role, own) = (call.role(), call.sid().map(str::to_owned));
    match (role, own) {
        (Some("patient"), Some(own)) if own == sid => Ok(Some(Voice::Subject)),
        (Some("guardian"), Some(own)) => {
            let holds = call.is_guardian(&own, sid)?;
            Ok(holds.then_some(Voice::Guardian(own)))
        }
        _ => Ok(None),
    }
}

/// As [`voice`], refusing everybody else.
pub(super) fn require_voice(call: &mut Call<'_>, sid: &str) -> Result<Voice, Failure> {
    voice(call, sid)?.ok_or_else(|| {
        Failure::forbidden(
            "NOT_SUBJECT",
            format!(
                "{} is for the subject (hc.role patient with this hc.sid) or a linked guardian",
                call.function()
            ),
        )
    })
}

/// The consents of a subject that were not revoked. At most [`MAX_ACTIVE`]; the range is
/// protected, so that a consent given or revoked meanwhile invalidates the decision (R5).
pub(super) fn active(call: &mut Call<'_>, sid: &str) -> Result<Vec<Consent>, Failure> {
    let index = call
        .stub
        .range_composite("activeConsent", &[sid], MAX_ACTIVE)?;
    let mut consents = Vec::with_capacity(index.len());
    for entry in index {
        let id = last_attribute(&entry.key)?;
        consents.extend(call.load::<Consent>("consent", &[sid, &id])?);
    }
    Ok(consents)
}

/// Either by certificate, or signed by a card.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutConsent {
    sid: Option<String>,
    consent: Option<NewConsent>,
    signed: Option<String>,
    jws: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewConsent {
    id: String,
    period: NewPeriod,
    provisions: Vec<Provision>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPeriod {
    #[serde(default)]
    from: Option<i64>,
    to: i64,
}

fn check_provision(provision: &Provision) -> Result<(), Failure> {
    let lengths = [
        provision.orgs.len(),
        provision.roles.len(),
        provision.purposes.len(),
        provision.kinds.len(),
        provision.obligations.len(),
    ];
    if lengths.iter().any(|length| *length > MAX_LIST) {
        return Err(Failure::malformed(format!(
            "a list of a provision has at most {MAX_LIST} entries"
        )));
    }
    for org in &provision.orgs {
        fields::msp("orgs", org)?;
    }
    for role in provision.roles.iter().chain(&provision.obligations) {
        fields::code("roles and obligations", role)?;
    }
    if provision.rule == Rule::Permit {
        if provision.orgs.is_empty() && provision.roles.is_empty() {
            return Err(Failure::rule(
                "NO_GRANTEE",
                "a permit names organizations or roles",
            ));
        }
        if provision.purposes.is_empty() {
            return Err(Failure::rule("NO_PURPOSE", "a permit names its purposes"));
        }
    }
    Ok(())
}

/// Research may be consented to only by a consent of its own, except under HIPAA.
fn check_separation(provisions: &[Provision], profile: LawProfile) -> Result<(), Failure> {
    let permitted = || {
        provisions
            .iter()
            .filter(|provision| provision.rule == Rule::Permit)
            .flat_map(|provision| &provision.purposes)
    };
    let mixed = permitted().any(|purpose| *purpose == Purpose::Hresch)
        && permitted().any(|purpose| *purpose != Purpose::Hresch);
    if mixed && profile != LawProfile::Hipaa {
        return Err(Failure::rule(
            "SEPARATE_CONSENT",
            format!(
                "under {} a consent to research permits nothing else",
                profile.name()
            ),
        ));
    }
    Ok(())
}

pub(super) fn put(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: PutConsent = call.args()?;
    let (voice, sid, consent) = match (args.sid, args.consent, args.signed, args.jws) {
        (Some(sid), Some(consent), None, None) => {
            fields::sid("sid", &sid)?;
            (require_voice(call, &sid)?, sid, consent)
        }
        (None, None, Some(signed), Some(jws)) => {
            let signed = signed::check(call, &signed, &jws, r#"{"id","period","provisions"}"#)?;
            (Voice::Card(signed.card), signed.sid, signed.data)
        }
        _ => return Err(either("sid and consent")),
    };
    fields::id("consent.id", &consent.id)?;
    fields::count("provisions", consent.provisions.len(), MAX_PROVISIONS)?;
    consent.provisions.iter().try_for_each(check_provision)?;
    let period = Period {
        from: consent.period.from.unwrap_or(call.now),
        to: consent.period.to,
    };
    if period.to <= call.now || period.from >= period.to {
        return Err(Failure::rule(
            "PERIOD",
            "a consent ends in the future and after it begins",
        ));
    }
    let profile = call.config()?.law_profile;
    check_separation(&consent.provisions, profile)?;
    if call.exists("consent", &[&sid, &consent.id])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("consent {} exists", consent.id),
        ));
    }
    let mut in_force = 0;
    for earlier in active(call, &sid)? {
        if earlier.period.to <= call.now {
            // Run out: what is left of the index makes room.
            call.unindex("activeConsent", &[&sid, &earlier.id])?;
        } else {
            in_force += 1;
        }
    }
    if in_force >= MAX_ACTIVE {
        return Err(Failure::rule(
            "TOO_MANY_CONSENTS",
            format!("a subject has at most {MAX_ACTIVE} active consents"),
        ));
    }
    let (guardian, card) = match voice {
        Voice::Subject => (None, None),
        Voice::Guardian(guardian) => (Some(guardian), None),
        Voice::Card(card) => (None, Some(card)),
    };
    let stored = Consent {
        id: consent.id,
        sid,
        state: ConsentState::Active,
        period,
        provisions: consent.provisions,
        guardian,
        card,
        at: call.now,
    };
    call.store("consent", &[&stored.sid, &stored.id], &stored)?;
    call.index("activeConsent", &[&stored.sid, &stored.id])?;
    Ok(Outcome::changed(&stored.id, "Active").event(
        call,
        "ConsentActive",
        &stored.id,
        "Active",
        "",
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentId {
    sid: String,
    id: String,
}

fn load(call: &mut Call<'_>, args: &ConsentId) -> Result<Consent, Failure> {
    fields::sid("sid", &args.sid)?;
    fields::id("id", &args.id)?;
    call.load("consent", &[&args.sid, &args.id])?
        .ok_or_else(|| Failure::not_found(format!("no consent {} of this subject", args.id)))
}

/// Either by certificate, or signed by a card.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeConsent {
    sid: Option<String>,
    id: Option<String>,
    signed: Option<String>,
    jws: Option<String>,
}

/// What a card signs to revoke a consent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokedId {
    id: String,
}

fn either(fields: &str) -> Failure {
    Failure::malformed(format!(
        "the subject or guardian gives {fields}, a clerk what a card has signed: signed and jws"
    ))
}

pub(super) fn revoke(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: RevokeConsent = call.args()?;
    let args = match (args.sid, args.id, args.signed, args.jws) {
        (Some(sid), Some(id), None, None) => {
            fields::sid("sid", &sid)?;
            require_voice(call, &sid)?;
            ConsentId { sid, id }
        }
        (None, None, Some(signed), Some(jws)) => {
            let signed = signed::check::<RevokedId>(call, &signed, &jws, r#"{"id"}"#)?;
            ConsentId {
                sid: signed.sid,
                id: signed.data.id,
            }
        }
        _ => return Err(either("sid and id")),
    };
    let mut consent = load(call, &args)?;
    if consent.state != ConsentState::Active {
        return Err(Failure::conflict(
            "BAD_STATE",
            format!("consent {} is Revoked, RevokeConsent needs Active", args.id),
        ));
    }
    consent.state = ConsentState::Revoked;
    consent.at = call.now;
    call.store("consent", &[&args.sid, &args.id], &consent)?;
    call.unindex("activeConsent", &[&args.sid, &args.id])?;
    Ok(
        Outcome::changed(&args.id, "Revoked").event(
            call,
            "ConsentRevoked",
            &args.id,
            "Revoked",
            "",
        ),
    )
}

pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ConsentId = call.args()?;
    Ok(Outcome::of(&load(call, &args)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BySubject {
    sid: String,
}

pub(super) fn list(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: BySubject = call.args()?;
    fields::sid("sid", &args.sid)?;
    Ok(Outcome::of(&active(call, &args.sid)?))
}

pub(super) fn link_guardian(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Citizen, Part::Provider], &["issuer", "records"])?;
    guardian::link(call).map(|(_, outcome)| outcome)
}

pub(super) fn unlink_guardian(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Citizen, Part::Provider], &["issuer", "records"])?;
    guardian::unlink(call).map(|(_, outcome)| outcome)
}
