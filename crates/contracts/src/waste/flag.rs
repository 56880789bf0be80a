//! Flags: what is not as it should be, committed at once, decided by three signatures.

use serde::{Deserialize, Serialize};

use super::carriage::nth;
use super::manifest::{load, save};
use super::model::{Finding, Flag, FlagCode, FlagState, Manifest, Step};
use crate::failure::Failure;
use crate::fields::{self, sortable};
use crate::request::{Call, Outcome, decode};
use crate::roles::Part;

/// Flags of one answer.
const PAGE: usize = 200;

/// A flag to be raised.
pub(super) struct Raise {
    code: FlagCode,
    counterpart: String,
    bag: Option<String>,
    expected: Option<u64>,
    found: Option<u64>,
    holds: bool,
}

impl Raise {
    pub fn of(code: FlagCode, counterpart: &str) -> Self {
        Raise {
            code,
            counterpart: counterpart.to_owned(),
            bag: None,
            expected: None,
            found: None,
            holds: false,
        }
    }

    pub fn bag(mut self, id: &str) -> Self {
        self.bag = Some(id.to_owned());
        self
    }

    pub fn expected(mut self, expected: u64) -> Self {
        self.expected = Some(expected);
        self
    }

    pub fn found(mut self, found: u64) -> Self {
        self.found = Some(found);
        self
    }

    pub fn numbers(self, expected: u64, found: u64) -> Self {
        self.expected(expected).found(found)
    }

    /// The manifest is not accepted before it is decided.
    pub fn holding(mut self) -> Self {
        self.holds = true;
        self
    }
}

/// The flags of one transaction.
#[derive(Default)]
pub(super) struct Raised {
    codes: Vec<FlagCode>,
}

impl Raised {
    /// The verdict: the first flag's code, or `OK`.
    pub fn answer(&self, call: &Call<'_>, manifest: &Manifest, event: &'static str) -> Outcome {
        let (decision, code) = match self.codes.first() {
            None => ("Accepted", "OK"),
            Some(code) => ("Flagged", code.name()),
        };
        let state = manifest.state.name();
        Outcome::verdict(&manifest.no, state, decision, code).event(
            call,
            event,
            &manifest.no,
            state,
            code,
        )
    }
}

