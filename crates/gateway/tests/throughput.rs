//! How fast a whole network in this one process is: run it when something on the path of a
//! transaction changes. `cargo test -p consilium-gateway --release --test throughput -- --ignored --nocapture`

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use support::{CHANNEL, Network};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a check"]
async fn hundred_byte_puts_through_three_orderers_and_two_organizations() {
    let network = Network::start(setting("ORDERERS", 3), setting("PEERS", 3)).await;
    network
        .deploy("kv", Some("AND('Org1MSP.peer','Org2MSP.peer')"))
        .await;
    let seconds = setting("SECONDS", 10) as u64;
    for clients in [setting("FEW", 50), setting("MANY", 500)] {
        let done = Arc::new(AtomicU64::new(0));
        let until = Instant::now() + Duration::from_secs(seconds);
        let member = &network.members[0];
        let height = member.channel().ledger().height();
        let cpu = cpu_seconds();
        let tasks: Vec<_> = (0..clients)
            .map(|number| {
                let client = member.client.clone();
                let done = done.clone();
                tokio::spawn(async move {
                    let value = [b'v'; 100];
                    let mut latencies = Vec::new();
                    let mut round = 0u64;
                    while Instant::now() < until {
                        let key = format!("{number}-{round}");
                        round += 1;
                        let started = Instant::now();
                        let (proposal, tx_id) =
                            client.propose(CHANNEL, "kv", &[b"put", key.as_bytes(), &value]);
                        let envelope = client.endorse_proposal(proposal, vec![]).await.unwrap();
                        let endorsed = started.elapsed();
                        client.send(client.sign(envelope)).await.unwrap();
                        let submitted = started.elapsed();
                        client.status(&tx_id).await.unwrap();
                        latencies.push((endorsed, submitted, started.elapsed()));
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    latencies
                })
            })
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.unwrap());
        }
        let count = done.load(Ordering::Relaxed);
        let part = |pick: &dyn Fn(&(Duration, Duration, Duration)) -> Duration, percent: usize| {
            let mut sorted: Vec<Duration> = latencies.iter().map(pick).collect();
            sorted.sort();
            sorted[(sorted.len() - 1) * percent / 100]
        };
        println!(
            "{clients} clients: {:.0} tx/s, {:.3} ms CPU/tx, {} blocks, endorse p50 {:?}, submit p50 {:?}, all p50 {:?} p95 {:?} p99 {:?}",
            count as f64 / seconds as f64,
            (cpu_seconds() - cpu) * 1000.0 / count as f64,
            member.channel().ledger().height() - height,
            part(&|l| l.0, 50),
            part(&|l| l.1 - l.0, 50),
            part(&|l| l.2, 50),
            part(&|l| l.2, 95),
            part(&|l| l.2, 99),
        );
    }
}

/// User and system time of this process.
fn cpu_seconds() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else {
        return 0.0;
    };
    // The fields after the command's name, which may hold anything, in parentheses.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |index: usize| {
        fields
            .get(index)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    (ticks(11) + ticks(12)) / 100.0
}
