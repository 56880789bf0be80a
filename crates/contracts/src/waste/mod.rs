//! The `waste` contract: bags of medical waste from the ward to the certificate of their disposal.
//!
//! Files by subject: `model` (what is kept, and which states may follow which), `class` (codes and
//! methods), `number` (of manifests), `limits` (tolerances and deadlines), all pure; `bag`,
//! `manifest`, `carriage` (both signatures), `facility` (accepted bag by bag, or refused), `flag`
//! (what is not as it should be, and three signatures to decide it), `disposal`, `trace`
//! (questions); [`epa`] (reading the EPA's JSON).

mod bag;
mod carriage;
mod class;
mod disposal;
pub mod epa;
mod facility;
mod flag;
mod limits;
mod manifest;
mod model;
mod number;
#[cfg(test)]
mod tests;
mod trace;

use crate::contract::{Contract, Deployment, Response, out_of};
use crate::request::{Function, dispatch, functions};
use crate::roles;
use crate::stub::Stub;

/// The contract `waste`; its functions are in `docs/health/waste.md`.
pub struct Waste;

pub(crate) const FUNCTIONS: &[Function] = functions! {
    Submit "Configure" r#"{"providers":[MSP id],"makers":[],"distributors":[],"regulators":[],"payers":[],"research":[],"waste":[],"citizens":[],"registry":chaincode}, missing ones by default"# => roles::configure;
    Evaluate "ReadConfig" "{}" => roles::read_config;
    Submit "SetTolerances" r#"{"bagPermille":number,"bagGrams":number,"totalPermille":number,"totalGrams":number}"# => bag::set_tolerances;
    Submit "SealBag" r#"{"id","code","grams":number,"dept","container"?:"bag|box|drum","sealedAt"?:seconds}"# => bag::seal;
    Submit "CorrectBag" r#"{"id","grams":number,"reason"}"# => bag::correct;
    Evaluate "ReadBag" r#"{"id"}"# => bag::read;
    Submit "CreateManifest" r#"{"no","carriers":[MSP id],"disposer":MSP id,"bags":[]}"# => manifest::create;
    Submit "CancelManifest" r#"{"no"}"# => manifest::cancel;
    Submit "HandOver" r#"{"no","count":number,"grams":number}"# => carriage::hand_over;
    Submit "AcceptCarriage" r#"{"no","vehicle","count":number,"grams":number}"# => carriage::accept_carriage;
    Submit "Deliver" r#"{"no"}"# => carriage::deliver;
    Submit "AcceptAtFacility" r#"{"no","bags":[{"bag","grams":number}]}"# => facility::accept;
    Submit "RejectLoad" r#"{"no","newNo","bags"?:[],"reason","altFacility"?:MSP id}"# => facility::reject;
    Submit "ResolveFlag" r#"{"no","n":number,"finding","verdict"?:"Accepted|Referred"}"# => flag::resolve;
    Submit "Dispose" r#"{"no","method":"incineration|steam|microwave|chemical-disinfection|physicochemical|recovery|landfill","batch","start":seconds,"end":seconds}"# => disposal::dispose;
    Submit "Certify" r#"{"no","certHash":SHA-256}"# => disposal::certify;
    Evaluate "Trace" r#"{"bag"} or {"no"}"# => trace::trace;
    Evaluate "Overdue" r#"{"asOf"?:seconds}"# => trace::overdue;
    Evaluate "Flags" r#"{"all"?:bool,"code"?,"org"?:MSP id,"bookmark"?}"# => flag::flags;
    Evaluate "ListManifests" r#"{"org":MSP id,"bookmark"?}"# => trace::list;
};

impl Contract for Waste {
    fn name(&self) -> &'static str {
        "waste"
    }

    fn deployment(&self, organizations: &[String]) -> Option<Deployment> {
        let endorsers = ["HospitalMSP", "ClinicMSP", "WasteMSP", "RegulatorMSP"];
        Some(Deployment {
            policy: out_of(2, &endorsers, organizations)?,
            collections: Vec::new(),
        })
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        dispatch(self.name(), FUNCTIONS, stub)
    }
}
