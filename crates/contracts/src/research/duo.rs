//! What a dataset may be used for, in the codes of GA4GH's Data Use Ontology, and whether a
//! project fits.
//!
//! Codes, short names and meanings are those of the ontology's release 2021-02-23 (EBISPOT/DUO:
//! `duo.csv`). The matching is a pure function of conditions and applicant.

use serde::{Deserialize, Serialize};

use super::disease::{self, Disease};
use super::model::{Project, Purpose, State};
use crate::failure::Failure;
use crate::fields;

const MAX_VALUES: usize = 64;

/// The longest use that may be asked for or granted, in months.
pub(crate) const MAX_MONTHS: u32 = 120;

/// Permission: disease specific.
pub(crate) const DS: &str = "DUO:0000007";
/// Modifier: ethics approval required.
pub(crate) const IRB: &str = "DUO:0000021";
/// Modifier: publication moratorium.
pub(crate) const MOR: &str = "DUO:0000024";
/// Modifier: time limit on use.
pub(crate) const TS: &str = "DUO:0000025";
/// Modifier: clinical care use.
const CC: &str = "DUO:0000043";

/// The ontology's roots, which no dataset carries.
const ANY_PERMISSION: &str = "DUO:0000001";
const ANY_MODIFIER: &str = "DUO:0000017";

/// The branches of the ontology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Branch {
    Permission,
    Modifier,
}

/// What a code is said with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    Nothing,
    Diseases,
    /// `values`: codes of kinds of research.
    Kinds,
    /// `values`: countries, ISO 3166-1 alpha-2.
    Countries,
    /// `until`: seconds since 1970.
    Date,
    /// `months`.
    Months,
    /// `values`: practitioners' pseudonyms.
    Users,
    /// `values`: ids of projects.
    Projects,
    /// `values`: MSP ids.
    Institutions,
}

/// One code of the ontology that datasets may carry.
pub(crate) struct Term {
    pub code: &'static str,
    pub short: &'static str,
    pub branch: Branch,
    pub takes: Takes,
    /// Whether the applicant meets it.
    fits: fn(&Modifier, &Applicant<'_>) -> bool,
}

/// A modifier of a dataset with what it is said with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Modifier {
    pub code: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub months: Option<u32>,
}

/// The conditions of a dataset: one permission, any modifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Conditions {
    pub permission: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diseases: Vec<Disease>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<Modifier>,
}

impl Conditions {
    pub fn modifier(&self, code: &str) -> Option<&Modifier> {
        self.modifiers.iter().find(|modifier| modifier.code == code)
    }
}

/// What an applicant asks for and promises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    /// For how long.
    pub months: u32,
    /// The codes of modifiers that oblige: to publish, to collaborate, to return, to wait.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<String>,
}

/// Who asks, for what project, on which terms and when.
pub(crate) struct Applicant<'a> {
    pub org: &'a str,
    pub pid: &'a str,
    pub project: &'a Project,
    pub terms: &'a Terms,
    pub now: i64,
}

/// How conditions and applicant go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    Fits,
    /// The first code that is not met: the permission, then the modifiers in the order of codes.
    Mismatch(&'static str),
    /// Everything else is met, but an ethics approval is required and not in force.
    NoEthics,
}

