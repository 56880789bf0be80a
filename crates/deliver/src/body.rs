//! Frames as the body of a gRPC answer.
//!
//! tonic's codecs write every message into a buffer of their stream. Here a large block goes to the
//! connection as the bytes that all streams share, so that thousands of subscribers do not hold
//! thousands of copies.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::Stream;
use hyper::body::{Body, Frame as HttpFrame};
use tonic::Status;
use tonic::codegen::http::HeaderMap;

use crate::engine::FrameStream;
use crate::frame::Frame;

/// Bytes before a message: a flag for compression, and the length.
///
/// gRPC over HTTP/2, Length-Prefixed-Message
const PREFIX: usize = 5;

/// Contents from this size on are not copied. Smaller ones are put together, as the receiver may
/// close a connection over which too many small pieces come.
const SHARED: usize = 16 * 1024;

/// Small messages are collected up to this size.
const COLLECTED: usize = 32 * 1024;

/// The body of an answer that consists of frames.
pub(crate) struct FrameBody {
    frames: FrameStream,
    limit: usize,
    /// Content whose prefix has been given out.
    content: Option<Bytes>,
    end: End,
}

enum End {
    /// There may be more frames.
    Open,
    /// Only the status is left.
    Status(Status),
    Told,
}

impl FrameBody {
    /// Messages of more than `limit` bytes end the answer with an error.
    pub(crate) fn new(frames: FrameStream, limit: usize) -> Self {
        Self {
            frames,
            limit,
            content: None,
            end: End::Open,
        }
    }

    /// Adds a message to what is sent next.
    fn put(&mut self, frame: Frame, buffer: &mut BytesMut) {
        let length = frame.encoded_len();
        let Some(short) = u32::try_from(length).ok().filter(|_| length <= self.limit) else {
            self.end = End::Status(Status::out_of_range(format!(
                "a response of {length} bytes exceeds the limit of {} bytes",
                self.limit
            )));
            return;
        };
        let (head, content) = frame.parts();
        buffer.reserve(PREFIX + head.len());
        buffer.put_u8(0);
        buffer.put_u32(short);
        buffer.put_slice(head);
        if content.len() < SHARED {
            buffer.put_slice(content);
        } else {
            self.content = Some(content.clone());
        }
    }
}

impl Body for FrameBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Status>>> {
        let body = &mut *self;
        if let Some(content) = body.content.take() {
            return Poll::Ready(Some(Ok(HttpFrame::data(content))));
        }
        let mut buffer = BytesMut::new();
        while matches!(body.end, End::Open) && body.content.is_none() && buffer.len() < COLLECTED {
            match Pin::new(&mut body.frames).poll_next(cx) {
                Poll::Ready(Some(Ok(frame))) => body.put(frame, &mut buffer),
                Poll::Ready(Some(Err(status))) => body.end = End::Status(status),
                Poll::Ready(None) => body.end = End::Status(Status::ok("")),
                Poll::Pending if buffer.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        if !buffer.is_empty() {
            return Poll::Ready(Some(Ok(HttpFrame::data(buffer.freeze()))));
        }
        let End::Status(status) = std::mem::replace(&mut body.end, End::Told) else {
            return Poll::Ready(None);
        };
        let mut trailers = HeaderMap::new();
        let written = status.add_header(&mut trailers);
        Poll::Ready(Some(written.map(|()| HttpFrame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.end, End::Told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consilium_proto::common;
    use http_body_util::BodyExt;
    use tokio::sync::mpsc;

    /// What a body gives: its pieces, and its trailers.
    async fn pieces(
        frames: Vec<Result<Frame, Status>>,
        limit: usize,
    ) -> (Vec<Bytes>, Option<HeaderMap>) {
        let (sender, receiver) = mpsc::channel(frames.len().max(1));
        for frame in frames {
            sender.send(frame).await.unwrap();
        }
        drop(sender);
        let mut body = FrameBody::new(FrameStream::new(receiver), limit);
        let (mut data, mut trailers) = (Vec::new(), None);
        while let Some(frame) = body.frame().await {
            match frame.unwrap().into_data() {
                Ok(piece) => data.push(piece),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        assert!(body.is_end_stream());
        (data, trailers)
    }

    /// A message as gRPC writes it.
    fn message(frame: &Frame) -> Vec<u8> {
        let bytes = frame.to_bytes();
        let length = u32::try_from(bytes.len()).unwrap();
        [&[0][..], &length.to_be_bytes(), &bytes].concat()
    }

    fn code(trailers: Option<HeaderMap>) -> tonic::Code {
        tonic::Code::from_bytes(trailers.expect("trailers")["grpc-status"].as_bytes())
    }

    #[tokio::test]
    async fn messages_are_written_as_grpc_wants_them_and_large_ones_are_not_copied() {
        let block = |size: usize| Frame::block(vec![7; size].into());
        let large = Bytes::from(vec![8; 3 * SHARED]);
        for frames in [
            vec![],
            vec![Frame::status(common::Status::Success)],
            vec![block(10), block(20), block(30)],
            vec![
                block(SHARED - 1),
                block(SHARED - 1),
                block(SHARED - 1),
                block(1),
            ],
            vec![
                block(5),
                Frame::block(large.clone()),
                block(6),
                Frame::block(large.clone()),
                Frame::status(common::Status::NotFound),
            ],
        ] {
            let expected: Vec<u8> = frames.iter().flat_map(message).collect();
            let many = frames
                .iter()
                .filter(|frame| frame.encoded_len() > 2 * SHARED)
                .count();
            let (data, trailers) = pieces(frames.into_iter().map(Ok).collect(), 1 << 20).await;
            assert_eq!(data.concat(), expected);
            let shared = data.iter().filter(|piece| piece.as_ptr() == large.as_ptr());
            assert_eq!(shared.count(), many);
            assert_eq!(code(trailers), tonic::Code::Ok);
        }
    }

    #[tokio::test]
    async fn an_error_and_a_message_that_is_too_large_end_the_answer() {
        let first = Frame::block(vec![1; 50].into());
        let broken = vec![
            Ok(first.clone()),
            Err(Status::cancelled("gone")),
            Ok(first.clone()),
        ];
        let (data, trailers) = pieces(broken, 100).await;
        assert_eq!(data.concat(), message(&first));
        assert_eq!(code(trailers), tonic::Code::Cancelled);

        let large = Frame::block(vec![1; 100].into());
        let (data, trailers) =
            pieces(vec![Ok(first.clone()), Ok(large), Ok(first.clone())], 100).await;
        assert_eq!(data.concat(), message(&first));
        assert_eq!(code(trailers), tonic::Code::OutOfRange);
    }
}
