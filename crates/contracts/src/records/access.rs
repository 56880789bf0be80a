//! Requests to read: decided on the ledger, and left there as audit entries, also when refused.

use serde::{Deserialize, Serialize};

use super::consent::{active, voice};
use super::decision::{self, Requester, Verdict, decide};
use super::model::{Access, AccessState, Item, Kind, Purpose, Record, RecordState};
use super::register::{MAX_PAGE, ids_after, last_attribute, load as load_record};
use crate::failure::Failure;
use crate::fields;
use crate::key::{composite_key, split_composite_key};
use crate::request::{Call, Outcome};
use crate::roles::Part;
use crate::stub::StubError;

/// How long after the decision a key may be released, in seconds.
pub(crate) const RELEASE_WINDOW: i64 = 15 * 60;
/// When the review of an emergency access is due, in seconds.
pub(crate) const REVIEW_WINDOW: i64 = 72 * 3600;

/// Records by id, or all current ones of a subject at one custodian.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    #[serde(default)]
    records: Vec<String>,
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    kinds: Vec<Kind>,
    #[serde(default)]
    custodian: Option<String>,
}

/// The records that a target means: not empty, of one subject and one custodian.
fn resolve(call: &mut Call<'_>, target: &Target) -> Result<Vec<Record>, Failure> {
    let records = match (&target.sid, target.records.is_empty()) {
        (None, false) if target.kinds.is_empty() && target.custodian.is_none() => {
            fields::count("target.records", target.records.len(), MAX_PAGE)?;
            let mut ids = target.records.clone();
            ids.sort();
            ids.dedup();
            ids.iter()
                .map(|id| load_record(call, id))
                .collect::<Result<Vec<_>, _>>()?
        }
        (Some(sid), true) => {
            fields::sid("target.sid", sid)?;
            let (ids, more) = ids_after(call, "bySubject", sid, None)?;
            if more.is_some() {
                return Err(Failure::rule(
                    "TOO_MANY_RECORDS",
                    format!("the subject has more than {MAX_PAGE} records: name them"),
                ));
            }
            let mut found = Vec::new();
            for id in ids {
                let record = load_record(call, &id)?;
                let wanted = record.state == RecordState::Current
                    && (target.kinds.is_empty() || target.kinds.contains(&record.kind))
                    && target
                        .custodian
                        .as_ref()
                        .is_none_or(|custodian| *custodian == record.custodian);
                if wanted {
                    found.push(record);
                }
            }
            found
        }
        _ => {
            return Err(Failure::malformed(
                "target is {\"records\": [id]} or {\"sid\", \"kinds\"?, \"custodian\"?}",
            ));
        }
    };
    let Some(first) = records.first() else {
        return Err(Failure::not_found("no record fits the target"));
    };
    if records.iter().any(|record| record.sid != first.sid) {
        return Err(Failure::rule(
            "MIXED_SUBJECTS",
            "one request is about one subject",
        ));
    }
    if records.iter().any(|r| r.custodian != first.custodian) {
        return Err(Failure::rule(
            "MIXED_CUSTODIANS",
            "one request goes to one custodian",
        ));
    }
    Ok(records)
}

fn requester(call: &mut Call<'_>, sid: &str) -> Result<Requester, Failure> {
    let speaks_for_subject = voice(call, sid)?.is_some();
    let (msp, role) = (call.msp().to_owned(), call.role().map(str::to_owned));
    let config = call.config()?;
    Ok(Requester {
        is_provider: config.plays(&msp, Part::Provider),
        is_payer: config.plays(&msp, Part::Payer),
        is_research: config.plays(&msp, Part::Research),
        is_regulator: config.plays(&msp, Part::Regulator),
        is_citizen: config.plays(&msp, Part::Citizen),
        msp,
        role,
        speaks_for_subject,
    })
}

/// The verdict on the whole request: permitted only when every document is, else the denial that
/// comes first in the list of rules.
struct Decided {
    permit: bool,
    code: &'static str,
    consent: Option<String>,
    obligations: Vec<String>,
    items: Vec<Item>,
}

