//! Every state of a card with every function that changes one.

use super::super::model::{CardState, Step, TRANSITIONS, after};
use super::*;

const STATES: [CardState; 6] = [
    CardState::Applied,
    CardState::Active,
    CardState::Suspended,
    CardState::Replaced,
    CardState::Revoked,
    CardState::Closed,
];
const STEPS: [Step; 6] = [
    Step::Activate,
    Step::Suspend,
    Step::Resume,
    Step::Replace,
    Step::Revoke,
    Step::Close,
];

/// A channel with Li's card `c1` in a state.
fn card_in(state: CardState) -> World {
    let mut world = World::new();
    body(&world.apply(&issuer(), "c1", LI));
    if state == CardState::Applied {
        return world;
    }
    body(&world.ledger.submit(activation("c1")));
    match state {
        CardState::Suspended => {
            world.ok("Suspend", &issuer(), reason("c1", "LOST"));
        }
        CardState::Replaced => {
            let replacement = world.replacement("c1", "c9");
            body(&world.ledger.submit(replacement));
        }
        CardState::Revoked => {
            world.ok("Revoke", &issuer(), reason("c1", "FRAUD"));
        }
        CardState::Closed => {
            world.ok("CloseCard", &patient(&sid(LI, 1)), json!({"handle": "c1"}));
        }
        CardState::Applied | CardState::Active => {}
    }
    assert_eq!(world.state("c1"), state.name());
    world
}

fn proposal(world: &mut World, step: Step) -> Proposal {
    match step {
        Step::Activate => activation("c1"),
        Step::Suspend => call("Suspend", &issuer(), reason("c1", "LOST")),
        Step::Resume => call("Resume", &issuer(), reason("c1", "FOUND")),
        Step::Replace => world.replacement("c1", "c2"),
        Step::Revoke => call("Revoke", &issuer(), reason("c1", "FRAUD")),
        Step::Close => call("CloseCard", &patient(&sid(LI, 1)), json!({"handle": "c1"})),
    }
}

#[test]
fn each_function_leads_from_the_listed_states_only() {
    for state in STATES {
        for step in STEPS {
            let mut world = card_in(state);
            let proposal = proposal(&mut world, step);
            let response = world.ledger.submit(proposal);
            match after(step, state) {
                Some(next) => {
                    body(&response);
                    assert_eq!(world.state("c1"), next.name(), "{step:?} in {state:?}");
                }
                None => {
                    refused(&response, 409, "BAD_STATE");
                    assert_eq!(world.state("c1"), state.name(), "{step:?} in {state:?}");
                }
            }
        }
    }
}

#[test]
fn only_an_active_card_is_bound_and_admits() {
    for state in STATES {
        let mut world = card_in(state);
        let token = world.token("c1", WARD);
        let verdict = world.check_in("v1", "c1", &token);
        let bind =
            json!({"handle": "c1", "org": "InsurerMSP", "token": world.token("c1", "InsurerMSP")});
        let bound = world.ledger.submit(call("BindFacility", &insurer(), bind));
        if state == CardState::Active {
            assert_eq!(verdict, "OK");
            body(&bound);
        } else {
            assert_eq!(verdict, "CARD_INACTIVE", "{state:?}");
            refused(&bound, 409, "BAD_STATE");
        }
    }
}

#[test]
fn what_is_kept_of_a_holder_follows_the_card() {
    for (state, kept) in [
        (CardState::Applied, &["\0proof\0c1\0"][..]),
        (CardState::Active, &["\0holder\0c1\0"]),
        (CardState::Suspended, &["\0holder\0c1\0"]),
        (CardState::Replaced, &["\0holder\0c9\0"]),
        (CardState::Revoked, &["\0holder\0c1\0"]),
        (CardState::Closed, &[]),
    ] {
        let mut world = card_in(state);
        assert_eq!(
            world.ledger.private_keys("card", "cardholders"),
            kept,
            "{state:?}"
        );
        if state == CardState::Applied {
            world.ok("Revoke", &issuer(), reason("c1", "WITHDRAWN"));
            assert!(world.ledger.private_keys("card", "cardholders").is_empty());
            world.no(
                "PurgeHolder",
                &issuer(),
                json!({"handle": "c1"}),
                404,
                "NOT_FOUND",
            );
        } else if state == CardState::Revoked {
            world.ok("PurgeHolder", &issuer(), json!({"handle": "c1"}));
            assert!(world.ledger.private_keys("card", "cardholders").is_empty());
            world.no(
                "PurgeHolder",
                &issuer(),
                json!({"handle": "c1"}),
                404,
                "NOT_FOUND",
            );
        } else {
            world.no(
                "PurgeHolder",
                &issuer(),
                json!({"handle": "c1"}),
                409,
                "BAD_STATE",
            );
        }
    }
}

#[test]
fn an_end_is_an_end() {
    for state in [CardState::Replaced, CardState::Revoked, CardState::Closed] {
        assert!(TRANSITIONS.iter().all(|(_, from, _)| *from != state));
        assert!(!state.is_open());
    }
}
