//! openraft's reports on membership and replication that could reach us: each test makes the
//! situation of one report in a simulated world. `docs/ordering.md` says what the reports are.

#[path = "support/config.rs"]
mod config;
#[path = "support/consortium.rs"]
mod consortium;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use consilium_orderer::simulation::{Outcome, Scenario, play};
use consortium::consortium;

type Told = Result<(), String>;

const SECOND: Duration = Duration::from_secs(1);

/// Plays a script; whatever is wrong afterwards fails the test, with the story.
fn check<F>(
    seed: u64,
    (consenters, spare): (usize, usize),
    script: impl FnOnce(Scenario) -> F,
) -> Outcome
where
    F: Future<Output = Told> + Send + 'static,
{
    if std::env::var_os("RUST_LOG").is_some() {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .without_time()
            .with_test_writer()
            .try_init();
    }
    let outcome = play(seed, &consortium(consenters, spare), script);
    let wrong = outcome.wrong.join("\n");
    assert!(wrong.is_empty(), "seed {seed}: {wrong}\n{}", outcome.story);
    outcome
}

/// Seeds of a scenario: so many, or `SCENARIO_SEEDS`.
fn seeds(count: u64) -> std::ops::Range<u64> {
    let set = std::env::var("SCENARIO_SEEDS").ok();
    0..set.and_then(|set| set.parse().ok()).unwrap_or(count)
}

