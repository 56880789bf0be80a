//! Orderers in one process, over real TLS on free ports of this machine.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod config;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use consilium_msp::Signer;
use consilium_orderer::{Orderer, OrdererOptions};
use consilium_proto::common::{self, Block, Envelope, HeaderType};
use consilium_proto::etcdraft;
use consilium_proto::orderer::atomic_broadcast_client::AtomicBroadcastClient;
use consilium_proto::orderer::seek_info::SeekBehavior;
use consilium_proto::orderer::{
    BroadcastResponse, SeekInfo, SeekPosition, SeekSpecified, deliver_response, seek_position,
};
use consilium_protocol::block;
use consilium_protocol::config::genesis::Profile;
use consilium_protocol::envelope::{self, HeaderSpec};
use consilium_testkit::{Credential, NodeOu, Organization, network};
use consilium_transport::{ClientAuth, ClientTls, MAX_MESSAGE, ServerTls, TlsIdentity};
use futures_util::{Stream, StreamExt};
use prost::Message;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

pub const CHANNEL: &str = "mychannel";
/// No test waits that long for one thing unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An organization whose orderers serve one channel.
pub struct Cluster {
    pub organization: Organization,
    pub genesis: Block,
    pub nodes: Vec<Place>,
    folder: tempfile::TempDir,
}

/// Where an orderer runs: what outlives a restart.
pub struct Place {
    pub tls: Credential,
    pub port: u16,
    index: usize,
    running: Option<Running>,
}

/// An orderer has a runtime of its own: dropping that is as near to a kill as one process allows.
struct Running {
    orderer: Arc<Orderer>,
    runtime: Runtime,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(Running { orderer, runtime }) = node.running.take() {
                drop(orderer);
                // RocksDB must not be at work any more when the process ends. A runtime may only be
                // waited for outside of another one.
                let ending = std::thread::spawn(move || runtime.shutdown_timeout(PATIENCE / 10));
                let _ = ending.join();
            }
        }
    }
}

impl Cluster {
    /// Starts `count` orderers and joins them to the channel. `adjust` changes its profile.
    pub async fn start(count: usize, adjust: impl FnOnce(&mut Profile)) -> Self {
        Self::start_in(count, adjust, |_| {}).await
    }

