//! Manifests: made by the producer, cancelled before they leave, and whom they are for.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::bag;
use super::class::{Scheme, classify};
use super::model::{Bag, BagStep, Line, Manifest, ManifestState, Signature, Step};
use super::number::scheme_of;
use crate::failure::Failure;
use crate::fields::{self, date_of, sortable};
use crate::request::{Call, Outcome};
use crate::roles::Part;

/// Bags of one manifest.
pub(crate) const MAX_BAGS: usize = 200;
/// Carriers of one manifest.
const MAX_CARRIERS: usize = 8;

pub(super) fn load(call: &mut Call<'_>, no: &str) -> Result<Manifest, Failure> {
    fields::id("no", no)?;
    call.load("man", &[no])?
        .ok_or_else(|| Failure::not_found(format!("no manifest {no}")))
}

pub(super) fn save(call: &mut Call<'_>, manifest: &Manifest) -> Result<(), Failure> {
    call.store("man", &[&manifest.no], manifest)
}

/// Sets when the next signature is due, and keeps the index `open~due~no` in step.
pub(super) fn set_due(
    call: &mut Call<'_>,
    manifest: &mut Manifest,
    due: Option<i64>,
) -> Result<(), Failure> {
    if manifest.due == due {
        return Ok(());
    }
    if let Some(before) = manifest.due {
        call.unindex("open", &[&sortable(before), &manifest.no])?;
    }
    if let Some(due) = due {
        call.index("open", &[&sortable(due), &manifest.no])?;
    }
    manifest.due = due;
    Ok(())
}

/// Lists a new manifest with everybody that it concerns: `manOf~msp~date~no`.
pub(super) fn list(call: &mut Call<'_>, manifest: &Manifest) -> Result<(), Failure> {
    let date = date_of(manifest.created).to_string();
    let mut parties: BTreeSet<&str> = manifest.carriers.iter().map(String::as_str).collect();
    parties.insert(&manifest.generator);
    parties.insert(&manifest.disposer);
    for msp in parties {
        call.index("manOf", &[msp, &date, &manifest.no])?;
    }
    Ok(())
}

/// What the caller signs with this transaction.
pub(super) fn sign(call: &Call<'_>, numbers: Option<(u64, u64)>) -> Signature {
    Signature {
        org: call.msp().to_owned(),
        role: call.role().unwrap_or_default().to_owned(),
        tx_id: call.stub.tx_id().to_owned(),
        at: call.now,
        count: numbers.map(|(count, _)| count),
        grams: numbers.map(|(_, grams)| grams),
    }
}

pub(super) fn need_party(call: &Call<'_>, manifest: &Manifest, msp: &str) -> Result<(), Failure> {
    if call.msp() == msp {
        return Ok(());
    }
    Err(Failure::forbidden(
        "NOT_PARTY",
        format!(
            "{} of manifest {} is for {msp} to do",
            call.function(),
            manifest.no
        ),
    ))
}

/// The bags of a manifest's lines as they are on the ledger.
pub(super) fn bags_of<'l>(
    call: &mut Call<'_>,
    lines: impl Iterator<Item = &'l Line>,
) -> Result<Vec<Bag>, Failure> {
    lines.map(|line| bag::load(call, &line.bag)).collect()
}

/// The first waste code that an organization has no licence for in force, and why.
pub(super) fn unlicensed(
    call: &mut Call<'_>,
    msp: &str,
    lines: &[Line],
) -> Result<Option<(String, String)>, Failure> {
    let codes: BTreeSet<&str> = lines.iter().map(|line| line.code.as_str()).collect();
    for code in codes {
        let standing = call.organization_standing(msp, code)?;
        if !standing.active {
            return Ok(Some((code.to_owned(), standing.reason)));
        }
    }
    Ok(None)
}

/// Refuses organizations that may not carry or dispose of these wastes: 422 `UNKNOWN_ORG`,
/// `UNLICENSED`.
pub(super) fn need_licence(call: &mut Call<'_>, msp: &str, lines: &[Line]) -> Result<(), Failure> {
    if !call.config()?.plays(msp, Part::Waste) {
        return Err(Failure::rule(
            "UNKNOWN_ORG",
            format!("{msp} is no organization that carries or disposes of waste"),
        ));
    }
    match unlicensed(call, msp, lines)? {
        None => Ok(()),
        Some((code, reason)) => Err(Failure::rule(
            "UNLICENSED",
            format!("{msp} has no licence for {code} in force, the registry says {reason}"),
        )),
    }
}

