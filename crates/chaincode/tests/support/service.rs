//! A chaincode service under a test's control: a real gRPC server that plays scripts.

use bytes::Bytes;
use consilium_proto::protos::chaincode_message::Type;
use consilium_proto::protos::chaincode_server::{Chaincode, ChaincodeServer};
use consilium_proto::protos::chaincode_support_client::ChaincodeSupportClient;
use consilium_proto::protos::{
    ChaincodeEvent, ChaincodeId, ChaincodeInput, ChaincodeMessage, Response,
};
use consilium_transport::{MAX_MESSAGE, ServerTls, grpc_server, incoming, listen};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prost::Message;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

/// What a script gives back: the final message of its transaction, or nothing at all.
pub type Final = Option<ChaincodeMessage>;
/// A chaincode's whole behaviour.
pub type Script = Arc<dyn Fn(Call) -> BoxFuture<'static, Final> + Send + Sync>;

/// One transaction as the chaincode sees it.
pub struct Call {
    pub kind: Type,
    pub message: ChaincodeMessage,
    pub args: Vec<String>,
    pub outgoing: mpsc::Sender<Result<ChaincodeMessage, tonic::Status>>,
    pub answers: mpsc::Receiver<ChaincodeMessage>,
}

impl Call {
    pub fn reply(&self, kind: Type, payload: impl Into<Bytes>) -> ChaincodeMessage {
        ChaincodeMessage {
            r#type: kind.into(),
            payload: payload.into(),
            txid: self.message.txid.clone(),
            channel_id: self.message.channel_id.clone(),
            ..ChaincodeMessage::default()
        }
    }

    /// Sends without waiting for an answer.
    pub async fn send(&self, message: ChaincodeMessage) {
        // A peer that has gone away is what some tests are about.
        let _ = self.outgoing.send(Ok(message)).await;
    }

    /// Asks the peer; an error is the text of its ERROR message.
    pub async fn request(&mut self, kind: Type, payload: &impl Message) -> Result<Bytes, String> {
        self.request_raw(kind, payload.encode_to_vec()).await
    }

    pub async fn request_raw(
        &mut self,
        kind: Type,
        payload: impl Into<Bytes>,
    ) -> Result<Bytes, String> {
        self.send(self.reply(kind, payload)).await;
        let answer = self.answers.recv().await.ok_or("stream ended")?;
        match answer.r#type() {
            Type::Response => Ok(answer.payload),
            _ => Err(String::from_utf8_lossy(&answer.payload).into_owned()),
        }
    }

    pub fn completed(&self, status: i32, payload: impl Into<Bytes>) -> Final {
        let response = Response {
            status,
            message: String::new(),
            payload: payload.into(),
        };
        Some(self.reply(Type::Completed, response.encode_to_vec()))
    }

    pub fn completed_with_event(&self, name: &str) -> Final {
        let mut message = self.completed(200, "")?;
        message.chaincode_event = Some(ChaincodeEvent {
            chaincode_id: "forged".to_owned(),
            tx_id: "forged".to_owned(),
            event_name: name.to_owned(),
            payload: Bytes::from_static(b"payload"),
        });
        Some(message)
    }

    /// Completes with the text of what went wrong or right.
    pub fn told(&self, outcome: Result<Bytes, String>) -> Final {
        match outcome {
            Ok(payload) => self.completed(200, payload),
            Err(text) => self.completed(200, format!("error: {text}")),
        }
    }
}

/// A running service.
pub struct Service {
    pub address: String,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    ccid: Mutex<String>,
    script: Script,
    ready: Mutex<Vec<ChaincodeMessage>>,
    connections: Mutex<usize>,
}

impl Service {
    /// Listens on a free port.
    pub async fn start(tls: Option<Arc<ServerTls>>, script: Script) -> Self {
        let listener = listen("127.0.0.1:0").await.expect("a free port");
        let address = format!(
            "127.0.0.1:{}",
            listener.local_addr().expect("an address").port()
        );
        let shared = Arc::new(Shared {
            ccid: Mutex::default(),
            script,
            ready: Mutex::default(),
            connections: Mutex::default(),
        });
        let service = ChaincodeServer::new(Server(shared.clone()))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let serving = grpc_server()
            .add_service(service)
            .serve_with_incoming(incoming(listener, tls));
        let server = tokio::spawn(async move { serving.await.expect("serving") });
        Self {
            address,
            shared,
            server,
        }
    }

