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
use futures_util::{Stream, StreamExt, stream};
use prost::Message;
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status, Streaming};

/// Listens on a free port until it is dropped.
pub struct Orderer {
    pub address: String,
    requests: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Orderer {
    /// Delivers `blocks` (from number 1 on), then waits.
    pub async fn start(blocks: Arc<Vec<Block>>) -> Self {
        let listener = consilium_transport::listen("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let requests = Arc::new(AtomicUsize::new(0));
        let service = AtomicBroadcastServer::new(Service {
            blocks,
            requests: requests.clone(),
        })
        .max_encoding_message_size(usize::MAX);
        let serving = consilium_transport::grpc_server()
            .add_service(service)
            .serve_with_incoming(consilium_transport::incoming(listener, None));
        let server = tokio::spawn(async move { serving.await.expect("the server runs") });
        Self {
            address,
            requests,
            server,
        }
    }

    /// How often somebody asked for blocks.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
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
}

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
        let seek = requests.message().await?.expect("a request");
        let parsed = envelope::parse(&seek).expect("an envelope");
        let seek = SeekInfo::decode(parsed.data).expect("a seek");
        let Some(seek_position::Type::Specified(start)) = seek.start.and_then(|start| start.r#type)
        else {
            return Err(Status::invalid_argument("no start"));
        };
        let blocks = self.blocks.clone();
        let first = usize::try_from(start.number).expect("a number") - 1;
        let answers = (first..blocks.len()).map(move |index| {
            Ok(DeliverResponse {
                r#type: Some(deliver_response::Type::Block(blocks[index].clone())),
            })
        });
        Ok(Response::new(Box::pin(
            stream::iter(answers).chain(stream::pending()),
        )))
    }
}
