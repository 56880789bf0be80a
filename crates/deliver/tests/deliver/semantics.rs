//! What a client sends, and what it gets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use consilium_deliver::{BlockReply, Frame, FullBlocks, Render, TlsBinding, serve};
use consilium_proto::common::{self, Envelope, Status};
use consilium_proto::orderer::SeekInfo;
use consilium_proto::orderer::seek_info::{SeekContentType, SeekErrorResponse};
use consilium_protocol::envelope;
use consilium_testkit::{NodeOu, Organization};
use futures_util::{StreamExt, stream};
use prost::Message;

use crate::support::*;

#[tokio::test]
async fn a_seek_gives_its_blocks_and_then_a_status() {
    let bench = Bench::new(4);
    let blocks = |numbers: std::ops::RangeInclusive<u64>, status| {
        numbers
            .map(Saw::Block)
            .chain([Saw::Status(status)])
            .collect::<Vec<_>>()
    };
    let status = |status| vec![Saw::Status(status)];
    let cases = [
        (seek(oldest(), newest()), blocks(0..=3, Status::Success)),
        (seek(newest(), newest()), blocks(3..=3, Status::Success)),
        (seek(at(1), at(2)), blocks(1..=2, Status::Success)),
        (seek(at(2), oldest()), blocks(2..=2, Status::Success)),
        (at_once(at(2), at(9)), blocks(2..=3, Status::NotFound)),
        (at_once(next_commit(), at(9)), status(Status::NotFound)),
        (at_once(at(4), at(9)), status(Status::NotFound)),
        (seek(at(5), at(9)), status(Status::NotFound)),
        (
            at_once(at(1), next_commit()),
            blocks(1..=3, Status::NotFound),
        ),
        (seek(at(2), at(1)), status(Status::BadRequest)),
        (seek(None, newest()), status(Status::BadRequest)),
        (seek(oldest(), None), status(Status::BadRequest)),
        (SeekInfo::default(), status(Status::BadRequest)),
    ];
    for (seek, expected) in cases {
        assert_eq!(bench.run(vec![bench.ask(seek)]).await, expected, "{seek:?}");
    }
}

#[tokio::test]
async fn after_success_the_next_seek_is_served_and_after_anything_else_none() {
    let bench = Bench::new(2);
    let good = || bench.ask(seek(newest(), newest()));
    let bad = bench.ask(seek(at(7), at(9)));
    let expected = [
        Saw::Block(1),
        Saw::Status(Status::Success),
        Saw::Block(1),
        Saw::Status(Status::Success),
        Saw::Status(Status::NotFound),
    ];
    assert_eq!(bench.run(vec![good(), good(), bad, good()]).await, expected);
}

