//! May somebody act? Asked by other contracts in their transactions, so only keys and ranges of
//! composite keys are read. The judgement is pure.

use serde::Deserialize;

use super::list::{credentials_of, licences_of};
use super::model::{Credential, Facility, Lack, Licence, Org, scope_of};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::standing::Standing;

/// When: at the time of the transaction by what is committed, or at another time by what was
/// committed then.
#[derive(Debug, Clone, Copy)]
pub(super) struct When {
    pub at: Option<i64>,
    pub now: i64,
}

fn organization_lack(org: Option<&Org>, when: When) -> Option<Lack> {
    match org {
        None => Some(Lack::Unknown),
        Some(org) => org.life.lack(when.at, when.now),
    }
}

/// Why no licence covers the scope: of several that do not, the one that is missing least.
fn licence_lack(licences: &[Licence], scope: &str, when: When) -> Option<String> {
    let mut lacks = licences
        .iter()
        .filter(|licence| licence.scopes.iter().any(|known| known == scope))
        .map(|licence| licence.life.lack(when.at, when.now));
    let Some(mut least) = lacks.next() else {
        return Some("UNLICENSED".to_owned());
    };
    for lack in lacks {
        if rank(lack) < rank(least) {
            least = lack;
        }
    }
    least.map(|lack| format!("LICENCE_{}", lack.code()))
}

/// What is nearest to being in force comes first.
fn rank(lack: Option<Lack>) -> u8 {
    match lack {
        None => 0,
        Some(Lack::Suspended) => 1,
        Some(Lack::Expired) => 2,
        Some(Lack::NotYet) => 3,
        Some(Lack::NotVerified) => 4,
        Some(Lack::Revoked) => 5,
        Some(Lack::Unknown) => 6,
    }
}

/// Whether an organization is registered and in force and, unless the scope is empty, licensed
/// for it.
pub(super) fn judge_organization(
    org: Option<&Org>,
    licences: &[Licence],
    scope: &str,
    when: When,
) -> Standing {
    if let Some(lack) = organization_lack(org, when) {
        return Standing::inactive(lack.code());
    }
    if scope.is_empty() {
        return Standing::active();
    }
    match licence_lack(licences, scope, when) {
        Some(reason) => Standing::inactive(&reason),
        None => Standing::active(),
    }
}

/// Whether one of a practitioner's credentials at an organization, each with its facility, lets
/// it act in a role, at one facility if that is asked for.
pub(super) fn judge_practitioner(
    org: Option<&Org>,
    licences: &[Licence],
    credentials: &[(Credential, Option<Facility>)],
    role: &str,
    facility: Option<&str>,
    when: When,
) -> Standing {
    if let Some(lack) = organization_lack(org, when) {
        return Standing::inactive(&format!("ORG_{}", lack.code()));
    }
    let of_role: Vec<_> = credentials
        .iter()
        .filter(|(credential, _)| credential.role == role)
        .collect();
    if of_role.is_empty() {
        return Standing::inactive("UNKNOWN");
    }
    // The credential itself weighs more than where it is for.
    let best = of_role
        .into_iter()
        .filter(|(credential, _)| facility.is_none_or(|asked| credential.facility == asked))
        .map(|(credential, place)| {
            let place = match place {
                Some(place) => place.life.lack(when.at, when.now),
                None => Some(Lack::Unknown),
            };
            (credential.life.lack(when.at, when.now), place)
        })
        .min_by_key(|(own, place)| (rank(*own), rank(*place)));
    match best {
        None => return Standing::inactive("OTHER_FACILITY"),
        Some((Some(lack), _)) => return Standing::inactive(lack.code()),
        Some((None, Some(lack))) => {
            return Standing::inactive(&format!("FACILITY_{}", lack.code()));
        }
        Some((None, None)) => {}
    }
    match scope_of(role).and_then(|scope| licence_lack(licences, scope, when)) {
        Some(reason) => Standing::inactive(&reason),
        None => Standing::active(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    pid: String,
    org: String,
    role: String,
    #[serde(default)]
    facility: Option<String>,
    #[serde(default)]
    at: Option<i64>,
}

pub(super) fn check(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Check = call.args()?;
    fields::id("pid", &args.pid)?;
    fields::msp("org", &args.org)?;
    fields::code("role", &args.role)?;
    let org: Option<Org> = call.load("org", &[&args.org])?;
    let licences = match scope_of(&args.role) {
        Some(_) => licences_of(call, &args.org)?,
        None => Vec::new(),
    };
    let mut credentials = Vec::new();
    for credential in credentials_of(call, &args.pid, &args.org)? {
        if credential.role == args.role {
            let place = call.load("fac", &[&credential.facility])?;
            credentials.push((credential, place));
        }
    }
    let when = When {
        at: args.at,
        now: call.now,
    };
    let facility = args.facility.as_deref();
    Ok(Outcome::of(&judge_practitioner(
        org.as_ref(),
        &licences,
        &credentials,
        &args.role,
        facility,
        when,
    )))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckOrganization {
    msp: String,
    #[serde(default)]
    scope: String,
    #[serde(default)]
    at: Option<i64>,
}

pub(super) fn check_organization(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: CheckOrganization = call.args()?;
    fields::msp("msp", &args.msp)?;
    if !args.scope.is_empty() {
        fields::code("scope", &args.scope)?;
    }
    let org: Option<Org> = call.load("org", &[&args.msp])?;
    let licences = if args.scope.is_empty() {
        Vec::new()
    } else {
        licences_of(call, &args.msp)?
    };
    let when = When {
        at: args.at,
        now: call.now,
    };
    Ok(Outcome::of(&judge_organization(
        org.as_ref(),
        &licences,
        &args.scope,
        when,
    )))
}
