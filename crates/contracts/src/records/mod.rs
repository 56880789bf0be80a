//! The `records` contract: fingerprints of documents, consent, and decisions on access.
//!
//! Documents stay encrypted in their custodian's vault ([`crate::vault`]); the ledger has their
//! hashes, the subject's pseudonym and coarse codes. Files by what happens to a document:
//! `register` (it exists), `custody` (another keeps it), `consent` (who may), `signed` (said with a
//! health card), `decision` (the rules, pure), `access` (who asked, and what was decided), `release`
//! (it is handed over), `emergency` (without asking), `accounting` (who sees all that), `erasure`
//! (it goes).

mod access;
mod accounting;
mod consent;
mod custody;
mod decision;
mod emergency;
mod erasure;
pub(crate) mod model;
mod register;
mod release;
mod signed;
#[cfg(test)]
mod tests;

use serde::Deserialize;

use crate::contract::{Contract, Deployment, Response, out_of};
use crate::failure::Failure;
use crate::request::{Call, Function, Outcome, dispatch, functions};
use crate::roles::{self, LawProfile, Part, write_config};
use crate::stub::Stub;

/// The contract `records`; its functions are in `docs/contracts.md`.
pub struct Records;

pub(crate) const FUNCTIONS: &[Function] = functions! {
    Submit "Configure" r#"{"providers":[MSP id],"makers":[],"distributors":[],"regulators":[],"payers":[],"research":[],"waste":[],"citizens":[],"registry":chaincode,"cardContract":chaincode,"lawProfile":"HIPAA|GDPR|PIPL"}, missing ones by default"# => roles::configure;
    Evaluate "ReadConfig" "{}" => roles::read_config;
    Submit "SetLawProfile" r#"{"profile":"HIPAA|GDPR|PIPL"}"# => set_law_profile;
    Submit "RegisterRecords" r#"{"records":[{"id","sid","kind":"clinical-note|lab|imaging|medication|immunization|procedure|device|claim|other","confidentiality"?:"N|R|V","ctHash","ptCommit","size","suite","epoch"?,"vaultRef","fhir"?:["Type/id"]}]}"# => register::register;
    Submit "AmendRecord" r#"{"ifVersion":number,"entry":{as in RegisterRecords}}"# => register::amend;
    Submit "MarkError" r#"{"id","reasonCode"}"# => register::mark_error;
    Submit "TransferCustody" r#"{"id","to":MSP id}"# => custody::transfer;
    Submit "AcceptCustody" r#"{"id","ctHash","vaultRef","epoch"?}"# => custody::accept;
    Submit "CancelTransfer" r#"{"id"}"# => custody::cancel;
    Evaluate "Verify" r#"{"id","ctHash"}"# => register::verify;
    Evaluate "ReadRecord" r#"{"id"}"# => register::read;
    Evaluate "RecordHistory" r#"{"id"}"# => register::history;
    Evaluate "ListRecords" r#"{"sid","kinds"?:[],"custodian"?,"bookmark"?}"# => register::list;
    Submit "LinkGuardian" r#"{"guardianSid","sid","until":seconds,"evidenceHash"}"# => consent::link_guardian;
    Submit "UnlinkGuardian" r#"{"guardianSid","sid"}"# => consent::unlink_guardian;
    Submit "PutConsent" r#"{"sid","consent":{"id","period":{"from"?:seconds,"to":seconds},"provisions":[{"type":"permit|deny","orgs"?:[],"roles"?:[],"purposes"?:["TREAT|HPAYMT|HOPERAT|HRESCH|PUBHLTH|PATRQT"],"kinds"?:[],"confidentiality"?:"N|R|V","obligations"?:[]}]}} or, signed by a card, {"signed":text,"jws"}"# => consent::put;
    Submit "RevokeConsent" r#"{"sid","id"} or, signed by a card, {"signed":text,"jws"}"# => consent::revoke;
    Evaluate "ReadConsent" r#"{"sid","id"}"# => consent::read;
    Evaluate "ListConsents" r#"{"sid"}"# => consent::list;
    Submit "RequestAccess" r#"{"accessId","target":{"records":[id]} or {"sid","kinds"?:[],"custodian"?},"purpose":"TREAT|HPAYMT|HOPERAT|HRESCH|PUBHLTH|PATRQT","purposeRef"?}"# => access::request;
    Evaluate "EvaluateAccess" r#"{"target","purpose"}, as in RequestAccess"# => access::evaluate;
    Submit "ConfirmRelease" r#"{"accessId","keyFingerprint"}"# => release::confirm_release;
    Submit "ConfirmReceipt" r#"{"accessId","received":[{"id","ctHash"}]}"# => release::confirm_receipt;
    Submit "BreakGlass" r#"{"accessId","target","reasonCode","placeRef"}"# => emergency::break_glass;
    Submit "ReviewBreakGlass" r#"{"accessId","verdict":"Justified|Abuse"}"# => emergency::review;
    Evaluate "OpenReviews" "{}" => emergency::open_reviews;
    Evaluate "ReadAccess" r#"{"accessId"}"# => accounting::read;
    Evaluate "Accounting" r#"{"sid","from"?:seconds,"to"?:seconds,"bookmark"?}"# => accounting::accounting;
    Submit "RequestErasure" r#"{"eraseId","sid","custodian"}"# => erasure::request;
    Submit "DecideErasure" r#"{"eraseId","verdict":"Accepted|Retained","ground"?,"until"?:seconds}"# => erasure::decide;
    Evaluate "ReadErasure" r#"{"eraseId"}"# => erasure::read;
    Submit "AttestErasure" r#"{"eraseId","ids":[],"keyIds":[],"method"}"# => erasure::attest;
};

impl Contract for Records {
    fn name(&self) -> &'static str {
        "records"
    }

    fn deployment(&self, organizations: &[String]) -> Option<Deployment> {
        let endorsers = [
            "HospitalMSP",
            "ClinicMSP",
            "RegulatorMSP",
            "InsurerMSP",
            "ResearchMSP",
            "CitizenMSP",
        ];
        Some(Deployment {
            policy: out_of(2, &endorsers, organizations)?,
            collections: Vec::new(),
        })
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        dispatch(self.name(), FUNCTIONS, stub)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetLawProfile {
    profile: LawProfile,
}

fn set_law_profile(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Regulator], &["certifier"])?;
    let args: SetLawProfile = call.args()?;
    let mut config = call.config()?.clone();
    config.law_profile = args.profile;
    write_config(call, config)?;
    let name = args.profile.name();
    Ok(Outcome::changed("law", name).event(call, "LawProfileSet", "law", name, ""))
}
