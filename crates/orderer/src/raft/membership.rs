//! Which nodes make up a channel's Raft group, and how it follows the channel's configuration:
//! pure decisions.
//!
//! The configuration lists *consenters*, which keep their ids for good. What votes is a *node*: a
//! consenter with one certain disk. A consenter that comes back without its log is another node, so
//! that a node never forgets what it voted for or acknowledged; the leader puts the new node in the
//! old one's place. A Raft id holds the consenter's id in its lower half and a number that tells
//! its disks apart, 0 for the one that it founded the channel with, in its upper half.

use std::collections::{BTreeMap, BTreeSet};

/// Greatest id of a consenter.
pub(crate) const MAX_CONSENTER: u64 = u32::MAX as u64;

/// The consenter that a node belongs to.
pub(crate) fn consenter_of(node: u64) -> u64 {
    node & MAX_CONSENTER
}

/// The Raft id of a consenter's node with a disk that nobody has seen before.
pub(crate) fn new_node(consenter: u64, random: u64) -> u64 {
    (random | 1) << 32 | consenter
}

/// What the leader knows when it decides.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Consenters of the configuration in force.
    pub(crate) consenters: BTreeSet<u64>,
    /// Voters: one set, or two while the membership changes.
    pub(crate) voters: Vec<BTreeSet<u64>>,
    /// Nodes that get the log and have no vote.
    pub(crate) learners: BTreeSet<u64>,
    /// Nodes that asked to be taken in, by consenter.
    pub(crate) announced: BTreeMap<u64, u64>,
    /// Nodes that have (nearly) the whole log.
    pub(crate) caught_up: BTreeSet<u64>,
    /// Nodes that have answered lately.
    pub(crate) alive: BTreeSet<u64>,
    /// The leader itself.
    pub(crate) own: u64,
}

/// What the leader does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Makes these the voters, by joint consensus; ends a change that a former leader began.
    Voters(BTreeSet<u64>),
    /// Sends the log to a node.
    AddLearner(u64),
    /// Sends no more of it.
    RemoveLearner(u64),
    /// Lets another node lead, since this one is to leave.
    HandOver(u64),
}

/// The next step towards the membership that the configuration wants, one at a time; `None` when
/// the group is as it should be or has to wait for somebody.
pub(crate) fn next_step(view: &View) -> Option<Step> {
    let current = view.voters.last()?;
    if view.voters.len() > 1 {
        return Some(Step::Voters(current.clone()));
    }
    let mut target = BTreeSet::new();
    let mut wanted = BTreeSet::new();
    for consenter in &view.consenters {
        let voter = current
            .iter()
            .find(|node| consenter_of(**node) == *consenter);
        let announced = view.announced.get(consenter);
        match (voter, announced) {
            (Some(voter), Some(new)) if new != voter => {
                wanted.insert(*new);
                target.insert(if view.caught_up.contains(new) {
                    *new
                } else {
                    *voter
                });
            }
            (Some(voter), _) => {
                target.insert(*voter);
            }
            (None, Some(new)) => {
                wanted.insert(*new);
                if view.caught_up.contains(new) {
                    target.insert(*new);
                }
            }
            (None, None) => {}
        }
    }
    // New nodes first learn, old learners that nobody wants any more go.
    if let Some(new) = wanted
        .iter()
        .find(|node| !current.contains(node) && !view.learners.contains(node))
    {
        return Some(Step::AddLearner(*new));
    }
    if target != *current && !target.is_empty() {
        if !target.contains(&view.own) {
            let mut heirs = target.intersection(current).peekable();
            if heirs.peek().is_some() {
                let heir = heirs.find(|node| view.caught_up.contains(node));
                return heir.map(|node| Step::HandOver(*node));
            }
            // Nobody who stays has a vote to lead with: they get theirs beside the leader's.
            target.insert(view.own);
        }
        let known = |node: &u64| current.contains(node) || view.learners.contains(node);
        // Voters of whom no majority is there could never end the change, nor elect a leader.
        let alive = target.intersection(&view.alive).count();
        if target.iter().all(known) && alive > target.len() / 2 {
            return Some(Step::Voters(target));
        }
    }
    let stale = view
        .learners
        .iter()
        .find(|node| !current.contains(node) && !wanted.contains(node));
    stale.map(|node| Step::RemoveLearner(*node))
}

