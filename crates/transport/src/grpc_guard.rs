//! What gRPC callers may do with requests and answers: how often they ask, how large their messages
//! are, how slowly they send them, and how slowly they take what they asked for.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, StdError};
use tower::{Layer, Service};

use crate::connection::ConnectionInfo;
use crate::limits::{GrpcLimits, Refused};
use crate::rate::Allowance;
use crate::stall::{Stall, Stalls};

/// Whether there may be more than one message each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallShape {
    /// Of the caller's.
    pub requests_stream: bool,
    /// Of the server's.
    pub answers_stream: bool,
}

impl CallShape {
    /// What is assumed of calls that are not known.
    const ANY: Self = Self {
        requests_stream: true,
        answers_stream: true,
    };
}

/// A tower layer that keeps a server's [`GrpcLimits`].
#[derive(Clone)]
pub struct GrpcGuard(Arc<Rules>);

struct Rules {
    listener: &'static str,
    calls: HashMap<String, CallShape>,
    message_bytes: usize,
    pause: Duration,
    allowance: Option<Allowance>,
}

impl GrpcGuard {
    /// Keeps `limits`; `calls` are known by their paths (`/orderer.AtomicBroadcast/Broadcast`).
    pub fn new(limits: &GrpcLimits, calls: impl IntoIterator<Item = (String, CallShape)>) -> Self {
        Self(Arc::new(Rules {
            listener: limits.connections.listener,
            calls: calls.into_iter().collect(),
            message_bytes: limits.message_bytes,
            pause: limits.request_pause,
            allowance: limits.connections.requests_per_second.map(Allowance::new),
        }))
    }
}

impl<S> Layer<S> for GrpcGuard {
    type Service = GuardedService<S>;

    fn layer(&self, inner: S) -> GuardedService<S> {
        GuardedService {
            inner,
            rules: self.0.clone(),
        }
    }
}

/// What [`GrpcGuard`] makes of a service.
#[derive(Clone)]
pub struct GuardedService<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S, B> Service<Request<Body>> for GuardedService<S>
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
        let rules = &self.rules;
        let caller = request.extensions().get::<ConnectionInfo>();
        if let (Some(caller), Some(allowance)) = (caller, &rules.allowance)
            && !allowance.take(caller.remote.ip(), std::time::Instant::now())
        {
            Refused::Rate.count(rules.listener);
            let refused = Status::resource_exhausted("too many requests from this address");
            return Box::pin(async move { Ok(refused.into_http()) });
        }
        let shape = rules.calls.get(request.uri().path()).copied();
        let shape = shape.unwrap_or(CallShape::ANY);
        let stalls = caller.map(|caller| caller.stalls.clone());
        let stalls = stalls.filter(|_| !shape.answers_stream);
        let request = request.map(|body| {
            Body::new(ArrivingBody::new(
                body,
                rules.clone(),
                shape.requests_stream,
            ))
        });
        let answering = self.inner.call(request);
        Box::pin(async move {
            let response = answering.await?;
            Ok(match stalls {
                None => response.map(Body::new),
                Some(stalls) => response.map(|body| Body::new(TakenBody::new(body, stalls))),
            })
        })
    }
}

/// A sender that pauses longer than it may must have sent this much since the last such moment.
const PROGRESS: usize = 16 * 1024;

/// The messages of a caller, which must not be too large, nor pause once they have begun.
struct ArrivingBody {
    inner: Body,
    rules: Arc<Rules>,
    stream: bool,
    prefix: [u8; 5],
    filled: usize,
    left: usize,
    complete: bool,
    progress: usize,
    until: Instant,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl ArrivingBody {
    fn new(inner: Body, rules: Arc<Rules>, stream: bool) -> Self {
        Self {
            inner,
            stream,
            prefix: [0; 5],
            filled: 0,
            left: 0,
            complete: false,
            progress: 0,
            until: Instant::now() + rules.pause,
            rules,
            alarm: None,
        }
    }

    /// Looks at bytes for the bounds of messages: a byte that says whether it is compressed, four for
    /// its length, the message.
    fn look(&mut self, mut bytes: &[u8]) -> Result<(), Status> {
        self.progress += bytes.len();
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
                self.complete |= self.left == 0;
                continue;
            }
            if self.filled == 0 {
                // Another message: its time begins now.
                self.progress = PROGRESS;
            }
            let taken = (self.prefix.len() - self.filled).min(bytes.len());
            self.prefix[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if self.filled == self.prefix.len() {
                let [_, length @ ..] = self.prefix;
                (self.filled, self.left) = (0, u32::from_be_bytes(length) as usize);
                self.complete |= self.left == 0;
                let most = self.rules.message_bytes;
                if self.left > most {
                    Refused::Size.count(self.rules.listener);
                    let reason = format!("message of {} bytes, limit is {most}", self.left);
                    return Err(Status::resource_exhausted(reason));
                }
            }
        }
        if self.progress >= PROGRESS {
            self.progress = 0;
            self.until = Instant::now() + self.rules.pause;
        }
        Ok(())
    }

