//! No sequence of calls loses a gram, gives a bag two holders, or reaches a state that is not
//! listed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::model::{
    BAG_TRANSITIONS, Bag, BagState, Fate, Flag, FlagState, Manifest, ManifestState, TRANSITIONS,
};
use super::*;

const BAGS: usize = 5;
const MANIFESTS: usize = 5;

fn number(n: usize) -> String {
    format!("2026110100000{n}")
}

/// One call: what, on which manifest, which bags (bits), and a number to vary with.
type Attempt = (u8, usize, u8, u8);

fn chosen(bits: u8) -> Vec<String> {
    (0..BAGS)
        .filter(|n| bits & (1 << n) != 0)
        .map(|n| format!("b{n}"))
        .collect()
}

/// Who has a manifest, who takes it next, and where it goes: whoever it is now, mostly.
fn parties(world: &World, no: &str, vary: u8) -> (Caller, Caller, Caller) {
    let firm = |n: u8| with(["WasteMSP", "HaulerMSP"][usize::from(n % 2)], "carrier");
    let facility = with(["WasteMSP", "BurnerMSP"][usize::from(vary % 2)], "disposer");
    let Some(manifest) = world.manifests.get(no).filter(|_| !vary.is_multiple_of(8)) else {
        return (firm(vary), firm(vary + 1), facility);
    };
    let giver = manifest
        .carrier()
        .map_or_else(ward, |msp| with(msp, "carrier"));
    let taker = manifest.carriers.get(manifest.carried);
    let taker = taker.map_or_else(hauler, |msp| with(msp, "carrier"));
    let facility = if manifest.is_return() {
        ward()
    } else {
        with(&manifest.disposer, "disposer")
    };
    (giver, taker, facility)
}

/// What usually follows in the state that a manifest is in.
fn usual(world: &World, no: &str, vary: u8) -> u8 {
    use ManifestState::*;
    let choices: &[u8] = match world.manifests.get(no).map(|manifest| manifest.state) {
        None => &[2, 3],
        Some(Scheduled) => &[5, 5, 4],
        Some(HandedOver) => &[7],
        Some(InTransit) => &[5, 9, 9],
        Some(Delivered) => &[11, 12, 11, 13],
        Some(Discrepant | Referred) => &[14, 15, 16, 17],
        Some(Accepted) => &[18],
        Some(Disposed) => &[19],
        Some(Rejected | Returned | Certified | Cancelled) => &[0, 1, 13],
    };
    choices[usize::from(vary) % choices.len()]
}

fn proposal(world: &World, (what, on, bits, vary): Attempt, now: i64) -> Proposal {
    let no = number(on);
    let what = if bits % 4 == 0 {
        what
    } else {
        usual(world, &no, vary)
    };
    let bags = chosen(bits);
    let grams = 1000 + u64::from(vary % 7) * 30;
    let (giver, taker, facility) = parties(world, &no, vary);
    let numbers = json!({"no": no, "count": bags.len(), "grams": grams * 3});
    let listed = || -> Vec<String> {
        let lines = world.manifests.get(&no).map(|manifest| &manifest.lines);
        lines
            .into_iter()
            .flatten()
            .map(|line| line.bag.clone())
            .collect()
    };
    match what {
        0 => {
            let id = format!("b{}", on % BAGS);
            call(
                "SealBag",
                &ward(),
                json!({"id": id, "code": INFECTIOUS, "grams": grams, "dept": "W"}),
            )
        }
        1 => call(
            "CorrectBag",
            &ward(),
            json!({"id": format!("b{}", on % BAGS), "grams": grams, "reason": "R"}),
        ),
        2 | 3 => {
            let firms = ["WasteMSP", "HaulerMSP", "WasteMSP"];
            let from = usize::from(vary % 2);
            let carriers = &firms[from..from + usize::from(what) - 1];
            let disposer = ["WasteMSP", "BurnerMSP"][usize::from(vary % 2)];
            // One or two of the bags, so that there is more than one manifest.
            let few: Vec<&String> = bags.iter().take(2).collect();
            call(
                "CreateManifest",
                &ward(),
                json!({"no": no, "carriers": carriers, "disposer": disposer, "bags": few}),
            )
        }
        4 => call("CancelManifest", &ward(), json!({"no": no})),
        5 | 6 => call("HandOver", &giver, numbers),
        7 | 8 => {
            let take = json!({"no": no, "vehicle": "V", "count": bags.len(), "grams": grams * 3});
            call("AcceptCarriage", &taker, take)
        }
        9 | 10 => call("Deliver", &giver, json!({"no": no})),
        11 | 12 => {
            let there = if what == 11 { listed() } else { bags };
            let found: Vec<Value> = there
                .iter()
                .map(|bag| json!({"bag": bag, "grams": grams}))
                .collect();
            call(
                "AcceptAtFacility",
                &facility,
                json!({"no": no, "bags": found}),
            )
        }
        13 => {
            let new_no = number((on + 1 + usize::from(vary % 2)) % MANIFESTS);
            let mut args = json!({"no": no, "newNo": new_no, "reason": "R"});
            if vary % 3 != 0 {
                args["bags"] = json!(listed().into_iter().take(1).collect::<Vec<_>>());
            }
            if vary % 2 == 0 {
                args["altFacility"] = json!("BurnerMSP");
            }
            call("RejectLoad", &facility, args)
        }
        14..=16 => {
            let who = [ward(), facility, giver][usize::from(what - 14)].clone();
            call(
                "ResolveFlag",
                &who,
                json!({"no": no, "n": bits % 4 + 1, "finding": "F"}),
            )
        }
        17 => {
            let verdict = ["Accepted", "Referred"][usize::from(vary % 2)];
            call(
                "ResolveFlag",
                &environment(),
                json!({"no": no, "n": bits % 4 + 1, "finding": "F", "verdict": verdict}),
            )
        }
        18 => call(
            "Dispose",
            &facility,
            json!({"no": no, "method": "steam", "batch": "B", "start": now, "end": now}),
        ),
        _ => call(
            "Certify",
            &facility,
            json!({"no": no, "certHash": hash(b"c")}),
        ),
    }
}

