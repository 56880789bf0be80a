//! `orderer.AtomicBroadcast` as a gRPC service.
//!
//! It is written below the generated trait, because Deliver answers with stored bytes instead of
//! decoded messages.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use consilium_deliver::{Feeds, FullBlocks, Options, TlsBinding};
use consilium_msp::Certificate;
use consilium_proto::common::Envelope;
use consilium_proto::orderer::BroadcastResponse;
use consilium_transport::{MAX_MESSAGE, client_certificate};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::broadcast::{self, ResponseStream};
use crate::filters;
use crate::orderer::Channels;
use crate::submission::Budget;
use crate::throttle::{Claim, Throttle};

/// The service; cheap to clone.
#[derive(Clone)]
pub struct BroadcastService {
    pub(crate) channels: Arc<Channels>,
    /// What all streams share.
    pub(crate) feeds: Arc<Feeds>,
    pub(crate) budget: Budget,
    pub(crate) mutual_tls: bool,
    pub(crate) time_window: Duration,
    pub(crate) check_expiration: bool,
    pub(crate) throttle: Option<Arc<Throttle>>,
}

impl NamedService for BroadcastService {
    const NAME: &'static str = "orderer.AtomicBroadcast";
}

impl Service<http::Request<Body>> for BroadcastService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        match request.uri().path() {
            "/orderer.AtomicBroadcast/Broadcast" => Box::pin(async move {
                let mut grpc =
                    tonic::server::Grpc::new(ProstCodec::<BroadcastResponse, Envelope>::default())
                        .max_decoding_message_size(MAX_MESSAGE)
                        .max_encoding_message_size(MAX_MESSAGE);
                Ok(grpc.streaming(BroadcastMethod(service), request).await)
            }),
            "/orderer.AtomicBroadcast/Deliver" => Box::pin(async move {
                let deliver = |request| service.deliver(request);
                Ok(consilium_deliver::respond(request, MAX_MESSAGE, deliver))
            }),
            _ => Box::pin(ready(Ok(
                Status::unimplemented("unknown method").into_http()
            ))),
        }
    }
}

impl BroadcastService {
    fn deliver(&self, request: Request<Streaming<Envelope>>) -> consilium_deliver::FrameStream {
        let client_certificate_hash = client_certificate(&request)
            .map(|certificate| consilium_protocol::hash::sha256(&certificate));
        let mut options = Options::new(Arc::new(filters::readers_policy));
        options.time_window = self.time_window;
        options.check_expiration = self.check_expiration;
        options.tls = TlsBinding {
            required: self.mutual_tls,
            client_certificate_hash,
        };
        let (requests, feeds) = (request.into_inner(), self.feeds.clone());
        consilium_deliver::serve(requests, feeds, options, Arc::new(FullBlocks))
    }
}

/// Whose part of the rate a stream uses; nobody's without a certificate, as in Fabric.
fn claim<T>(request: &Request<T>) -> Option<Claim> {
    let certificate = Certificate::from_der(&client_certificate(request)?).ok()?;
    let key = certificate.subject_key_id().unwrap_or(certificate.digest());
    Some(Claim {
        client: Bytes::copy_from_slice(key),
        organization: Bytes::copy_from_slice(certificate.issuer_der()),
    })
}

struct BroadcastMethod(BroadcastService);

impl Service<Request<Streaming<Envelope>>> for BroadcastMethod {
    type Response = Response<ResponseStream>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Envelope>>) -> Self::Future {
        let BroadcastService {
            channels, budget, ..
        } = &self.0;
        let pace = self.0.throttle.clone().zip(claim(&request));
        let (channels, budget) = (channels.clone(), budget.clone());
        let responses = broadcast::serve(request.into_inner(), channels, budget, pace);
        ready(Ok(Response::new(responses)))
    }
}
