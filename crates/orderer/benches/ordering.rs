//! The parts of ordering, one by one: cutting, making blocks, writing the Raft log.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consilium_orderer::bench::RaftLog;
use consilium_orderer::cutter::{Cutter, Kind, Limits, Waiting};
use consilium_protocol::block;
use consilium_testkit::{NodeOu, Organization};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Envelopes of a batch.
const ENVELOPES: usize = 100;
const ENVELOPE_BYTES: usize = 1024;
const BATCH_BYTES: u64 = (ENVELOPES * ENVELOPE_BYTES) as u64;
/// Messages that go through the cutter.
const MESSAGES: u64 = 1000;

/// Envelopes that are all different.
fn envelopes(count: usize) -> Vec<Bytes> {
    let envelope = |number: usize| {
        let mut bytes = vec![0x5a; ENVELOPE_BYTES];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Bytes::from(bytes)
    };
    (0..count).map(envelope).collect()
}

fn cutting(criterion: &mut Criterion) {
    let limits = Limits {
        max_message_count: 500,
        preferred_max_bytes: 2 << 20,
        batch_timeout: Duration::from_secs(2),
        max_in_flight: 5,
    };
    let messages = envelopes(MESSAGES as usize);
    let mut group = criterion.benchmark_group("cutter");
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function(
        "1000 messages of 1 KB, added, cut and finished",
        |bencher| {
            let now = Instant::now();
            bencher.iter_batched(
                || messages.clone(),
                |messages| {
                    let mut cutter = Cutter::default();
                    let mut cut = 0;
                    for message in messages {
                        cutter.add(Waiting {
                            size: message.len(),
                            message,
                            kind: Kind::Normal,
                            arrived: now,
                        });
                        // As in the order: asked after every arrival, and finished later.
                        if let Some(batch) = cutter.cut(&limits, now) {
                            cut += black_box(batch).messages.len();
                        }
                    }
                    while cutter.in_flight() > 0 {
                        cutter.finished(false);
                        if let Some(batch) = cutter.cut(&limits, now) {
                            cut += black_box(batch).messages.len();
                        }
                    }
                    assert_eq!(cut as u64, MESSAGES);
                },
                BatchSize::SmallInput,
            );
        },
    );
    group.finish();
}

fn blocks(criterion: &mut Criterion) {
    let organization = Organization::new("OrdererMSP", "example.com");
    let signer = organization.signer("orderer", NodeOu::Orderer);
    let data = envelopes(ENVELOPES);
    let previous = Bytes::from(vec![7; 32]);
    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Bytes(BATCH_BYTES));
    group.bench_function("100 envelopes of 1 KB, made", |bencher| {
        bencher.iter(|| block::new_block(7, previous.clone(), data.clone()));
    });
    group.bench_function("100 envelopes of 1 KB, made and signed", |bencher| {
        bencher.iter(|| {
            let mut block = block::new_block(7, previous.clone(), data.clone());
            block::sign(&mut block, 0, Bytes::new(), &*signer).expect("signed");
            block
        });
    });
    group.finish();
}

fn raft_log(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let batch = Arc::new(envelopes(ENVELOPES));
    let mut group = criterion.benchmark_group("raft log");
    group.sample_size(20);
    for channels in [1, 16] {
        // On the disk of the build folder: temporary folders may be in memory, where syncs are free.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let mut log = RaftLog::open(folder.path(), channels).expect("a log");
        group.throughput(Throughput::Bytes(BATCH_BYTES * channels as u64));
        let name = format!("entries of 100 KB in {channels} channels, one sync");
        group.bench_function(&name, |bencher| {
            bencher.iter(|| runtime.block_on(log.append(&batch)).expect("written"));
        });
    }
    group.finish();
}

criterion_group!(benches, cutting, blocks, raft_log);
criterion_main!(benches);
