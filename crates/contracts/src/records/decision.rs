//! Who may read a document: an ordered list of rules, the first that applies decides. Pure.
//!
//! 1. no role that may ask, or no credential for it that is in force: deny `CREDENTIAL`
//! 2. the document is erased or in error: deny `ERASED`, `ENTERED_IN_ERROR`
//! 3. the subject or guardian asks for itself (PATRQT): permit `SUBJECT`
//! 4. an active consent denies: deny `CONSENT_DENY`
//! 5. an active consent permits: permit `CONSENT`
//! 6. the channel's law profile permits: permit `LAW`
//! 7. deny `NO_CONSENT`
//!
//! Patients and guardians are decided by rule 3 alone: the organization whose CA issued their
//! certificate lends them nothing. Documents of confidentiality V never pass rule 6.

use super::model::{
    Confidentiality, Consent, ConsentState, Provision, Purpose, Record, RecordState, Rule,
};
use crate::roles::LawProfile;

/// Grows whenever the list above changes; kept with every decision.
pub(crate) const VERSION: u32 = 2;

/// Everything that the rules look at about the one who asks.
#[derive(Debug, Clone)]
pub(crate) struct Requester {
    pub msp: String,
    pub role: Option<String>,
    /// The registry knows nothing against it, or there is none.
    pub in_force: bool,
    /// Asks about its own documents, or as guardian about its ward's.
    pub speaks_for_subject: bool,
    pub is_provider: bool,
    pub is_payer: bool,
    pub is_research: bool,
    pub is_regulator: bool,
    pub is_citizen: bool,
}

impl Requester {
    fn has_role(&self, roles: &[&str]) -> bool {
        self.role.as_deref().is_some_and(|r| roles.contains(&r))
    }

    pub fn is_person(&self) -> bool {
        self.has_role(&["patient", "guardian"])
    }

    /// The attribute names a role that may ask at all, at an organization that has such a role.
    pub fn may_ask(&self) -> bool {
        (self.is_provider && self.has_role(&["physician", "nurse", "records", "billing", "dpo"]))
            || (self.is_payer && self.has_role(&["adjudicator", "cashier", "fraud"]))
            || (self.is_research && self.has_role(&["investigator", "curator"]))
            || (self.is_regulator && self.has_role(&["auditor", "inspector"]))
            || (self.is_citizen && self.is_person())
    }
}

/// The outcome for one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub permit: bool,
    pub code: &'static str,
    /// The consent that decided.
    pub consent: Option<String>,
    pub obligations: Vec<String>,
}

impl Verdict {
    fn plain(permit: bool, code: &'static str) -> Self {
        Verdict {
            permit,
            code,
            consent: None,
            obligations: Vec::new(),
        }
    }
}

fn lists<T: PartialEq>(list: &[T], value: &T) -> bool {
    list.is_empty() || list.contains(value)
}

fn covers(provision: &Provision, requester: &Requester, record: &Record, purpose: Purpose) -> bool {
    let role_fits = provision.roles.is_empty()
        || requester
            .role
            .as_ref()
            .is_some_and(|role| provision.roles.contains(role));
    role_fits
        && lists(&provision.orgs, &requester.msp)
        && lists(&provision.purposes, &purpose)
        && lists(&provision.kinds, &record.kind)
}

fn law_permits(
    profile: LawProfile,
    requester: &Requester,
    record: &Record,
    purpose: Purpose,
) -> bool {
    if record.confidentiality == Confidentiality::V {
        return false;
    }
    let own = requester.msp == record.custodian;
    let care_and_business = matches!(purpose, Purpose::Treat | Purpose::Hpaymt | Purpose::Hoperat);
    match profile {
        LawProfile::Hipaa => care_and_business && (requester.is_provider || requester.is_payer),
        LawProfile::Gdpr => {
            own && purpose == Purpose::Treat && requester.has_role(&["physician", "nurse"])
        }
        LawProfile::Pipl => own && care_and_business,
    }
}

