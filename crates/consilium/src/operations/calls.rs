//! Which gRPC calls are counted.

use consilium_proto::FILE_DESCRIPTOR_SET;
use consilium_transport::{CallKind, GrpcMetrics};
use prost::Message;
use prost_types::FileDescriptorSet;

/// The metrics of a node's gRPC server: all methods of our definitions, and health.
pub fn grpc_metrics() -> GrpcMetrics {
    let health = [
        ("/grpc.health.v1.Health/Check".to_owned(), CallKind::Unary),
        ("/grpc.health.v1.Health/Watch".to_owned(), CallKind::Stream),
    ];
    GrpcMetrics::new(methods().into_iter().chain(health))
}

/// Path and kind of every method that we define.
fn methods() -> Vec<(String, CallKind)> {
    // Our own descriptors can be read, which a test shows; without them nothing is counted.
    let definitions = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut methods = Vec::new();
    for file in &definitions.file {
        for service in &file.service {
            for method in &service.method {
                let kind = if method.client_streaming() || method.server_streaming() {
                    CallKind::Stream
                } else {
                    CallKind::Unary
                };
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                methods.push((path, kind));
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
        let methods = methods();
        for (path, kind) in [
            ("/orderer.AtomicBroadcast/Broadcast", CallKind::Stream),
            ("/orderer.AtomicBroadcast/Deliver", CallKind::Stream),
            ("/protos.Endorser/ProcessProposal", CallKind::Unary),
            ("/protos.Deliver/DeliverFiltered", CallKind::Stream),
            ("/gateway.Gateway/Endorse", CallKind::Unary),
            ("/gateway.Gateway/ChaincodeEvents", CallKind::Stream),
            ("/discovery.Discovery/Discover", CallKind::Unary),
        ] {
            assert!(methods.contains(&(path.to_owned(), kind)), "{path}");
        }
    }
}
