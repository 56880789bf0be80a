//! Conditions against applicants: a table, and rules that hold for all.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::research::disease::Disease;
use crate::research::duo::{
    Applicant, Branch, Conditions, Match, Modifier, TERMS, Takes, Terms, check, match_use,
};
use crate::research::model::{Project, Purpose};

fn conditions(permission: &str, modifiers: Vec<Modifier>) -> Conditions {
    let diseases = match permission {
        "DUO:0000007" => vec![Disease {
            code: "ICD10:E11".into(),
            below: vec![],
        }],
        _ => vec![],
    };
    Conditions {
        permission: permission.into(),
        diseases,
        modifiers,
    }
}

fn plain(code: &str) -> Modifier {
    Modifier {
        code: code.into(),
        ..Modifier::default()
    }
}

fn values(code: &str, values: &[&str]) -> Modifier {
    Modifier {
        values: values.iter().map(|v| (*v).to_owned()).collect(),
        ..plain(code)
    }
}

/// A modifier with what it is said with.
fn said(code: &str, takes: Takes) -> Modifier {
    match takes {
        Takes::Nothing | Takes::Diseases => plain(code),
        Takes::Date => Modifier {
            until: Some(START + DAY),
            ..plain(code)
        },
        Takes::Months => Modifier {
            months: Some(6),
            ..plain(code)
        },
        Takes::Countries => values(code, &["CN", "SG"]),
        Takes::Kinds => values(code, &["GWAS"]),
        Takes::Users => values(code, &["i-1"]),
        Takes::Projects => values(code, &["proj-1"]),
        Takes::Institutions => values(code, &["ResearchMSP"]),
    }
}

fn research(purpose: Purpose) -> Project {
    Project {
        id: "proj-1".into(),
        org: "ResearchMSP".into(),
        investigator: "i-1".into(),
        purpose,
        diseases: vec!["ICD10:E11.9".into()],
        kinds: vec!["GWAS".into()],
        genetic: true,
        for_profit: false,
        commercial: false,
        countries: vec!["CN".into()],
        protocol_hash: String::new(),
        state: State::Approved,
        ethics_by: Some("e-1".into()),
        ethics_doc: None,
        ethics_until: Some(START + 100 * DAY),
        at: START,
    }
}

fn all_obligations() -> Terms {
    Terms {
        months: 6,
        accepts: ["DUO:0000019", "DUO:0000020", "DUO:0000024", "DUO:0000029"]
            .map(str::to_owned)
            .to_vec(),
    }
}

fn matched(conditions: &Conditions, project: &Project, terms: &Terms) -> Match {
    check(conditions).unwrap();
    match_use(
        conditions,
        &Applicant {
            org: &project.org,
            pid: &project.investigator,
            project,
            terms,
            now: START,
        },
    )
}

#[test]
fn permissions_allow_the_purposes_that_the_ontology_names() {
    use Purpose::{Ancestry, Biomedical, Care, Disease, General, Methods};
    let purposes = [Disease, Biomedical, Methods, Ancestry, General, Care];
    for (permission, allowed) in [
        ("DUO:0000004", &purposes[..]),
        (
            "DUO:0000042",
            &[Disease, Biomedical, Methods, Ancestry, General],
        ),
        ("DUO:0000006", &[Disease, Biomedical, Methods]),
        ("DUO:0000007", &[Disease, Biomedical, Methods]),
        ("DUO:0000011", &[Ancestry]),
    ] {
        for purpose in purposes {
            let found = matched(
                &conditions(permission, vec![]),
                &research(purpose),
                &all_obligations(),
            );
            let expected = if allowed.contains(&purpose) {
                Match::Fits
            } else {
                Match::Mismatch(TERMS.iter().find(|t| t.code == permission).unwrap().code)
            };
            assert_eq!(found, expected, "{permission} {purpose:?}");
        }
        // CC opens the same data for care.
        let care = conditions(permission, vec![plain("DUO:0000043")]);
        assert_eq!(
            matched(&care, &research(Care), &all_obligations()),
            Match::Fits
        );
    }
}

#[test]
fn every_disease_of_a_project_is_covered() {
    let specific = conditions("DUO:0000007", vec![]);
    let mut project = research(Purpose::Disease);
    for (diseases, fits) in [
        (&["ICD10:E11.9", "ICD10:E11.2"][..], true),
        (&["ICD10:E11.9", "ICD10:I10"], false),
        (&["ICD10:E1"], false),
        (&[], false),
    ] {
        project.diseases = diseases.iter().map(|d| (*d).to_owned()).collect();
        let found = matched(&specific, &project, &all_obligations());
        assert_eq!(found == Match::Fits, fits, "{diseases:?}: {found:?}");
    }
}

