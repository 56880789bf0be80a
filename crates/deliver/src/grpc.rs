//! Answering a bidirectional gRPC call with frames, below the generated service traits (those fix
//! the response to a decoded message).

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use consilium_proto::common::Envelope;
use tonic::codegen::{Body, Service, StdError, http};
use tonic::{Request, Response, Status, Streaming};

use crate::engine::FrameStream;
use crate::frame::{Frame, FrameCodec};

/// Handles one HTTP request of a `stream Envelope → stream DeliverResponse` method: `handler` gets
/// the decoded request stream and gives the frames. `limit` bounds messages in both directions.
pub async fn respond<B, F>(
    request: http::Request<B>,
    limit: usize,
    handler: F,
) -> http::Response<tonic::body::Body>
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
    F: FnOnce(Request<Streaming<Envelope>>) -> FrameStream + Send,
{
    tonic::server::Grpc::new(FrameCodec::<Envelope>::default())
        .max_decoding_message_size(limit)
        .max_encoding_message_size(limit)
        .streaming(Method(Some(handler)), request)
        .await
}

struct Method<F>(Option<F>);

impl<F> Service<Request<Streaming<Envelope>>> for Method<F>
where
    F: FnOnce(Request<Streaming<Envelope>>) -> FrameStream,
{
    type Response = Response<FrameStream>;
    type Error = Status;
    type Future = Ready<Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Envelope>>) -> Self::Future {
        ready(match self.0.take() {
            Some(handler) => Ok(Response::new(handler(request))),
            None => Err(Status::internal("a call is answered once")),
        })
    }
}

// The blanket `StreamingService` of tonic needs the stream to yield frames.
const _: fn() = || {
    fn yields<S: futures_util::Stream<Item = Result<Frame, Status>>>() {}
    yields::<FrameStream>();
};
