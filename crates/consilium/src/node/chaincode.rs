//! Where launched chaincode registers with a peer.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use consilium_chaincode::{Credentials, Endpoint, LaunchOptions};
use consilium_peer::Peer;
use consilium_transport::{GrpcLimits, ServerTls};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::config::{self, ChaincodeAddresses, PeerConfig, host_of};

/// A listener that nobody answers yet.
pub(super) struct ChaincodeListener {
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    limits: GrpcLimits,
}

/// Listens, and notes in `launch` where. Where nobody can be launched or come by himself, nobody
/// listens: then several peers on one machine need no port each.
///
/// In development mode there is no TLS, as a developer has no certificate of this peer's.
///
/// # Errors
/// Which key is wrong, or that the port is taken.
pub(super) async fn listen(
    file: &Path,
    config: &PeerConfig,
    launch: &mut LaunchOptions,
) -> anyhow::Result<Option<ChaincodeListener>> {
    if launch.builders.is_empty() && !launch.development {
        return Ok(None);
    }
    let peer = &config.peer;
    let in_file = || file.display().to_string();
    let addresses = ChaincodeAddresses::new(
        peer.chaincode_listen_address.as_deref(),
        peer.chaincode_address.as_deref(),
        &peer.address,
    )
    .with_context(in_file)?;
    let listener = consilium_transport::listen(&addresses.listen)
        .await
        .with_context(|| {
            format!(
                "{}: peer.chaincodeListenAddress: cannot listen on {}",
                file.display(),
                addresses.listen
            )
        })?;
    let port = listener.local_addr()?.port();
    let address = addresses.endpoint(port).with_context(in_file)?;
    let credentials = if launch.development {
        tracing::warn!(
            address,
            "Running in chaincode development mode: whoever reaches this address may be a chaincode"
        );
        None
    } else {
        let host = host_of(&address);
        Some(Credentials::new(host).with_context(in_file)?)
    };
    let tls = match &credentials {
        None => None,
        Some(credentials) => Some(credentials.server_tls()?),
    };
    tracing::info!(address, "listening for chaincode");
    launch.endpoint = Some(Endpoint {
        address,
        credentials,
    });
    Ok(Some(ChaincodeListener {
        listener,
        tls,
        limits: peer.listener_limits("chaincode"),
    }))
}

impl ChaincodeListener {
    /// Lets chaincodes register with `peer` until `stopped` turns true.
    pub(super) fn serve(
        self,
        peer: &Peer,
        stopped: watch::Receiver<bool>,
    ) -> JoinHandle<Result<(), tonic::transport::Error>> {
        let limits = self.limits;
        let serving = consilium_transport::grpc_server_within(&limits, config::call_shapes())
            .add_service(peer.host().chaincode_support())
            .serve_with_incoming_shutdown(
                consilium_transport::incoming_within(self.listener, self.tls, &limits.connections),
                super::told(stopped),
            );
        tokio::spawn(serving)
    }
}
