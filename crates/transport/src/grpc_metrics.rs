//! Metrics of a gRPC server, under Fabric's names.
//!
//! fabric: common/grpcmetrics/interceptor.go, common/grpcmetrics/metrics.go,
//! internal/pkg/comm/metrics.go

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::{Frame, SizeHint};
use metrics::{Counter, SharedString, counter, describe_counter, describe_histogram, histogram};
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, StdError};
use tower::{Layer, Service};

/// How many messages a method takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// One message each way.
    Unary,
    /// A stream in at least one direction.
    Stream,
}

/// A tower layer that counts the calls of a server's methods and measures how long they take.
///
/// Only methods it was told about are counted, so that callers cannot invent labels; neither does
/// Fabric count calls of methods that do not exist.
#[derive(Clone)]
pub struct GrpcMetrics {
    methods: Arc<HashMap<String, Method>>,
}

#[derive(Clone)]
struct Method {
    kind: CallKind,
    /// Label values.
    service: SharedString,
    name: SharedString,
}

impl GrpcMetrics {
    /// Counts the methods with these paths (`/orderer.AtomicBroadcast/Broadcast`).
    pub fn new(methods: impl IntoIterator<Item = (String, CallKind)>) -> Self {
        let methods = methods.into_iter().map(|(path, kind)| {
            let (service, name) = labels(&path);
            let method = Method {
                kind,
                service: SharedString::from_shared(service.into()),
                name: SharedString::from_shared(name.into()),
            };
            (path, method)
        });
        Self {
            methods: Arc::new(methods.collect()),
        }
    }
}

/// Tells exporters what the metrics of this crate mean.
pub fn describe_metrics() {
    crate::limits::describe_metrics();
    for (kind, word) in [("unary", "a unary"), ("stream", "a stream")] {
        describe_histogram!(
            format!("grpc_server_{kind}_request_duration"),
            format!("The time to complete {word} request.")
        );
        describe_counter!(
            format!("grpc_server_{kind}_requests_received"),
            format!("The number of {kind} requests received.")
        );
        describe_counter!(
            format!("grpc_server_{kind}_requests_completed"),
            format!("The number of {kind} requests completed.")
        );
    }
    describe_counter!(
        "grpc_server_stream_messages_received",
        "The number of stream messages received."
    );
    describe_counter!(
        "grpc_server_stream_messages_sent",
        "The number of stream messages sent."
    );
    describe_counter!(
        "grpc_comm_conn_opened",
        "gRPC connections opened. Open minus closed is the active number of connections."
    );
    describe_counter!(
        "grpc_comm_conn_closed",
        "gRPC connections closed. Open minus closed is the active number of connections."
    );
}

/// Service and method of a path, with underscores for dots.
fn labels(path: &str) -> (String, String) {
    let path = path.replace('.', "_");
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        ["", service, method] => (service.to_owned(), method.to_owned()),
        _ => ("unknown".to_owned(), "unknown".to_owned()),
    }
}

/// A gRPC connection that counts as open while this lives.
pub(crate) struct OpenConnection(());

impl OpenConnection {
    pub(crate) fn count() -> Self {
        counter!("grpc_comm_conn_opened").increment(1);
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        counter!("grpc_comm_conn_closed").increment(1);
    }
}

impl<S> Layer<S> for GrpcMetrics {
    type Service = MeteredService<S>;

    fn layer(&self, inner: S) -> MeteredService<S> {
        MeteredService {
            inner,
            metrics: self.clone(),
        }
    }
}

/// What [`GrpcMetrics`] makes of a service.
#[derive(Clone)]
pub struct MeteredService<S> {
    inner: S,
    metrics: GrpcMetrics,
}

impl<S, B> Service<Request<Body>> for MeteredService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = self.metrics.methods.get(request.uri().path()).cloned();
        let Some(method) = method else {
            let answering = self.inner.call(request);
            return Box::pin(async move { Ok(answering.await?.map(Body::new)) });
        };
        let call = Call::begin(method);
        let request = match call.method.kind {
            CallKind::Unary => request,
            CallKind::Stream => {
                let received = call.counter("grpc_server_stream_messages_received");
                request.map(|body| Body::new(CountedBody::new(Body::new(body), received)))
            }
        };
        let answering = self.inner.call(request);
        Box::pin(async move {
            let mut call = call;
            let response = answering.await?;
            if let Some(code) = code(response.headers()) {
                // An answer without messages: the outcome is in the header.
                call.complete(code);
                return Ok(response.map(Body::new));
            }
            let sent = match call.method.kind {
                CallKind::Unary => Counter::noop(),
                CallKind::Stream => call.counter("grpc_server_stream_messages_sent"),
            };
            Ok(response.map(|body| {
                Body::new(MeteredBody {
                    inner: CountedBody::new(Body::new(body), sent),
                    call,
                })
            }))
        })
    }
}

