//! Answering a bidirectional gRPC call with frames, below the generated service traits (those fix
//! the response to a decoded message).

use consilium_proto::common::Envelope;
use prost::Message;
use tonic::body::Body;
use tonic::codec::{DecodeBuf, Decoder};
use tonic::codegen::http::{self, HeaderValue, header};
use tonic::codegen::{Body as HttpBody, StdError};
use tonic::{Request, Status, Streaming};

use crate::body::FrameBody;
use crate::engine::FrameStream;

/// Handles one HTTP request of a `stream Envelope → stream DeliverResponse` method: `handler` gets
/// the decoded request stream and gives the frames. `limit` bounds messages in both directions.
pub fn respond<B, F>(request: http::Request<B>, limit: usize, handler: F) -> http::Response<Body>
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
    F: FnOnce(Request<Streaming<Envelope>>) -> FrameStream,
{
    let encoding = request.headers().get("grpc-encoding");
    if let Some(encoding) = encoding.filter(|encoding| *encoding != "identity") {
        let mut refused = Status::unimplemented(format!(
            "Content is compressed with {encoding:?} which isn't supported"
        ));
        let accepted = tonic::metadata::MetadataValue::from_static("identity");
        refused
            .metadata_mut()
            .insert("grpc-accept-encoding", accepted);
        return refused.into_http();
    }
    let request =
        request.map(|body| Streaming::new_request(EnvelopeDecoder, body, None, Some(limit)));
    let frames = handler(Request::from_http(request));
    let mut response = http::Response::new(Body::new(FrameBody::new(frames, limit)));
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}

/// Reads requests.
struct EnvelopeDecoder;

impl Decoder for EnvelopeDecoder {
    type Item = Envelope;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Envelope>, Status> {
        Envelope::decode(buffer)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
}