/// Who may lead instead of a leader that cannot write: a voter that is there and has (nearly) the
/// whole log. While the voters change it is nobody.
pub(crate) fn heir(view: &View) -> Option<u64> {
    let [voters] = &view.voters[..] else {
        return None;
    };
    let mut others = voters.iter().filter(|node| **node != view.own);
    others
        .find(|node| view.alive.contains(node) && view.caught_up.contains(node))
        .copied()
}

/// Whether a configuration with these consenters may follow while these nodes vote: the group must
/// have followed the last change, and this one is the next. Taking back a change that the group has
/// not followed yet is allowed.
pub(crate) fn check_settled(
    voters: &[BTreeSet<u64>],
    current: &BTreeSet<u64>,
    next: &BTreeSet<u64>,
) -> Result<(), String> {
    if next == current {
        return Ok(());
    }
    let voting: BTreeSet<u64> = voters
        .iter()
        .flatten()
        .map(|node| consenter_of(*node))
        .collect();
    let (joining, leaving): (Vec<_>, Vec<_>) = current
        .symmetric_difference(&voting)
        .copied()
        .partition(|consenter| current.contains(consenter));
    let settled = voters.len() == 1 && joining.is_empty() && leaving.is_empty();
    if settled || (voters.len() == 1 && *next == voting) {
        return Ok(());
    }
    let mut reasons = Vec::new();
    for consenter in joining {
        reasons.push(format!(
            "consenter {consenter} has not joined the cluster yet"
        ));
    }
    for consenter in leaving {
        reasons.push(format!(
            "consenter {consenter} has not left the cluster yet"
        ));
    }
    if reasons.is_empty() {
        reasons.push("the cluster is changing its voters".into());
    }
    Err(format!(
        "another membership change is in progress: {}; wait for it, or take it back",
        reasons.join(", ")
    ))
}

/// What another consenter says to one that has a chain with nothing but a genesis block and no Raft
/// log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has not committed anything either.
    Fresh,
    /// It has.
    Running,
}

/// What a consenter without a Raft log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// One of those that start the channel: a majority of consenters has committed nothing.
    Founder,
    /// A newcomer to a channel that runs: it has lost its disk, or comes late.
    Newcomer,
    /// Not known yet.
    Unknown,
}