    /// The same, after `prepare` had the folder that each orderer will have.
    pub async fn start_in(
        count: usize,
        adjust: impl FnOnce(&mut Profile),
        mut prepare: impl FnMut(&Path),
    ) -> Self {
        consilium_transport::install_crypto_provider();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        let organization = Organization::new("OrdererMSP", "example.com");
        let mut nodes = Vec::new();
        let mut listeners = Vec::new();
        for index in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let port = listener.local_addr().expect("an address").port();
            nodes.push(Place {
                tls: organization.tls(&["127.0.0.1"]),
                port,
                index,
                running: None,
            });
            listeners.push(listener);
        }
        let consenters = nodes
            .iter()
            .map(|node| network::consenter("127.0.0.1", node.port, &node.tls))
            .collect();
        let mut profile = network::profile(CHANNEL, &[&organization], consenters);
        adjust(&mut profile);
        let genesis = network::block(&profile);
        let folder = tempfile::tempdir().expect("a folder");
        let mut cluster = Self {
            organization,
            genesis,
            nodes,
            folder,
        };
        for (index, listener) in listeners.into_iter().enumerate() {
            prepare(&cluster.data(index));
            cluster.run(index, listener).await;
            cluster.join(index).await;
        }
        cluster
    }

    /// Starts a stopped orderer again, from its folder, on its port.
    pub async fn restart(&mut self, index: usize) {
        let address = format!("127.0.0.1:{}", self.nodes[index].port);
        let listener = loop {
            match consilium_transport::listen(&address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        self.run(index, listener).await;
    }

    fn data(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("orderer{index}"))
    }

    async fn run(&mut self, index: usize, listener: TcpListener) {
        let data = self.data(index);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let signer = self.organization.signer("orderer", NodeOu::Orderer);
        let tls = self.nodes[index].tls.clone();
        // The socket belongs to the runtime that serves it.
        let listener = listener.into_std().expect("a socket");
        let starting = runtime.spawn(async move {
            let orderer = open(signer, &tls, &data).await;
            let tls = ServerTls::new(identity(&tls), ClientAuth::Request, &[]).expect("TLS");
            let listener = TcpListener::from_std(listener).expect("a listener");
            let serving = consilium_transport::grpc_server()
                .add_service(orderer.broadcast_service())
                .add_service(orderer.replication_service())
                .serve_with_incoming(consilium_transport::incoming(listener, Some(tls)));
            tokio::spawn(serving);
            orderer
        });
        let orderer = starting.await.expect("started");
        self.nodes[index].running = Some(Running { orderer, runtime });
    }

    /// Joins an orderer to the channel with its genesis block.
    pub async fn join(&self, index: usize) {
        self.join_with(index, &self.genesis).await;
    }

    /// Joins an orderer to the channel.
    pub async fn join_with(&self, index: usize, block: &Block) {
        let running = self.nodes[index]
            .running
            .as_ref()
            .expect("a running orderer");
        let (orderer, genesis) = (running.orderer.clone(), block.clone());
        let joining = running
            .runtime
            .spawn(async move { orderer.join(&genesis).await });
        joining.await.expect("no panic").expect("joined");
    }

    /// Takes an orderer away: everything of it stops where it is, its files stay.
    pub async fn kill(&mut self, index: usize) {
        let Running { orderer, runtime } =
            self.nodes[index].running.take().expect("a running orderer");
        drop(orderer);
        runtime.shutdown_background();
    }

    pub fn orderer(&self, index: usize) -> Arc<Orderer> {
        self.nodes[index]
            .running
            .as_ref()
            .expect("a running orderer")
            .orderer
            .clone()
    }

    pub fn running(&self) -> Vec<usize> {
        let running = self.nodes.iter().filter(|node| node.running.is_some());
        running.map(|node| node.index).collect()
    }

    /// Waits until the running orderers agree on a leader, and gives its index.
    pub async fn leader(&self) -> usize {
        let agreed = async {
            loop {
                let mut leaders = Vec::new();
                for index in self.running() {
                    leaders.push(self.orderer(index).leader(CHANNEL));
                }
                leaders.retain(Option::is_some);
                if let Some(Some(leader)) = leaders.first().copied()
                    && leaders.iter().all(|other| *other == Some(leader))
                    && let Some(index) = self
                        .running()
                        .into_iter()
                        .find(|index| self.orderer(*index).raft_id(CHANNEL) == Some(leader))
                {
                    return index;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, agreed)
            .await
            .expect("a leader")
    }

    pub async fn client(&self, index: usize) -> AtomicBroadcastClient<Channel> {
        let roots = [self.organization.tls_root_pem()];
        let tls = ClientTls::new(None, &roots).expect("a client's TLS");
        let address = format!("127.0.0.1:{}", self.nodes[index].port);
        let channel = consilium_transport::connect(&address, Some(tls), PATIENCE).await;
        AtomicBroadcastClient::new(channel.expect("connected"))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    /// A signed message of a client.
    pub fn message(&self, text: &str) -> Envelope {
        let signer = self.organization.signer("client", NodeOu::Client);
        message_of(
            &*signer,
            CHANNEL,
            HeaderType::EndorserTransaction,
            text.as_bytes(),
        )
    }

    /// The signed update that turns the channel's configuration, as a running orderer has it, into
    /// what `change` makes of it.
    pub fn config_update(
        &self,
        signer: NodeOu,
        change: impl FnOnce(&mut common::ConfigGroup),
    ) -> Envelope {
        let newest = self.running().into_iter().max_by_key(|index| {
            let info = self.orderer(*index).channel_info(CHANNEL);
            info.map(|info| info.height)
        });
        let config = self.orderer(newest.expect("an orderer")).config(CHANNEL);
        let signer = self.organization.signer("admin", signer);
        config::update_of(&config.expect("the channel"), &*signer, change)
    }

    /// Changes the list of consenters.
    pub async fn change_consenters(
        &self,
        through: usize,
        change: impl FnOnce(&mut Vec<etcdraft::Consenter>),
    ) -> BroadcastResponse {
        let update = self.config_update(NodeOu::Admin, |root| {
            config::change_consenters(root, change);
        });
        self.broadcast(through, update).await
    }

    /// Starts one more orderer, in no channel.
    pub async fn add(&mut self) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let index = self.nodes.len();
        self.nodes.push(Place {
            tls: self.organization.tls(&["127.0.0.1"]),
            port: listener.local_addr().expect("an address").port(),
            index,
            running: None,
        });
        self.run(index, listener).await;
        index
    }

    /// An orderer as the list of consenters has it.
    pub fn consenter(&self, index: usize) -> etcdraft::Consenter {
        let node = &self.nodes[index];
        network::consenter("127.0.0.1", node.port, &node.tls)
    }

    /// Deletes what a stopped orderer has on its disk.
    pub fn wipe(&self, index: usize) {
        let data = self.data(index);
        // What was killed may still be closing its files.
        for _ in 0..100 {
            match std::fs::remove_dir_all(&data) {
                Ok(()) => return,
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        panic!("cannot delete {}", data.display());
    }

    /// Waits until `done` holds.
    pub async fn until(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let waiting = async {
            while !done(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("{what}: not in time");
        }
    }

    /// Sends one message and gives the answer.
    pub async fn broadcast(&self, index: usize, message: Envelope) -> BroadcastResponse {
        let answers = self.broadcast_all(index, vec![message]).await;
        answers.into_iter().next().expect("an answer")
    }

    /// Sends messages on one stream and gives all answers.
    pub async fn broadcast_all(
        &self,
        index: usize,
        messages: Vec<Envelope>,
    ) -> Vec<BroadcastResponse> {
        let mut client = self.client(index).await;
        let requests = futures_util::stream::iter(messages);
        let answers = async {
            let stream = client
                .broadcast(requests)
                .await
                .expect("a stream")
                .into_inner();
            stream
                .map(|answer| answer.expect("an answer"))
                .collect()
                .await
        };
        tokio::time::timeout(PATIENCE, answers)
            .await
            .expect("answers in time")
    }

    /// All blocks of an orderer's chain, over Deliver, once it has `height` of them.
    pub async fn blocks(&self, index: usize, height: u64) -> Vec<Block> {
        let position = |number| {
            Some(SeekPosition {
                r#type: Some(seek_position::Type::Specified(SeekSpecified { number })),
            })
        };
        let seek = SeekInfo {
            start: position(0),
            stop: position(height - 1),
            behavior: SeekBehavior::BlockUntilReady as i32,
            ..Default::default()
        };
        let mut client = self.client(index).await;
        let requests = futures_util::stream::iter([self.seek(seek)]);
        let read = async {
            let mut stream = client
                .deliver(requests)
                .await
                .expect("a stream")
                .into_inner();
            let mut blocks = Vec::new();
            while blocks.len() < height as usize {
                let response = stream.next().await.expect("more").expect("a response");
                match response.r#type.expect("one of them") {
                    deliver_response::Type::Block(block) => blocks.push(block),
                    deliver_response::Type::Status(status) => panic!("status {status}"),
                }
            }
            blocks
        };
        tokio::time::timeout(PATIENCE, read)
            .await
            .expect("blocks in time")
    }

    pub fn seek(&self, seek: SeekInfo) -> Envelope {
        let signer = self.organization.signer("reader", NodeOu::Client);
        let now = envelope::timestamp(SystemTime::now());
        envelope::seek(CHANNEL, seek, &*signer, now, Bytes::new()).expect("signed")
    }

    pub fn height(&self, index: usize) -> u64 {
        self.orderer(index)
            .channel_info(CHANNEL)
            .expect("the channel")
            .height
    }

    /// Waits until all running orderers have the same number of blocks, at least `least`.
    pub async fn settle(&self, least: u64) -> u64 {
        let settled = async {
            let mut before = Vec::new();
            loop {
                let heights: Vec<u64> = self
                    .running()
                    .into_iter()
                    .map(|index| self.height(index))
                    .collect();
                let equal = heights.windows(2).all(|pair| pair[0] == pair[1]);
                if equal && heights == before && heights[0] >= least {
                    return heights[0];
                }
                before = heights;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled)
            .await
            .expect("the chains become equal")
    }
}

pub fn identity(tls: &Credential) -> TlsIdentity {
    TlsIdentity::from_pem(tls.cert_pem.as_bytes(), tls.key_pem.as_bytes()).expect("a TLS identity")
}

async fn open(signer: Arc<dyn Signer>, tls: &Credential, data: &Path) -> Arc<Orderer> {
    let identity = identity(tls);
    let certificate = Bytes::copy_from_slice(identity.leaf_der());
    let client = ClientTls::new(Some(identity), &[]).expect("a client's TLS");
    let options = OrdererOptions::new(data, signer, certificate.clone(), certificate, client);
    // A killed orderer's database is free a moment after its last stream has ended.
    let opening = async {
        loop {
            match Orderer::open(options.clone()).await {
                Ok(orderer) => return orderer,
                Err(error) if error.to_string().contains("lock") => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("cannot open: {error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, opening)
        .await
        .expect("opened in time")
}

pub fn message_of(signer: &dyn Signer, channel: &str, kind: HeaderType, data: &[u8]) -> Envelope {
    let spec = HeaderSpec::new(kind, channel, envelope::timestamp(SystemTime::now()));
    envelope::create_signed(spec, Bytes::copy_from_slice(data), signer).expect("signed")
}

/// The texts of all messages in the blocks, config messages left out.
pub fn texts(blocks: &[Block]) -> Vec<String> {
    let mut texts = Vec::new();
    for block in blocks.iter().filter(|block| !block::is_config(block)) {
        for bytes in block::envelopes(block) {
            let parsed = envelope::parse_bytes(bytes).expect("an envelope");
            texts.push(String::from_utf8(parsed.data.to_vec()).expect("text"));
        }
    }
    texts
}

/// Checks that the blocks are a chain and that everything in them is as it must be.
pub fn check_chain(blocks: &[Block], config: &consilium_protocol::config::ChannelConfig) {
    for pair in blocks.windows(2) {
        let previous = pair[0].header.as_ref().expect("a header");
        block::check_successor(&pair[1], previous).expect("a chain");
        block::check_structure(&pair[1]).expect("well formed");
        config
            .verify_block_signatures(&pair[1])
            .expect("signed by an orderer");
    }
}

pub fn header_hashes(blocks: &[Block]) -> Vec<[u8; 32]> {
    let headers = blocks
        .iter()
        .map(|block| block.header.as_ref().expect("a header"));
    headers.map(block::header_hash).collect()
}

pub fn status(response: &BroadcastResponse) -> common::Status {
    common::Status::try_from(response.status).expect("a known status")
}

pub fn encode(block: &Block) -> Vec<u8> {
    block.encode_to_vec()
}

/// Ends a stream of requests only when it is dropped.
pub fn held<T>(items: Vec<T>) -> impl Stream<Item = T> {
    futures_util::stream::iter(items).chain(futures_util::stream::pending())
}
