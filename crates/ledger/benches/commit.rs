//! Commit throughput: blocks of 500 transactions, each reading and writing one key of 100 bytes.

#[path = "../tests/support/mod.rs"]
mod support;

use bytes::Bytes;
use consilium_ledger::Ledger;
use consilium_proto::protos::TxValidationCode;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use support::{genesis, next_block, results, transaction, write};

const TRANSACTIONS: u64 = 500;

fn content(number: u64) -> Vec<Bytes> {
    (0..TRANSACTIONS)
        .map(|index| {
            let nonce = number * TRANSACTIONS + index;
            let results = results("cc", |set| {
                let key = format!("key{nonce}");
                set.reads = vec![support::read(&key, None)];
                set.writes = vec![write(&key, &[7; 100])];
            });
            transaction(nonce, "cc", &results)
        })
        .collect()
}

fn commit(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::create(folder.path(), &genesis(&[])).expect("a ledger");
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(TRANSACTIONS));
    group.sample_size(20);
    group.bench_function("500 transactions, synced", |bencher| {
        bencher.iter_batched(
            || next_block(&ledger, content(ledger.height())),
            |block| {
                let codes = vec![TxValidationCode::Valid; TRANSACTIONS as usize];
                ledger.commit(block, codes).expect("commit")
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, commit);
criterion_main!(benches);
