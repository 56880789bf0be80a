//! The `devices` contract: certification, custody, implants and recalls of medical devices.
//!
//! Files by subject: `model` (what is kept, and which states may follow which), `product`, `lot`,
//! `scan` (verdicts on carriers, pure), `custody` (from hand to hand), `bag` (where
//! a destroyed unit went), `implant` (the procedure and
//! the patient), `recall` and `affected` (whom it concerns), `trace` (questions).

mod affected;
mod bag;
mod custody;
mod implant;
mod lot;
mod model;
mod product;
mod recall;
mod scan;
#[cfg(test)]
mod tests;
mod trace;

pub(crate) use model::UnitId;

use crate::contract::{Contract, Deployment, Response, out_of};
use crate::purge;
use crate::request::{Function, dispatch, functions};
use crate::roles;
use crate::stub::Stub;

/// The contract `devices`; its functions are in `docs/contracts.md`.
pub struct Devices;

pub(crate) const FUNCTIONS: &[Function] = functions! {
    Submit "Configure" r#"{"providers":[MSP id],"makers":[],"distributors":[],"regulators":[],"payers":[],"research":[],"waste":[],"citizens":[],"registry":chaincode,"wasteContract":chaincode}, missing ones by default"# => roles::configure;
    Evaluate "ReadConfig" "{}" => roles::read_config;
    Submit "RegisterProduct" r#"{"product":{"di","issuer"?:"GS1|HIBCC|ICCBBA","name","model","label":{"lot"?:bool,"serial"?:bool,"made"?:bool,"expires"?:bool}}}"# => product::register;
    Submit "SubmitCertification" r#"{"di","certNo","type","docHashes":[SHA-256]}"# => product::submit;
    Submit "Certify" r#"{"di","certNo","validFrom"?:seconds,"validTo":seconds}"# => product::certify;
    Submit "Refuse" r#"{"di","reason"}"# => product::refuse;
    Submit "SuspendProduct" r#"{"di","reason"}"# => product::suspend;
    Submit "WithdrawProduct" r#"{"di","reason"}"# => product::withdraw;
    Submit "RegisterPackage" r#"{"pkgDi","containsDi","qty":number}"# => product::register_package;
    Evaluate "ReadProduct" r#"{"di"}"# => product::read;
    Submit "RegisterLot" r#"{"di","lot"?,"mfg"?:"YYYY-MM-DD","exp"?:"YYYY-MM-DD","qty":number}"# => lot::register_lot;
    Submit "RegisterUnits" r#"{"di","lot"?,"serials":[]} or, without serial numbers on the label, {"di","lot"?,"count":number}"# => lot::register_units;
    Submit "Ship" r#"{"units":[{"di","lot"?,"serial"}],"to":MSP id,"sscc"?}"# => custody::ship;
    Submit "Receive" r#"{"units":[{"di","lot"?,"serial"}],"scans":[carrier]}"# => custody::receive;
    Submit "ScanUdi" r#"{"carrier","place"}"# => scan::scan_udi;
    Evaluate "CheckUdi" r#"{"carrier"}"# => trace::check_udi;
    Submit "ReleaseQuarantine" r#"{"unit":{"di","lot"?,"serial"},"finding"}"# => custody::release;
    SubmitTransient "Implant" r#"{"unit":{"di","lot"?,"serial"},"procedureRef","patientCommit"?}"# => implant::implant;
    Submit "Explant" r#"{"unit":{"di","lot"?,"serial"},"procedureRef"}"# => implant::explant;
    Evaluate "ReadPatient" r#"{"unit":{"di","lot"?,"serial"}}"# => implant::read_patient;
    Submit "PurgePrivate" r#"{"keys":[],"ground":"ERASURE|RETENTION|CONSENT|ERROR|ORDER","reference":id}"# => purge::purge_private;
    Evaluate "ReadPurged" r#"{"org":MSP id,"keyHash":SHA-256,"reference":id}"# => purge::read_purged;
    Submit "ReturnUnit" r#"{"unit":{"di","lot"?,"serial"}}"# => custody::return_unit;
    Submit "DestroyUnit" r#"{"unit":{"di","lot"?,"serial"},"bagId"}"# => custody::destroy;
    Evaluate "UnitsInBag" r#"{"bagId","bookmark"?:unit}"# => bag::units;
    Submit "ReportEvent" r#"{"eventId","di","lot"?,"serial"?,"severity":"death|serious|malfunction|minor","docHash"}"# => implant::report_event;
    Submit "OpenRecall" r#"{"no","class":"I|II|III","di","scope":"all" or {"lots":[]} or {"units":[{"lot","serial"}]}}"# => recall::open;
    Submit "ContinueRecall" r#"{"no"}"# => recall::carry_on;
    Submit "AcknowledgeRecall" r#"{"no","unit":{"di","lot"?,"serial"},"action":"Quarantined|PatientNotified|Explanted|Returned|Destroyed"}"# => recall::acknowledge;
    Submit "CloseRecall" r#"{"no"}"# => recall::close;
    Evaluate "ReadRecall" r#"{"no"}"# => recall::read;
    Evaluate "Affected" r#"{"no","bookmark"?:unit}"# => affected::affected;
    Evaluate "ReadUnit" r#"{"unit":{"di","lot"?,"serial"}}"# => trace::read_unit;
    Evaluate "TraceUnit" r#"{"unit":{"di","lot"?,"serial"}}"# => trace::trace;
    Evaluate "UnitsHeld" r#"{"org":MSP id,"bookmark"?:unit}"# => trace::held;
};

impl Contract for Devices {
    fn name(&self) -> &'static str {
        "devices"
    }

    fn deployment(&self, organizations: &[String]) -> Option<Deployment> {
        let endorsers = ["HospitalMSP", "MakerMSP", "RegulatorMSP", "ClinicMSP"];
        Some(Deployment {
            policy: out_of(2, &endorsers, organizations)?,
            collections: Vec::new(),
        })
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        dispatch(self.name(), FUNCTIONS, stub)
    }
}
