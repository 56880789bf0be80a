//! Chaincode as a service: dialling, and one living stream per service.

use crate::host::Host;
use crate::measure;
use crate::package::{Connection, ConnectionTls};
use crate::shim::{Limits, ShimStream};
use bytes::Bytes;
use consilium_proto::protos::chaincode_client::ChaincodeClient;
use consilium_transport::{ClientTls, MAX_MESSAGE, TlsIdentity};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Messages to a chaincode that wait to be sent, over all its transactions.
const OUTGOING: usize = 256;

/// A launch that everybody waits for who needs the chaincode.
type Launch = Shared<BoxFuture<'static, Result<Arc<ShimStream>, Arc<str>>>>;

/// The services that this peer is, or is being, connected with, by package id.
#[derive(Default)]
pub(crate) struct Services(Mutex<HashMap<String, Launch>>);

impl Services {
    /// The living stream of the service `ccid`; dials when there is none. However many wait, one
    /// dials, and a failure is everybody's; the next call tries anew.
    pub(crate) async fn stream(
        &self,
        ccid: &str,
        connection: &Connection,
        limits: Limits,
        patience: Duration,
        host: Weak<Host>,
    ) -> Result<Arc<ShimStream>, String> {
        let launch = || {
            let mut launches = self.0.lock();
            match launches.get(ccid) {
                Some(launch) if is_usable(launch) => launch.clone(),
                _ => {
                    let launch = launch(ccid, connection, limits, patience, host.clone());
                    launches.insert(ccid.to_owned(), launch.clone());
                    launch
                }
            }
        };
        let stream = launch().await;
        // A stream that was made while nobody waited may have ended unnoticed.
        let stream = match stream {
            Ok(stream) if !stream.is_open() => launch().await,
            stream => stream,
        };
        stream.map_err(|error| error.to_string())
    }

    /// Ends all streams.
    pub(crate) fn terminate(&self) {
        for (_, launch) in self.0.lock().drain() {
            if let Some(Ok(stream)) = launch.peek() {
                stream.terminate();
            }
        }
    }
}

fn is_usable(launch: &Launch) -> bool {
    match launch.peek() {
        None => true,
        Some(Ok(stream)) => stream.is_open(),
        Some(Err(_)) => false,
    }
}

/// Begins a launch in its own task, so that it goes on when the first caller loses interest.
fn launch(
    ccid: &str,
    connection: &Connection,
    limits: Limits,
    patience: Duration,
    host: Weak<Host>,
) -> Launch {
    let ccid = ccid.to_owned();
    let connection = connection.clone();
    let task = tokio::spawn(async move {
        let started = Instant::now();
        let connected =
            tokio::time::timeout(patience, connect(&ccid, &connection, limits, host)).await;
        let launched = connected.unwrap_or_else(|_| {
            measure::launch_timeout(&ccid);
            Err(format!(
                "timeout expired while starting chaincode {ccid} for transaction"
            ))
        });
        measure::launched(&ccid, started.elapsed(), launched.is_ok());
        match &launched {
            Ok(_) => tracing::info!(
                ccid,
                address = connection.address,
                "connected with chaincode service"
            ),
            Err(cause) => tracing::warn!(
                ccid,
                address = connection.address,
                cause,
                "chaincode service not available"
            ),
        }
        launched.map_err(Arc::from)
    });
    task.map(|ended| ended.unwrap_or_else(|error| Err(error.to_string().into())))
        .boxed()
        .shared()
}

async fn connect(
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
    ShimStream::establish(ccid, incoming, outgoing, limits, host)
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
