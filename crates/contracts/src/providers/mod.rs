//! The `providers` contract, the registry: which organizations, facilities and practitioners may
//! act, in which role, and until when. Other contracts ask it in their own transactions
//! (`standing.rs`), so that a suspension invalidates what was endorsed before it.
//!
//! Files by subject: `model` (what is kept, and which states may follow which), `life` (the steps
//! that all of them take), `organization` (with its licences), `facility`, `credential`, `person`
//! (what is private), `field` (facts that two organizations agree on), `check` (may somebody act?
//! The judgement is pure), `list` (questions).

mod check;
mod credential;
mod facility;
mod field;
mod life;
mod list;
mod model;
mod organization;
mod person;
#[cfg(test)]
pub(crate) mod tests;

use crate::contract::{CollectionDeclaration, Contract, Deployment, Response, out_of};
use crate::request::{Function, dispatch, functions};
use crate::roles;
use crate::stub::Stub;

/// The contract `providers`; its functions are in `docs/health/providers.md`.
pub struct Providers;

/// The collection of practitioners' personal data.
pub(crate) const COLLECTION: &str = "providers";

pub(crate) const FUNCTIONS: &[Function] = functions! {
    Submit "Configure" r#"{"providers":[MSP id],"makers":[],"distributors":[],"regulators":[],"payers":[],"research":[],"waste":[],"citizens":[]}, missing ones by default"# => roles::configure;
    Evaluate "ReadConfig" "{}" => roles::read_config;
    Submit "RegisterOrg" r#"{"msp":MSP id,"scheme":"USCC|NPI","identifier"}"# => organization::register;
    Submit "SuspendOrg" r#"{"msp","reasonCode"}"# => organization::suspend;
    Submit "ReinstateOrg" r#"{"msp","reasonCode"}"# => organization::reinstate;
    Submit "RevokeOrg" r#"{"msp","reasonCode"}"# => organization::revoke;
    Submit "GrantLicence" r#"{"msp","no","scopes":["care|implant|…"],"validFrom"?:seconds,"validTo":seconds,"sourceHash"}"# => organization::grant_licence;
    Submit "RenewLicence" r#"{"msp","no","validTo":seconds,"sourceHash"}"# => organization::renew_licence;
    Submit "SuspendLicence" r#"{"msp","no","reasonCode"}"# => organization::suspend_licence;
    Submit "ReinstateLicence" r#"{"msp","no","reasonCode"}"# => organization::reinstate_licence;
    Submit "RevokeLicence" r#"{"msp","no","reasonCode"}"# => organization::revoke_licence;
    Submit "RegisterFacility" r#"{"id","area":"six digits of GB/T 2260, or US-state","scopes":[]}"# => facility::register;
    Submit "SuspendFacility" r#"{"id","reasonCode"}"# => facility::suspend;
    Submit "ReinstateFacility" r#"{"id","reasonCode"}"# => facility::reinstate;
    Submit "RevokeFacility" r#"{"id","reasonCode"}"# => facility::revoke;
    SubmitTransient "ApplyCredential" r#"{"credId","pid","role","facility","specialty"?,"attestHash"}"# => credential::apply;
    Submit "VerifyCredential" r#"{"credId","sourceHash","validFrom"?:seconds,"validTo":seconds}"# => credential::verify;
    Submit "RenewCredential" r#"{"credId","validTo":seconds,"sourceHash"}"# => credential::renew_credential;
    Submit "SuspendCredential" r#"{"credId","reasonCode"}"# => credential::suspend;
    Submit "ReinstateCredential" r#"{"credId","reasonCode"}"# => credential::reinstate;
    Submit "RevokeCredential" r#"{"credId","reasonCode"}"# => credential::revoke;
    Submit "PurgePerson" r#"{"credId"}"# => person::purge;
    SubmitTransient "ProposeField" r#"{"pid","field":"name|licence-no|phone|email|address|specialty|languages|accepts-patients"}"# => field::propose;
    Submit "ConfirmField" r#"{"pid","field","commit"}"# => field::confirm;
    Evaluate "Check" r#"{"pid","org":MSP id,"role","facility"?,"at"?:seconds}"# => check::check;
    Evaluate "CheckOrganization" r#"{"msp","scope"?,"at"?:seconds}"# => check::check_organization;
    Evaluate "ReadOrg" r#"{"msp"}"# => list::read_org;
    Evaluate "ListOrgs" r#"{"bookmark"?}"# => list::orgs;
    Evaluate "ReadFacility" r#"{"id"}"# => list::read_facility;
    Evaluate "ListFacilities" r#"{"msp","bookmark"?}"# => list::facilities;
    Evaluate "ReadCredential" r#"{"credId"}"# => list::read_credential;
    Evaluate "ListCredentials" r#"one of {"org"}, {"role"}, {"pid"}, and "bookmark"?"# => list::credentials;
    Evaluate "ReadPerson" r#"{"credId"}"# => person::read;
    Evaluate "ListFields" r#"{"pid"}"# => field::list;
    Evaluate "ReadField" r#"{"pid","field"}"# => field::read;
};

impl Contract for Providers {
    fn name(&self) -> &'static str {
        "providers"
    }

    fn deployment(&self, organizations: &[String]) -> Option<Deployment> {
        const REGULATOR: &str = "RegulatorMSP";
        let there = |msp: &&str| organizations.iter().any(|known| known == msp);
        let others = [
            "HospitalMSP",
            "ClinicMSP",
            "InsurerMSP",
            "ResearchMSP",
            "WasteMSP",
            "MakerMSP",
        ];
        let keepers = ["HospitalMSP", "ClinicMSP", "ResearchMSP"];
        let members = [&[REGULATOR], &keepers[..], &["InsurerMSP"]].concat();
        if !there(&REGULATOR) {
            return None;
        }
        let with_regulator = |wanted: &[&str]| {
            let one = out_of(1, wanted, organizations)?;
            Some(format!("AND('{REGULATOR}.peer',{one})"))
        };
        Some(Deployment {
            policy: with_regulator(&others)?,
            collections: vec![CollectionDeclaration {
                name: COLLECTION.to_owned(),
                members: members
                    .into_iter()
                    .filter(there)
                    .map(str::to_owned)
                    .collect(),
                endorsement: Some(with_regulator(&keepers)?),
                open_for_writing: false,
            }],
        })
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        dispatch(self.name(), FUNCTIONS, stub)
    }
}
