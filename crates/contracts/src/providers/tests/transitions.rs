//! Every pair of states, of everything that has one.

use proptest::prelude::*;

use super::super::model::{MAX_BEFORE, TRANSITIONS, after};
use super::*;

const STATES: [State; 4] = [
    State::Applied,
    State::Active,
    State::Suspended,
    State::Revoked,
];
const STEPS: [Step; 5] = [
    Step::Verify,
    Step::Renew,
    Step::Suspend,
    Step::Reinstate,
    Step::Revoke,
];

/// What the page says: rows are states, columns steps.
const EXPECTED: [[Option<State>; 5]; 4] = {
    use State::{Active, Revoked, Suspended};
    [
        [Some(Active), None, None, None, Some(Revoked)],
        [None, Some(Active), Some(Suspended), None, Some(Revoked)],
        [None, None, None, Some(Active), Some(Revoked)],
        [None, None, None, None, None],
    ]
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Org,
    Licence,
    Facility,
    Credential,
}

impl Kind {
    /// The function of a step, where the kind has one.
    fn function(self, step: Step) -> Option<String> {
        let verb = match (self, step) {
            (Kind::Credential, Step::Verify) => "Verify",
            (Kind::Credential | Kind::Licence, Step::Renew) => "Renew",
            (_, Step::Verify | Step::Renew) => return None,
            (_, Step::Suspend) => "Suspend",
            (_, Step::Reinstate) => "Reinstate",
            (_, Step::Revoke) => "Revoke",
        };
        Some(format!("{verb}{self:?}"))
    }

    fn args(self, step: Step, now: i64) -> Value {
        let mut args = match self {
            Kind::Org => json!({"msp": "HospitalMSP"}),
            Kind::Licence => json!({"msp": "HospitalMSP", "no": "L-1"}),
            Kind::Facility => json!({"id": "HospitalMSP.1"}),
            Kind::Credential => json!({"credId": "c-1"}),
        };
        if matches!(step, Step::Verify | Step::Renew) {
            args["validTo"] = json!(now + 4000 * DAY);
            args["sourceHash"] = json!(hash(b"register"));
        } else {
            args["reasonCode"] = json!("X");
        }
        args
    }

    fn state(self, ledger: &TestLedger) -> String {
        let (function, args) = match self {
            Kind::Org | Kind::Licence => ("ReadOrg", json!({"msp": "HospitalMSP"})),
            Kind::Facility => ("ReadFacility", json!({"id": "HospitalMSP.1"})),
            Kind::Credential => ("ReadCredential", json!({"credId": "c-1"})),
        };
        let mut read = ask(ledger, function, &certifier(), args);
        if self == Kind::Licence {
            read = read["licences"][0].take();
        }
        read["state"].as_str().unwrap().to_owned()
    }

    /// A ledger where the thing is in a state; `None` where it never is.
    fn in_state(self, state: State) -> Option<TestLedger> {
        let mut ledger = TestLedger::new();
        licensed(&mut ledger, "HospitalMSP", &["care"]);
        body(&ledger.submit(application("c-1", "p-1", "HospitalMSP", "physician")));
        let steps: &[Step] = match (self, state) {
            (Kind::Credential, State::Applied) => &[],
            (_, State::Applied) => return None,
            (Kind::Credential, State::Active) => &[Step::Verify],
            (Kind::Credential, State::Suspended) => &[Step::Verify, Step::Suspend],
            (_, State::Active) => &[],
            (_, State::Suspended) => &[Step::Suspend],
            (_, State::Revoked) => &[Step::Revoke],
        };
        for step in steps {
            let function = self.function(*step).unwrap();
            let args = self.args(*step, ledger.now());
            ok(&mut ledger, &function, &certifier(), args);
        }
        assert_eq!(self.state(&ledger), state.name());
        Some(ledger)
    }
}

#[test]
fn the_table_of_transitions_is_what_the_page_says() {
    for (state, row) in STATES.iter().zip(EXPECTED) {
        for (step, expected) in STEPS.iter().zip(row) {
            assert_eq!(after(*step, *state), expected, "{step:?} of {state:?}");
        }
    }
    let pairs = EXPECTED.iter().flatten().flatten().count();
    assert_eq!(TRANSITIONS.len(), pairs);
}

