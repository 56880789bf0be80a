//! Many readers of one channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use consilium_deliver::{BlockReply, Frame, FrameStream, Render};
use consilium_proto::common::Status;
use futures_util::StreamExt;

use crate::support::*;

/// Waits until so many streams have sent a block, so that all follow the chain.
async fn all_follow(streams: &mut [FrameStream], number: u64) {
    for stream in streams {
        assert_eq!(next(stream).await, Saw::Block(number));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_subscribers_get_the_same_blocks_which_are_read_once() {
    const SUBSCRIBERS: usize = 2000;
    const BLOCKS: u64 = 50;
    let bench = Bench::new(1);
    let request = bench.ask(seek(at(1), at(BLOCKS)));
    let mut streams: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| bench.open(request.clone()))
        .collect();
    bench.grow();
    all_follow(&mut streams, 1).await;
    let before = bench.chain.reads.load(Ordering::SeqCst);

    let readers: Vec<_> = streams
        .into_iter()
        .map(|stream| {
            tokio::spawn(async move {
                let frames = stream.take(BLOCKS as usize).collect::<Vec<_>>();
                let frames = tokio::time::timeout(PATIENCE, frames).await;
                let frames = frames.expect("all blocks come in time").into_iter();
                frames
                    .map(|frame| frame.expect("a frame"))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    for _ in 2..=BLOCKS {
        bench.grow();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let blocks = bench.chain.blocks.lock()[2..].to_vec();
    let expected: Vec<_> = blocks
        .into_iter()
        .map(Frame::block)
        .chain([Frame::status(Status::Success)])
        .collect();
    for reader in readers {
        assert_eq!(reader.await.expect("a reader"), expected);
    }
    let reads = bench.chain.reads.load(Ordering::SeqCst) - before;
    assert_eq!(reads, BLOCKS - 1, "each block is read once, for all");
}

#[tokio::test]
async fn responses_that_cost_are_made_once_for_all_streams() {
    #[derive(Default)]
    struct Costly {
        made: AtomicU64,
        personal: bool,
    }
    impl Render for Costly {
        fn block(&self, reply: BlockReply<'_>) -> Result<Frame, String> {
            self.made.fetch_add(1, Ordering::SeqCst);
            Ok(Frame::block(reply.block))
        }
        fn is_shared(&self) -> bool {
            !self.personal
        }
    }
    for (personal, expected) in [(false, 3), (true, 3 * 50)] {
        let bench = Bench::new(1);
        let render = Arc::new(Costly {
            personal,
            ..Costly::default()
        });
        let request = bench.ask(seek(at(1), at(u64::MAX)));
        let open = || bench.open_with(request.clone(), Bench::options(), render.clone());
        let mut streams: Vec<_> = (0..50).map(|_| open()).collect();
        // Until all are there, nothing is appended.
        while Arc::strong_count(&render) < 51 {
            tokio::task::yield_now().await;
        }
        for number in 1..4 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            bench.grow();
            all_follow(&mut streams, number).await;
        }
        assert_eq!(render.made.load(Ordering::SeqCst), expected);
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody_and_misses_nothing() {
    const BLOCKS: u64 = 600;
    let bench = Bench::new(1);
    let request = bench.ask(seek(at(1), at(BLOCKS)));
    let lazy = bench.open(request.clone());
    let mut busy = bench.open(request);
    for number in 1..=BLOCKS {
        bench.grow();
        assert_eq!(next(&mut busy).await, Saw::Block(number));
    }
    let everything: Vec<_> = (1..=BLOCKS)
        .map(Saw::Block)
        .chain([Saw::Status(Status::Success)])
        .collect();
    // More blocks have come than are kept in memory; the rest is read again.
    let seen = lazy
        .take(everything.len())
        .map(|frame| saw(&frame.unwrap()));
    assert_eq!(seen.collect::<Vec<_>>().await, everything);
}
