//! An orderer that delivers given blocks, whatever they are.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use consilium_proto::{
    common::{Block, Envelope},
    orderer::{
        BroadcastResponse, DeliverResponse, SeekInfo,
        atomic_broadcast_server::{AtomicBroadcast, AtomicBroadcastServer},
        deliver_response, seek_position,
    },
};
use consilium_protocol::envelope;
use consilium_transport::{ClientAuth, ServerTls, TlsIdentity};
use futures_util::{Stream, stream};
use prost::Message as _;
use tokio::{sync::watch, task::JoinHandle};
use tonic::{Request, Response, Status, Streaming};

use crate::authority::Credential;

/// Delivers blocks and nothing else, on a free port of 127.0.0.1, until it is dropped.
pub struct Orderer {
    /// `host:port`
    pub address: String,
    requests: Arc<AtomicUsize>,
    released: watch::Sender<usize>,
    server: JoinHandle<()>,
}

impl Orderer {
    /// Delivers `blocks` (from number 1 on) without TLS, then waits.
    ///
    /// # Panics
    /// When there is no free port.
    pub async fn start(blocks: Arc<Vec<Block>>) -> Self {
        Self::listen(blocks, None).await
    }

    /// The same over TLS with this certificate; clients need none.
    ///
    /// # Panics
    /// When there is no free port, or the certificate does not go with its key.
    pub async fn start_tls(blocks: Arc<Vec<Block>>, tls: &Credential) -> Self {
        let identity = TlsIdentity::from_pem(tls.cert_pem.as_bytes(), tls.key_pem.as_bytes())
            .expect("a certificate with its key");
        let tls = ServerTls::new(identity, ClientAuth::Request, &[]).expect("TLS");
        Self::listen(blocks, Some(tls)).await
    }

    async fn listen(blocks: Arc<Vec<Block>>, tls: Option<Arc<ServerTls>>) -> Self {
        let listener = consilium_transport::listen("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let requests = Arc::new(AtomicUsize::new(0));
        let released = watch::Sender::new(blocks.len());
        let service = AtomicBroadcastServer::new(Service {
            blocks,
            requests: requests.clone(),
            released: released.subscribe(),
        })
        .max_encoding_message_size(usize::MAX);
        let serving = consilium_transport::grpc_server()
            .add_service(service)
            .serve_with_incoming(consilium_transport::incoming(listener, tls));
        let server = tokio::spawn(async move { serving.await.expect("the server runs") });
        Self {
            address,
            requests,
            released,
            server,
        }
    }

    /// How often somebody asked for blocks.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// Delivers up to the block with this number and no further, from now on; at first, all.
    pub fn release(&self, last: usize) {
        self.released.send_replace(last);
    }
}

impl Drop for Orderer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Service {
    blocks: Arc<Vec<Block>>,
    requests: Arc<AtomicUsize>,
    released: watch::Receiver<usize>,
}

/// The number of the next block, all blocks, and how many may be delivered.
type Position = (usize, Arc<Vec<Block>>, watch::Receiver<usize>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AtomicBroadcast for Service {
    type BroadcastStream = Answers<BroadcastResponse>;
    type DeliverStream = Answers<DeliverResponse>;

    async fn broadcast(
        &self,
        _: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::BroadcastStream>, Status> {
        Err(Status::unimplemented("only delivers"))
    }

    async fn deliver(
        &self,
        request: Request<Streaming<Envelope>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let mut requests = request.into_inner();
        let unreadable = |_| Status::invalid_argument("not a request for blocks");
        let Some(seek) = requests.message().await? else {
            return Err(Status::invalid_argument("no request"));
        };
        let parsed = envelope::parse(&seek).map_err(|error| unreadable(error.to_string()))?;
        let seek = SeekInfo::decode(parsed.data).map_err(|error| unreadable(error.to_string()))?;
        let Some(seek_position::Type::Specified(start)) = seek.start.and_then(|start| start.r#type)
        else {
            return Err(Status::invalid_argument("no start"));
        };
        let number = usize::try_from(start.number).unwrap_or(usize::MAX);
        let state = (number, self.blocks.clone(), self.released.clone());
        Ok(Response::new(Box::pin(stream::unfold(state, next))))
    }
}

/// Waits for a block to be released, which those behind the last one never are.
async fn next(
    (number, blocks, mut released): Position,
) -> Option<(Result<DeliverResponse, Status>, Position)> {
    released.wait_for(|last| *last >= number).await.ok()?;
    let block = number.checked_sub(1).and_then(|index| blocks.get(index));
    let answer = match block {
        Some(block) => Ok(DeliverResponse {
            r#type: Some(deliver_response::Type::Block(block.clone())),
        }),
        None => Err(Status::out_of_range("there is no such block")),
    };
    Some((answer, (number + 1, blocks, released)))
}