/// Decides on one document. `consents` are those of its subject, in any state.
pub(crate) fn decide(
    requester: &Requester,
    record: &Record,
    consents: &[Consent],
    profile: LawProfile,
    purpose: Purpose,
    now: i64,
) -> Verdict {
    if !requester.may_ask() || !requester.in_force {
        return Verdict::plain(false, "CREDENTIAL");
    }
    match record.state {
        RecordState::Current | RecordState::Transferring => {}
        RecordState::Erased => return Verdict::plain(false, "ERASED"),
        RecordState::EnteredInError => return Verdict::plain(false, "ENTERED_IN_ERROR"),
    }
    if requester.is_person() {
        return if requester.speaks_for_subject && purpose == Purpose::Patrqt {
            Verdict::plain(true, "SUBJECT")
        } else {
            Verdict::plain(false, "NO_CONSENT")
        };
    }
    let in_force = || {
        consents.iter().filter(|consent| {
            consent.sid == record.sid
                && consent.state == ConsentState::Active
                && consent.period.holds(now)
        })
    };
    let applies = |rule: Rule| {
        in_force().find_map(|consent| {
            consent
                .provisions
                .iter()
                .find(|provision| {
                    provision.rule == rule
                        && covers(provision, requester, record, purpose)
                        && (rule == Rule::Deny
                            || provision.confidentiality >= record.confidentiality)
                })
                .map(|provision| (consent, provision))
        })
    };
    if let Some((consent, _)) = applies(Rule::Deny) {
        return Verdict {
            consent: Some(consent.id.clone()),
            ..Verdict::plain(false, "CONSENT_DENY")
        };
    }
    if let Some((consent, provision)) = applies(Rule::Permit) {
        return Verdict {
            consent: Some(consent.id.clone()),
            obligations: provision.obligations.clone(),
            ..Verdict::plain(true, "CONSENT")
        };
    }
    if law_permits(profile, requester, record, purpose) {
        return Verdict::plain(true, "LAW");
    }
    Verdict::plain(false, "NO_CONSENT")
}

#[cfg(test)]
mod tests {
    use super::super::model::{Kind, Period};
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_000;

    fn record() -> Record {
        Record {
            id: "r".into(),
            sid: "S".into(),
            custodian: "ClinicMSP".into(),
            to: None,
            kind: Kind::Lab,
            confidentiality: Confidentiality::N,
            ct_hash: String::new(),
            pt_commit: String::new(),
            size: 0,
            suite: String::new(),
            epoch: 0,
            vault_ref: String::new(),
            fhir: vec![],
            version: 1,
            prev: None,
            state: RecordState::Current,
            reason: None,
            at: 0,
        }
    }

    fn requester(msp: &str, role: &str) -> Requester {
        Requester {
            msp: msp.into(),
            role: Some(role.into()),
            in_force: true,
            speaks_for_subject: false,
            is_provider: matches!(msp, "HospitalMSP" | "ClinicMSP"),
            is_payer: msp == "InsurerMSP",
            is_research: msp == "ResearchMSP",
            is_regulator: msp == "RegulatorMSP",
            is_citizen: matches!(msp, "HospitalMSP" | "CitizenMSP"),
        }
    }

    fn provision(rule: Rule) -> Provision {
        Provision {
            rule,
            orgs: vec!["HospitalMSP".into()],
            roles: vec![],
            purposes: vec![Purpose::Treat],
            kinds: vec![Kind::Lab],
            confidentiality: Confidentiality::N,
            obligations: vec!["NO_ONWARD".into()],
        }
    }

    fn consent(provisions: Vec<Provision>) -> Consent {
        Consent {
            id: "c".into(),
            sid: "S".into(),
            state: ConsentState::Active,
            period: Period { from: 0, to: 2_000 },
            provisions,
            guardian: None,
            card: None,
            at: 0,
        }
    }

    type Case = (
        &'static str,
        Requester,
        Record,
        Vec<Consent>,
        LawProfile,
        Purpose,
        &'static str,
    );

    /// Rows of a decision table.
    macro_rules! table {
        ($($name:literal: $who:expr, $what:expr, $consents:expr, $profile:expr, $purpose:expr => $code:literal;)*) => {
            [$(($name, $who.clone(), $what.clone(), $consents.clone(), $profile, $purpose, $code)),*]
        };
    }

