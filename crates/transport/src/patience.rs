//! How long a slow HTTP caller is waited for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
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

/// A connection whose caller must begin to speak in time.
///
/// hyper reads until it can tell HTTP/1 from HTTP/2, and its own clocks start only then: without
/// this, a caller that sends nothing, or the beginning of HTTP/2's preface, stays for ever.
pub(crate) struct Prompt<S> {
    inner: S,
    /// How much of the preface has come; beyond its length when the version is known.
    matched: usize,
    alarm: Pin<Box<Sleep>>,
}

/// RFC 9113, section 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl<S> Prompt<S> {
    pub fn new(inner: S, patience: Duration) -> Self {
        Self {
            inner,
            matched: 0,
            alarm: Box::pin(sleep(patience)),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prompt<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(cx, buf);
        if this.matched >= PREFACE.len() {
            return read;
        }
        if read.is_pending() {
            ready!(this.alarm.as_mut().poll(cx));
            let reason = "no request in time";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
        }
        for byte in &buf.filled()[before..] {
            if PREFACE.get(this.matched) == Some(byte) {
                this.matched += 1;
            } else {
                this.matched = PREFACE.len();
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prompt<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