/// What makes the applicant break one modifier, and keeps it to all others.
type Breach = fn(&mut Project, &mut Terms);

#[test]
fn each_modifier_is_met_or_named() {
    let breaches: &[(&str, Breach)] = &[
        ("DUO:0000012", |p, _| p.kinds = vec!["SURVEY".into()]),
        ("DUO:0000012", |p, _| p.kinds.clear()),
        ("DUO:0000015", |p, _| p.purpose = Purpose::Methods),
        ("DUO:0000016", |p, _| p.genetic = false),
        ("DUO:0000018", |p, _| p.for_profit = true),
        ("DUO:0000018", |p, _| p.commercial = true),
        ("DUO:0000019", |_, t| {
            t.accepts.retain(|c| c != "DUO:0000019")
        }),
        ("DUO:0000020", |_, t| {
            t.accepts.retain(|c| c != "DUO:0000020")
        }),
        ("DUO:0000022", |p, _| p.countries.push("US".into())),
        ("DUO:0000024", |_, t| {
            t.accepts.retain(|c| c != "DUO:0000024")
        }),
        ("DUO:0000025", |_, t| t.months = 7),
        ("DUO:0000026", |p, _| p.investigator = "i-2".into()),
        ("DUO:0000027", |p, _| p.id = "proj-2".into()),
        ("DUO:0000028", |p, _| p.org = "LabMSP".into()),
        ("DUO:0000029", |_, t| {
            t.accepts.retain(|c| c != "DUO:0000029")
        }),
        ("DUO:0000044", |p, _| p.purpose = Purpose::Ancestry),
        ("DUO:0000045", |p, _| p.for_profit = true),
        ("DUO:0000046", |p, _| p.commercial = true),
    ];
    for term in TERMS.iter().filter(|term| term.branch == Branch::Modifier) {
        let one = conditions("DUO:0000042", vec![said(term.code, term.takes)]);
        let project = research(Purpose::Biomedical);
        assert_eq!(
            matched(&one, &project, &all_obligations()),
            Match::Fits,
            "{}",
            term.short
        );
        let mut broken = 0;
        for (_, breach) in breaches.iter().filter(|(code, _)| *code == term.code) {
            let (mut project, mut terms) = (research(Purpose::Biomedical), all_obligations());
            breach(&mut project, &mut terms);
            assert_eq!(matched(&one, &project, &terms), Match::Mismatch(term.code));
            broken += 1;
        }
        // CC permits, IRB has an answer of its own.
        let exempt = matches!(term.code, "DUO:0000021" | "DUO:0000043");
        assert_eq!(broken == 0, exempt, "{} is not tested", term.code);
    }
}

#[test]
fn ethics_approval_is_asked_for_last_and_has_to_be_in_force() {
    let both = conditions(
        "DUO:0000042",
        vec![plain("DUO:0000018"), plain("DUO:0000021")],
    );
    let mut project = research(Purpose::Biomedical);
    assert_eq!(matched(&both, &project, &all_obligations()), Match::Fits);
    project.ethics_until = Some(START);
    assert_eq!(
        matched(&both, &project, &all_obligations()),
        Match::NoEthics
    );
    project.state = State::Draft;
    project.ethics_until = None;
    assert_eq!(
        matched(&both, &project, &all_obligations()),
        Match::NoEthics
    );
    project.commercial = true;
    assert_eq!(
        matched(&both, &project, &all_obligations()),
        Match::Mismatch("DUO:0000018")
    );
}

#[test]
fn a_moratorium_that_is_over_asks_for_nothing() {
    let over = Modifier {
        until: Some(START),
        ..plain("DUO:0000024")
    };
    let terms = Terms {
        months: 1,
        accepts: vec![],
    };
    let project = research(Purpose::General);
    assert_eq!(
        matched(&conditions("DUO:0000042", vec![over]), &project, &terms),
        Match::Fits
    );
}