fn combine(records: &[Record], verdicts: Vec<Verdict>) -> Decided {
    const ORDER: [&str; 5] = [
        "CREDENTIAL",
        "ERASED",
        "ENTERED_IN_ERROR",
        "CONSENT_DENY",
        "NO_CONSENT",
    ];
    let items = records
        .iter()
        .zip(&verdicts)
        .map(|(record, verdict)| Item {
            id: record.id.clone(),
            version: record.version,
            ct_hash: record.ct_hash.clone(),
            code: verdict.code.to_owned(),
        })
        .collect();
    let mut obligations: Vec<String> = verdicts
        .iter()
        .flat_map(|verdict| verdict.obligations.iter().cloned())
        .collect();
    obligations.sort();
    obligations.dedup();
    let rank = |code: &str| ORDER.iter().position(|known| *known == code);
    let deciding = verdicts
        .iter()
        .filter(|verdict| !verdict.permit)
        .min_by_key(|verdict| rank(verdict.code))
        .or_else(|| verdicts.iter().find(|verdict| verdict.consent.is_some()))
        .or_else(|| verdicts.first());
    match deciding {
        Some(verdict) => Decided {
            permit: verdict.permit,
            code: verdict.code,
            consent: verdict.consent.clone(),
            obligations: if verdict.permit {
                obligations
            } else {
                Vec::new()
            },
            items,
        },
        // A target without records was refused before.
        None => Decided {
            permit: false,
            code: "NO_CONSENT",
            consent: None,
            obligations,
            items,
        },
    }
}

fn decide_all(
    call: &mut Call<'_>,
    records: &[Record],
    purpose: Purpose,
) -> Result<(Decided, &'static str), Failure> {
    let sid = records[0].sid.clone();
    let who = requester(call, &sid)?;
    let consents = active(call, &sid)?;
    let profile = call.config()?.law_profile;
    let verdicts = records
        .iter()
        .map(|record| decide(&who, record, &consents, profile, purpose, call.now))
        .collect();
    Ok((combine(records, verdicts), profile.name()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestAccess {
    access_id: String,
    target: Target,
    purpose: Purpose,
    #[serde(default)]
    purpose_ref: Option<String>,
}

pub(super) fn request(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: RequestAccess = call.args()?;
    fields::id("accessId", &args.access_id)?;
    if let Some(reference) = &args.purpose_ref {
        fields::code("purposeRef", reference)?;
    }
    if args.purpose == Purpose::Etreat {
        return Err(Failure::rule(
            "PURPOSE",
            "emergency access (ETREAT) is asked for with BreakGlass",
        ));
    }
    refuse_duplicate(call, &args.access_id)?;
    let records = resolve(call, &args.target)?;
    let (decided, profile) = decide_all(call, &records, args.purpose)?;
    let state = if decided.permit {
        AccessState::Permitted
    } else {
        AccessState::Denied
    };
    let mut access = entry(call, args.access_id, &records, args.purpose, state);
    access.purpose_ref = args.purpose_ref;
    access.profile = profile.to_owned();
    access.code = decided.code.to_owned();
    access.consent = decided.consent;
    access.obligations = decided.obligations;
    access.items = decided.items;
    if !decided.permit {
        access.decision = "Denied".to_owned();
    }
    commit_decision(call, &access, "AccessDecided")
}

fn refuse_duplicate(call: &mut Call<'_>, id: &str) -> Result<(), Failure> {
    if call.exists("access", &[id])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("access {id} exists"),
        ));
    }
    Ok(())
}

fn entry(
    call: &Call<'_>,
    id: String,
    records: &[Record],
    purpose: Purpose,
    state: AccessState,
) -> Access {
    Access {
        id,
        sid: records[0].sid.clone(),
        custodian: records[0].custodian.clone(),
        org: call.msp().to_owned(),
        role: call.role().map(str::to_owned),
        pid: call.stub.creator().attribute("hc.pid").map(str::to_owned),
        purpose,
        purpose_ref: None,
        items: Vec::new(),
        decision: "Permitted".to_owned(),
        code: String::new(),
        consent: None,
        obligations: Vec::new(),
        profile: String::new(),
        contract_version: decision::VERSION,
        state,
        at: call.now,
        review_due: None,
        reason: None,
        place: None,
        key_fingerprint: None,
        tampered: Vec::new(),
    }
}

