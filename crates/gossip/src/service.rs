//! Streams: accepting them, dialling them, and reading them to their end.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use consilium_proto::gossip::{
    Empty, Envelope, gossip_client::GossipClient, gossip_server, gossip_server::GossipServer,
};
use consilium_protocol::hash::sha256;
use futures_util::{StreamExt, stream::BoxStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    connections::{Connection, Outgoing},
    gate::{Gate, GatedChannel, GatedServer},
    handshake::{self, Introduced},
    node::Gossip,
    wire,
};

/// Streams whose first message is awaited at once. They have no place among the others, so that
/// nobody who does not say who he is keeps members out.
const HELLOS: usize = 512;

/// `gossip.Gossip` over gRPC.
#[derive(Clone)]
pub struct GossipService {
    gossip: Arc<Gossip>,
    streams: Arc<Semaphore>,
    hellos: Arc<Semaphore>,
}

impl GossipService {
    pub(crate) fn new(gossip: Arc<Gossip>) -> Self {
        let limit = gossip.options.max_streams.min(Semaphore::MAX_PERMITS);
        Self {
            gossip,
            streams: Arc::new(Semaphore::new(limit)),
            hellos: Arc::new(Semaphore::new(HELLOS)),
        }
    }

    /// The tonic server.
    pub fn into_server(self) -> GatedServer<GossipServer<Self>> {
        let limit = self.gossip.options.max_message;
        let server = GossipServer::new(self)
            .max_decoding_message_size(limit)
            .max_encoding_message_size(limit);
        GatedServer(server)
    }
}

#[tonic::async_trait]
impl gossip_server::Gossip for GossipService {
    type GossipStreamStream = BoxStream<'static, Result<Envelope, Status>>;

    async fn gossip_stream(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::GossipStreamStream>, Status> {
        if self.gossip.stop.is_cancelled() {
            return Err(Status::unavailable("shutting down"));
        }
        let Some(certificate) = consilium_transport::client_certificate(&request) else {
            return Err(Status::unauthenticated("no TLS certificate"));
        };
        let Some(gate) = request.extensions().get::<Gate>().cloned() else {
            return Err(Status::internal("the gossip service has no gate"));
        };
        let Ok(hello_permit) = self.hellos.clone().try_acquire_owned() else {
            return Err(Status::resource_exhausted("too many gossip streams begin"));
        };
        let (outbox, inbox) = mpsc::channel(self.gossip.options.send_buffer);
        let own = consilium_transport::own_certificate_hash(&request);
        let hello = handshake::introduce(self.gossip.own_identity().signer.as_ref(), own)
            .map_err(|error| Status::internal(error.to_string()))?;
        // The queue is new: there is room.
        let _ = outbox.try_send(hello.into());
        let closed = self.gossip.stop.child_token();
        let accepted = Accepted {
            gossip: self.gossip.clone(),
            certificate,
            gate,
            outbox,
            closed: closed.clone(),
            streams: self.streams.clone(),
            hello_permit,
        };
        tokio::spawn(accepted.serve(request.into_inner()));
        let outgoing = ReceiverStream::new(inbox)
            .map(|outgoing| Ok(outgoing.taken()))
            .take_until(closed.cancelled_owned());
        Ok(Response::new(outgoing.boxed()))
    }

    async fn ping(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        Ok(Response::new(Empty {}))
    }
}

/// A stream that somebody else opened.
struct Accepted {
    gossip: Arc<Gossip>,
    certificate: Bytes,
    gate: Gate,
    outbox: mpsc::Sender<Outgoing>,
    closed: CancellationToken,
    streams: Arc<Semaphore>,
    hello_permit: OwnedSemaphorePermit,
}

impl Accepted {
    async fn serve(self, mut incoming: Streaming<Envelope>) {
        let hash = sha256(&self.certificate);
        let introduced = self.gossip.read_hello(&mut incoming, hash).await;
        let gossip = self.gossip;
        drop(self.hello_permit);
        match introduced {
            Ok(introduced) if !introduced.is_probe => {
                let Ok(_permit) = self.streams.try_acquire() else {
                    tracing::warn!("there are too many gossip streams");
                    self.closed.cancel();
                    return;
                };
                self.gate.open();
                let connection = gossip
                    .connections
                    .add(introduced.peer, self.outbox, self.closed);
                gossip.greet(&connection);
                gossip.read(&connection, incoming).await;
            }
            Ok(_) => self.closed.cancel(),
            Err(reason) => {
                tracing::warn!(reason = wire::brief(&reason), "a gossip stream was refused");
                self.closed.cancel();
            }
        }
    }
}

impl Gossip {
    /// The first message of the other side, checked.
    async fn read_hello(
        &self,
        incoming: &mut Streaming<Envelope>,
        certificate_hash: [u8; 32],
    ) -> Result<Introduced, String> {
        let patience = self.options.connection_timeout;
        let first = tokio::time::timeout(patience, incoming.message())
            .await
            .map_err(|_| "timed out waiting for connection message".to_owned())?
            .map_err(|status| status.message().to_owned())?
            .ok_or("the stream ended before the connection message")?;
        let host = self.host.upgrade().ok_or("the peer is gone")?;
        let own = self.pki_id();
        // Checks a chain of certificates.
        let checking = tokio::task::spawn_blocking(move || {
            handshake::check(&first, Some(certificate_hash), &own, |identity| {
                host.judge(identity)
            })
        });
        let checked = checking.await.map_err(|error| error.to_string())?;
        checked.map_err(|error| error.to_string())
    }