/// The scheme of a number that nobody has used: 422 `BAD_NUMBER`, 409 `DUPLICATE`.
pub(super) fn new_number(call: &mut Call<'_>, no: &str) -> Result<Scheme, Failure> {
    let scheme = scheme_of(no, date_of(call.now))?;
    if call.exists("man", &[no])? {
        return Err(Failure::conflict(
            "DUPLICATE",
            format!("manifest {no} exists"),
        ));
    }
    Ok(scheme)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateManifest {
    no: String,
    carriers: Vec<String>,
    disposer: String,
    bags: Vec<String>,
}

fn check_carriers(args: &CreateManifest) -> Result<(), Failure> {
    fields::count("carriers", args.carriers.len(), MAX_CARRIERS)?;
    for carrier in &args.carriers {
        fields::msp("carriers", carrier)?;
    }
    fields::msp("disposer", &args.disposer)?;
    if args.carriers.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Failure::malformed(
            "carriers follow one another: the same cannot hand over to itself",
        ));
    }
    Ok(())
}

/// One scheme for number and wastes, and in China one class of waste on each manifest.
fn check_codes(scheme: Scheme, no: &str, bags: &[Bag]) -> Result<(), Failure> {
    let mut classes = BTreeSet::new();
    for bag in bags {
        let (of_code, class) = classify(&bag.code)?;
        if of_code != scheme {
            return Err(Failure::rule(
                "CODE_SCHEME",
                format!(
                    "manifest {no} is one of {}, bag {} has the code {}",
                    scheme.name(),
                    bag.id,
                    bag.code
                ),
            ));
        }
        classes.insert(class);
    }
    if scheme == Scheme::China && classes.len() > 1 {
        let names: Vec<_> = classes.iter().map(|class| class.name()).collect();
        return Err(Failure::rule(
            "MIXED_CLASS",
            format!(
                "a manifest is for one class of waste, {no} would have {}",
                names.join(" and ")
            ),
        ));
    }
    Ok(())
}

pub(super) fn create(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["waste"])?;
    let args: CreateManifest = call.args()?;
    let scheme = new_number(call, &args.no)?;
    check_carriers(&args)?;
    fields::count("bags", args.bags.len(), MAX_BAGS)?;
    let mut bags = Vec::with_capacity(args.bags.len());
    let mut seen = BTreeSet::new();
    for id in &args.bags {
        if !seen.insert(id) {
            return Err(Failure::conflict(
                "DUPLICATE",
                format!("bag {id} is named twice"),
            ));
        }
        let mut bag = bag::load(call, id)?;
        bag::need_generator(call, &bag)?;
        bag.step(BagStep::List, call.now)?;
        bag.manifest = Some(args.no.clone());
        bags.push(bag);
    }
    check_codes(scheme, &args.no, &bags)?;
    let lines: Vec<Line> = bags
        .iter()
        .map(|bag| Line {
            bag: bag.id.clone(),
            code: bag.code.clone(),
            grams: bag.grams,
            fate: None,
            found: None,
        })
        .collect();
    let mut firms: BTreeSet<&String> = args.carriers.iter().collect();
    firms.insert(&args.disposer);
    for msp in firms {
        need_licence(call, msp, &lines)?;
    }
    for bag in &bags {
        bag::save(call, bag)?;
    }
    let manifest = new(call, &args.no, scheme, args.carriers, args.disposer, lines);
    save(call, &manifest)?;
    list(call, &manifest)?;
    let state = manifest.state.name();
    Ok(Outcome::changed(&args.no, state).event(
        call,
        "ManifestCreated",
        &args.no,
        state,
        &manifest.grams.to_string(),
    ))
}

/// A manifest of the caller's, as it begins.
pub(super) fn new(
    call: &Call<'_>,
    no: &str,
    scheme: Scheme,
    carriers: Vec<String>,
    disposer: String,
    lines: Vec<Line>,
) -> Manifest {
    Manifest {
        no: no.to_owned(),
        scheme,
        generator: call.msp().to_owned(),
        carriers,
        disposer,
        grams: lines.iter().map(|line| line.grams).sum(),
        lines,
        extra: Vec::new(),
        state: ManifestState::Scheduled,
        carried: 0,
        legs: 0,
        flags: 0,
        undecided: 0,
        referred: 0,
        previous: None,
        reason: None,
        next: Vec::new(),
        disposal: None,
        due: None,
        created: call.now,
        at: call.now,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ByNumber {
    pub no: String,
}

pub(super) fn cancel(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(&[Part::Provider], &["waste"])?;
    let args: ByNumber = call.args()?;
    let mut manifest = load(call, &args.no)?;
    let generator = manifest.generator.clone();
    need_party(call, &manifest, &generator)?;
    manifest.step(Step::Cancel, call.now)?;
    for mut bag in bags_of(call, manifest.lines.iter())? {
        bag.step(BagStep::Unlist, call.now)?;
        bag.manifest = None;
        bag::save(call, &bag)?;
    }
    save(call, &manifest)?;
    let state = manifest.state.name();
    Ok(Outcome::changed(&args.no, state).event(call, "ManifestCancelled", &args.no, state, ""))
}
