//! From combinations of principals and the peers that are there to an endorsement descriptor. Pure.
//! `fabric: discovery/endorsement/endorsement.go`

use std::collections::{BTreeMap, HashMap};

use consilium_proto::discovery::{self as proto, EndorsementDescriptor};

use crate::layouts::{Layout, Principal, matching};

/// A peer of the channel that may see what the chaincodes read.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Whether it can run all chaincodes that are called.
    pub(crate) can_run: bool,
    /// As it stands in the answer.
    pub(crate) peer: proto::Peer,
}

/// A principal by which peers are grouped.
struct Group {
    holders: Vec<usize>,
    runners: Vec<usize>,
}

/// The layouts that the candidates can fill, each place with another peer, and who can fill them.
/// `holds` says whether a candidate, by its index, holds a principal.
///
/// # Errors
/// Fabric's text when no layout is left.
pub(crate) fn descriptor<P: Principal>(
    chaincode: &str,
    layouts: &[Layout<P>],
    candidates: &[Candidate],
    holds: impl Fn(usize, &P) -> bool,
) -> Result<EndorsementDescriptor, String> {
    let mut numbers: HashMap<&P, usize> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut quantities: Vec<BTreeMap<usize, u32>> = Vec::new();
    for layout in layouts {
        let mut counted = BTreeMap::new();
        for principal in layout {
            let number = *numbers.entry(principal).or_insert_with(|| {
                let holders: Vec<usize> = (0..candidates.len())
                    .filter(|&index| holds(index, principal))
                    .collect();
                let runs = |index: &usize| candidates[*index].can_run;
                let runners = holders.iter().copied().filter(runs).collect();
                groups.push(Group { holders, runners });
                groups.len() - 1
            });
            *counted.entry(number).or_insert(0) += 1;
        }
        quantities.push(counted);
    }
    let fills = |layout: &BTreeMap<usize, u32>, of: fn(&Group) -> &Vec<usize>| {
        let places: Vec<Vec<usize>> = layout
            .iter()
            .flat_map(|(&group, &count)| (0..count).map(move |_| group))
            .map(|group| of(&groups[group]).clone())
            .collect();
        matching(&places).is_some()
    };
    quantities.retain(|layout| fills(layout, |group| &group.holders));
    if quantities.is_empty() {
        return Err("no peer combination can satisfy the endorsement policy".to_owned());
    }
    quantities.retain(|layout| fills(layout, |group| &group.runners));
    if quantities.is_empty() {
        return Err("required chaincodes are not installed on sufficient peers".to_owned());
    }
    Ok(answer(chaincode, &quantities, &groups, candidates))
}

