//! Any seek against the rules, written down once more in the simplest way.

use std::sync::LazyLock;

use consilium_proto::common::Status;
use consilium_proto::orderer::seek_info::{SeekBehavior, SeekContentType};
use consilium_proto::orderer::{SeekInfo, SeekPosition};
use proptest::prelude::*;

use crate::support::*;

const HEIGHT: u64 = 5;

/// A place that a seek may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Missing,
    Untyped,
    Oldest,
    Newest,
    NextCommit,
    At(u64),
}

impl Place {
    fn position(self) -> Option<SeekPosition> {
        match self {
            Self::Missing => None,
            Self::Untyped => Some(SeekPosition { r#type: None }),
            Self::Oldest => oldest(),
            Self::Newest => newest(),
            Self::NextCommit => next_commit(),
            Self::At(number) => at(number),
        }
    }
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        Just(Place::Missing),
        Just(Place::Untyped),
        Just(Place::Oldest),
        Just(Place::Newest),
        Just(Place::NextCommit),
        (0..HEIGHT + 3).prop_map(Place::At),
        Just(Place::At(u64::MAX)),
    ]
}

/// What a stream gives that does not wait for blocks.
///
/// fabric: common/deliver/deliver.go deliverBlocks, common/ledger/blockledger/fileledger/impl.go
fn expected(start: Place, stop: Place, headers: bool) -> Vec<Saw> {
    let status = |status| vec![Saw::Status(status)];
    if start == Place::Missing || stop == Place::Missing {
        return status(Status::BadRequest);
    }
    let found = match start {
        Place::Oldest => Some(0),
        Place::Newest => Some(HEIGHT - 1),
        Place::NextCommit => Some(HEIGHT),
        Place::At(number) if number <= HEIGHT => Some(number),
        _ => None,
    };
    let first = found.unwrap_or(0);
    let last = match stop {
        Place::Oldest => first,
        Place::Newest if start == stop => first,
        Place::Newest => HEIGHT - 1,
        Place::At(number) if number < first => return status(Status::BadRequest),
        Place::At(number) => number,
        _ => 0,
    };
    let Some(mut number) = found else {
        return status(Status::NotFound);
    };
    let mut seen = Vec::new();
    loop {
        if number > HEIGHT - 1 {
            seen.push(Saw::Status(Status::NotFound));
            return seen;
        }
        // Block 0 is a configuration.
        seen.push(if headers && number > 0 {
            Saw::Header(number)
        } else {
            Saw::Block(number)
        });
        if number == last {
            seen.push(Saw::Status(Status::Success));
            return seen;
        }
        number += 1;
    }
}

/// Made once, as its keys cost more than all seeks.
static BENCH: LazyLock<(tokio::runtime::Runtime, Bench)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    (runtime, Bench::new(HEIGHT))
});

proptest! {
    #[test]
    fn a_seek_gives_what_the_rules_say(start in place(), stop in place(), headers: bool) {
        let content = if headers { SeekContentType::HeaderWithSig } else { SeekContentType::Block };
        let seek = SeekInfo {
            start: start.position(),
            stop: stop.position(),
            behavior: SeekBehavior::FailIfNotReady as i32,
            content_type: content as i32,
            ..Default::default()
        };
        let (runtime, bench) = &*BENCH;
        let seen = runtime.block_on(bench.run(vec![bench.ask(seek)]));
        prop_assert_eq!(seen, expected(start, stop, headers));
    }

    #[test]
    fn a_seek_that_waits_gives_the_same_before_it_waits(start in place(), stop in place()) {
        let expected = expected(start, stop, false);
        // Streams that end because a block is not there would wait; the others end alike.
        let never_waits = match expected.last() {
            Some(Saw::Status(Status::NotFound)) => expected.len() == 1 && start != Place::NextCommit
                && start != Place::At(HEIGHT),
            _ => true,
        };
        prop_assume!(never_waits);
        let seek = seek(start.position(), stop.position());
        let (runtime, bench) = &*BENCH;
        let seen = runtime.block_on(bench.run(vec![bench.ask(seek)]));
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn bytes_that_are_no_request_are_refused(
        payload in proptest::collection::vec(any::<u8>(), 0..200),
        signature in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let envelope = consilium_proto::common::Envelope {
            payload: payload.into(),
            signature: signature.into(),
        };
        let (runtime, bench) = &*BENCH;
        let seen = runtime.block_on(bench.run(vec![envelope]));
        prop_assert_eq!(seen, [Saw::Status(Status::BadRequest)]);
    }
}
