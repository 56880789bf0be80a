//! How long slow callers are waited for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// A body whose sender may pause only so long.
pub(crate) struct PatientBody<B> {
    inner: B,
    pause: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl<B> PatientBody<B> {
    pub fn new(inner: B, pause: Duration) -> Self {
        Self {
            inner,
            pause,
            alarm: Box::pin(sleep(pause)),
        }
    }
}

impl<B> HttpBody for PatientBody<B>
where
    B: HttpBody<Data = Bytes, Error = hyper::Error> + Unpin,
{
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let body = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut body.inner).poll_frame(cx) {
            body.alarm.as_mut().reset(Instant::now() + body.pause);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(body.alarm.as_mut().poll(cx));
        let reason = "the request's body stopped arriving";
        Poll::Ready(Some(Err(
            io::Error::new(io::ErrorKind::TimedOut, reason).into()
        )))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The first bytes of a connection, which must come in time.
///
/// HTTP servers read until they can tell HTTP/1 from HTTP/2, and their own clocks start only
/// then: without this, a caller that sends nothing, or the beginning of HTTP/2's preface, stays
/// for ever.
pub(crate) struct Opening {
    /// How much of the preface has come; its length when the version is known.
    matched: usize,
    alarm: Pin<Box<Sleep>>,
}

/// RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Opening {
    pub fn new(patience: Duration) -> Self {
        Self {
            matched: 0,
            alarm: Box::pin(sleep(patience)),
        }
    }

    /// Looks at the outcome of a read, and at what it brought; an error if the caller took too
    /// long.
    pub fn watch(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<()>>,
        arrived: &[u8],
    ) -> Poll<io::Result<()>> {
        if self.matched >= PREFACE.len() {
            return outcome;
        }
        if outcome.is_pending() {
            ready!(self.alarm.as_mut().poll(cx));
            let reason = "no request in time";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
        }
        for byte in arrived {
            if PREFACE.get(self.matched) == Some(byte) {
                self.matched += 1;
            } else {
                self.matched = PREFACE.len();
            }
        }
        outcome
    }
}