/// Every code that a dataset may carry, in the order of codes.
pub(crate) const TERMS: &[Term] = {
    use Branch::{Modifier as M, Permission as P};
    use Takes::{Countries, Date, Diseases, Institutions, Kinds, Months, Nothing, Projects, Users};
    &[
        term("DUO:0000004", "NRES", P, Nothing, |_, _| true),
        term("DUO:0000006", "HMB", P, Nothing, |_, a| medical(a)),
        term(DS, "DS", P, Diseases, |_, a| medical(a)),
        term("DUO:0000011", "POA", P, Nothing, |_, a| {
            a.project.purpose == Purpose::Ancestry
        }),
        term("DUO:0000012", "RS", M, Kinds, |m, a| {
            !a.project.kinds.is_empty() && within(&a.project.kinds, &m.values)
        }),
        term("DUO:0000015", "NMDS", M, Nothing, |_, a| {
            a.project.purpose != Purpose::Methods
        }),
        term("DUO:0000016", "GSO", M, Nothing, |_, a| a.project.genetic),
        term("DUO:0000018", "NPUNCU", M, Nothing, |_, a| {
            !a.project.for_profit && !a.project.commercial
        }),
        term("DUO:0000019", "PUB", M, Nothing, accepts),
        term("DUO:0000020", "COL", M, Nothing, accepts),
        // Judged last, with an answer of its own.
        term(IRB, "IRB", M, Nothing, |_, _| true),
        term("DUO:0000022", "GS", M, Countries, |m, a| {
            within(&a.project.countries, &m.values)
        }),
        term(MOR, "MOR", M, Date, |m, a| {
            m.until.is_none_or(|until| until <= a.now) || accepts(m, a)
        }),
        term(TS, "TS", M, Months, |m, a| {
            m.months.is_none_or(|most| a.terms.months <= most)
        }),
        term("DUO:0000026", "US", M, Users, |m, a| {
            m.values.iter().any(|pid| pid == a.pid)
        }),
        term("DUO:0000027", "PS", M, Projects, |m, a| {
            m.values.contains(&a.project.id)
        }),
        term("DUO:0000028", "IS", M, Institutions, |m, a| {
            m.values.iter().any(|msp| msp == a.org)
        }),
        term("DUO:0000029", "RTN", M, Nothing, accepts),
        term("DUO:0000042", "GRU", P, Nothing, |_, a| {
            a.project.purpose != Purpose::Care
        }),
        // Widens the permission instead of narrowing it.
        term(CC, "CC", M, Nothing, |_, _| true),
        term("DUO:0000044", "NPOA", M, Nothing, |_, a| {
            a.project.purpose != Purpose::Ancestry
        }),
        term("DUO:0000045", "NPU", M, Nothing, |_, a| {
            !a.project.for_profit
        }),
        term("DUO:0000046", "NCU", M, Nothing, |_, a| {
            !a.project.commercial
        }),
    ]
};

const fn term(
    code: &'static str,
    short: &'static str,
    branch: Branch,
    takes: Takes,
    fits: fn(&Modifier, &Applicant<'_>) -> bool,
) -> Term {
    Term {
        code,
        short,
        branch,
        takes,
        fits,
    }
}

/// Health, medical and biomedical research, methods for it included; not ancestry, not care.
fn medical(applicant: &Applicant<'_>) -> bool {
    matches!(
        applicant.project.purpose,
        Purpose::Disease | Purpose::Biomedical | Purpose::Methods
    )
}

fn accepts(modifier: &Modifier, applicant: &Applicant<'_>) -> bool {
    applicant.terms.accepts.contains(&modifier.code)
}

/// Everything asked for is among what is allowed, and something is asked for.
fn within(asked: &[String], allowed: &[String]) -> bool {
    !asked.is_empty() && asked.iter().all(|one| allowed.contains(one))
}

/// The term of a code.
pub(crate) fn find(code: &str) -> Option<&'static Term> {
    TERMS.iter().find(|term| term.code == code)
}

fn known(code: &str, branch: Branch) -> Result<&'static Term, Failure> {
    find(code)
        .filter(|term| term.branch == branch)
        .ok_or_else(|| {
            let codes: Vec<_> = TERMS
                .iter()
                .filter(|term| term.branch == branch)
                .map(|term| format!("{} {}", term.code, term.short))
                .collect();
            let what = match branch {
                Branch::Permission => "permission",
                Branch::Modifier => "modifier",
            };
            let shown: String = code.chars().take(16).collect();
            Failure::rule(
                "UNKNOWN_DUO",
                format!("'{shown}' is no {what} of DUO: use {}", codes.join(", ")),
            )
        })
}

/// Whether conditions are complete and written as they should be.
///
/// # Errors
/// 422 `UNKNOWN_DUO`, 400 `MALFORMED` for a code without what it is said with, or with more.
pub(crate) fn check(conditions: &Conditions) -> Result<(), Failure> {
    let permission = known(&conditions.permission, Branch::Permission)?;
    if (permission.takes == Takes::Diseases) == conditions.diseases.is_empty() {
        return Err(Failure::malformed(format!(
            "use.diseases goes with permission {DS} DS, and with no other"
        )));
    }
    if !conditions.diseases.is_empty() {
        fields::count("use.diseases", conditions.diseases.len(), MAX_VALUES)?;
    }
    for disease in &conditions.diseases {
        disease::check("use.diseases", disease)?;
    }
    for (n, modifier) in conditions.modifiers.iter().enumerate() {
        let term = known(&modifier.code, Branch::Modifier)?;
        if conditions.modifiers[..n]
            .iter()
            .any(|m| m.code == term.code)
        {
            return Err(Failure::malformed(format!(
                "use.modifiers has {} twice",
                term.code
            )));
        }
        check_modifier(term, modifier)?;
    }
    Ok(())
}