fn set(nodes: &[usize]) -> BTreeSet<usize> {
    nodes.iter().copied().collect()
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Told {
    if holds { Ok(()) } else { Err(what()) }
}

/// Starts these nodes and waits until one of them leads and all have applied that they vote.
async fn found(world: &Scenario, nodes: &[usize]) -> Result<usize, String> {
    world.start(nodes.iter().copied());
    let all_vote = || {
        let mut nodes_in = nodes.iter();
        nodes_in.all(|node| world.applied_voters(*node) == set(nodes))
    };
    world
        .wait(20 * SECOND, "the channel is founded", || {
            all_vote() && world.leader(nodes).is_some()
        })
        .await?;
    world.leader(nodes).ok_or("no leader".into())
}

/// Sends a message to these nodes in turn until one takes it.
async fn send_until_taken(world: &Scenario, nodes: &[usize], name: &str) -> Told {
    for number in 0..40 {
        let node = nodes[number % nodes.len()];
        if world.send(node, &format!("{name} {number}")).await.is_ok() {
            return Ok(());
        }
        world.sleep(SECOND / 4).await;
    }
    Err(format!("{name}: nobody takes messages"))
}

/// Makes these the consenters, by whichever of some nodes takes the update.
async fn update_until_taken(world: &Scenario, through: &[usize], consenters: &[usize]) -> Told {
    let mut last = Ok(());
    for number in 0..60 {
        last = world
            .update(through[number % through.len()], consenters)
            .await;
        if last.is_ok() {
            return last;
        }
        world.sleep(SECOND / 2).await;
    }
    last
}

/// A consenter comes and goes: learner, voter, gone, again and again, while whoever leads is killed,
/// with power, in the middle of each change. A panic of openraft would end the run.
#[test]
fn openraft_1544_rapid_changes_of_members_while_leaders_are_killed() {
    for seed in seeds(6) {
        let outcome = check(seed, (3, 2), |world| async move {
            found(&world, &[0, 1, 2]).await?;
            world.start([3, 4]);
            for round in 0..6_usize {
                let spare = 3 + round % 2;
                let with = [0, 1, 2, spare];
                for listed in [&with[..], &[0, 1, 2]] {
                    // Entries are on their way when the leader goes.
                    for number in 0..10 {
                        let (world, name) =
                            (world.clone(), format!("{round} {} {number}", listed.len()));
                        world.clone().spawn(async move {
                            let _ = world.send(number % 3, &name).await;
                        });
                    }
                    update_until_taken(&world, &[0, 1, 2], listed).await?;
                    world
                        .sleep(SECOND / 10 * (seed as u32 + round as u32 % 4))
                        .await;
                    if let Some(leader) = world.leader(&[0, 1, 2, 3, 4]) {
                        world.kill(leader, round % 2 == 0);
                        world.sleep(3 * SECOND).await;
                        world.start([leader]);
                    }
                }
            }
            Ok(())
        });
        assert!(outcome.acknowledged > 12, "seed {seed}: {outcome:?}");
    }
}

/// A leader appends a membership that never gets committed, behind a tail of entries. The others
/// change the members twice, at lower indexes, and send it a snapshot that ends behind all that. If
/// it kept its own membership it could be elected by a quorum in which none of those is who
/// committed what came after the snapshot.
#[test]
fn openraft_1808_a_snapshot_over_an_uncommitted_membership_brings_its_own() {
    for seed in seeds(3) {
        check(seed, (4, 2), |world| async move {
            let stale = found(&world, &[0, 1, 2, 3]).await?;
            world.start([4, 5]);
            world.sleep(5 * SECOND).await;
            ensure(world.leader(&[0, 1, 2, 3]) == Some(stale), || {
                "another leader".into()
            })?;
            let others: Vec<usize> = (0..4).filter(|node| *node != stale).collect();
            let (leaving, stay) = (others[2], [others[0], others[1]]);
            let kept = [stale, stay[0], stay[1]];

            // The leader removes one by joint consensus. Those who stay have the joint membership
            // when it is cut off; that they have it still gets through, behind more entries.
            world.part(&[stale], &[leaving]);
            world.set_delay(SECOND / 10);
            let updating = world.clone();
            // Nobody waits for what it comes to.
            drop(world.spawn(async move { updating.update(stale, &kept).await }));
            let joint = [set(&[0, 1, 2, 3]), set(&kept)];
            world
                .wait(5 * SECOND, "they have the joint membership", || {
                    kept.iter().all(|node| world.voters(*node) == joint)
                })
                .await?;
            world.cut(&[stale], &others);
            let joint_at = world.membership_index(stale);
            world.propose(stale, "tail", 30);
            world
                .wait(
                    5 * SECOND,
                    "the leader appends a membership that nobody gets",
                    || world.voters(stale) == [set(&kept)],
                )
                .await?;
            world.cut(&others, &[stale]);
            world.set_delay(SECOND / 500);
            let stale_at = world.membership_index(stale);
            ensure(stale_at > joint_at.map(|at| at + 20), || {
                format!("no tail between {joint_at:?} and {stale_at:?}")
            })?;

            // The others go on without it; it hears them, and gets no entries.
            world
                .wait(20 * SECOND, "the others finish the change", || {
                    stay.iter()
                        .all(|node| world.applied_voters(*node) == set(&kept))
                        || world.voters(stay[0]) == [set(&kept)] && world.leader(&stay).is_some()
                })
                .await?;
            world.heal();
            world.starve(&[0, 1, 2, 3, 4, 5], &[stale]);
            update_until_taken(&world, &stay, &[kept[0], kept[1], kept[2], 4]).await?;
            let five = [kept[0], kept[1], kept[2], 4, 5];
            update_until_taken(&world, &stay, &five).await?;
            world
                .wait(30 * SECOND, "the others have five voters", || {
                    stay.iter()
                        .chain(&[4, 5])
                        .all(|node| world.applied_voters(*node) == set(&five))
                })
                .await?;
            let leader = world.leader(&stay).ok_or("a new node leads")?;
            let five_at = world.membership_index(leader);
            ensure(five_at < stale_at, || {
                format!("the stale membership {stale_at:?} does not come after {five_at:?}")
            })?;
            ensure(world.voters(stale) == [set(&kept)], || {
                "its tail is gone already".into()
            })?;

            // Two fall behind; the leader, with the new ones, purges what they lack.
            let late = if leader == stay[0] { stay[1] } else { stay[0] };
            let ahead = [leader, 4, 5];
            let apart = [leader, 4, 5, leaving];
            world.starve(&[0, 1, 2, 3, 4, 5], &[late]);
            world.propose(leader, "bulk", 600);
            world
                .wait(60 * SECOND, "it has a snapshot over its tail", || {
                    world
                        .snapshot(stale)
                        .is_some_and(|(last, _)| Some(last) > stale_at)
                })
                .await?;
            let (last, membership) = world.snapshot(stale).ok_or("no snapshot")?;
            ensure(Some(membership) == five_at, || {
                format!(
                    "the snapshot to {last} has the membership of {membership}, not of {five_at:?}"
                )
            })?;
            ensure(world.voters(stale) == [set(&five)], || {
                format!("it keeps the membership {:?}", world.voters(stale))
            })?;

            // What comes now only the real quorum has.
            world.part(&[stale, late], &apart);
            for number in 0..5 {
                send_until_taken(&world, &ahead, &format!("acknowledged {number}")).await?;
            }
            world.heal();
            world.part(&[stale, late], &apart);
            for number in 0..20 {
                world.sleep(SECOND).await;
                let led = [stale, late].map(|node| world.raft(node).and_then(|raft| raft.leader));
                ensure(
                    world
                        .send(stale, &format!("for nobody {number}"))
                        .await
                        .is_err(),
                    || format!("two of five order messages, led by {led:?}"),
                )?;
            }
            Ok(())
        });
    }
}

/// A leader's disk fails once while it reads what a follower lacks. Whatever the leader does about
/// it, it must not send entries that do not follow the ones that the follower has.
#[test]
fn openraft_1795_a_failed_read_of_the_log_makes_no_hole_in_a_followers() {
    for seed in seeds(8) {
        check(seed, (3, 0), |world| async move {
            found(&world, &[0, 1, 2]).await?;
            world.part(&[2], &[0, 1]);
            for number in 0..60 {
                send_until_taken(&world, &[0, 1], &format!("unheard by 2, {number}")).await?;
            }
            // What was written before they started is not in their memory any more.
            for node in [0, 1] {
                world.kill(node, false);
            }
            world.start([0, 1]);
            send_until_taken(&world, &[0, 1], "after the restart").await?;
            let behind = world.raft(2).and_then(|raft| raft.last);
            let leader = world.leader(&[0, 1]).ok_or("no leader")?;
            world.fail_next_read(leader);
            world.heal();
            world
                .wait(10 * SECOND, "a read failed", || {
                    world.failed_reads(leader) > 0
                })
                .await?;
            world.sleep(10 * SECOND).await;
            ensure(behind < world.raft(2).and_then(|raft| raft.last), || {
                "node 2 got nothing: whoever is left must go on".into()
            })
        });
    }
}

/// A voter is removed while calls to it hang: the leader goes on at once, though each of these calls
/// takes seconds to be given up.
#[test]
fn openraft_1810_removing_a_voter_whose_calls_hang_does_not_stop_the_leader() {
    /// Far below the 5 s after which a call with entries is given up.
    const LONGEST: Duration = Duration::from_millis(1_500);
    for seed in seeds(6) {
        check(seed, (4, 0), |world| async move {
            let leader = found(&world, &[0, 1, 2, 3]).await?;
            let others: Vec<usize> = (0..4).filter(|node| *node != leader).collect();
            let (hung, rest) = (others[0], [leader, others[1], others[2]]);
            world.part(&[hung], &rest);
            world.send(leader, "the hung one's call begins").await?;
            let begun = world.now();
            let (updating, updated) = (world.clone(), world.clone());
            let remover = world.spawn(async move { updating.update(leader, &rest).await });
            let (mut last, mut longest) = (begun, Duration::ZERO);
            let mut number = 0;
            let removed = || (updated.voters(leader) == [set(&rest)]).then(|| updated.now());
            let mut gone = None;
            // Until some time after the change: that is when openraft ends its calls.
            while gone.is_none_or(|gone| world.now() < gone + 6 * SECOND) {
                // What waits while the configuration changes is checked once more, and refused.
                let sent = world.send(leader, &format!("meanwhile {number}")).await;
                if sent.is_ok() {
                    longest = longest.max(world.now() - last);
                    last = world.now();
                }
                number += 1;
                gone = gone.or_else(removed);
                ensure(world.now() < begun + 20 * SECOND, || "not removed".into())?;
            }
            remover.await.map_err(|error| error.to_string())??;
            ensure(longest < LONGEST, || {
                format!("for {longest:?} nothing was acknowledged while the hung node was removed")
            })
        });
    }
}