#[test]
fn conditions_are_complete_or_refused() {
    let malformed = [
        conditions("DUO:0000042", vec![plain("DUO:0000022")]),
        conditions("DUO:0000042", vec![values("DUO:0000022", &["China"])]),
        conditions("DUO:0000042", vec![values("DUO:0000018", &["x"])]),
        conditions("DUO:0000042", vec![plain("DUO:0000024")]),
        conditions("DUO:0000042", vec![plain("DUO:0000025")]),
        conditions(
            "DUO:0000042",
            vec![Modifier {
                months: Some(0),
                ..plain("DUO:0000025")
            }],
        ),
        conditions(
            "DUO:0000042",
            vec![plain("DUO:0000018"), plain("DUO:0000018")],
        ),
        Conditions {
            diseases: vec![],
            ..conditions("DUO:0000007", vec![])
        },
        Conditions {
            diseases: conditions("DUO:0000007", vec![]).diseases,
            ..conditions("DUO:0000042", vec![])
        },
    ];
    for one in malformed {
        assert_eq!(check(&one).unwrap_err().code, "MALFORMED", "{one:?}");
    }
    for code in ["DUO:0000001", "DUO:0000018", "DUO:42", "", "GRU"] {
        let failure = check(&conditions(code, vec![])).unwrap_err();
        assert_eq!(failure.code, "UNKNOWN_DUO", "{code}");
    }
    let failure = check(&conditions("DUO:0000042", vec![plain("DUO:0000017")])).unwrap_err();
    assert!(failure.sentence.contains("DUO:0000018 NPUNCU"), "{failure}");
    // What got past the check in spite of all permits nothing.
    let odd = conditions("DUO:0000042", vec![plain("DUO:9999999")]);
    let project = research(Purpose::General);
    let terms = all_obligations();
    let applicant = Applicant {
        org: "ResearchMSP",
        pid: "i-1",
        project: &project,
        terms: &terms,
        now: START,
    };
    assert_eq!(match_use(&odd, &applicant), Match::Mismatch("DUO:0000017"));
    let odd = conditions("DUO:9999999", vec![]);
    assert_eq!(match_use(&odd, &applicant), Match::Mismatch("DUO:0000001"));
}

fn any_modifiers() -> impl Strategy<Value = Vec<Modifier>> {
    let all: Vec<_> = TERMS
        .iter()
        .filter(|t| t.branch == Branch::Modifier && t.code != "DUO:0000043")
        .map(|t| said(t.code, t.takes))
        .collect();
    proptest::sample::subsequence(all, 0..=6)
}

fn any_project() -> impl Strategy<Value = (Project, Terms)> {
    let purposes = vec![
        Purpose::Disease,
        Purpose::Biomedical,
        Purpose::Methods,
        Purpose::Ancestry,
        Purpose::General,
        Purpose::Care,
    ];
    (
        proptest::sample::select(purposes),
        any::<[bool; 6]>(),
        1u32..12,
    )
        .prop_map(
            |(purpose, [genetic, profit, commercial, abroad, draft, promise], months)| {
                let mut project = research(purpose);
                project.genetic = genetic;
                project.for_profit = profit;
                project.commercial = commercial;
                if abroad {
                    project.countries.push("US".into());
                }
                if draft {
                    project.state = State::Draft;
                }
                let mut terms = all_obligations();
                terms.months = months;
                if !promise {
                    terms.accepts.clear();
                }
                (project, terms)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]
    #[test]
    fn more_modifiers_never_open_a_dataset_and_their_order_does_not_matter(
        modifiers in any_modifiers(),
        (project, terms) in any_project(),
        n in 0usize..5,
    ) {
        let permission = ["DUO:0000004", "DUO:0000006", "DUO:0000007", "DUO:0000011", "DUO:0000042"][n];
        let all = conditions(permission, modifiers.clone());
        let found = matched(&all, &project, &terms);
        let mut turned = all.clone();
        turned.modifiers.reverse();
        prop_assert_eq!(found, matched(&turned, &project, &terms));
        if found == Match::Fits {
            for left_out in 0..modifiers.len() {
                let mut fewer = all.clone();
                fewer.modifiers.remove(left_out);
                prop_assert_eq!(matched(&fewer, &project, &terms), Match::Fits);
            }
        } else if let Match::Mismatch(code) = found {
            // The code that is named is one of the dataset's, and alone refuses as well.
            prop_assert!(code == permission || modifiers.iter().any(|m| m.code == code));
            let alone = if code == permission {
                conditions(permission, vec![])
            } else {
                conditions(permission, modifiers.into_iter().filter(|m| m.code == code).collect())
            };
            prop_assert_eq!(matched(&alone, &project, &terms), found);
        }
    }
}