#[derive(Default)]
struct World {
    bags: BTreeMap<String, Bag>,
    manifests: BTreeMap<String, Manifest>,
    flags: BTreeMap<String, Vec<Flag>>,
}

fn world(ledger: &TestLedger) -> World {
    let mut world = World::default();
    let read = |key: String| ledger.state("waste", &key).cloned();
    for n in 0..BAGS {
        let id = format!("b{n}");
        if let Some(bytes) = read(format!("\0bag\0{id}\0")) {
            world
                .bags
                .insert(id, serde_json::from_slice(&bytes).unwrap());
        }
    }
    for n in 0..MANIFESTS {
        let no = number(n);
        if let Some(bytes) = read(format!("\0man\0{no}\0")) {
            let manifest: Manifest = serde_json::from_slice(&bytes).unwrap();
            let flags = (1..=manifest.flags)
                .map(|n| {
                    serde_json::from_slice(&read(format!("\0flag\0{no}\0{n:04}\0")).unwrap())
                        .unwrap()
                })
                .collect();
            world.flags.insert(no.clone(), flags);
            world.manifests.insert(no, manifest);
        }
    }
    world
}

/// Only listed steps were taken.
fn check_steps(before: &World, after: &World) -> Result<(), TestCaseError> {
    for (id, bag) in &after.bags {
        if let Some(was) = before.bags.get(id).filter(|was| was.state != bag.state) {
            let listed = BAG_TRANSITIONS
                .iter()
                .any(|(_, from, to)| *from == was.state && *to == bag.state);
            prop_assert!(listed, "bag {} from {:?} to {:?}", id, was.state, bag.state);
        }
    }
    for (no, manifest) in &after.manifests {
        if let Some(was) = before
            .manifests
            .get(no)
            .filter(|was| was.state != manifest.state)
        {
            let listed = TRANSITIONS
                .iter()
                .any(|(_, from, to)| *from == was.state && *to == manifest.state);
            prop_assert!(
                listed,
                "{} from {:?} to {:?}",
                no,
                was.state,
                manifest.state
            );
            prop_assert_eq!(was.grams, manifest.grams);
        }
    }
    Ok(())
}

/// Whoever the manifests say has a bag is the one holder that the bag names.
fn check_custody(world: &World) -> Result<(), TestCaseError> {
    use ManifestState::{Cancelled, HandedOver, Scheduled};
    for (id, bag) in &world.bags {
        let claims: BTreeSet<String> = world
            .manifests
            .values()
            .filter(|manifest| manifest.state != Cancelled)
            .filter_map(|manifest| {
                // Of what came back once, only the manifest that the bag names counts.
                let line = manifest.lines.iter().find(|line| line.bag == *id)?;
                let carrier = || manifest.carrier().map(str::to_owned);
                match (line.fate, manifest.state) {
                    (Some(Fate::Rejected), _) => None,
                    // It came back and is the producer's again, or on another manifest since.
                    (Some(Fate::Received), _) if manifest.is_return() => None,
                    (Some(Fate::Received), _) => Some(manifest.disposer.clone()),
                    (Some(Fate::Missing), _) => carrier(),
                    (None, Scheduled) => Some(manifest.generator.clone()),
                    (None, HandedOver) if manifest.carried == 0 => {
                        let previous = manifest.previous.as_ref().map(|no| &world.manifests[no]);
                        previous.map_or(Some(manifest.generator.clone()), |m| {
                            m.carrier().map(str::to_owned)
                        })
                    }
                    (None, _) => carrier(),
                }
            })
            .collect();
        prop_assert!(claims.len() <= 1, "bag {} is claimed by {:?}", id, claims);
        match claims.first() {
            Some(holder) => prop_assert_eq!(&bag.holder, holder),
            None => {
                prop_assert_eq!(bag.state, BagState::Sealed);
                prop_assert_eq!(&bag.holder, &bag.generator);
            }
        }
    }
    Ok(())
}

