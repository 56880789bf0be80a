//! Requests to read: decided on the ledger, and left there as audit entries, also when refused.

use serde::{Deserialize, Serialize};

use super::consent::{active, voice};
use super::decision::{self, Requester, Verdict, decide};
use super::model::{Access, AccessState, Item, Kind, Purpose, Record};
use super::register::{MAX_PAGE, ids_after, load as load_record};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;
use crate::standing::Standing;

/// Records by id, or all current ones of a subject at one custodian.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
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
pub(super) fn resolve(call: &mut Call<'_>, target: &Target) -> Result<Vec<Record>, Failure> {
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
                let wanted = record.is_kept()
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

/// Who asks, and what the registry has against it, if anything.
fn requester(call: &mut Call<'_>, sid: &str) -> Result<(Requester, Option<String>), Failure> {
    let speaks_for_subject = voice(call, sid)?.is_some();
    let (msp, role) = (call.msp().to_owned(), call.role().map(str::to_owned));
    let config = call.config()?;
    let mut who = Requester {
        is_provider: config.plays(&msp, Part::Provider),
        is_payer: config.plays(&msp, Part::Payer),
        is_research: config.plays(&msp, Part::Research),
        is_regulator: config.plays(&msp, Part::Regulator),
        is_citizen: config.plays(&msp, Part::Citizen),
        msp,
        role,
        in_force: true,
        speaks_for_subject,
    };
    let standing = if who.is_person() || !who.may_ask() {
        // Patients have no credential, and whom the role stops needs none.
        Standing::active()
    } else {
        caller_standing(call)?
    };
    who.in_force = standing.active;
    Ok((who, (!standing.active).then_some(standing.reason)))
}

/// What the registry says of the caller, see [`standing_of_staff`].
pub(super) fn caller_standing(call: &mut Call<'_>) -> Result<Standing, Failure> {
    let creator = call.stub.creator().clone();
    standing_of_staff(
        call,
        creator.msp_id(),
        creator.attribute("hc.role").unwrap_or_default(),
        creator.attribute("hc.pid"),
        creator.attribute("hc.facility"),
    )
}

/// What the registry says: of the credential where staff have one, of the organization at payers.
/// The regulator keeps the registry and is not asked about itself.
pub(super) fn standing_of_staff(
    call: &mut Call<'_>,
    msp: &str,
    role: &str,
    pid: Option<&str>,
    facility: Option<&str>,
) -> Result<Standing, Failure> {
    let config = call.config()?;
    if config.plays(msp, Part::Provider) || config.plays(msp, Part::Research) {
        call.standing_of(pid, msp, role, facility)
    } else if config.plays(msp, Part::Payer) {
        call.organization_standing(msp, "")
    } else {
        Ok(Standing::active())
    }
}

/// The verdict on the whole request: permitted only when every document is, else the denial that
/// comes first in the list of rules.
struct Decided {
    permit: bool,
    code: &'static str,
    standing: Option<String>,
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
            standing: None,
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
            standing: None,
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
    let (who, standing) = requester(call, &sid)?;
    let consents = active(call, &sid)?;
    let profile = call.config()?.law_profile;
    let verdicts = records
        .iter()
        .map(|record| decide(&who, record, &consents, profile, purpose, call.now))
        .collect();
    let mut decided = combine(records, verdicts);
    decided.standing = standing;
    Ok((decided, profile.name()))
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
    access.standing = decided.standing;
    access.consent = decided.consent;
    access.obligations = decided.obligations;
    access.items = decided.items;
    if !decided.permit {
        access.decision = "Denied".to_owned();
    }
    commit_decision(call, &access, "AccessDecided")
}

pub(super) fn refuse_duplicate(call: &mut Call<'_>, id: &str) -> Result<(), Failure> {
    if call.exists("access", &[id])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("access {id} exists"),
        ));
    }
    Ok(())
}

pub(super) fn entry(
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
        standing: None,
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
pub(super) fn commit_decision(
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

pub(super) fn load(call: &mut Call<'_>, id: &str) -> Result<Access, Failure> {
    fields::id("accessId", id)?;
    call.load("access", &[id])?
        .ok_or_else(|| Failure::not_found(format!("no access {id}")))
}

pub(super) fn need_state(
    call: &Call<'_>,
    access: &Access,
    needed: AccessState,
) -> Result<(), Failure> {
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
