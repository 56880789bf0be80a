//! Which gRPC calls are counted.

use consilium_proto::FILE_DESCRIPTOR_SET;
use consilium_transport::{CallKind, CallShape, GrpcMetrics};
use prost::Message;
use prost_types::FileDescriptorSet;

/// The metrics of a node's gRPC server: all methods of our definitions, and health.
pub fn grpc_metrics() -> GrpcMetrics {
    let health = [
        ("/grpc.health.v1.Health/Check".to_owned(), CallKind::Unary),
        ("/grpc.health.v1.Health/Watch".to_owned(), CallKind::Stream),
    ];
    let kinds = shapes().into_iter().map(|(path, shape)| {
        let streams = shape.requests_stream || shape.answers_stream;
        let kind = if streams {
            CallKind::Stream
        } else {
            CallKind::Unary
        };
        (path, kind)
    });
    GrpcMetrics::new(kinds.chain(health))
}

/// Path and shape of every method that we define.
pub fn shapes() -> Vec<(String, CallShape)> {
    // Our own descriptors can be read, which a test shows; without them nothing is counted.
    let definitions = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut methods = Vec::new();
    for file in &definitions.file {
        for service in &file.service {
            for method in &service.method {
                let shape = CallShape {
                    requests_stream: method.client_streaming(),
                    answers_stream: method.server_streaming(),
                };
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                methods.push((path, shape));
            }
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_all_services_are_known() {
        let methods = shapes();
        for (path, requests_stream, answers_stream) in [
            ("/orderer.AtomicBroadcast/Broadcast", true, true),
            ("/orderer.AtomicBroadcast/Deliver", true, true),
            ("/protos.Endorser/ProcessProposal", false, false),
            ("/protos.Deliver/DeliverFiltered", true, true),
            ("/gateway.Gateway/Endorse", false, false),
            ("/gateway.Gateway/ChaincodeEvents", false, true),
            ("/discovery.Discovery/Discover", false, false),
        ] {
            let shape = CallShape {
                requests_stream,
                answers_stream,
            };
            assert!(methods.contains(&(path.to_owned(), shape)), "{path}");
        }
    }
}