/// What a manifest began with is received, missing, refused or still on it, to the gram.
fn check_mass(world: &World) -> Result<(), TestCaseError> {
    for (no, manifest) in &world.manifests {
        let sum = |fate: Option<Fate>| -> u64 {
            manifest
                .lines
                .iter()
                .filter(|line| line.fate == fate)
                .map(|line| line.grams)
                .sum()
        };
        let parts = sum(None)
            + sum(Some(Fate::Received))
            + sum(Some(Fate::Missing))
            + sum(Some(Fate::Rejected));
        prop_assert_eq!(parts, manifest.grams, "{}", no);
        let onward: u64 = manifest
            .next
            .iter()
            .map(|next| world.manifests[next].grams)
            .sum();
        prop_assert_eq!(onward, sum(Some(Fate::Rejected)), "{}", no);
        for line in manifest
            .lines
            .iter()
            .filter(|_| manifest.state != ManifestState::Cancelled && !manifest.is_return())
        {
            let bag = &world.bags[&line.bag];
            if bag.manifest.as_ref() == Some(no) {
                prop_assert_eq!(line.grams, bag.grams, "{}", no);
            }
        }
        let found: u64 = manifest.lines.iter().filter_map(|line| line.found).sum();
        if let Some(disposal) = &manifest.disposal {
            prop_assert_eq!(disposal.grams, found, "{}", no);
        }
    }
    Ok(())
}

/// A manifest is held up exactly while flags of its acceptance are undecided.
fn check_flags(world: &World) -> Result<(), TestCaseError> {
    for (no, manifest) in &world.manifests {
        let holding = |state: FlagState| {
            world.flags[no]
                .iter()
                .filter(|flag| flag.holds && flag.state == state)
                .count()
        };
        prop_assert_eq!(manifest.undecided as usize, holding(FlagState::Open));
        prop_assert_eq!(manifest.referred as usize, holding(FlagState::Referred));
        prop_assert_eq!(
            manifest.state == ManifestState::Discrepant,
            manifest.undecided > 0
        );
        for flag in world.flags[no]
            .iter()
            .filter(|flag| flag.state == FlagState::Accepted)
        {
            let signers: BTreeSet<&String> =
                flag.findings.iter().map(|finding| &finding.org).collect();
            prop_assert!(signers.len() >= 3, "{:?}", flag);
        }
    }
    Ok(())
}

/// The views of what is open agree with the states.
fn check_views(ledger: &TestLedger, world: &World) -> Result<(), TestCaseError> {
    let far = json!({"asOf": START + 1000 * DAY});
    let late = ask(ledger, "Overdue", &environment(), far);
    let listed: BTreeSet<String> = late["late"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|late| {
            late["bag"]
                .as_str()
                .or(late["no"].as_str())
                .map(str::to_owned)
        })
        .collect();
    let bags = world
        .bags
        .values()
        .filter(|bag| matches!(bag.state, BagState::Sealed | BagState::Manifested));
    let open = world.manifests.values().filter(|manifest| {
        matches!(
            manifest.state,
            ManifestState::InTransit | ManifestState::Delivered
        ) || (manifest.state == ManifestState::HandedOver
            && (manifest.carried > 0 || manifest.previous.is_some()))
    });
    let expected: BTreeSet<String> = bags
        .map(|bag| bag.id.clone())
        .chain(open.map(|m| m.no.clone()))
        .collect();
    prop_assert_eq!(listed, expected);
    let shown = ask(ledger, "Flags", &environment(), json!({}))["flags"]
        .as_array()
        .unwrap()
        .len();
    let undecided = world
        .flags
        .values()
        .flatten()
        .filter(|flag| flag.state != FlagState::Accepted)
        .count();
    prop_assert_eq!(shown, undecided);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_sequence_of_calls_breaks_custody_mass_or_states(
        attempts in proptest::collection::vec((0u8..20, 0usize..MANIFESTS, 0u8..32, 0u8..30), 20..120),
    ) {
        let mut ledger = ledger();
        for n in 0..BAGS - 1 {
            seal(&mut ledger, &format!("b{n}"), INFECTIOUS, 1000);
        }
        let mut before = world(&ledger);
        for attempt in attempts {
            ledger.advance(60);
            let response = ledger.submit(proposal(&before, attempt, ledger.now()));
            prop_assert!(response.status < 500, "{}", response.message);
            if response.status != 200 {
                continue;
            }
            let after = world(&ledger);
            check_steps(&before, &after)?;
            check_custody(&after)?;
            check_mass(&after)?;
            check_flags(&after)?;
            before = after;
        }
        check_views(&ledger, &before)?;
    }
}
