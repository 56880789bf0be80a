//! The `research` contract: datasets and what they may be used for, requests, grants and their
//! use, and consultations between practitioners.
//!
//! Data stays in its custodian's vault; the ledger has conditions, bands, hashes and decisions.
//! Files by subject: `model` (what is kept, and which states may follow which), `disease` and
//! `duo` (conditions of use and who meets them, pure), `band` (numbers of people, pure),
//! `dataset` (what is on offer, and subjects who leave), `project` (and its ethics approval),
//! `count` (cohorts), `application` (requests up to the accepted terms), `grant` (use until
//! destruction), `output` (results and credit), `consult` and `thread` (opinions of colleagues),
//! `party` (who acts, and that it was them).

mod application;
mod band;
mod consult;
mod count;
mod dataset;
mod disease;
mod duo;
mod grant;
mod model;
mod output;
mod party;
mod project;
#[cfg(test)]
mod tests;
mod thread;

pub use band::band;

use crate::contract::{Contract, Deployment, Response, out_of};
use crate::purge;
use crate::request::{Function, dispatch, functions};
use crate::roles;
use crate::stub::Stub;

/// The contract `research`; its functions are in `docs/health/research.md`.
pub struct Research;

pub(crate) const FUNCTIONS: &[Function] = functions! {
    Submit "Configure" r#"{"providers":[MSP id],"makers":[],"distributors":[],"regulators":[],"payers":[],"research":[],"waste":[],"citizens":[],"registry":chaincode}, missing ones by default"# => roles::configure;
    Evaluate "ReadConfig" "{}" => roles::read_config;
    Submit "RegisterDataset" r#"{"dataset":{"id","schema","size":band,"minimum"?:10,"use":{"permission":DUO code,"diseases"?:[{"code","below"?:[code]}],"modifiers"?:[{"code":DUO code,"values"?:[],"until"?:seconds,"months"?:number}]},"policyHash","dataHash"?,"contributors"?:[MSP id]}}"# => dataset::register;
    Submit "CloseDataset" r#"{"id"}"# => dataset::close;
    Evaluate "ReadDataset" r#"{"id"}"# => dataset::read;
    Evaluate "FindDatasets" r#"{"duo":DUO code} or {"custodian":MSP id}, with "bookmark"?:id"# => dataset::find;
    Submit "WithdrawSubject" r#"{"dataset","token":pseudonym in the dataset}"# => dataset::withdraw;
    Evaluate "Withdrawals" r#"{"dataset","bookmark"?:token}"# => dataset::withdrawals;
    Submit "RegisterProject" r#"{"project":{"id","purpose":"disease|biomedical|methods|ancestry|general|care","diseases"?:[code],"kinds"?:[code],"genetic"?:bool,"forProfit"?:bool,"commercial"?:bool,"countries":[ISO 3166-1],"protocolHash"}}"# => project::register;
    Submit "DecideEthics" r#"{"project","verdict":"Approved|Refused","docHash","until"?:seconds, with Approved}"# => project::decide_ethics;
    Evaluate "ReadProject" r#"{"id"}"# => project::read;
    Evaluate "ListProjects" r#"{"org":MSP id,"bookmark"?:id}"# => project::list;
    Submit "Count" r#"{"countId","project","dataset","queryHash"}"# => count::ask;
    Submit "AnswerCount" r#"{"countId","cells":[{"cell","band"}]}"# => count::answer;
    Evaluate "ReadCount" r#"{"countId"}"# => count::read;
    Submit "RequestData" r#"{"dar","dataset","project","terms":{"months":number,"accepts"?:[DUO code]}}"# => application::request;
    Evaluate "EvaluateRequest" r#"{"dataset","project","terms"}, as in RequestData"# => application::evaluate;
    Submit "DecideRequest" r#"{"dar","verdict":"Approved|Refused","reason"?}"# => application::decide;
    Submit "AcceptTerms" r#"{"dar","policyHash"}"# => application::accept;
    Evaluate "ReadRequest" r#"{"dar"}"# => application::read;
    Evaluate "ListRequests" r#"{"state":"Submitted|AutoDenied|Approved|Refused|Active","bookmark"?:id}"# => application::list;
    Submit "RecordUse" r#"{"grant","kind":"export|compute|publish","inHash","outHash","excluded"?:number, with export}"# => grant::record_use;
    Submit "RevokeGrant" r#"{"grant","reason"}"# => grant::revoke;
    Submit "ConfirmDestruction" r#"{"grant","proofHash"}"# => grant::confirm_destruction;
    Evaluate "ReadGrant" r#"{"grant"}"# => grant::read;
    Evaluate "UseLog" r#"{"grant","bookmark"?:number}"# => grant::use_log;
    Evaluate "OverdueDestructions" "{}" => grant::overdue;
    Submit "ReportOutput" r#"{"out","grant","doi"?,"hash"}"# => output::report;
    Evaluate "ReadOutput" r#"{"out"}"# => output::read;
    Evaluate "ListOutputs" r#"{"dataset","bookmark"?:id}"# => output::list;
    Evaluate "Credits" r#"{"org":MSP id,"bookmark"?:id}"# => output::credits;
    SubmitTransient "RequestConsult" r#"{"con","to":MSP id,"toPid"?,"specialty","questionHash","expires":seconds}"# => consult::request;
    Submit "AcceptConsult" r#"{"con","questionHash"}"# => consult::accept;
    SubmitTransient "PostOpinion" r#"{"con","opinionHash","feeRef"?}"# => consult::post_opinion;
    Submit "CloseConsult" r#"{"con","rating":1 to 5}"# => consult::close;
    Submit "ExpireConsult" r#"{"con"}"# => consult::expire;
    Submit "ForgetConsult" r#"{"con"}"# => consult::forget;
    Submit "PurgePrivate" r#"{"keys":[],"ground":"ERASURE|RETENTION|CONSENT|ERROR|ORDER","reference":id}"# => purge::purge_private;
    Evaluate "ReadPurged" r#"{"org":MSP id,"keyHash":SHA-256,"reference":id}"# => purge::read_purged;
    Evaluate "ReadConsult" r#"{"con"}"# => thread::read;
    Evaluate "ReadThread" r#"{"con"}"# => thread::read_thread;
    Evaluate "CheckConsultAccess" r#"{"con"}"# => thread::check_access;
    Evaluate "ListConsults" r#"{"org":MSP id,"bookmark"?:id}"# => thread::list;
};

impl Contract for Research {
    fn name(&self) -> &'static str {
        "research"
    }

    fn deployment(&self, organizations: &[String]) -> Option<Deployment> {
        let endorsers = [
            "HospitalMSP",
            "ClinicMSP",
            "ResearchMSP",
            "RegulatorMSP",
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