/// One call on its way. Dropped before its end was seen, it counts as cancelled.
struct Call {
    method: Method,
    started: Instant,
    completed: bool,
}

impl Call {
    fn begin(method: Method) -> Self {
        let name = match method.kind {
            CallKind::Unary => "grpc_server_unary_requests_received",
            CallKind::Stream => "grpc_server_stream_requests_received",
        };
        let call = Self {
            method,
            started: Instant::now(),
            completed: false,
        };
        call.counter(name).increment(1);
        call
    }

    /// A counter of this method.
    fn counter(&self, name: &'static str) -> Counter {
        let Method {
            service,
            name: method,
            ..
        } = self.method.clone();
        counter!(name, "service" => service, "method" => method)
    }

    fn complete(&mut self, code: Code) {
        if std::mem::replace(&mut self.completed, true) {
            return;
        }
        let (completed, duration) = match self.method.kind {
            CallKind::Unary => (
                "grpc_server_unary_requests_completed",
                "grpc_server_unary_request_duration",
            ),
            CallKind::Stream => (
                "grpc_server_stream_requests_completed",
                "grpc_server_stream_request_duration",
            ),
        };
        let Method {
            service,
            name: method,
            ..
        } = self.method.clone();
        let code = code_name(code);
        counter!(completed, "service" => service.clone(), "method" => method.clone(), "code" => code)
            .increment(1);
        histogram!(duration, "service" => service, "method" => method, "code" => code)
            .record(self.started.elapsed());
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.complete(Code::Cancelled);
    }
}

/// The outcome in headers or trailers, if it is there.
fn code(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(headers.get("grpc-status")?.as_bytes()))
}

/// A code's name as grpc-go writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// A body whose messages are counted as they pass.
struct CountedBody {
    inner: Body,
    messages: Messages,
    count: Counter,
}

impl CountedBody {
    fn new(inner: Body, count: Counter) -> Self {
        Self {
            inner,
            messages: Messages::default(),
            count,
        }
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let complete = self.messages.pass(data);
            self.count.increment(complete);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of an answer, whose trailers say how the call ended.
struct MeteredBody {
    inner: CountedBody,
    call: Call,
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code) {
                    self.call.complete(code);
                }
            }
            Some(Err(status)) => self.call.complete(status.code()),
            // Every gRPC answer ends with a status.
            None => self.call.complete(Code::Unknown),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Finds the messages in a body: each has a flag of one byte and a length of four before it.
///
/// gRPC over HTTP/2, Length-Prefixed-Message
#[derive(Default)]
struct Messages {
    /// Bytes of the prefix that have passed.
    prefix: usize,
    /// Bytes of the message that are still to come.
    rest: usize,
}

impl Messages {
    /// How many messages end in these bytes.
    fn pass(&mut self, mut data: &[u8]) -> u64 {
        let mut complete = 0;
        while let [first, others @ ..] = data {
            if self.prefix < 5 {
                if self.prefix > 0 {
                    self.rest = self.rest << 8 | usize::from(*first);
                }
                self.prefix += 1;
                data = others;
            } else {
                let passed = data.len().min(self.rest);
                self.rest -= passed;
                data = &data[passed..];
            }
            if self.prefix == 5 && self.rest == 0 {
                self.prefix = 0;
                complete += 1;
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_body_is_cut() {
        let mut body = Vec::new();
        for length in [0, 1, 300, 5, 0, 70_000] {
            body.push(0);
            body.extend_from_slice(&u32::to_be_bytes(length));
            body.extend(std::iter::repeat_n(7, length as usize));
        }
        for size in [1, 2, 3, 5, 6, 11, 64, 1000, body.len()] {
            let mut messages = Messages::default();
            let found: u64 = body.chunks(size).map(|chunk| messages.pass(chunk)).sum();
            assert_eq!(found, 6, "in pieces of {size}");
        }
        let mut messages = Messages::default();
        assert_eq!(
            messages.pass(&body[..body.len() - 1]),
            5,
            "the last is not complete"
        );
    }

    #[test]
    fn labels_are_written_as_fabric_writes_them() {
        let cases = [
            (
                "/orderer.AtomicBroadcast/Broadcast",
                ("orderer_AtomicBroadcast", "Broadcast"),
            ),
            (
                "/grpc.health.v1.Health/Check",
                ("grpc_health_v1_Health", "Check"),
            ),
            ("nonsense", ("unknown", "unknown")),
            ("/a/b/c", ("unknown", "unknown")),
        ];
        for (path, (service, method)) in cases {
            assert_eq!(labels(path), (service.to_owned(), method.to_owned()));
        }
    }
}
