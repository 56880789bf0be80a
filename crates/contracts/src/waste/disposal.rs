//! The end: what was done with a load, and the certificate of it.

use serde::Deserialize;

use super::bag;
use super::class::{Method, allows, classify};
use super::manifest::{bags_of, load, need_party, save};
use super::model::{BagStep, Disposal, Fate, Line, Manifest, Step};
use crate::failure::Failure;
use crate::fields;
use crate::request::{Call, Outcome};
use crate::roles::Part;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dispose {
    no: String,
    method: Method,
    batch: String,
    start: i64,
    end: i64,
}

fn facility_manifest(call: &mut Call<'_>, no: &str) -> Result<Manifest, Failure> {
    let manifest = load(call, no)?;
    let facility = manifest.disposer.clone();
    need_party(call, &manifest, &facility)?;
    Ok(manifest)
}

pub(super) fn dispose(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Waste], &["disposer"])?;
    let args: Dispose = call.args()?;
    fields::code("batch", &args.batch)?;
    let mut manifest = facility_manifest(call, &args.no)?;
    let accepted_at = manifest.at;
    manifest.step(Step::Dispose, call.now)?;
    if !(accepted_at <= args.start && args.start <= args.end && args.end <= call.now) {
        return Err(Failure::rule(
            "PERIOD",
            format!(
                "a load is disposed of after it was accepted (at {accepted_at}), and recorded when it is done"
            ),
        ));
    }
    let received: Vec<Line> = manifest
        .lines
        .iter()
        .filter(|line| line.fate == Some(Fate::Received))
        .cloned()
        .collect();
    for line in &received {
        let (_, class) = classify(&line.code)?;
        if !allows(class, args.method) {
            return Err(Failure::rule(
                "METHOD",
                format!(
                    "bag {} is {} waste, this method does not destroy it",
                    line.bag,
                    class.name()
                ),
            ));
        }
    }
    for mut bag in bags_of(call, received.iter())? {
        bag.step(BagStep::Dispose, call.now)?;
        bag::save(call, &bag)?;
    }
    manifest.disposal = Some(Disposal {
        method: args.method,
        batch: args.batch.clone(),
        start: args.start,
        end: args.end,
        grams: received.iter().filter_map(|line| line.found).sum(),
        cert_hash: None,
    });
    save(call, &manifest)?;
    let state = manifest.state.name();
    Ok(Outcome::changed(&args.no, state).event(call, "Disposed", &args.no, state, &args.batch))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Certify {
    no: String,
    cert_hash: String,
}

pub(super) fn certify(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Waste], &["disposer"])?;
    let args: Certify = call.args()?;
    fields::hash("certHash", &args.cert_hash)?;
    let mut manifest = facility_manifest(call, &args.no)?;
    manifest.step(Step::Certify, call.now)?;
    if let Some(disposal) = &mut manifest.disposal {
        disposal.cert_hash = Some(args.cert_hash.clone());
    }
    save(call, &manifest)?;
    let state = manifest.state.name();
    Ok(
        Outcome::changed(&args.no, state).event(
            call,
            "Certified",
            &args.no,
            state,
            &args.cert_hash,
        ),
    )
}