fn check_modifier(term: &Term, modifier: &Modifier) -> Result<(), Failure> {
    let (values, until, months) = match term.takes {
        Takes::Nothing | Takes::Diseases => (false, false, false),
        Takes::Date => (false, true, false),
        Takes::Months => (false, false, true),
        Takes::Kinds | Takes::Countries | Takes::Users | Takes::Projects | Takes::Institutions => {
            (true, false, false)
        }
    };
    let given = (
        !modifier.values.is_empty(),
        modifier.until.is_some(),
        modifier.months.is_some(),
    );
    if given != (values, until, months) {
        return Err(Failure::malformed(format!(
            "modifier {} {} is said with {}",
            term.code,
            term.short,
            match term.takes {
                Takes::Nothing | Takes::Diseases => "its code alone",
                Takes::Date => "'until', in seconds",
                Takes::Months => "'months'",
                Takes::Kinds => "'values', codes of kinds of research",
                Takes::Countries => "'values', countries of two letters",
                Takes::Users => "'values', pseudonyms of researchers",
                Takes::Projects => "'values', ids of projects",
                Takes::Institutions => "'values', MSP ids",
            }
        )));
    }
    if values {
        fields::count("values", modifier.values.len(), MAX_VALUES)?;
    }
    for value in &modifier.values {
        match term.takes {
            Takes::Countries => country("values", value)?,
            _ => fields::code("values", value)?,
        }
    }
    if let Some(months) = modifier.months {
        check_months("months", months)?;
    }
    Ok(())
}

/// A number of months within its bounds.
pub(crate) fn check_months(name: &str, months: u32) -> Result<(), Failure> {
    if (1..=MAX_MONTHS).contains(&months) {
        return Ok(());
    }
    Err(Failure::malformed(format!(
        "{name} is 1 to {MAX_MONTHS} months, got {months}"
    )))
}

/// A country's code of ISO 3166-1 alpha-2, by its form.
pub(crate) fn country(name: &str, value: &str) -> Result<(), Failure> {
    if value.len() == 2 && value.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(Failure::malformed(format!(
        "{name} are countries of two capital letters, ISO 3166-1 alpha-2"
    )))
}

fn permitted(conditions: &Conditions, permission: &Term, applicant: &Applicant<'_>) -> bool {
    let project = applicant.project;
    if project.purpose == Purpose::Care && conditions.modifier(CC).is_some() {
        // Care of the patients that research of this permission would be about.
        return covered(conditions, project);
    }
    (permission.fits)(&Modifier::default(), applicant) && covered(conditions, project)
}

fn covered(conditions: &Conditions, project: &Project) -> bool {
    conditions.permission != DS
        || (!project.diseases.is_empty()
            && project.diseases.iter().all(|asked| {
                conditions
                    .diseases
                    .iter()
                    .any(|own| disease::covers(own, asked))
            }))
}

/// Whether the project's ethics approval is in force.
pub(crate) fn has_ethics(project: &Project, now: i64) -> bool {
    project.state == State::Approved && project.ethics_until.is_some_and(|until| now < until)
}

/// Matches an applicant against conditions.
pub(crate) fn match_use(conditions: &Conditions, applicant: &Applicant<'_>) -> Match {
    // Stored conditions were checked; a code that is not known here permits nothing.
    let Some(permission) = find(&conditions.permission) else {
        return Match::Mismatch(ANY_PERMISSION);
    };
    if conditions.modifiers.iter().any(|m| find(&m.code).is_none()) {
        return Match::Mismatch(ANY_MODIFIER);
    }
    if !permitted(conditions, permission, applicant) {
        return Match::Mismatch(permission.code);
    }
    let failed = TERMS.iter().find(|term| {
        conditions
            .modifier(term.code)
            .is_some_and(|modifier| !(term.fits)(modifier, applicant))
    });
    if let Some(term) = failed {
        return Match::Mismatch(term.code);
    }
    if conditions.modifier(IRB).is_some() && !has_ethics(applicant.project, applicant.now) {
        return Match::NoEthics;
    }
    Match::Fits
}