#[test]
fn each_function_leads_from_the_listed_states_only() {
    for kind in [Kind::Org, Kind::Licence, Kind::Facility, Kind::Credential] {
        for (state, row) in STATES.iter().zip(EXPECTED) {
            for (step, expected) in STEPS.iter().zip(row) {
                let Some(function) = kind.function(*step) else {
                    continue;
                };
                let Some(mut ledger) = kind.in_state(*state) else {
                    continue;
                };
                ledger.advance(1);
                let args = kind.args(*step, ledger.now());
                let response = ledger.submit(call(&function, &certifier(), args));
                let next = match expected {
                    Some(next) => {
                        assert_eq!(response.status, 200, "{function}: {}", response.message);
                        next
                    }
                    None => {
                        refused(&response, 409, "BAD_STATE");
                        *state
                    }
                };
                assert_eq!(kind.state(&ledger), next.name(), "{function} of {state:?}");
            }
        }
    }
}

#[test]
fn a_long_life_keeps_its_latest_phases() {
    let mut ledger = practice();
    let reason = json!({"credId": "c-1", "reasonCode": "X"});
    for _ in 0..MAX_BEFORE {
        ledger.advance(10);
        ok(
            &mut ledger,
            "SuspendCredential",
            &certifier(),
            reason.clone(),
        );
        ledger.advance(10);
        ok(
            &mut ledger,
            "ReinstateCredential",
            &certifier(),
            reason.clone(),
        );
    }
    let read = ask(
        &ledger,
        "ReadCredential",
        &clerk(),
        json!({"credId": "c-1"}),
    );
    assert_eq!(read["before"].as_array().unwrap().len(), MAX_BEFORE);
    let at = |seconds: i64| {
        let args = json!({"pid": "p-1", "org": "HospitalMSP", "role": "physician",
            "at": START + seconds});
        standing(&ledger, "Check", args)
    };
    assert_eq!(at(0), "UNKNOWN");
    assert_eq!(at(20 * MAX_BEFORE as i64 - 5), "SUSPENDED");
    assert_eq!(physician_standing(&ledger), "ACTIVE");
}

#[derive(Debug, Clone)]
enum Move {
    Step(Kind, Step),
    Wait(i64),
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => proptest::sample::select(STEPS.to_vec())
            .prop_map(|step| Move::Step(Kind::Credential, step)),
        // Other things are not revoked, or little would be left to try.
        3 => (
            proptest::sample::select(vec![Kind::Org, Kind::Licence, Kind::Facility]),
            proptest::sample::select(vec![Step::Suspend, Step::Reinstate]),
        )
            .prop_map(|(kind, step)| Move::Step(kind, step)),
        2 => (0i64..5000).prop_map(|days| Move::Wait(days * DAY)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Against a model of four states and two times: nobody is in force unless everything is,
    /// nothing leaves Revoked, and a refusal changes nothing.
    #[test]
    fn no_sequence_of_calls_puts_into_force_what_is_not(moves in proptest::collection::vec(any_move(), 1..30)) {
        let mut ledger = TestLedger::new();
        licensed(&mut ledger, "HospitalMSP", &["care"]);
        body(&ledger.submit(application("c-1", "p-1", "HospitalMSP", "physician")));
        let licence_ends = START + 3650 * DAY;
        let mut states = [State::Active, State::Active, State::Active, State::Applied];
        let mut ends = 0;
        for one in moves {
            match one {
                Move::Wait(seconds) => ledger.advance(seconds),
                Move::Step(kind, step) => {
                    let Some(function) = kind.function(step) else { continue };
                    let index = kind as usize;
                    let row = STATES.iter().position(|s| *s == states[index]).unwrap();
                    let column = STEPS.iter().position(|s| *s == step).unwrap();
                    let args = kind.args(step, ledger.now());
                    let to = args["validTo"].as_i64();
                    // What ends no later than before is refused before its state is looked at.
                    let shorter = step == Step::Renew && ends > 0 && to.unwrap() <= ends;
                    let height = ledger.height();
                    let response = ledger.submit(call(&function, &certifier(), args));
                    match EXPECTED[row][column].filter(|_| !shorter) {
                        Some(next) => {
                            prop_assert_eq!(response.status, 200, "{}", response.message);
                            states[index] = next;
                            ends = to.unwrap_or(ends);
                        }
                        None => {
                            prop_assert!(matches!(response.status, 409 | 422));
                            prop_assert_eq!(ledger.height(), height);
                        }
                    }
                }
            }
            let all = states.iter().all(|state| *state == State::Active)
                && ledger.now() < ends
                && ledger.now() < licence_ends;
            prop_assert_eq!(physician_standing(&ledger) == "ACTIVE", all, "{:?}", states);
            prop_assert_eq!(Kind::Credential.state(&ledger), states[3].name());
        }
    }
}