pub(super) fn raise(
    call: &mut Call<'_>,
    manifest: &mut Manifest,
    raise: Raise,
    raised: &mut Raised,
) -> Result<(), Failure> {
    manifest.flags += 1;
    if raise.holds {
        manifest.undecided += 1;
    }
    raised.codes.push(raise.code);
    let flag = Flag {
        no: manifest.no.clone(),
        n: manifest.flags,
        code: raise.code,
        bag: raise.bag,
        expected: raise.expected,
        found: raise.found,
        generator: manifest.generator.clone(),
        counterpart: raise.counterpart,
        holds: raise.holds,
        state: FlagState::Open,
        findings: Vec::new(),
        at: call.now,
    };
    let n = nth(flag.n);
    call.store("flag", &[&flag.no, &n], &flag)?;
    call.index("openFlag", &[&sortable(flag.at), &flag.no, &n])
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Decision {
    Accepted,
    Referred,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolveFlag {
    no: String,
    n: u32,
    finding: String,
    #[serde(default)]
    verdict: Option<Decision>,
}

/// First the producer and its counterpart say what they found, in any order; then the regulator
/// decides.
pub(super) fn resolve(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    call.require(
        &[Part::Provider, Part::Waste, Part::Regulator],
        &["waste", "carrier", "disposer", "environment"],
    )?;
    let args: ResolveFlag = call.args()?;
    fields::id("no", &args.no)?;
    fields::code("finding", &args.finding)?;
    let n = nth(args.n);
    let mut flag: Flag = call
        .load("flag", &[&args.no, &n])?
        .ok_or_else(|| Failure::not_found(format!("no flag {} of {}", args.n, args.no)))?;
    let signed = Finding {
        org: call.msp().to_owned(),
        role: call.role().unwrap_or_default().to_owned(),
        finding: args.finding.clone(),
        tx_id: call.stub.tx_id().to_owned(),
        at: call.now,
    };
    let msp = call.msp().to_owned();
    let is_regulator = call.config()?.plays(&msp, Part::Regulator);
    if is_regulator && call.role() == Some("environment") {
        decide(call, &mut flag, args.verdict)?;
    } else {
        let role_fits = match call.role() {
            Some("waste") => msp == flag.generator,
            Some("carrier" | "disposer") => msp == flag.counterpart,
            _ => false,
        };
        if !role_fits {
            return Err(Failure::forbidden(
                "NOT_PARTY",
                format!(
                    "flag {} of {} is answered for by {} and {}, and decided by the regulator",
                    flag.n, flag.no, flag.generator, flag.counterpart
                ),
            ));
        }
        sign(&flag, &signed.org, args.verdict)?;
    }
    flag.findings.push(signed);
    call.store("flag", &[&args.no, &n], &flag)?;
    let id = format!("{}/{}", flag.no, flag.n);
    let state = flag.state.name();
    Ok(Outcome::changed(&id, state).event(call, "FlagResolved", &id, state, &args.finding))
}

fn bad_state(flag: &Flag) -> Failure {
    Failure::conflict(
        "BAD_STATE",
        format!("flag {} of {} is {}", flag.n, flag.no, flag.state.name()),
    )
}

/// One of the two parties signs, once, while the flag is open.
fn sign(flag: &Flag, msp: &str, verdict: Option<Decision>) -> Result<(), Failure> {
    if verdict.is_some() {
        return Err(Failure::malformed("verdict is the regulator's to give"));
    }
    if flag.state != FlagState::Open {
        return Err(bad_state(flag));
    }
    if flag.findings.iter().any(|finding| finding.org == msp) {
        return Err(Failure::conflict(
            "ALREADY_SIGNED",
            format!("{msp} has signed flag {} of {}", flag.n, flag.no),
        ));
    }
    Ok(())
}

/// The third signature. What was referred can be accepted later.
fn decide(call: &mut Call<'_>, flag: &mut Flag, verdict: Option<Decision>) -> Result<(), Failure> {
    let Some(verdict) = verdict else {
        return Err(Failure::malformed(
            "the regulator gives a verdict, Accepted or Referred",
        ));
    };
    let before = flag.state;
    flag.state = match (before, verdict) {
        (FlagState::Open | FlagState::Referred, Decision::Accepted) => FlagState::Accepted,
        (FlagState::Open, Decision::Referred) => FlagState::Referred,
        _ => return Err(bad_state(flag)),
    };
    for party in [&flag.generator, &flag.counterpart] {
        if !flag.findings.iter().any(|finding| finding.org == *party) {
            return Err(Failure::rule(
                "SIGNATURES",
                format!(
                    "flag {} of {} is decided after {party} has signed it",
                    flag.n, flag.no
                ),
            ));
        }
    }
    if flag.state == FlagState::Accepted {
        let n = nth(flag.n);
        call.unindex("openFlag", &[&sortable(flag.at), &flag.no, &n])?;
    }
    if flag.holds {
        let mut manifest = load(call, &flag.no)?;
        count(&mut manifest, before, flag.state);
        settle(&mut manifest, call.now)?;
        save(call, &manifest)?;
    }
    Ok(())
}

fn count(manifest: &mut Manifest, before: FlagState, after: FlagState) {
    match before {
        FlagState::Open => manifest.undecided = manifest.undecided.saturating_sub(1),
        FlagState::Referred => manifest.referred = manifest.referred.saturating_sub(1),
        FlagState::Accepted => {}
    }
    if after == FlagState::Referred {
        manifest.referred += 1;
    }
}

/// When all flags of its acceptance are decided the manifest goes on.
fn settle(manifest: &mut Manifest, now: i64) -> Result<(), Failure> {
    if manifest.undecided > 0 {
        return Ok(());
    }
    let step = match (manifest.referred, manifest.is_return()) {
        (0, false) => Step::Accept,
        (0, true) => Step::TakeBack,
        // Another one of it is with the authority still.
        _ if manifest.state == super::model::ManifestState::Referred => return Ok(()),
        _ => Step::Refer,
    };
    manifest.step(step, now)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flags {
    /// Also those that were accepted.
    #[serde(default)]
    all: bool,
    #[serde(default)]
    code: Option<FlagCode>,
    #[serde(default)]
    org: Option<String>,
    #[serde(default)]
    bookmark: Option<String>,
}

#[derive(Serialize)]
struct Found {
    flags: Vec<Flag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bookmark: Option<String>,
}

/// Flags that are not accepted yet, oldest first; or all, by manifest. Regulators see every one,
/// others those that they have to answer for.
pub(super) fn flags(call: &mut Call<'_>) -> Result<Outcome, Failure> {
    let args: Flags = call.args()?;
    let index = if args.all { "flag" } else { "openFlag" };
    let after = args.bookmark.iter().flat_map(|it| it.split('/'));
    let found = call.page(index, &[], after, PAGE)?;
    let msp = call.msp().to_owned();
    let sees_all = call.config()?.plays(&msp, Part::Regulator);
    let (mut flags, mut last) = (Vec::new(), None);
    for entry in &found.entries {
        let flag: Option<Flag> = match &entry.attributes[..] {
            [_, no, n] => call.load("flag", &[no, n])?,
            _ => Some(decode("flag", &entry.value)?),
        };
        last = Some(entry.attributes.join("/"));
        flags.extend(flag.filter(|flag: &Flag| {
            let of = |msp: &str| flag.generator == msp || flag.counterpart == msp;
            (sees_all || of(&msp))
                && args.code.is_none_or(|code| flag.code == code)
                && args.org.as_deref().is_none_or(of)
        }));
    }
    let bookmark = last.filter(|_| found.more);
    Ok(Outcome::of(&Found { flags, bookmark }))
}
