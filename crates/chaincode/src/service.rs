//! Chaincode as a service: the peer dials it.

use crate::host::Host;
use crate::package::{Connection, ConnectionTls};
use crate::shim::{Limits, Link, OUTGOING, ShimStream};
use bytes::Bytes;
use consilium_proto::protos::chaincode_client::ChaincodeClient;
use consilium_transport::{ClientTls, MAX_MESSAGE, TlsIdentity};
use futures_util::StreamExt;
use std::sync::{Arc, Weak};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Dials the service `ccid` and waits until it has registered.
pub(crate) async fn connect(
    ccid: &str,
    connection: &Connection,
    limits: Limits,
    host: Weak<Host>,
) -> Result<Arc<ShimStream>, String> {
    let address = &connection.address;
    let failed = |cause: String| {
        format!(
            "connection to {ccid} failed: error cannot create connection for {ccid}: error creating grpc connection to {address}: {cause}"
        )
    };
    let tls = match &connection.tls {
        None => None,
        Some(tls) => Some(client_tls(tls).map_err(|error| failed(error.to_string()))?),
    };
    let channel = consilium_transport::connect(address, tls, connection.dial_timeout)
        .await
        .map_err(|error| failed(format!("failed to create new connection: {error}")))?;
    let mut client = ChaincodeClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
    let (outgoing, messages) = mpsc::channel(OUTGOING);
    let incoming = client
        .connect(ReceiverStream::new(messages))
        .await
        .map_err(|status| {
            format!(
                "connection to {ccid} failed: error creating grpc client connection to {ccid}: {}",
                status.message()
            )
        })?
        .into_inner();
    let link = Link::new(incoming.boxed(), outgoing);
    ShimStream::establish(ccid, link, limits, host)
        .await
        .map_err(|cause| format!("chaincode registration failed: {cause}"))
}

fn client_tls(tls: &ConnectionTls) -> Result<Arc<ClientTls>, consilium_transport::TlsError> {
    let identity = match &tls.client {
        None => None,
        Some((certificate, key)) => Some(TlsIdentity::from_pem(
            certificate.as_bytes(),
            key.as_bytes(),
        )?),
    };
    let roots = [Bytes::from(tls.root_cert.clone())];
    match &tls.domain {
        None => ClientTls::new(identity, &roots),
        Some(domain) => ClientTls::with_server_name(identity, &roots, domain),
    }
}
