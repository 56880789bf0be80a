//! Deliver over real connections, with a generated client and mutual TLS.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use consilium_deliver::{FullBlocks, TlsBinding, respond, serve};
use consilium_proto::common::{self, Envelope, Status};
use consilium_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use consilium_proto::orderer::{DeliverResponse, deliver_response};
use consilium_protocol::{block, envelope, hash};
use consilium_testkit::{Credential, NodeOu};
use consilium_transport::{
    ClientAuth, ClientTls, MAX_MESSAGE, ServerTls, TlsIdentity, client_certificate, connect,
    grpc_server, incoming, listen,
};
use futures_util::future::{Ready, ready};
use prost::Message;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::Channel;

use crate::support::*;

/// Deliver as an orderer with mutual TLS offers it.
#[derive(Clone)]
struct Orderer(Arc<Bench>);

impl NamedService for Orderer {
    const NAME: &'static str = "orderer.AtomicBroadcast";
}

impl Service<http::Request<Body>> for Orderer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let bench = self.0.clone();
        ready(Ok(respond(request, MAX_MESSAGE, |request| {
            let mut options = Bench::options();
            options.tls = TlsBinding {
                required: true,
                client_certificate_hash: client_certificate(&request)
                    .map(|certificate| hash::sha256(&certificate)),
            };
            let requests = request.into_inner();
            serve(requests, bench.feeds.clone(), options, Arc::new(FullBlocks))
        })))
    }
}

fn identity(credential: &Credential) -> TlsIdentity {
    let (certificate, key) = (&credential.cert_pem, &credential.key_pem);
    TlsIdentity::from_pem(certificate.as_bytes(), key.as_bytes()).expect("just issued")
}

/// A running server, and a connection to it with a client certificate.
async fn connected(bench: &Arc<Bench>) -> (Channel, Arc<ClientTls>) {
    let roots = [bench.organization.tls_root_pem()];
    let own = identity(&bench.organization.tls(&[]));
    let server = ServerTls::new(own, ClientAuth::Require, &roots).expect("TLS");
    let listener = listen("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(
        grpc_server()
            .add_service(Orderer(bench.clone()))
            .serve_with_incoming(incoming(listener, Some(server))),
    );
    let own = identity(&bench.organization.tls(&[]));
    let client = ClientTls::new(Some(own), &roots).expect("TLS");
    let endpoint = format!("localhost:{port}");
    let channel = connect(&endpoint, Some(client.clone()), PATIENCE).await;
    (channel.expect("a connection"), client)
}

fn ask(bench: &Bench, tls_hash: &[u8]) -> Envelope {
    let signer = bench.organization.signer("reader", NodeOu::Client);
    let now = envelope::timestamp(std::time::SystemTime::now());
    let hash = Bytes::copy_from_slice(tls_hash);
    envelope::seek(CHANNEL, seek(oldest(), newest()), &*signer, now, hash).expect("signed")
}

async fn deliver(channel: Channel, request: Envelope) -> Vec<deliver_response::Type> {
    let mut client = AtomicBroadcastClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let requests = futures_util::stream::iter([request]);
    let mut stream = client
        .deliver(requests)
        .await
        .expect("a stream")
        .into_inner();
    let mut responses = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, stream.message()).await;
        match next.expect("an answer in time").expect("no error") {
            Some(response) => responses.push(response.r#type.expect("one of them")),
            None => return responses,
        }
    }
}

#[tokio::test]
async fn blocks_of_all_sizes_arrive_as_they_were_stored() {
    let bench = Arc::new(Bench::new(1));
    for (number, size) in [(1, 10), (2, 20_000), (3, 3 << 20), (4, 0), (5, 100_000)] {
        let data = vec![vec![number as u8; size].into()];
        let block = block::new_block(number, Bytes::from_static(&[1; 32]), data);
        bench.append(block.encode_to_vec());
    }
    let (channel, tls) = connected(&bench).await;
    let request = ask(&bench, &tls.identity_hash().expect("a certificate"));
    let expected: Vec<_> = bench
        .chain
        .blocks
        .lock()
        .iter()
        .map(|block| common::Block::decode(block.clone()).expect("a block"))
        .map(deliver_response::Type::Block)
        .chain([deliver_response::Type::Status(Status::Success as i32)])
        .collect();
    assert_eq!(deliver(channel, request).await, expected);
}

#[tokio::test]
async fn a_request_that_is_bound_to_another_connection_is_refused() {
    let bench = Arc::new(Bench::new(1));
    let (channel, tls) = connected(&bench).await;
    let own = tls.identity_hash().expect("a certificate");
    let other = identity(&bench.organization.tls(&[])).leaf_hash();
    let refused = vec![deliver_response::Type::Status(Status::BadRequest as i32)];
    for (claimed, served) in [
        (&own[..], true),
        (&other, false),
        (&[], false),
        (&own[1..], false),
    ] {
        let answer = deliver(channel.clone(), ask(&bench, claimed)).await;
        assert_eq!(answer != refused, served, "{claimed:?}: {answer:?}");
    }
}

#[tokio::test]
async fn requests_that_are_no_envelopes_end_the_call_with_an_error() {
    /// A message of another type, whose bytes are no envelope.
    #[derive(Clone, PartialEq, Message)]
    struct Garbage {
        #[prost(uint64, tag = "1")]
        payload: u64,
    }
    let bench = Arc::new(Bench::new(1));
    let (channel, _) = connected(&bench).await;
    let mut client = tonic::client::Grpc::new(channel);
    let path = || http::uri::PathAndQuery::from_static("/orderer.AtomicBroadcast/Deliver");
    let codec = tonic_prost::ProstCodec::<Garbage, DeliverResponse>::default;

    client.ready().await.expect("ready");
    let garbage = futures_util::stream::iter([Garbage { payload: 7 }]);
    let request = tonic::Request::new(garbage);
    let answer = client.streaming(request, path(), codec()).await;
    let mut stream = answer.expect("a stream").into_inner();
    let error = stream.message().await.expect_err("no envelope");
    assert_eq!(error.code(), tonic::Code::Internal);

    client.ready().await.expect("ready");
    let mut request = tonic::Request::new(futures_util::stream::iter([Garbage { payload: 7 }]));
    let gzip = tonic::metadata::MetadataValue::from_static("gzip");
    request.metadata_mut().insert("grpc-encoding", gzip);
    let answer = client.streaming(request, path(), codec()).await;
    let error = answer.expect_err("compression is not supported");
    assert_eq!(error.code(), tonic::Code::Unimplemented);
}