    /// Whether something has begun and must go on.
    fn expected(&self) -> bool {
        !self.stream || !self.complete || self.filled > 0 || self.left > 0
    }
}

impl HttpBody for ArrivingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let body = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut body.inner).poll_frame(cx) {
            if let Some(Ok(frame)) = &frame
                && let Some(bytes) = frame.data_ref()
                && let Err(refused) = body.look(bytes)
            {
                return Poll::Ready(Some(Err(refused)));
            }
            return Poll::Ready(frame);
        }
        if !body.expected() {
            return Poll::Pending;
        }
        let until = body.until;
        let alarm = body
            .alarm
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        ready!(alarm.as_mut().poll(cx));
        Refused::Pause.count(body.rules.listener);
        let reason = "the request stopped arriving";
        Poll::Ready(Some(Err(Status::deadline_exceeded(reason))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What is handed over of an answer at once.
const PIECE: usize = 64 * 1024;

/// An answer of one message, of which it is noted whether the caller takes it.
///
/// Who serves it asks for the next piece when the caller has room for it.
struct TakenBody<B> {
    inner: Pin<Box<B>>,
    rest: Bytes,
    stalls: Stalls,
    waiting: Option<Stall>,
}

impl<B> TakenBody<B> {
    fn new(inner: B, stalls: Stalls) -> Self {
        Self {
            inner: Box::pin(inner),
            rest: Bytes::new(),
            stalls,
            waiting: None,
        }
    }

    fn piece(&mut self, mut bytes: Bytes) -> Frame<Bytes> {
        let piece = bytes.split_to(bytes.len().min(PIECE));
        self.rest = bytes;
        self.waiting = Some(self.stalls.begin());
        Frame::data(piece)
    }
}

impl<B> HttpBody for TakenBody<B>
where
    B: HttpBody<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let body = &mut *self;
        body.waiting = None;
        if !body.rest.is_empty() {
            let rest = std::mem::take(&mut body.rest);
            return Poll::Ready(Some(Ok(body.piece(rest))));
        }
        let frame = ready!(body.inner.as_mut().poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(match frame.into_data() {
                Ok(bytes) => body.piece(bytes),
                Err(other) => other,
            })),
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() {
            return self.inner.size_hint();
        }
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let prefix = u32::try_from(length).unwrap().to_be_bytes();
        [&[0], &prefix[..], &vec![7; length]].concat()
    }

    fn body(stream: bool) -> ArrivingBody {
        let limits = GrpcLimits {
            message_bytes: 1000,
            ..GrpcLimits::default()
        };
        ArrivingBody::new(Body::empty(), GrpcGuard::new(&limits, []).0, stream)
    }

    #[tokio::test]
    async fn messages_are_told_apart_however_they_are_cut() {
        let bytes = [message(3), message(0), message(1000), message(5)].concat();
        for cut in [1, 4, 5, 6, 100, bytes.len()] {
            let mut body = body(true);
            assert!(body.expected(), "the first message");
            for piece in bytes[..bytes.len() - 1].chunks(cut) {
                body.look(piece).unwrap();
            }
            assert!(body.expected(), "the last byte");
            body.look(&bytes[bytes.len() - 1..]).unwrap();
            assert!(!body.expected(), "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn the_end_of_a_single_request_is_expected() {
        let mut body = body(false);
        body.look(&message(3)).unwrap();
        assert!(body.expected());
    }

    #[tokio::test]
    async fn a_message_that_is_too_large_is_refused_by_its_first_bytes() {
        for (length, refused) in [(1000_u32, false), (1001, true), (u32::MAX, true)] {
            let prefix = [&[0], &length.to_be_bytes()[..]].concat();
            let outcome = body(true).look(&prefix);
            assert_eq!(outcome.is_err(), refused, "{length}");
        }
    }
}
