//! How long the body of a slow caller's request is waited for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::limits::Refused;

/// What must come between two pauses, or a sender could be slow for ever by single bytes.
const PROGRESS: usize = 4 * 1024;

/// A body whose sender may pause only so long.
pub(crate) struct PatientBody<B> {
    inner: B,
    pause: Duration,
    listener: &'static str,
    progress: usize,
    alarm: Pin<Box<Sleep>>,
}

impl<B> PatientBody<B> {
    pub fn new(inner: B, pause: Duration, listener: &'static str) -> Self {
        Self {
            inner,
            pause,
            listener,
            progress: 0,
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
            let bytes = frame
                .as_ref()
                .and_then(|frame| frame.as_ref().ok()?.data_ref());
            body.progress += bytes.map_or(PROGRESS, Bytes::len);
            if body.progress >= PROGRESS {
                body.progress = 0;
                body.alarm.as_mut().reset(Instant::now() + body.pause);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(body.alarm.as_mut().poll(cx));
        Refused::Pause.count(body.listener);
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