/// Writes the evidence and answers with the verdict (R4).
fn commit_decision(
    call: &mut Call<'_>,
    access: &Access,
    event: &'static str,
) -> Result<Outcome, Failure> {
    call.store("access", &[&access.id], access)?;
    let time = fields::sortable(access.at);
    call.index("accessOf", &[&access.sid, &time, &access.id])?;
    let state = access.state.name();
    Ok(
        Outcome::verdict(&access.id, state, &access.decision, &access.code).event(
            call,
            event,
            &access.id,
            state,
            &access.code,
        ),
    )
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EvaluateAccess {
    target: Target,
    purpose: Purpose,
}

#[derive(Serialize)]
struct DryRun<'a> {
    decision: &'a str,
    code: &'a str,
    items: &'a [Item],
    profile: &'a str,
}

pub(super) fn evaluate(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: EvaluateAccess = call.args()?;
    let records = resolve(call, &args.target)?;
    let (decided, profile) = decide_all(call, &records, args.purpose)?;
    Ok(Outcome::of(&DryRun {
        decision: if decided.permit {
            "Permitted"
        } else {
            "Denied"
        },
        code: decided.code,
        items: &decided.items,
        profile,
    }))
}

fn load(call: &mut Call<'_>, id: &str) -> Result<Access, Failure> {
    fields::id("accessId", id)?;
    call.load("access", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no access {id}")))
}

fn need_state(call: &Call<'_>, access: &Access, needed: AccessState) -> Result<(), Failure> {
    if access.state == needed {
        return Ok(());
    }
    Err(Failure::conflict(
        "BAD_STATE",
        format!(
            "access {} is {}, {} needs {}",
            access.id,
            access.state.name(),
            call.function(),
            needed.name()
        ),
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfirmRelease {
    access_id: String,
    key_fingerprint: String,
}

pub(super) fn confirm_release(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider, Part::Research], &["records", "dpo"])?;
    let args: ConfirmRelease = call.args()?;
    fields::hash("keyFingerprint", &args.key_fingerprint)?;
    let mut access = load(call, &args.access_id)?;
    if access.custodian != call.msp() {
        return Err(Failure::forbidden(
            "NOT_CUSTODIAN",
            format!(
                "access {} is to documents of {}",
                access.id, access.custodian
            ),
        ));
    }
    need_state(call, &access, AccessState::Permitted)?;
    if call.now.saturating_sub(access.at) > RELEASE_WINDOW {
        return Err(Failure::rule(
            "GRANT_EXPIRED",
            format!(
                "access {} was decided more than {RELEASE_WINDOW} s ago",
                access.id
            ),
        ));
    }
    if let Some(id) = &access.consent {
        // Read again, so that a revocation committed meanwhile stops the key (R5).
        let in_force = active(call, &access.sid)?
            .iter()
            .any(|consent| consent.id == *id && consent.period.holds(call.now));
        if !in_force {
            return Err(Failure::forbidden(
                "NO_CONSENT",
                format!(
                    "the consent that access {} rests on is no longer active",
                    access.id
                ),
            ));
        }
    }
    access.state = AccessState::Released;
    access.key_fingerprint = Some(args.key_fingerprint);
    call.store("access", &[&access.id], &access)?;
    Ok(Outcome::changed(&access.id, "Released").event(
        call,
        "KeyReleased",
        &access.id,
        "Released",
        "",
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ConfirmReceipt {
    access_id: String,
    received: Vec<Received>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Received {
    id: String,
    ct_hash: String,
}

pub(super) fn confirm_receipt(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ConfirmReceipt = call.args()?;
    fields::count("received", args.received.len(), MAX_PAGE)?;
    for received in &args.received {
        fields::hash("ctHash", &received.ct_hash)?;
    }
    let mut access = load(call, &args.access_id)?;
    let pid = call.stub.creator().attribute("hc.pid");
    if access.org != call.msp() || access.pid.as_deref() != pid {
        return Err(Failure::forbidden(
            "NOT_REQUESTER",
            format!("access {} was requested by another", access.id),
        ));
    }
    need_state(call, &access, AccessState::Released)?;
    let complete = args.received.len() == access.items.len()
        && access
            .items
            .iter()
            .all(|item| args.received.iter().any(|received| received.id == item.id));
    if !complete {
        return Err(Failure::rule(
            "INCOMPLETE",
            format!(
                "access {} is to {} documents, each is received once",
                access.id,
                access.items.len()
            ),
        ));
    }
    access.tampered = access
        .items
        .iter()
        .filter(|item| {
            args.received
                .iter()
                .any(|received| received.id == item.id && received.ct_hash != item.ct_hash)
        })
        .map(|item| item.id.clone())
        .collect();
    let (state, event, decision, code) = if access.tampered.is_empty() {
        (AccessState::Received, "ReceiptConfirmed", "Intact", "OK")
    } else {
        (
            AccessState::Tampered,
            "TamperDetected",
            "Tampered",
            "TAMPERED",
        )
    };
    access.state = state;
    call.store("access", &[&access.id], &access)?;
    let custodian = access.custodian.clone();
    Ok(
        Outcome::verdict(&access.id, state.name(), decision, code).event(
            call,
            event,
            &access.id,
            state.name(),
            &custodian,
        ),
    )
}

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
    let code = if !may {
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadAccess {
    access_id: String,
}

/// For the requester's organization, the custodian, regulators and the subject; to all others the
/// entry does not exist.
pub(super) fn read(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: ReadAccess = call.args()?;
    let access = load(call, &args.access_id)?;
    let msp = call.msp().to_owned();
    let person = matches!(call.role(), Some("patient" | "guardian"));
    let visible = if person {
        voice(call, &access.sid)?.is_some()
    } else {
        access.org == msp || access.custodian == msp || call.config()?.plays(&msp, Part::Regulator)
    };
    if !visible {
        return Err(Failure::not_found(format!("no access {}", args.access_id)));
    }
    Ok(Outcome::of(&access))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accounting {
    sid: String,
    #[serde(default)]
    from: Option<i64>,
    #[serde(default)]
    to: Option<i64>,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Accounts {
    entries: Vec<Access>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<String>,
}

/// Every decision about a subject's documents, oldest first.
pub(super) fn accounting(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Accounting = call.args()?;
    fields::sid("sid", &args.sid)?;
    if voice(call, &args.sid)?.is_none() {
        call.require(&[Part::Regulator], &["auditor"])?;
    }
    let from = fields::sortable(args.from.unwrap_or(0));
    let to = fields::sortable(args.to.unwrap_or(999_999_999_999));
    let mut start = composite_key("accessOf", &[&args.sid, &from])?;
    if let Some(bookmark) = &args.bookmark {
        let (time, id) = bookmark
            .split_once('~')
            .ok_or_else(|| Failure::malformed("bookmark is what the page before gave"))?;
        start = composite_key("accessOf", &[&args.sid, time, id])?;
        start.push('\u{0}');
    }
    let end = composite_key("accessOf", &[&args.sid, &to])?;
    let mut found = call.stub.range(&start, &end, MAX_PAGE + 1)?;
    let more = found.len() > MAX_PAGE;
    found.truncate(MAX_PAGE);
    let mut entries = Vec::with_capacity(found.len());
    let mut last = None;
    for entry in &found {
        let (_, attributes) = split_composite_key(&entry.key).map_err(StubError::from)?;
        if let [_, time, id] = attributes[..] {
            entries.push(load(call, id)?);
            last = Some(format!("{time}~{id}"));
        }
    }
    let bookmark = if more { last } else { None };
    Ok(Outcome::of(&Accounts { entries, bookmark }))
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
    Ok(Outcome::of(&Accounts {
        entries,
        bookmark: None,
    }))
}