    #[test]
    fn the_first_rule_that_applies_decides() {
        let permit = || vec![consent(vec![provision(Rule::Permit)])];
        let physician = requester("HospitalMSP", "physician");
        let own = requester("ClinicMSP", "physician");
        let suspended = Requester {
            in_force: false,
            ..physician.clone()
        };
        let mut subject = requester("HospitalMSP", "patient");
        subject.speaks_for_subject = true;
        let erased = Record {
            state: RecordState::Erased,
            ..record()
        };
        let in_error = Record {
            state: RecordState::EnteredInError,
            ..record()
        };
        let secret = Record {
            confidentiality: Confidentiality::V,
            ..record()
        };
        let imaging = Record {
            kind: Kind::Imaging,
            ..record()
        };
        let revoked = vec![Consent {
            state: ConsentState::Revoked,
            ..permit().remove(0)
        }];
        let expired = vec![Consent {
            period: Period { from: 0, to: NOW },
            ..permit().remove(0)
        }];
        let future = vec![Consent {
            period: Period {
                from: NOW + 1,
                to: 2_000,
            },
            ..permit().remove(0)
        }];
        let others = vec![Consent {
            sid: "T".into(),
            ..permit().remove(0)
        }];
        let both = vec![consent(vec![
            provision(Rule::Permit),
            provision(Rule::Deny),
        ])];
        let named = vec![consent(vec![Provision {
            confidentiality: Confidentiality::V,
            ..provision(Rule::Permit)
        }])];
        let role_only = vec![consent(vec![Provision {
            orgs: vec![],
            roles: vec!["nurse".into()],
            ..provision(Rule::Permit)
        }])];
        let treat = Purpose::Treat;
        let pipl = LawProfile::Pipl;
        let cases: [Case; 32] = table![
            "1 no role for it": requester("HospitalMSP", "supply"), record(), permit(), pipl, treat => "CREDENTIAL";
            "1 a role of another kind of organization": requester("InsurerMSP", "physician"), record(), permit(), pipl, treat => "CREDENTIAL";
            "1 a credential that is not in force": suspended, record(), permit(), LawProfile::Hipaa, treat => "CREDENTIAL";
            "1 before the state of the record": suspended, erased, permit(), pipl, treat => "CREDENTIAL";
            "2 erased": physician, erased, permit(), pipl, treat => "ERASED";
            "2 erased even for the subject": subject, erased, vec![], pipl, Purpose::Patrqt => "ERASED";
            "2 in error": physician, in_error, permit(), pipl, treat => "ENTERED_IN_ERROR";
            "3 the subject": subject, record(), vec![], pipl, Purpose::Patrqt => "SUBJECT";
            "3 the subject, very restricted": subject, secret, vec![], pipl, Purpose::Patrqt => "SUBJECT";
            "3 another patient of a permitted organization": requester("HospitalMSP", "patient"), record(), permit(), pipl, treat => "NO_CONSENT";
            "4 deny beats permit": physician, record(), both, pipl, treat => "CONSENT_DENY";
            "4 deny beats the law": physician, record(), both, LawProfile::Hipaa, treat => "CONSENT_DENY";
            "5 permitted": physician, record(), permit(), pipl, treat => "CONSENT";
            "5 permitted by role only": requester("HospitalMSP", "nurse"), record(), role_only, pipl, treat => "CONSENT";
            "5 another kind": physician, imaging, permit(), pipl, treat => "NO_CONSENT";
            "5 another purpose": physician, record(), permit(), pipl, Purpose::Hresch => "NO_CONSENT";
            "5 another organization": requester("InsurerMSP", "adjudicator"), record(), permit(), pipl, treat => "NO_CONSENT";
            "5 revoked": physician, record(), revoked, pipl, treat => "NO_CONSENT";
            "5 expired at that second": physician, record(), expired, pipl, treat => "NO_CONSENT";
            "5 not yet": physician, record(), future, pipl, treat => "NO_CONSENT";
            "5 of another subject": physician, record(), others, pipl, treat => "NO_CONSENT";
            "5 V not named": physician, secret, permit(), LawProfile::Hipaa, treat => "NO_CONSENT";
            "5 V named": physician, secret, named, pipl, treat => "CONSENT";
            "6 PIPL, the custodian": own, record(), vec![], pipl, treat => "LAW";
            "6 PIPL, the custodian, V": own, secret, vec![], pipl, treat => "NO_CONSENT";
            "6 PIPL, research": own, record(), vec![], pipl, Purpose::Hresch => "NO_CONSENT";
            "6 GDPR, care team": own, record(), vec![], LawProfile::Gdpr, treat => "LAW";
            "6 GDPR, billing": requester("ClinicMSP", "billing"), record(), vec![], LawProfile::Gdpr, Purpose::Hpaymt => "NO_CONSENT";
            "6 HIPAA, provider": physician, record(), vec![], LawProfile::Hipaa, treat => "LAW";
            "6 HIPAA, payer": requester("InsurerMSP", "adjudicator"), record(), vec![], LawProfile::Hipaa, Purpose::Hpaymt => "LAW";
            "6 HIPAA, research": requester("ResearchMSP", "investigator"), record(), vec![], LawProfile::Hipaa, Purpose::Hresch => "NO_CONSENT";
            "7 nothing": physician, record(), vec![], pipl, treat => "NO_CONSENT";
        ];
        for (name, who, what, consents, profile, purpose, code) in cases {
            let verdict = decide(&who, &what, &consents, profile, purpose, NOW);
            assert_eq!(verdict.code, code, "{name}");
            assert_eq!(
                verdict.permit,
                matches!(code, "SUBJECT" | "CONSENT" | "LAW"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_permit_hands_on_its_obligations_and_names_the_consent() {
        let verdict = decide(
            &requester("HospitalMSP", "physician"),
            &record(),
            &[consent(vec![provision(Rule::Permit)])],
            LawProfile::Pipl,
            Purpose::Treat,
            NOW,
        );
        assert_eq!(verdict.consent.as_deref(), Some("c"));
        assert_eq!(verdict.obligations, ["NO_ONWARD"]);
    }

    fn any_purpose() -> impl Strategy<Value = Purpose> {
        prop_oneof![
            Just(Purpose::Treat),
            Just(Purpose::Hresch),
            Just(Purpose::Hpaymt),
            Just(Purpose::Patrqt)
        ]
    }

    fn any_provision() -> impl Strategy<Value = Provision> {
        (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            any_purpose(),
            0usize..3,
        )
            .prop_map(|(deny, any_org, any_kind, purpose, level)| Provision {
                rule: if deny { Rule::Deny } else { Rule::Permit },
                orgs: if any_org {
                    vec![]
                } else {
                    vec!["HospitalMSP".into()]
                },
                roles: vec!["physician".into()],
                purposes: vec![purpose],
                kinds: if any_kind { vec![] } else { vec![Kind::Lab] },
                confidentiality: [Confidentiality::N, Confidentiality::R, Confidentiality::V]
                    [level],
                obligations: vec![],
            })
    }

    proptest! {
        #[test]
        fn adding_a_denial_never_opens_and_removing_consents_never_permits_by_consent(
            provisions in proptest::collection::vec(any_provision(), 0..6),
            extra in any_provision(),
            purpose in any_purpose(),
        ) {
            let who = requester("HospitalMSP", "physician");
            let before = decide(&who, &record(), &[consent(provisions.clone())], LawProfile::Pipl, purpose, NOW);
            let mut more = provisions.clone();
            more.push(Provision { rule: Rule::Deny, ..extra });
            let after = decide(&who, &record(), &[consent(more)], LawProfile::Pipl, purpose, NOW);
            prop_assert!(before.permit || !after.permit);
            let none = decide(&who, &record(), &[], LawProfile::Pipl, purpose, NOW);
            prop_assert!(!none.permit);
        }

        #[test]
        fn the_order_of_consents_does_not_change_the_decision(
            provisions in proptest::collection::vec(any_provision(), 0..6),
            purpose in any_purpose(),
        ) {
            let who = requester("HospitalMSP", "physician");
            let mut consents: Vec<_> = provisions.into_iter().map(|p| consent(vec![p])).collect();
            let forward = decide(&who, &record(), &consents, LawProfile::Gdpr, purpose, NOW).code;
            consents.reverse();
            prop_assert_eq!(forward, decide(&who, &record(), &consents, LawProfile::Gdpr, purpose, NOW).code);
        }
    }
}