/// Decides by the answers of the other consenters; `size` counts all of them.
///
/// As long as no majority has founded the channel nothing is committed anywhere; once something is,
/// a node without log cannot tell whether it had a part in it.
pub(crate) fn origin(size: usize, heard: &[Heard]) -> Origin {
    if heard.contains(&Heard::Running) {
        Origin::Newcomer
    } else if heard.len() + 1 > size / 2 {
        Origin::Founder
    } else {
        Origin::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(ids: &[u64]) -> BTreeSet<u64> {
        ids.iter().copied().collect()
    }

    /// Consenter `id` after its disk was replaced `times` times.
    fn again(id: u64, times: u64) -> u64 {
        (times << 32) | id
    }

    fn view(consenters: &[u64], voters: &[&[u64]]) -> View {
        View {
            consenters: set(consenters),
            voters: voters.iter().map(|ids| set(ids)).collect(),
            caught_up: voters.iter().flat_map(|ids| ids.iter().copied()).collect(),
            alive: voters.iter().flat_map(|ids| ids.iter().copied()).collect(),
            own: 1,
            ..View::default()
        }
    }

    #[test]
    fn a_node_belongs_to_its_consenter() {
        for random in [0, 1, 7 << 40, u64::MAX] {
            let node = new_node(5, random);
            assert_eq!(consenter_of(node), 5);
            assert_ne!(node, 5, "not the node that founded the channel");
        }
    }

    #[test]
    fn a_group_that_is_as_configured_stays() {
        assert_eq!(next_step(&view(&[1, 2, 3], &[&[1, 2, 3]])), None);
        let old = again(2, 9);
        assert_eq!(next_step(&view(&[1, 2], &[&[1, old]])), None);
        // Who is added and has not come yet changes nothing.
        assert_eq!(next_step(&view(&[1, 2, 3], &[&[1, 2]])), None);
        assert_eq!(next_step(&view(&[1], &[])), None, "no membership yet");
    }

    #[test]
    fn an_added_consenter_learns_first_and_votes_once_it_has_caught_up() {
        let new = again(4, 3);
        let mut view = view(&[1, 2, 3, 4], &[&[1, 2, 3]]);
        view.announced = [(4, new)].into();
        assert_eq!(next_step(&view), Some(Step::AddLearner(new)));
        view.learners.insert(new);
        assert_eq!(next_step(&view), None);
        view.caught_up.insert(new);
        view.alive.insert(new);
        assert_eq!(next_step(&view), Some(Step::Voters(set(&[1, 2, 3, new]))));
    }

    #[test]
    fn a_consenter_that_lost_its_disk_takes_its_old_nodes_place() {
        let new = again(2, 3);
        let mut view = view(&[1, 2, 3], &[&[1, 2, 3]]);
        view.announced = [(2, new)].into();
        view.learners.insert(new);
        assert_eq!(next_step(&view), None, "not before it has caught up");
        view.caught_up.insert(new);
        assert_eq!(next_step(&view), Some(Step::Voters(set(&[1, new, 3]))));
    }

    #[test]
    fn a_removed_consenter_leaves_and_a_removed_leader_hands_over_first() {
        assert_eq!(
            next_step(&view(&[1, 2], &[&[1, 2, 3]])),
            Some(Step::Voters(set(&[1, 2])))
        );
        let mut leaving = view(&[2, 3], &[&[1, 2, 3]]);
        leaving.caught_up = set(&[1, 3]);
        assert_eq!(next_step(&leaving), Some(Step::HandOver(3)));
        leaving.caught_up = set(&[1]);
        assert_eq!(next_step(&leaving), None, "nobody can take over yet");
        let new = again(1, 5);
        let mut replaced = view(&[1], &[&[1]]);
        replaced.announced = [(1, new)].into();
        replaced.learners = set(&[new]);
        replaced.caught_up.insert(new);
        replaced.alive.insert(new);
        assert_eq!(next_step(&replaced), Some(Step::Voters(set(&[1, new]))));
    }

    #[test]
    fn a_leader_that_cannot_write_is_followed_by_a_voter_who_can() {
        let mut whole = view(&[1, 2, 3], &[&[1, 2, 3]]);
        whole.own = 1;
        whole.alive = set(&[1, 2, 3]);
        whole.caught_up = set(&[1, 3]);
        assert_eq!(heir(&whole), Some(3));
        whole.alive = set(&[1, 2]);
        assert_eq!(heir(&whole), None, "3 is away, 2 is behind");
        let mut joint = view(&[1, 2], &[&[1, 2, 3], &[1, 2]]);
        joint.alive = set(&[1, 2]);
        joint.caught_up = set(&[1, 2]);
        assert_eq!(heir(&joint), None);
        let mut alone = view(&[1], &[&[1]]);
        alone.alive = set(&[1]);
        alone.caught_up = set(&[1]);
        assert_eq!(heir(&alone), None);
    }

    #[test]
    fn voters_who_are_not_there_are_not_left_alone_with_one_who_is() {
        let mut view = view(&[1, 3], &[&[1, 2, 3]]);
        view.alive = set(&[1, 2]);
        assert_eq!(next_step(&view), None, "3 is away, 1 alone is no majority");
        let new = again(3, 7);
        view.announced = [(3, new)].into();
        view.learners = set(&[new]);
        view.caught_up.insert(new);
        view.alive.insert(new);
        assert_eq!(next_step(&view), Some(Step::Voters(set(&[1, new]))));
    }

    #[test]
    fn a_change_that_was_begun_is_ended_first() {
        let joint = view(&[1, 2, 3, 4], &[&[1, 2, 3], &[1, 2]]);
        assert_eq!(next_step(&joint), Some(Step::Voters(set(&[1, 2]))));
    }

    #[test]
    fn learners_that_nobody_wants_go() {
        let mut view = view(&[1, 2], &[&[1, 2]]);
        view.learners.insert(again(2, 5));
        assert_eq!(next_step(&view), Some(Step::RemoveLearner(again(2, 5))));
    }

    /// Voters, the present and the next configuration's consenters, whether that may follow.
    type Settled<'a> = (&'a [&'a [u64]], &'a BTreeSet<u64>, &'a [u64], bool);

    #[test]
    fn a_membership_change_waits_for_the_last_one() {
        let (three, four) = (set(&[1, 2, 3]), set(&[1, 2, 3, 4]));
        let cases: &[Settled<'_>] = &[
            (&[&[1, 2, 3]], &three, &[1, 2, 3, 4], true),
            (&[&[1, 2, 3]], &three, &[1, 2], true),
            (&[&[1, 2, 3]], &four, &[1, 2, 3, 4], true),
            (&[&[1, 2, 3]], &four, &[1, 2, 3, 4, 5], false),
            (&[&[1, 2, 3]], &four, &[1, 2, 4], false),
            (&[&[1, 2, 3]], &four, &[1, 2, 3], true),
            (&[&[1, 2, 3, 4]], &three, &[1, 2], false),
            (&[&[1, 2, 3], &[1, 2, 3, 4]], &four, &[1, 2, 3], false),
        ];
        for (voters, current, next, good) in cases {
            let voters: Vec<BTreeSet<u64>> = voters.iter().map(|ids| set(ids)).collect();
            let checked = check_settled(&voters, current, &set(next));
            assert_eq!(checked.is_ok(), *good, "{voters:?} {current:?} {next:?}");
        }
        let refused = check_settled(std::slice::from_ref(&three), &four, &set(&[1, 2, 3, 4, 5]));
        assert_eq!(
            refused.unwrap_err(),
            "another membership change is in progress: consenter 4 has not joined the cluster yet; \
             wait for it, or take it back"
        );
    }

    #[test]
    fn a_majority_without_history_founds_a_channel_and_everybody_else_is_a_newcomer() {
        use Heard::{Fresh, Running};
        let cases: &[(usize, &[Heard], Origin)] = &[
            (1, &[], Origin::Founder),
            (2, &[], Origin::Unknown),
            (2, &[Fresh], Origin::Founder),
            (3, &[], Origin::Unknown),
            (3, &[Fresh], Origin::Founder),
            (3, &[Running], Origin::Newcomer),
            (3, &[Fresh, Running], Origin::Newcomer),
            (5, &[Fresh], Origin::Unknown),
            (5, &[Fresh, Fresh], Origin::Founder),
        ];
        for (size, heard, expected) in cases {
            assert_eq!(origin(*size, heard), *expected, "{size} {heard:?}");
        }
    }

    proptest! {
        /// Followed step by step, with everybody there and catching up at once, the group becomes
        /// what the configuration wants, and never drops below one voter.
        #[test]
        fn the_group_reaches_the_configured_membership(
            consenters in proptest::collection::btree_set(1_u64..8, 1..6),
            voters in proptest::collection::btree_set(1_u64..8, 1..6),
            renewed in proptest::collection::btree_set(1_u64..8, 0..4),
        ) {
            let mut view = View {
                consenters: consenters.clone(),
                own: *voters.first().unwrap(),
                voters: vec![voters],
                ..View::default()
            };
            for consenter in &consenters {
                let times = u64::from(renewed.contains(consenter));
                let node = again(*consenter, times);
                if !view.voters[0].contains(&node) {
                    view.announced.insert(*consenter, node);
                }
            }
            view.caught_up = view.voters[0].clone();
            view.alive = (1..8).flat_map(|id| [id, again(id, 1)]).collect();
            for _ in 0..40 {
                let Some(step) = next_step(&view) else { break };
                match step {
                    Step::Voters(target) => {
                        prop_assert!(!target.is_empty());
                        prop_assert!(target.contains(&view.own));
                        for node in &view.voters[0] {
                            view.learners.remove(node);
                        }
                        for node in &target {
                            view.learners.remove(node);
                        }
                        view.voters = vec![target];
                    }
                    Step::AddLearner(node) => {
                        view.learners.insert(node);
                        view.caught_up.insert(node);
                    }
                    Step::RemoveLearner(node) => {
                        view.learners.remove(&node);
                    }
                    Step::HandOver(node) => {
                        prop_assert!(view.caught_up.contains(&node));
                        prop_assert!(view.voters[0].contains(&node), "a learner cannot lead");
                        view.own = node;
                    }
                }
            }
            prop_assert_eq!(next_step(&view), None);
            let voting: BTreeSet<u64> = view.voters[0].iter().map(|node| consenter_of(*node)).collect();
            prop_assert_eq!(voting, consenters);
        }
    }
}
