//! How long a reader may read.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use consilium_deliver::FullBlocks;
use consilium_proto::common::Status;
use consilium_testkit::{Credential, NodeOu, Organization, Template};

use crate::support::*;

/// A reader whose certificate ends so many seconds from now, and the time when it does.
fn reader_until(bench: &Bench, seconds: i64) -> (Credential, SystemTime) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let mut template = Template::new("reader").with_units(&[NodeOu::Client.name()]);
    template.not_before = now.as_secs() as i64 - 3600;
    template.not_after = now.as_secs() as i64 + seconds;
    let end = UNIX_EPOCH + Duration::from_secs(template.not_after as u64);
    (bench.organization.ca().issue(&template), end)
}

#[tokio::test]
async fn an_expired_reader_gets_nothing_unless_nobody_minds() {
    let bench = Bench::new(2);
    let (reader, _) = reader_until(&bench, -60);
    let request = bench.ask_as(&reader, seek(newest(), newest()), SystemTime::now());
    let refused = [Saw::Status(Status::Forbidden)];
    assert_eq!(bench.run(vec![request.clone()]).await, refused);

    let mut options = Bench::options();
    options.check_expiration = false;
    let served = [Saw::Block(1), Saw::Status(Status::Success)];
    assert_eq!(bench.run_with(vec![request], options).await, served);
}

#[tokio::test]
async fn a_reader_that_expires_while_it_waits_is_cut_off_then() {
    let bench = Bench::new(2);
    let (reader, end) = reader_until(&bench, 2);
    let request = bench.ask_as(&reader, seek(at(1), at(u64::MAX)), SystemTime::now());
    let mut careless = Bench::options();
    careless.check_expiration = false;
    let mut careless = bench.open_with(request.clone(), careless, Arc::new(FullBlocks));
    let strict = bench.open(request);
    let seen = rest(strict).await;
    let late = SystemTime::now().duration_since(end);
    let late = late.expect("not before the certificate ends");
    assert!(late < Duration::from_secs(1), "{late:?} too late");
    assert_eq!(seen, [Saw::Block(1), Saw::Status(Status::Forbidden)]);

    bench.grow();
    assert_eq!(next(&mut careless).await, Saw::Block(1));
    assert_eq!(next(&mut careless).await, Saw::Block(2));
}

#[tokio::test]
async fn losing_the_right_to_read_ends_the_stream_before_the_next_block() {
    let bench = Bench::new(2);
    let mut frames = bench.open(bench.ask(seek(at(1), at(u64::MAX))));
    assert_eq!(next(&mut frames).await, Saw::Block(1));
    bench.configure(&[&Organization::new("Org2MSP", "org2.example.com")]);
    bench.grow();
    assert_eq!(rest(frames).await, [Saw::Status(Status::Forbidden)]);
}

#[tokio::test]
async fn losing_the_right_to_read_ends_the_stream_also_while_it_waits() {
    let bench = Bench::new(2);
    let mut frames = bench.open(bench.ask(seek(at(1), at(u64::MAX))));
    assert_eq!(next(&mut frames).await, Saw::Block(1));
    // No block comes with it.
    bench.configure(&[&Organization::new("Org2MSP", "org2.example.com")]);
    assert_eq!(rest(frames).await, [Saw::Status(Status::Forbidden)]);
}

#[tokio::test]
async fn a_configuration_that_keeps_the_right_keeps_the_stream() {
    let bench = Bench::new(2);
    let mut frames = bench.open(bench.ask(seek(at(1), at(u64::MAX))));
    assert_eq!(next(&mut frames).await, Saw::Block(1));
    for number in 2..6 {
        let other = Organization::new("Org2MSP", "org2.example.com");
        bench.configure(&[&bench.organization, &other]);
        bench.grow();
        assert_eq!(next(&mut frames).await, Saw::Block(number));
    }
}