/// Groups are named in the order in which layouts use them: the principals stay hidden.
fn answer(
    chaincode: &str,
    quantities: &[BTreeMap<usize, u32>],
    groups: &[Group],
    candidates: &[Candidate],
) -> EndorsementDescriptor {
    let mut names: BTreeMap<usize, String> = BTreeMap::new();
    let layouts = quantities
        .iter()
        .map(|layout| {
            let named = layout.iter().map(|(&group, &count)| {
                let next = names.len();
                let name = names.entry(group).or_insert_with(|| format!("G{next}"));
                (name.clone(), count)
            });
            proto::Layout {
                quantities_by_group: named.collect(),
            }
        })
        .collect();
    let endorsers_by_groups = names
        .into_iter()
        .map(|(group, name)| {
            let runners = &groups[group].runners;
            let peers = runners.iter().map(|&index| candidates[index].peer.clone());
            let peers = peers.collect();
            (name, proto::Peers { peers })
        })
        .collect();
    EndorsementDescriptor {
        chaincode: chaincode.to_owned(),
        endorsers_by_groups,
        layouts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    /// Peers and principals of an organization, named by a letter.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Of(char);

    impl Principal for Of {
        fn implies(&self, other: &Self) -> bool {
            self == other
        }
    }

    /// Upper case: can run the chaincode.
    fn candidates(peers: &str) -> Vec<Candidate> {
        let peers = peers.chars();
        peers
            .map(|name| Candidate {
                can_run: name.is_uppercase(),
                peer: proto::Peer {
                    identity: Bytes::from(name.to_string()),
                    ..Default::default()
                },
            })
            .collect()
    }

    fn found(layouts: &str, peers: &str) -> Result<EndorsementDescriptor, String> {
        let candidates = candidates(peers);
        let layouts: Vec<Layout<Of>> = layouts
            .split_whitespace()
            .map(|layout| layout.chars().map(Of).collect())
            .collect();
        let letters: Vec<char> = peers.to_uppercase().chars().collect();
        // `*` is a principal that everybody holds.
        descriptor("kv", &layouts, &candidates, |index, of: &Of| {
            of.0 == '*' || letters[index] == of.0
        })
    }

    /// Layouts with the peers of a group in place of its name.
    fn shown(descriptor: &EndorsementDescriptor) -> String {
        let layouts = descriptor.layouts.iter().map(|layout| {
            let groups = layout.quantities_by_group.iter().map(|(group, count)| {
                let peers = &descriptor.endorsers_by_groups[group].peers;
                let peers: Vec<u8> = peers
                    .iter()
                    .flat_map(|peer| peer.identity.to_vec())
                    .collect();
                format!("{}:{count}", String::from_utf8_lossy(&peers))
            });
            groups.collect::<Vec<_>>().join("+")
        });
        layouts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn layouts_that_peers_can_fill_are_left() {
        const NOBODY: &str = "no peer combination can satisfy the endorsement policy";
        const NOT_INSTALLED: &str = "required chaincodes are not installed on sufficient peers";
        for (layouts, peers, expected) in [
            ("AB", "AABC", Ok("AA:1+B:1")),
            ("AB AC", "AABC", Ok("AA:1+B:1 AA:1+C:1")),
            ("AA", "AaA", Ok("AA:2")),
            ("AB C", "AC", Ok("C:1")),
            ("AB C", "AbC", Ok("C:1")),
            ("AB", "AC", Err(NOBODY)),
            ("AA", "AB", Err(NOBODY)),
            ("A*", "A", Err(NOBODY)),
            ("A*", "AB", Ok("A:1+AB:1")),
            ("AB", "Ab", Err(NOT_INSTALLED)),
            ("AA", "Aa", Err(NOT_INSTALLED)),
            ("", "A", Err(NOBODY)),
        ] {
            let found = found(layouts, peers);
            let shown = found.as_ref().map(shown).map_err(String::as_str);
            let expected = expected.map(str::to_owned);
            assert_eq!(shown, expected, "{layouts} with {peers}");
        }
    }

    #[test]
    fn groups_are_named_in_order_and_only_those_in_use() {
        let found = found("XY AB BC", "ABC").unwrap();
        assert_eq!(found.chaincode, "kv");
        let names: Vec<_> = found.endorsers_by_groups.keys().cloned().collect();
        assert_eq!(names, ["G0", "G1", "G2"]);
        let first: Vec<_> = found.layouts[0]
            .quantities_by_group
            .keys()
            .cloned()
            .collect();
        assert_eq!(first, ["G0", "G1"]);
    }

    proptest! {
        /// Whatever comes out can be filled with different peers that can run the chaincode, and a
        /// layout that can be filled is not left out.
        #[test]
        fn what_is_offered_is_what_can_be_filled(
            layouts in prop::collection::vec("[ABC*]{1,3}", 1..5),
            peers in "[ABCabc]{0,6}",
        ) {
            let letters: Vec<char> = peers.to_uppercase().chars().collect();
            let mut numbered = candidates(&peers);
            for (index, candidate) in numbered.iter_mut().enumerate() {
                candidate.peer.identity = Bytes::from(index.to_string());
            }
            let holds = |index: usize, of: &Of| of.0 == '*' || letters[index] == of.0;
            let wanted: Vec<Layout<Of>> =
                layouts.iter().map(|layout| layout.chars().map(Of).collect()).collect();
            let fillable = |layout: &Layout<Of>| {
                let runs = |index: &usize| numbered[*index].can_run;
                let places: Vec<Vec<usize>> = layout
                    .iter()
                    .map(|of| (0..letters.len()).filter(|&i| holds(i, of)).filter(runs).collect())
                    .collect();
                matching(&places).is_some()
            };
            let expected = wanted.iter().filter(|layout| fillable(layout)).count();
            let found = descriptor("kv", &wanted, &numbered, holds);
            prop_assert_eq!(found.as_ref().map_or(0, |found| found.layouts.len()), expected);
            for layout in found.iter().flat_map(|found| &found.layouts) {
                let groups = &found.as_ref().unwrap().endorsers_by_groups;
                let mut places: Vec<Vec<usize>> = Vec::new();
                for (group, count) in &layout.quantities_by_group {
                    let index = |peer: &proto::Peer| {
                        std::str::from_utf8(&peer.identity).unwrap().parse::<usize>().unwrap()
                    };
                    let peers: Vec<usize> = groups[group].peers.iter().map(index).collect();
                    prop_assert!(peers.iter().all(|&index| numbered[index].can_run));
                    places.extend((0..*count).map(|_| peers.clone()));
                }
                prop_assert!(matching(&places).is_some());
            }
        }
    }
}