#[tokio::test]
async fn an_open_ended_stream_pushes_blocks_as_they_come() {
    let bench = Bench::new(2);
    let request = bench.ask(seek(at(2), at(u64::MAX)));
    let mut frames = bench.open(request);
    for number in 2..6 {
        bench.grow();
        assert_eq!(next(&mut frames).await, Saw::Block(number));
    }
    drop(frames);
    // The task behind the stream notices that nobody reads and lets go of the chain, which the
    // node and the test hold.
    let gone = async {
        while Arc::strong_count(&bench.chain) > 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("the stream is given up");
}

#[tokio::test]
async fn headers_are_asked_for_but_config_blocks_come_whole() {
    let bench = Bench::new(3);
    let headers = SeekInfo {
        content_type: SeekContentType::HeaderWithSig as i32,
        ..seek(oldest(), newest())
    };
    let expected = [
        Saw::Block(0),
        Saw::Header(1),
        Saw::Header(2),
        Saw::Status(Status::Success),
    ];
    assert_eq!(bench.run(vec![bench.ask(headers)]).await, expected);
}

#[tokio::test]
async fn only_readers_of_the_channel_get_blocks() {
    let bench = Bench::new(2);
    let stranger = Organization::new("Org1MSP", "org1.example.com");
    let signer = stranger.signer("reader", NodeOu::Client);
    let timestamp = envelope::timestamp(SystemTime::now());
    let request = envelope::seek(
        CHANNEL,
        seek(oldest(), newest()),
        &*signer,
        timestamp,
        Bytes::new(),
    )
    .unwrap();
    assert_eq!(
        bench.run(vec![request]).await,
        [Saw::Status(Status::Forbidden)]
    );

    let mut forged = bench.ask(seek(oldest(), newest()));
    forged.signature = Bytes::from_static(b"no signature");
    assert_eq!(
        bench.run(vec![forged]).await,
        [Saw::Status(Status::Forbidden)]
    );
}

#[tokio::test]
async fn requests_are_refused_in_the_documented_order() {
    let bench = Bench::new(2);
    let good = || seek(oldest(), newest());
    let signer = bench.organization.signer("reader", NodeOu::Client);
    let now = || envelope::timestamp(SystemTime::now());
    let hour = Duration::from_secs(3600);
    let elsewhere = envelope::seek("other", good(), &*signer, now(), Bytes::new()).unwrap();
    let mut spec = envelope::HeaderSpec::new(common::HeaderType::DeliverSeekInfo, CHANNEL, now());
    spec.version = 1;
    let malformed =
        envelope::create_signed(spec, Bytes::from_static(&[0xff; 9]), &*signer).unwrap();
    let untimed = {
        let mut payload = common::Payload::decode(bench.ask(good()).payload).unwrap();
        let header = payload.header.as_mut().unwrap();
        let mut channel = common::ChannelHeader::decode(header.channel_header.clone()).unwrap();
        channel.timestamp = None;
        header.channel_header = channel.encode_to_vec().into();
        Envelope {
            payload: payload.encode_to_vec().into(),
            signature: Bytes::new(),
        }
    };
    let cases = [
        ("empty", Envelope::default(), Status::BadRequest),
        (
            "garbage",
            Envelope {
                payload: Bytes::from_static(&[7; 40]),
                ..Envelope::default()
            },
            Status::BadRequest,
        ),
        ("no timestamp", untimed, Status::BadRequest),
        (
            "an hour ago",
            bench.ask_at(good(), SystemTime::now() - hour),
            Status::BadRequest,
        ),
        (
            "in an hour",
            bench.ask_at(good(), SystemTime::now() + hour),
            Status::BadRequest,
        ),
        ("unknown channel", elsewhere, Status::NotFound),
        ("malformed seek", malformed, Status::BadRequest),
    ];
    for (name, request, status) in cases {
        assert_eq!(
            bench.run(vec![request]).await,
            [Saw::Status(status)],
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_sick_orderer_serves_only_those_who_asked_for_best_effort() {
    let bench = Bench::new(2);
    bench.chain.healthy.store(false, Ordering::SeqCst);
    let strict = bench.ask(seek(newest(), newest()));
    assert_eq!(
        bench.run(vec![strict]).await,
        [Saw::Status(Status::ServiceUnavailable)]
    );
    let effort = SeekInfo {
        error_response: SeekErrorResponse::BestEffort as i32,
        ..seek(newest(), newest())
    };
    let expected = [Saw::Block(1), Saw::Status(Status::Success)];
    assert_eq!(bench.run(vec![bench.ask(effort)]).await, expected);
}

#[tokio::test]
async fn with_mutual_tls_a_request_must_name_its_connection() {
    let bench = Bench::new(2);
    let certificate = [9_u8; 32];
    let signer = bench.organization.signer("reader", NodeOu::Client);
    let ask = |hash: &[u8]| {
        let now = envelope::timestamp(SystemTime::now());
        let hash = Bytes::copy_from_slice(hash);
        envelope::seek(CHANNEL, seek(newest(), newest()), &*signer, now, hash).unwrap()
    };
    let good = vec![Saw::Block(1), Saw::Status(Status::Success)];
    let bad = vec![Saw::Status(Status::BadRequest)];
    let cases = [
        (true, Some(certificate), &certificate[..], &good),
        (true, Some(certificate), &[], &bad),
        (true, Some(certificate), &[8; 32], &bad),
        (true, None, &certificate, &bad),
        (false, None, &[8; 32], &good),
    ];
    for (required, client_certificate_hash, claimed, expected) in cases {
        let mut options = Bench::options();
        options.tls = TlsBinding {
            required,
            client_certificate_hash,
        };
        let seen = bench.run_with(vec![ask(claimed)], options).await;
        assert_eq!(&seen, expected, "required {required}, claimed {claimed:?}");
    }
}

#[tokio::test]
async fn a_block_that_cannot_be_rendered_ends_the_stream_with_an_error_status() {
    struct Refuses;
    impl Render for Refuses {
        fn block(&self, _: BlockReply<'_>) -> Result<Frame, String> {
            Err("no".into())
        }
    }
    let bench = Bench::new(2);
    let request = bench.ask(seek(oldest(), newest()));
    let frames = bench.open_with(request, Bench::options(), Arc::new(Refuses));
    assert_eq!(
        rest(frames).await,
        [Saw::Status(Status::InternalServerError)]
    );
}

#[tokio::test]
async fn a_block_that_cannot_be_read_ends_the_stream_after_those_before_it() {
    let bench = Bench::new(5);
    bench.chain.unreadable.store(2, Ordering::SeqCst);
    let expected = [
        Saw::Block(0),
        Saw::Block(1),
        Saw::Status(Status::ServiceUnavailable),
    ];
    let whole = bench.ask(seek(oldest(), newest()));
    assert_eq!(bench.run(vec![whole]).await, expected);

    // Also for who waits for it.
    let bench = Bench::new(2);
    let mut frames = bench.open(bench.ask(seek(at(2), at(u64::MAX))));
    bench.grow();
    assert_eq!(next(&mut frames).await, Saw::Block(2));
    bench.chain.unreadable.store(3, Ordering::SeqCst);
    bench.grow();
    assert_eq!(
        rest(frames).await,
        [Saw::Status(Status::ServiceUnavailable)]
    );
}

#[tokio::test]
async fn blocks_leave_as_they_are_stored() {
    let bench = Bench::new(1);
    // A field that no version of ours knows survives, and so does an order that we would not write.
    let mut strange = common::Block {
        header: None,
        data: Some(common::BlockData::default()),
        metadata: None,
    }
    .encode_to_vec();
    let header = common::BlockHeader {
        number: 1,
        ..Default::default()
    };
    strange.extend(
        common::Block {
            header: Some(header),
            ..Default::default()
        }
        .encode_to_vec(),
    );
    strange.extend([15 << 3 | 2, 2, 7, 7]);
    bench.append(strange.clone());
    let frames = bench.open(bench.ask(seek(at(1), at(1))));
    let frame = frames.take(1).next().await.unwrap().unwrap();
    assert_eq!(frame.to_bytes(), Frame::block(strange.into()).to_bytes());
}

#[tokio::test]
async fn headers_come_with_their_signatures() {
    let bench = Bench::new(1);
    let block = common::Block {
        header: Some(common::BlockHeader {
            number: 1,
            ..Default::default()
        }),
        data: Some(common::BlockData {
            data: vec![Bytes::from_static(b"transaction")],
        }),
        metadata: Some(common::BlockMetadata {
            metadata: vec![Bytes::from_static(b"signatures")],
        }),
    };
    bench.append(block.encode_to_vec());
    let headers = SeekInfo {
        content_type: SeekContentType::HeaderWithSig as i32,
        ..seek(at(1), at(1))
    };
    let mut frames = bench.open(bench.ask(headers));
    let frame = frames.next().await.unwrap().unwrap();
    let attested = common::Block {
        data: None,
        ..block
    };
    let expected = Frame::block(attested.encode_to_vec().into());
    assert_eq!(frame.to_bytes(), expected.to_bytes());
}

#[tokio::test]
async fn who_waits_is_sent_away_when_consensus_fails_unless_best_effort_is_enough() {
    let bench = Bench::new(2);
    let open_ended = || seek(at(2), at(u64::MAX));
    let strict = bench.open(bench.ask(open_ended()));
    let effort = SeekInfo {
        error_response: SeekErrorResponse::BestEffort as i32,
        ..open_ended()
    };
    let mut effort = bench.open(bench.ask(effort));
    bench.grow();
    assert_eq!(next(&mut effort).await, Saw::Block(2));
    bench.chain.healthy.store(false, Ordering::SeqCst);
    assert_eq!(
        rest(strict).await,
        [Saw::Block(2), Saw::Status(Status::ServiceUnavailable)]
    );
    bench.grow();
    assert_eq!(next(&mut effort).await, Saw::Block(3));
}

#[tokio::test]
async fn streams_of_a_channel_that_is_removed_end() {
    let bench = Bench::new(2);
    let waiting = bench.open(bench.ask(seek(at(2), at(u64::MAX))));
    let request = bench.ask(seek(newest(), newest()));
    assert_eq!(bench.run(vec![request.clone()]).await.len(), 2);
    let chain = bench.node.0.lock().take().expect("the channel");
    assert_eq!(
        rest(waiting).await,
        [Saw::Status(Status::ServiceUnavailable)]
    );
    assert_eq!(
        bench.run(vec![request.clone()]).await,
        [Saw::Status(Status::NotFound)]
    );
    // It is served again once it is back.
    *bench.node.0.lock() = Some(chain);
    assert_eq!(bench.run(vec![request]).await.len(), 2);
}

#[tokio::test]
async fn requests_are_counted_under_fabrics_names() {
    struct Filtered;
    impl Render for Filtered {
        fn block(&self, reply: BlockReply<'_>) -> Result<Frame, String> {
            Ok(Frame::block(reply.block))
        }
        fn data_type(&self) -> &'static str {
            "filtered_block"
        }
    }
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    // All tasks of this test run on this thread.
    let _recording = metrics::set_default_local_recorder(&recorder);
    consilium_deliver::describe_metrics();
    let bench = Bench::new(3);
    let good = || bench.ask(seek(oldest(), newest()));
    let bad = bench.ask(seek(at(7), at(9)));
    let elsewhere = Envelope::default();
    bench.run(vec![good(), bad, good()]).await;
    bench.run(vec![elsewhere]).await;
    let filtered = bench.open_with(good(), Bench::options(), Arc::new(Filtered));
    drop(filtered.take(4).collect::<Vec<_>>().await);
    let closed = "deliver_streams_closed 3";
    while !recorder.handle().render().contains(closed) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let shown = recorder.handle().render();
    let whole = r#"channel="mychannel",filtered="false",data_type="block""#;
    let filtered = r#"channel="mychannel",filtered="true",data_type="filtered_block""#;
    for line in [
        "# HELP deliver_blocks_sent The number of blocks sent by the deliver service.".to_owned(),
        "deliver_streams_opened 3".to_owned(),
        format!("deliver_requests_received{{{whole}}} 2"),
        format!("deliver_requests_completed{{{whole},success=\"true\"}} 1"),
        format!("deliver_requests_completed{{{whole},success=\"false\"}} 1"),
        format!("deliver_blocks_sent{{{whole}}} 3"),
        format!("deliver_requests_received{{{filtered}}} 1"),
        format!("deliver_blocks_sent{{{filtered}}} 3"),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

#[tokio::test]
async fn a_broken_stream_of_requests_ends_the_answers_with_its_error() {
    let bench = Bench::new(1);
    let broken = stream::iter([Err(tonic::Status::cancelled("gone"))]);
    let mut frames = serve(
        broken,
        bench.feeds.clone(),
        Bench::options(),
        Arc::new(FullBlocks),
    );
    let error = frames.next().await.unwrap().unwrap_err();
    assert_eq!(error.code(), tonic::Code::Cancelled);
    assert!(frames.next().await.is_none());
}
