//! Organizations and their licences, kept by the regulator.

use serde::Deserialize;

use super::life::{load, need_in_force, period, renew, save, supervise};
use super::list::licences_of;
use super::model::{Licence, Life, Org, Scheme, State, Step};
use crate::failure::Failure;
use crate::fields;
use crate::identifiers::{IdentifierError, npi, uscc};
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Licences of one organization, and scopes of one licence or facility.
pub(super) const MAX_LICENCES: usize = 64;
pub(super) const MAX_SCOPES: usize = 64;

const PARTS: &[Part] = &[
    Part::Provider,
    Part::Maker,
    Part::Distributor,
    Part::Regulator,
    Part::Payer,
    Part::Research,
    Part::Waste,
    Part::Citizen,
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegisterOrg {
    msp: String,
    scheme: Scheme,
    identifier: String,
}

pub(super) fn bad_identifier(error: IdentifierError) -> Failure {
    Failure::rule("BAD_IDENTIFIER", error.to_string())
}

pub(super) fn register(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["certifier"])?;
    let args: RegisterOrg = call.args()?;
    fields::msp("msp", &args.msp)?;
    match args.scheme {
        Scheme::Uscc => uscc::check(&args.identifier),
        Scheme::Npi => npi::check(&args.identifier),
    }
    .map_err(bad_identifier)?;
    let config = call.config()?;
    if !PARTS.iter().any(|part| config.plays(&args.msp, *part)) {
        return Err(Failure::rule(
            "UNKNOWN_ORG",
            format!("{} plays no part in the configuration", args.msp),
        ));
    }
    let number = [args.scheme.name(), &args.identifier];
    if call.exists("org", &[&args.msp])? || call.exists("orgOf", &number)? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!(
                "{} or {} {} is registered",
                args.msp, number[0], args.identifier
            ),
        ));
    }
    call.index("orgOf", &number)?;
    let org = Org {
        life: Life::new(State::Active, call.now),
        msp: args.msp,
        scheme: args.scheme,
        identifier: args.identifier,
    };
    save(call, org, "OrgRegistered", "")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OrgReason {
    msp: String,
    reason_code: String,
}

fn supervise_org(call: &mut Call<'_>, step: Step, event: &'static str) -> Result<Outcome, Failure> {
    let args: OrgReason = call.args()?;
    fields::msp("msp", &args.msp)?;
    supervise::<Org>(call, &[&args.msp], step, args.reason_code, event)
}

pub(super) fn suspend(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    supervise_org(call, Step::Suspend, "OrgSuspended")
}

pub(super) fn reinstate(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    supervise_org(call, Step::Reinstate, "OrgReinstated")
}

pub(super) fn revoke(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    supervise_org(call, Step::Revoke, "OrgRevoked")
}

/// Codes of what is allowed, each once.
pub(super) fn scopes(scopes: Vec<String>) -> Result<Vec<String>, Failure> {
    fields::count("scopes", scopes.len(), MAX_SCOPES)?;
    for scope in &scopes {
        fields::code("scopes", scope)?;
    }
    let mut scopes = scopes;
    scopes.sort();
    scopes.dedup();
    Ok(scopes)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GrantLicence {
    msp: String,
    no: String,
    scopes: Vec<String>,
    #[serde(default)]
    valid_from: Option<i64>,
    valid_to: i64,
    source_hash: String,
}

pub(super) fn grant_licence(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["certifier"])?;
    let args: GrantLicence = call.args()?;
    fields::msp("msp", &args.msp)?;
    fields::id("no", &args.no)?;
    fields::hash("sourceHash", &args.source_hash)?;
    let scopes = scopes(args.scopes)?;
    let (from, to) = period(call, args.valid_from, args.valid_to)?;
    let org: Org = load(call, &[&args.msp])?;
    need_in_force(call, &org.life, "ORG_INACTIVE", &args.msp)?;
    let held = licences_of(call, &args.msp)?;
    if held.iter().any(|licence| licence.no == args.no) {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("licence {} of {} exists", args.no, args.msp),
        ));
    }
    if held.len() >= MAX_LICENCES {
        return Err(Failure::rule(
            "TOO_MANY_LICENCES",
            format!("an organization has at most {MAX_LICENCES} licences, renew one"),
        ));
    }
    let mut life = Life::new(State::Active, call.now);
    life.now.valid_from = Some(from);
    life.now.valid_to = Some(to);
    life.now.source_hash = Some(args.source_hash);
    let reference = args.msp.clone();
    let licence = Licence {
        msp: args.msp,
        no: args.no,
        issuer: call.msp().to_owned(),
        scopes,
        life,
    };
    save(call, licence, "LicenceGranted", &reference)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RenewLicence {
    msp: String,
    no: String,
    valid_to: i64,
    source_hash: String,
}

pub(super) fn renew_licence(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: RenewLicence = call.args()?;
    fields::msp("msp", &args.msp)?;
    fields::id("no", &args.no)?;
    let key = [args.msp.as_str(), &args.no];
    renew::<Licence>(
        call,
        &key,
        args.valid_to,
        args.source_hash,
        "LicenceRenewed",
    )
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LicenceReason {
    msp: String,
    no: String,
    reason_code: String,
}

fn supervise_licence(
    call: &mut Call<'_>,
    step: Step,
    event: &'static str,
) -> Result<Outcome, Failure> {
    let args: LicenceReason = call.args()?;
    fields::msp("msp", &args.msp)?;
    fields::id("no", &args.no)?;
    let key = [args.msp.as_str(), &args.no];
    supervise::<Licence>(call, &key, step, args.reason_code, event)
}

pub(super) fn suspend_licence(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    supervise_licence(call, Step::Suspend, "LicenceSuspended")
}

pub(super) fn reinstate_licence(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    supervise_licence(call, Step::Reinstate, "LicenceReinstated")
}

pub(super) fn revoke_licence(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    supervise_licence(call, Step::Revoke, "LicenceRevoked")
}