    /// Reads a stream until it ends, is closed, or brings something that is no gossip.
    async fn read(&self, connection: &Arc<Connection>, mut incoming: Streaming<Envelope>) {
        loop {
            let next = tokio::select! {
                () = connection.closed().cancelled() => break,
                next = incoming.message() => next,
            };
            let envelope = match next {
                Ok(Some(envelope)) => envelope,
                Ok(None) => break,
                Err(status) => {
                    tracing::debug!(
                        reason = wire::brief(status.message()),
                        "a gossip stream broke"
                    );
                    break;
                }
            };
            if let Err(error) = self.handle(connection, envelope).await {
                tracing::warn!(
                    from = connection.peer.identity.msp_id(),
                    error = wire::brief(&error.to_string()),
                    "closing a gossip stream"
                );
                break;
            }
        }
        self.connections.remove(connection);
    }

    /// A stream to a peer: the one that is there, or a new one to `endpoint`.
    ///
    /// With `expected`, somebody else at the endpoint is an error.
    pub(crate) async fn connect(
        &self,
        endpoint: &str,
        expected: Option<&Bytes>,
    ) -> Result<Arc<Connection>, String> {
        let open = |expected: Option<&Bytes>| self.connections.to(expected?);
        if let Some(connection) = open(expected) {
            return Ok(connection);
        }
        if endpoint.is_empty() {
            return Err("the peer shows no endpoint".to_owned());
        }
        let lock = self.connections.dialling(endpoint);
        let _turn = lock.lock().await;
        if let Some(connection) = open(expected) {
            return Ok(connection);
        }
        let connection = self.dial(endpoint).await?;
        self.connections.found(endpoint, &connection.peer.pki_id);
        match expected {
            Some(expected) if connection.peer.pki_id != *expected => {
                Err(format!("somebody else answers at {endpoint}"))
            }
            _ => Ok(connection),
        }
    }

    async fn dial(&self, endpoint: &str) -> Result<Arc<Connection>, String> {
        let options = &self.options;
        let tls = options.client_tls.clone();
        let own = tls.as_ref().and_then(|tls| tls.identity_hash());
        let (channel, certificate) =
            consilium_transport::connect_once(endpoint, tls, options.dial_timeout)
                .await
                .map_err(|error| error.to_string())?;
        let certificate =
            certificate.ok_or_else(|| format!("{endpoint} shows no TLS certificate"))?;
        let gate = Gate::default();
        let channel = GatedChannel {
            channel,
            gate: gate.clone(),
        };
        let mut client = GossipClient::new(channel)
            .max_decoding_message_size(options.max_message)
            .max_encoding_message_size(options.max_message);
        let (outbox, inbox) = mpsc::channel(options.send_buffer);
        let hello = handshake::introduce(self.own_identity().signer.as_ref(), own)
            .map_err(|error| error.to_string())?;
        // The queue is new: there is room.
        let _ = outbox.try_send(hello.into());
        let closed = self.stop.child_token();
        let outgoing = ReceiverStream::new(inbox)
            .map(Outgoing::taken)
            .take_until(closed.clone().cancelled_owned());
        let opening = client.gossip_stream(outgoing);
        let patience = options.connection_timeout + Duration::from_millis(500);
        let mut incoming = tokio::time::timeout(patience, opening)
            .await
            .map_err(|_| format!("{endpoint} does not open a gossip stream"))?
            .map_err(|status| format!("{endpoint}: {}", wire::brief(status.message())))?
            .into_inner();
        let introduced = self.read_hello(&mut incoming, sha256(&certificate)).await?;
        gate.open();
        let connection = self.connections.add(introduced.peer, outbox, closed);
        self.greet(&connection);
        if let Some(gossip) = self.me.upgrade() {
            let reading = connection.clone();
            tokio::spawn(async move { gossip.read(&reading, incoming).await });
        }
        Ok(connection)
    }
}