    /// The name to register under, known once the package is made.
    pub fn set_ccid(&self, ccid: &str) {
        *self.shared.ccid.lock() = ccid.to_owned();
    }

    /// How often a peer connected.
    pub fn connections(&self) -> usize {
        *self.shared.connections.lock()
    }

    /// What the peer said with READY, per connection.
    pub fn ready(&self) -> Vec<ChaincodeMessage> {
        self.shared.ready.lock().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Server(Arc<Shared>);

type Streams = HashMap<(String, String), mpsc::Sender<ChaincodeMessage>>;

#[tonic::async_trait]
impl Chaincode for Server {
    type ConnectStream = ReceiverStream<Result<ChaincodeMessage, tonic::Status>>;

    async fn connect(
        &self,
        request: tonic::Request<tonic::Streaming<ChaincodeMessage>>,
    ) -> Result<tonic::Response<Self::ConnectStream>, tonic::Status> {
        let (outgoing, messages) = mpsc::channel(64);
        *self.0.connections.lock() += 1;
        tokio::spawn(converse(self.0.clone(), request.into_inner(), outgoing));
        Ok(tonic::Response::new(ReceiverStream::new(messages)))
    }
}

async fn converse(
    shared: Arc<Shared>,
    incoming: tonic::Streaming<ChaincodeMessage>,
    outgoing: mpsc::Sender<Result<ChaincodeMessage, tonic::Status>>,
) {
    let registration = registration(&shared.ccid.lock());
    let _ = outgoing.send(Ok(registration)).await;
    serve(shared, incoming, outgoing).await;
}

fn registration(ccid: &str) -> ChaincodeMessage {
    let id = ChaincodeId {
        name: ccid.to_owned(),
        ..ChaincodeId::default()
    };
    ChaincodeMessage {
        r#type: Type::Register.into(),
        payload: id.encode_to_vec().into(),
        ..ChaincodeMessage::default()
    }
}

/// Registers with a peer as `ccid`, as launched chaincode does, and plays the script until the stream
/// ends. The error is why the peer did not want it.
pub async fn register(
    peer: Channel,
    ccid: &str,
    script: Script,
) -> Result<tokio::task::JoinHandle<()>, tonic::Status> {
    let (outgoing, messages) = mpsc::channel(64);
    let _ = outgoing.send(Ok(registration(ccid))).await;
    let messages = ReceiverStream::new(messages).filter_map(Result::ok);
    let incoming = ChaincodeSupportClient::new(peer)
        .register(messages)
        .await?
        .into_inner();
    let shared = Arc::new(Shared {
        ccid: Mutex::default(),
        script,
        ready: Mutex::default(),
        connections: Mutex::default(),
    });
    Ok(tokio::spawn(serve(shared, incoming, outgoing)))
}

async fn serve(
    shared: Arc<Shared>,
    mut incoming: tonic::Streaming<ChaincodeMessage>,
    outgoing: mpsc::Sender<Result<ChaincodeMessage, tonic::Status>>,
) {
    let mut calls = Streams::new();
    while let Some(Ok(message)) = incoming.next().await {
        let key = (message.channel_id.clone(), message.txid.clone());
        match message.r#type() {
            Type::Registered => {}
            Type::Ready => shared.ready.lock().push(message),
            kind @ (Type::Transaction | Type::Init) => {
                let (answer, answers) = mpsc::channel(16);
                calls.insert(key, answer);
                let input = ChaincodeInput::decode(message.payload.clone()).expect("an input");
                let args = input
                    .args
                    .iter()
                    .map(|arg| String::from_utf8_lossy(arg).into_owned());
                let call = Call {
                    kind,
                    args: args.collect(),
                    message,
                    outgoing: outgoing.clone(),
                    answers,
                };
                let script = shared.script.clone();
                let outgoing = outgoing.clone();
                tokio::spawn(async move {
                    if let Some(last) = script(call).await {
                        let _ = outgoing.send(Ok(last)).await;
                    }
                });
            }
            _ => {
                if let Some(answer) = calls.get(&key) {
                    let _ = answer.send(message).await;
                }
            }
        }
    }
}
