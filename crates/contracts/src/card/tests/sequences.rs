//! Whatever is called in whatever order: one open card a person and scheme, and no way back.

use proptest::prelude::*;

use super::super::model::{CardState, TRANSITIONS};
use super::*;

/// Cards that a sequence may name.
const HANDLES: [&str; 6] = ["c0", "c1", "c2", "c3", "c4", "c5"];

#[derive(Debug, Clone)]
enum Act {
    Apply {
        at_desk: bool,
        person: usize,
        social: bool,
    },
    Activate,
    Suspend {
        by_holder: bool,
    },
    Resume {
        by_holder: bool,
    },
    Replace {
        new: usize,
    },
    Revoke,
    Close,
    NextEpoch,
    Retire {
        epoch: u32,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (any::<bool>(), 0usize..2, prop::bool::weighted(0.2))
            .prop_map(|(at_desk, person, social)| Act::Apply { at_desk, person, social }),
        4 => Just(Act::Activate),
        2 => any::<bool>().prop_map(|by_holder| Act::Suspend { by_holder }),
        1 => any::<bool>().prop_map(|by_holder| Act::Resume { by_holder }),
        2 => (0..HANDLES.len()).prop_map(|new| Act::Replace { new }),
        1 => Just(Act::Revoke),
        1 => Just(Act::Close),
        1 => Just(Act::NextEpoch),
        1 => (1u32..4).prop_map(|epoch| Act::Retire { epoch }),
    ]
}

/// What the ledger says of a card, and what it cannot say: whose it is.
fn cards(world: &World) -> BTreeMap<&'static str, (CardState, Value)> {
    HANDLES
        .into_iter()
        .filter_map(|handle| {
            let read = call("ReadCard", &auditor(), json!({"handle": handle}));
            let response = world.ledger.evaluate(read);
            let card: Value = serde_json::from_slice(&response.payload).ok()?;
            let state = serde_json::from_value(card["state"].clone()).unwrap();
            Some((handle, (state, card)))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn never_two_open_cards_of_one_person_and_scheme(
        steps in proptest::collection::vec((act(), 0..HANDLES.len()), 1..40),
    ) {
        let people = [LI, WANG];
        let mut world = World::new();
        // Who is behind a card: what only the test knows.
        let mut owner: BTreeMap<String, (usize, bool)> = BTreeMap::new();
        let mut epochs = 1;
        for (act, at) in steps {
            let handle = HANDLES[at];
            let before = cards(&world);
            let holder = before
                .get(handle)
                .and_then(|(_, card)| card["sid"].as_str())
                .map_or_else(desk, patient);
            let by = |by_holder: bool| if by_holder { holder.clone() } else { issuer() };
            let response = match act {
                Act::Apply { at_desk, person, social } => {
                    let caller = if at_desk { desk() } else { issuer() };
                    let scheme = if social { "social-security" } else { "health-card" };
                    let args = json!({"handle": handle, "scheme": scheme, "cardKey": world.key(handle)});
                    let response = world.ledger.submit(with_proof("Apply", &caller, args, &proof(people[person])));
                    if response.status == 200 {
                        owner.insert(handle.to_owned(), (person, social));
                    }
                    response
                }
                Act::Activate => world.ledger.submit(activation(handle)),
                Act::Suspend { by_holder } => world.ledger.submit(call("Suspend", &by(by_holder), reason(handle, "LOST"))),
                Act::Resume { by_holder } => world.ledger.submit(call("Resume", &by(by_holder), reason(handle, "FOUND"))),
                Act::Replace { new } => {
                    let proposal = world.replacement(handle, HANDLES[new]);
                    let response = world.ledger.submit(proposal);
                    if response.status == 200 {
                        let same = owner[handle];
                        owner.insert(HANDLES[new].to_owned(), same);
                    }
                    response
                }
                Act::Revoke => world.ledger.submit(call("Revoke", &issuer(), reason(handle, "FRAUD"))),
                Act::Close => world.ledger.submit(call("CloseCard", &holder, json!({"handle": handle}))),
                Act::NextEpoch => {
                    let response = world.ledger.submit(set_epoch(epochs + 1));
                    if response.status == 200 {
                        epochs += 1;
                    }
                    response
                }
                Act::Retire { epoch } => world.ledger.submit(call("RetireEpoch", &issuer(), json!({"epoch": epoch}))),
            };
            prop_assert!(response.status < 500, "{}", response.message);
            let after = cards(&world);
            for (handle, (state, _)) in &after {
                // Only listed steps, or the first state.
                if let Some((earlier, _)) = before.get(handle) {
                    let listed = TRANSITIONS.iter().any(|(_, from, to)| from == earlier && to == state);
                    prop_assert!(earlier == state || listed, "{handle}: {earlier:?} to {state:?}");
                }
            }
            // One open card for each person and scheme, by who they really are.
            let mut open: Vec<_> = after
                .iter()
                .filter(|(_, (state, _))| state.is_open())
                .map(|(handle, _)| owner[*handle])
                .collect();
            let count = open.len();
            open.sort();
            open.dedup();
            prop_assert_eq!(open.len(), count, "two open cards");
            // What the ledger lists as open is what is open.
            let mut listed = Vec::new();
            for person in people {
                for epoch in 1..=epochs {
                    let cards = world.ask("CardsOf", &auditor(), json!({"sid": sid(person, epoch)}));
                    listed.extend(cards.as_array().unwrap().iter().map(|c| c["handle"].as_str().unwrap().to_owned()));
                }
            }
            listed.sort();
            let expected: Vec<_> = after.iter().filter(|(_, (state, _))| state.is_open()).map(|(h, _)| (*h).to_owned()).collect();
            prop_assert_eq!(listed, expected);
        }
        // Every card shows itself at the end, and only those that are active get in.
        for (handle, (state, _)) in cards(&world) {
            let token = world.token(handle, WARD);
            let verdict = world.check_in(&format!("v-{handle}"), handle, &token);
            let expected = if state == CardState::Active { "OK" } else { "CARD_INACTIVE" };
            prop_assert_eq!(verdict, expected, "{:?}", state);
        }
        // The numbers themselves; their hashes are looked for in the tests of privacy.
        let public = world.ledger.public();
        let shows = |id: &str| public.windows(id.len()).any(|window| window == id.as_bytes());
        prop_assert!(!people.into_iter().any(shows));
    }
}
