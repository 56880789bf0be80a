//! What comes on a stream whose other end is not known yet. gRPC puts a message together in memory
//! before anybody can look at it, and messages of members may be large; so little of a stream is let
//! through until its first message was checked.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{
    body::Body,
    codegen::{Body as HttpBody, BoxFuture, Service, http},
    server::NamedService,
    transport::{self, Channel},
};

use crate::wire;

/// Bytes that a gate lets through while it is closed: a first message with what is around it.
const BEFORE: usize = 2 * wire::SMALL;

/// Holds a stream back after its beginning until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(CancellationToken);

impl Gate {
    /// Lets everything through from now on.
    pub(crate) fn open(&self) {
        self.0.cancel();
    }

    fn before(self, body: Body) -> Body {
        Body::new(Gated {
            body,
            passed: 0,
            opening: Some(Box::pin(self.0.cancelled_owned())),
        })
    }
}

/// A body with a gate before it.
struct Gated<B> {
    body: B,
    passed: usize,
    /// `None` once the gate was seen open.
    opening: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Gated<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.passed >= BEFORE
            && let Some(opening) = &mut self.opening
        {
            ready!(opening.as_mut().poll(context));
            self.opening = None;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.passed = self.passed.saturating_add(data.len());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A server behind gates: each request carries its own among its extensions, as a `Gate`.
#[derive(Clone, Debug)]
pub struct GatedServer<S>(pub(crate) S);

impl<S: NamedService> NamedService for GatedServer<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for GatedServer<S>
where
    S: Service<http::Request<Body>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> S::Future {
        let gate = Gate::default();
        let mut request = request.map(|body| gate.clone().before(body));
        request.extensions_mut().insert(gate);
        self.0.call(request)
    }
}

/// A connection whose answers come through a gate.
#[derive(Clone)]
pub(crate) struct GatedChannel {
    pub(crate) channel: Channel,
    pub(crate) gate: Gate,
}

impl Service<http::Request<Body>> for GatedChannel {
    type Response = http::Response<Body>;
    type Error = transport::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Service::poll_ready(&mut self.channel, context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answering = Service::call(&mut self.channel, request);
        let gate = self.gate.clone();
        Box::pin(async move { Ok(answering.await?.map(|body| gate.before(body))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::{collections::VecDeque, future::poll_fn};

    /// Gives everything at once.
    struct Frames(VecDeque<Bytes>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    #[tokio::test]
    async fn only_the_beginning_comes_through_a_closed_gate() {
        const FRAME: usize = 16 * 1024;
        let frames = vec![Bytes::from(vec![0; FRAME]); 100];
        let gate = Gate::default();
        let mut body = gate.clone().before(Body::new(Frames(frames.into())));
        let mut next = async || {
            let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            next.is_some_and(|frame| frame.unwrap().is_data())
        };
        let mut passed = 0;
        while let Some(is_data) = next().now_or_never() {
            assert!(is_data);
            passed += 1;
        }
        assert_eq!(passed, BEFORE / FRAME);
        // Opening it wakes whoever waits.
        let (waited, ()) = tokio::join!(next(), async { gate.open() });
        assert!(waited);
        let mut left = 0;
        while next().await {
            left += 1;
        }
        assert_eq!(passed + 1 + left, 100);
    }
}
