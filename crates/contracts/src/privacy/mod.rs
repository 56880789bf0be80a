//! The `privacy` contract: pseudonym epochs, proof of erasure, and the audit trail of what happens
//! outside the other contracts.
//!
//! Files by subject: `model` (what is kept, and which states may follow which), `epoch` (keys of
//! pseudonyms begin and end), `destruction` (what was destroyed, by whom and why), `event` (audit
//! events come in), `query` (who sees them), `checkpoint` (they are sealed, and proved to be under
//! the seal), `investigation` (some of them are looked into).
//!
//! The keys themselves are in the organizations' vaults ([`crate::vault`]); what is here are their
//! fingerprints.

mod checkpoint;
mod destruction;
mod epoch;
mod event;
mod investigation;
mod model;
mod query;
#[cfg(test)]
mod tests;

use crate::contract::{Contract, Deployment, Response, out_of};
use crate::request::{Function, dispatch, functions};
use crate::roles;
use crate::stub::Stub;

/// The contract `privacy`; its functions are in `docs/health/privacy.md`.
pub struct Privacy;

pub(crate) const FUNCTIONS: &[Function] = functions! {
    Submit "Configure" r#"{"providers":[MSP id],"makers":[],"distributors":[],"regulators":[],"payers":[],"research":[],"waste":[],"citizens":[],"registry":chaincode}, missing ones by default"# => roles::configure;
    Evaluate "ReadConfig" "{}" => roles::read_config;
    Submit "OpenEpoch" r#"{"sector":"care|pay|device|research:<project>","epoch":number from 1,"fingerprint":SHA-256}"# => epoch::open;
    Submit "RetireEpoch" r#"{"sector","epoch"}"# => epoch::retire;
    Submit "AttestEpochDestroyed" r#"{"sector","epoch","fingerprint","method","evidenceHash"?}"# => epoch::attest_destroyed;
    Evaluate "ReadEpoch" r#"{"org":MSP id,"sector","epoch"}"# => epoch::read;
    Evaluate "ListEpochs" r#"{"org":MSP id,"sector"?}"# => epoch::list;
    Submit "RequestPurge" r#"{"id","holder":MSP id,"ground":"ERASURE|RETENTION|CONSENT|ERROR|ORDER","reference"?:id,"subject"?:sid}"# => destruction::request;
    Submit "RefusePurge" r#"{"id","reason":code,"until":seconds}"# => destruction::refuse;
    Submit "AttestDestruction" r#"{"id","private"?:[{"chaincode","keys":[]}],"vaultKeys"?:[fingerprint],"method"}"# => destruction::attest;
    Evaluate "ReadPurge" r#"{"id"}"# => destruction::read;
    Evaluate "VerifyErasure" r#"{"id","records"?:chaincode}"# => destruction::verify;
    Submit "Append" r#"{"event":{"id","type":code,"action":"C|R|U|D|E","outcome":"0|4|8|12","purpose":"TREAT|ETREAT|HPAYMT|HOPERAT|HRESCH|PUBHLTH|PATRQT","subject"?:sid,"entities"?:["Type/id"],"agent"?:{"pid","role"},"decision"?:id,"at":seconds}}"# => event::append;
    Evaluate "ReadEvent" r#"{"id"}"# => event::read;
    Evaluate "Query" r#"{"subject"?:sid or "org"?:MSP id or "outcome"?:"0|4|8|12","from"?:seconds,"to"?:seconds,"bookmark"?}"# => query::query;
    Submit "Checkpoint" r#"{"from":seconds,"to":seconds,"root":SHA-256}"# => checkpoint::seal;
    Evaluate "ReadCheckpoint" r#"{"n"?:number, the latest by default}"# => checkpoint::read;
    Evaluate "PreviewCheckpoint" r#"{"from":seconds,"to":seconds}"# => checkpoint::preview;
    Evaluate "ProveEvent" r#"{"id"}"# => checkpoint::prove_event;
    Submit "OpenInvestigation" r#"{"id","query":{"subject"?:sid or "org"?:MSP id or "outcome"?,"from":seconds,"to":seconds}}"# => investigation::open;
    Submit "CloseInvestigation" r#"{"id","finding":code,"docHash"?:SHA-256}"# => investigation::close;
    Evaluate "ReadInvestigation" r#"{"id"}"# => investigation::read;
};

impl Contract for Privacy {
    fn name(&self) -> &'static str {
        "privacy"
    }

    fn deployment(&self, organizations: &[String]) -> Option<Deployment> {
        let endorsers = [
            "HospitalMSP",
            "ClinicMSP",
            "MakerMSP",
            "RegulatorMSP",
            "InsurerMSP",
            "WasteMSP",
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
