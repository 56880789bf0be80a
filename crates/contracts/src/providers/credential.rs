//! Credentials of practitioners, from the application to the end.

use serde::Deserialize;

use super::facility::need_own;
use super::life::{change, load, need_in_force, period, renew, save, supervise};
use super::list::credentials_of;
use super::model::{Credential, Facility, Life, Org, State, Step, scope_of};
use super::{COLLECTION, person};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome, to_json};
use crate::roles::Part;

/// Credentials of one practitioner at one organization, over all time.
pub(super) const MAX_CREDENTIALS: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ApplyCredential {
    cred_id: String,
    pid: String,
    role: String,
    facility: String,
    #[serde(default)]
    specialty: Option<String>,
    attest_hash: String,
}

pub(super) fn apply(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider, Part::Research], &["records", "curator"])?;
    let args: ApplyCredential = call.args()?;
    fields::id("credId", &args.cred_id)?;
    fields::id("pid", &args.pid)?;
    fields::code("role", &args.role)?;
    fields::id("facility", &args.facility)?;
    fields::hash("attestHash", &args.attest_hash)?;
    if let Some(specialty) = &args.specialty {
        fields::code("specialty", specialty)?;
    }
    let person = person::from_transient(call)?;
    let msp = call.msp().to_owned();
    let org: Org = load(call, &[&msp])?;
    need_in_force(call, &org.life, "ORG_INACTIVE", &msp)?;
    let facility: Facility = load(call, &[&args.facility])?;
    need_own(&facility, &msp)?;
    let place = format!("facility {}", facility.id);
    need_in_force(call, &facility.life, "FACILITY_INACTIVE", &place)?;
    if let Some(scope) = scope_of(&args.role)
        && !facility.scopes.iter().any(|licensed| licensed == scope)
    {
        return Err(Failure::rule(
            "UNLICENSED",
            format!("{place} is not for {scope}, which a {} needs", args.role),
        ));
    }
    if call.exists("cred", &[&args.cred_id])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("credential {} exists", args.cred_id),
        ));
    }
    if credentials_of(call, &args.pid, &msp)?.len() >= MAX_CREDENTIALS {
        return Err(Failure::rule(
            "TOO_MANY_CREDENTIALS",
            format!("a practitioner has at most {MAX_CREDENTIALS} at one organization, renew one"),
        ));
    }
    call.index("credOf", &[&args.pid, &msp, &args.cred_id])?;
    call.index("byOrg", &[&msp, &args.pid, &args.cred_id])?;
    call.index("byRole", &[&args.role, &args.pid, &args.cred_id])?;
    // The key is a random id, and the value has a salt: their hashes in the block reveal nothing.
    call.stub
        .put_private(COLLECTION, &args.cred_id, &to_json(&person))?;
    let credential = Credential {
        id: args.cred_id,
        pid: args.pid,
        org: msp,
        facility: args.facility,
        role: args.role,
        specialty: args.specialty,
        attest_hash: args.attest_hash,
        life: Life::new(State::Applied, call.now),
    };
    save(call, credential, "CredentialApplied", "")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct VerifyCredential {
    cred_id: String,
    source_hash: String,
    #[serde(default)]
    valid_from: Option<i64>,
    valid_to: i64,
}

pub(super) fn verify(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["certifier"])?;
    let args: VerifyCredential = call.args()?;
    fields::id("credId", &args.cred_id)?;
    fields::hash("sourceHash", &args.source_hash)?;
    let (from, to) = period(call, args.valid_from, args.valid_to)?;
    let credential: Credential = load(call, &[&args.cred_id])?;
    change(
        call,
        credential,
        Step::Verify,
        "CredentialActive",
        |phase| {
            phase.valid_from = Some(from);
            phase.valid_to = Some(to);
            phase.source_hash = Some(args.source_hash);
        },
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RenewCredential {
    cred_id: String,
    valid_to: i64,
    source_hash: String,
}

pub(super) fn renew_credential(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: RenewCredential = call.args()?;
    fields::id("credId", &args.cred_id)?;
    renew::<Credential>(
        call,
        &[&args.cred_id],
        args.valid_to,
        args.source_hash,
        "CredentialRenewed",
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CredentialReason {
    cred_id: String,
    reason_code: String,
}

fn supervise_credential(
    call: &mut Call<'_>,
    step: Step,
    event: &'static str,
) -> Result<Outcome, Failure> {
    let args: CredentialReason = call.args()?;
    fields::id("credId", &args.cred_id)?;
    supervise::<Credential>(call, &[&args.cred_id], step, args.reason_code, event)
}

pub(super) fn suspend(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    supervise_credential(call, Step::Suspend, "CredentialSuspended")
}

pub(super) fn reinstate(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    supervise_credential(call, Step::Reinstate, "CredentialReinstated")
}

pub(super) fn revoke(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    supervise_credential(call, Step::Revoke, "CredentialRevoked")
}
