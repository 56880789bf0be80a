//! A consortium in one process: real orderers, peers and gateways over mutual TLS on free ports.
#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use consilium_contracts::{Contract, IndexDeclaration, Response, Stub, built_in, kv::Kv};
use consilium_discovery::{Discovery, DiscoveryOptions};
use consilium_gateway::{Gateway, GatewayOptions};
use consilium_gossip::GossipOptions;
use consilium_ledger::{Ledger, LedgerError};
use consilium_msp::Signer;
use consilium_orderer::{Orderer, OrdererOptions};
use consilium_peer::{Peer, PeerOptions, PrivateOptions};
use consilium_proto::{
    common,
    gateway::{self, gateway_client::GatewayClient},
    lifecycle::{
        ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeSource, CommitChaincodeDefinitionArgs,
        InstallChaincodeArgs, InstallChaincodeResult, chaincode_source,
    },
    orderer,
    protos::{self, TxValidationCode},
};
use consilium_protocol::{
    config::genesis::Profile,
    envelope,
    proposal::{self, NewProposal},
    transaction,
};
use consilium_testkit::{Credential, NodeOu, Organization, network};
use consilium_transport::{
    ClientAuth, ClientTls, MAX_MESSAGE, ServerTls, TlsIdentity, grpc_server, incoming,
};
use prost::Message;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{Code, Status, transport::Channel};

pub const CHANNEL: &str = "mychannel";
/// No test waits that long for one thing unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Network {
    pub orderer_organization: Organization,
    pub orderers: Vec<RunningOrderer>,
    pub members: Vec<Member>,
    pub genesis: common::Block,
    folder: tempfile::TempDir,
    gossips: bool,
}

pub struct RunningOrderer {
    pub orderer: Arc<Orderer>,
    pub address: String,
    server: JoinHandle<()>,
}

/// Changes the options of a peer that starts.
pub type Adjust = Arc<dyn Fn(&mut PeerOptions) + Send + Sync>;

/// An organization with its peer.
pub struct Member {
    pub organization: Arc<Organization>,
    pub peer: Arc<Peer>,
    pub address: String,
    pub client: Client,
    pub admin: Client,
    tls: Credential,
    data: std::path::PathBuf,
    /// Peers to find others by; `None` for a peer that does not gossip.
    bootstrap: Option<Vec<String>>,
    adjust: Adjust,
    island: Island,
}

/// A runtime of its own: when it goes, everything in it goes, as in a process that ends.
struct Island(Option<tokio::runtime::Runtime>);

impl Island {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        Self(Some(runtime))
    }

    async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let runtime = self.0.as_ref().expect("a running island");
        runtime.spawn(work).await.expect("no panic")
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Somebody with a signing identity, connected to a gateway.
#[derive(Clone)]
pub struct Client {
    pub signer: Arc<dyn Signer>,
    pub gateway: GatewayClient<Channel>,
    pub channel: Channel,
}

fn identity(tls: &Credential) -> TlsIdentity {
    TlsIdentity::from_pem(tls.cert_pem.as_bytes(), tls.key_pem.as_bytes()).expect("a TLS identity")
}

async fn listener() -> (TcpListener, u16) {
    let listener = consilium_transport::listen("127.0.0.1:0")
        .await
        .expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

impl Network {
    pub async fn start(orderers: usize, members: usize) -> Self {
        Self::start_with(orderers, members, |_| {}).await
    }

    /// Starts everything and joins one channel; `adjust` changes its profile.
    pub async fn start_with(
        orderers: usize,
        members: usize,
        adjust: impl FnOnce(&mut Profile),
    ) -> Self {
        Self::build(orderers, members, false, adjust, as_it_is()).await
    }

    /// The same with peers that gossip.
    pub async fn start_gossiping(orderers: usize, members: usize) -> Self {
        Self::start_adjusted(orderers, members, as_it_is()).await
    }

    /// The same, and `adjust` changes the options of these peers.
    pub async fn start_adjusted(orderers: usize, members: usize, adjust: Adjust) -> Self {
        Self::build(orderers, members, true, |_| {}, adjust).await
    }

    /// The same, and each transaction has a block of its own.
    pub async fn start_with_small_blocks(orderers: usize, members: usize) -> Self {
        let small = |profile: &mut Profile| profile.batch_size.max_message_count = 1;
        Self::build(orderers, members, true, small, as_it_is()).await
    }

    async fn build(
        orderers: usize,
        members: usize,
        gossips: bool,
        adjust: impl FnOnce(&mut Profile),
        adjust_peers: Adjust,
    ) -> Self {
        consilium_transport::install_crypto_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let orderer_organization = Organization::new("OrdererMSP", "example.com");
        let organizations: Vec<Organization> = (1..=members)
            .map(|n| Organization::new(&format!("Org{n}MSP"), &format!("org{n}.example.com")))
            .collect();
        let mut ordering = Vec::new();
        for _ in 0..orderers {
            let (listener, port) = listener().await;
            ordering.push((listener, port, orderer_organization.tls(&["127.0.0.1"])));
        }
        let mut peering = Vec::new();
        for organization in &organizations {
            let (listener, port) = listener().await;
            peering.push((listener, port, organization.tls(&["127.0.0.1"])));
        }
        let consenters = ordering
            .iter()
            .map(|(_, port, tls)| network::consenter("127.0.0.1", *port, tls))
            .collect();
        let all: Vec<&Organization> = std::iter::once(&orderer_organization)
            .chain(&organizations)
            .collect();
        let mut profile = network::profile(CHANNEL, &all, consenters);
        for (index, organization) in profile.organizations.iter_mut().enumerate() {
            organization.is_application = index > 0;
            if index > 0 {
                organization.anchor_peers = vec![("127.0.0.1".to_owned(), peering[index - 1].1)];
            }
        }
        adjust(&mut profile);
        let genesis = network::block(&profile);
        let mut running = Vec::new();
        for (index, (listener, port, tls)) in ordering.into_iter().enumerate() {
            let data = folder.path().join(format!("orderer{index}"));
            running.push(
                start_orderer(&orderer_organization, &tls, &data, listener, port, &genesis).await,
            );
        }
        let mut joined = Vec::new();
        for (organization, (listener, _, tls)) in organizations.into_iter().zip(peering) {
            let data = folder.path().join(organization.msp_id());
            let bootstrap = gossips.then(Vec::new);
            let organization = Arc::new(organization);
            let genesis = Some(&genesis);
            let adjust = adjust_peers.clone();
            joined.push(
                start_peer(
                    organization,
                    tls,
                    data,
                    listener,
                    genesis,
                    bootstrap,
                    adjust,
                )
                .await,
            );
        }
        Self {
            orderer_organization,
            orderers: running,
            members: joined,
            genesis,
            folder,
            gossips,
        }
    }

    /// One more peer for the organization of a member; its index.
    pub async fn add_peer(&mut self, of: usize) -> usize {
        let genesis = self.genesis.clone();
        self.add(of, Some(&genesis), as_it_is()).await
    }

    /// The same, and `adjust` changes its options.
    pub async fn add_peer_with(&mut self, of: usize, adjust: Adjust) -> usize {
        let genesis = self.genesis.clone();
        self.add(of, Some(&genesis), adjust).await
    }

    /// The same, without joining the channel.
    pub async fn add_peer_apart(&mut self, of: usize) -> usize {
        self.add(of, None, as_it_is()).await
    }

    async fn add(&mut self, of: usize, genesis: Option<&common::Block>, adjust: Adjust) -> usize {
        let (organization, first) = {
            let member = &self.members[of];
            (member.organization.clone(), member.address.clone())
        };
        let index = self.members.len();
        let data = self.folder.path().join(format!("peer{index}"));
        let tls = organization.tls(&["127.0.0.1"]);
        let (listener, _) = listener().await;
        let bootstrap = self.gossips.then(|| vec![first]);
        let member = start_peer(
            organization,
            tls,
            data,
            listener,
            genesis,
            bootstrap,
            adjust,
        )
        .await;
        self.members.push(member);
        index
    }

    /// Waits until every peer knows every other one.
    pub async fn acquainted(&self) {
        self.acquainted_but(&[]).await;
    }

    /// The same without some.
    pub async fn acquainted_but(&self, without: &[usize]) {
        let others = self.members.len() - without.len() - 1;
        let acquainted = async {
            for (index, member) in self.members.iter().enumerate() {
                while !without.contains(&index)
                    && member.peer.known_members(CHANNEL).len() != others
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, acquainted)
            .await
            .expect("peers find one another");
    }

    /// Installs at every peer, approves once for each organization and commits a built-in contract; `policy` as in the policy language, or
    /// the channel's default.
    pub async fn deploy(&self, name: &str, policy: Option<&str>) {
        self.deploy_with(name, policy, None).await;
    }

    pub async fn deploy_with(
        &self,
        name: &str,
        policy: Option<&str>,
        collections: Option<protos::CollectionConfigPackage>,
    ) {
        self.define(name, policy, collections, 1).await;
    }

    /// The same as a given version of the definition.
    pub async fn define(
        &self,
        name: &str,
        policy: Option<&str>,
        collections: Option<protos::CollectionConfigPackage>,
        sequence: i64,
    ) {
        let package =
            consilium_chaincode::lifecycle::package_in_process(&format!("{name}_1"), name)
                .expect("a good label");
        let validation_parameter = policy.map_or_else(Bytes::new, |text| {
            let envelope = consilium_msp::dsl::parse(text).expect("a policy");
            protos::ApplicationPolicy {
                r#type: Some(protos::application_policy::Type::SignaturePolicy(envelope)),
            }
            .encode_to_vec()
            .into()
        });
        let mut approved = BTreeSet::new();
        for member in &self.members {
            let args = InstallChaincodeArgs {
                chaincode_install_package: package.clone().into(),
            };
            let installed = member
                .admin
                .endorse_locally(
                    &member.peer,
                    "",
                    "_lifecycle",
                    &[b"InstallChaincode", &args.encode_to_vec()],
                )
                .await;
            let response = installed.response.expect("a response");
            let package_id = consilium_chaincode::lifecycle::package_id(
                &format!("{name}_1"),
                &Bytes::from(package.clone()),
            );
            if sequence == 1 {
                assert_eq!(response.status, 200, "{}", response.message);
                let result = InstallChaincodeResult::decode(response.payload).expect("a result");
                assert_eq!(result.package_id, package_id);
            }
            if !approved.insert(member.organization.msp_id().to_owned()) {
                continue;
            }
            let approval = ApproveChaincodeDefinitionForMyOrgArgs {
                name: name.to_owned(),
                version: "1.0".to_owned(),
                sequence,
                validation_parameter: validation_parameter.clone(),
                collections: collections.clone(),
                source: Some(ChaincodeSource {
                    r#type: Some(chaincode_source::Type::LocalPackage(
                        chaincode_source::Local { package_id },
                    )),
                }),
                ..Default::default()
            };
            let own = vec![member.organization.msp_id().to_owned()];
            let code = member
                .admin
                .submit_to(
                    own,
                    "_lifecycle",
                    &[
                        b"ApproveChaincodeDefinitionForMyOrg",
                        &approval.encode_to_vec(),
                    ],
                )
                .await
                .expect("approved");
            assert_eq!(code, TxValidationCode::Valid);
        }
        let commit = CommitChaincodeDefinitionArgs {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            sequence,
            validation_parameter,
            collections,
            ..Default::default()
        };
        // A peer that has not seen the last approval yet would refuse.
        self.level().await;
        let code = self.members[0]
            .admin
            .submit(
                "_lifecycle",
                &[b"CommitChaincodeDefinition", &commit.encode_to_vec()],
            )
            .await
            .expect("committed");
        assert_eq!(code, TxValidationCode::Valid);
        self.level().await;
    }

    /// Takes a peer away; its files stay.
    pub async fn stop_peer(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.peer.shutdown().await;
        member.island = Island(None);
    }

    /// Starts a stopped peer from its folder, on its address.
    pub async fn restart_peer(&mut self, index: usize) {
        let Member {
            organization,
            peer,
            address,
            client,
            admin,
            tls,
            data,
            bootstrap,
            adjust,
            island,
        } = self.members.remove(index);
        drop((client, admin, island));
        // The ledger's lock goes when the last of the old peer's tasks ends.
        let gone = Arc::downgrade(&peer.channel(CHANNEL).expect("a channel"));
        drop(peer);
        let folder = data.join("ledgers").join(CHANNEL);
        let is_held = || matches!(Ledger::open(&folder), Err(LedgerError::InUse(_)));
        let released = async {
            // Closing takes a moment after the last one has let go.
            while gone.strong_count() > 0 || is_held() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, released)
            .await
            .expect("the ledger is let go");
        let listener = consilium_transport::listen(&address)
            .await
            .expect("the old port");
        let member = start_peer(organization, tls, data, listener, None, bootstrap, adjust).await;
        self.members.insert(index, member);
    }

    /// Waits until all peers have the same height.
    pub async fn level(&self) {
        self.level_from(0).await;
    }

    /// The same, and at least so high.
    pub async fn level_from(&self, least: u64) {
        let level = async {
            loop {
                let heights: Vec<u64> = self
                    .members
                    .iter()
                    .map(|member| *member.channel().subscribe_height().borrow())
                    .collect();
                if heights[0] >= least && heights.windows(2).all(|pair| pair[0] == pair[1]) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, level)
            .await
            .expect("peers catch up");
    }
}

async fn start_orderer(
    organization: &Organization,
    tls: &Credential,
    data: &Path,
    listener: TcpListener,
    port: u16,
    genesis: &common::Block,
) -> RunningOrderer {
    let own = identity(tls);
    let certificate = Bytes::copy_from_slice(own.leaf_der());
    let client = ClientTls::new(Some(own), &[]).expect("a client's TLS");
    let signer = organization.signer("orderer", NodeOu::Orderer);
    let options = OrdererOptions::new(data, signer, certificate.clone(), certificate, client);
    let orderer = Orderer::open(options).await.expect("an orderer");
    let server_tls = ServerTls::new(identity(tls), ClientAuth::Request, &[]).expect("TLS");
    let serving = grpc_server()
        .add_service(orderer.broadcast_service())
        .add_service(orderer.replication_service())
        .serve_with_incoming(incoming(listener, Some(server_tls)));
    let server = tokio::spawn(async move { serving.await.expect("the server runs") });
    orderer.join(genesis).await.expect("joined");
    RunningOrderer {
        orderer,
        address: format!("127.0.0.1:{port}"),
        server,
    }
}

/// Gossip at a pace for tests.
fn gossip(
    signer: Arc<dyn Signer>,
    address: &str,
    client_tls: Arc<ClientTls>,
    bootstrap: Vec<String>,
) -> GossipOptions {
    let pace = Duration::from_millis(200);
    GossipOptions {
        external_endpoint: address.to_owned(),
        bootstrap,
        client_tls: Some(client_tls),
        alive_interval: pace,
        alive_expiration: Duration::from_secs(3),
        reconnect_interval: pace,
        state_info_interval: pace,
        request_state_info_interval: pace,
        max_message: 1024 * 1024,
        ..GossipOptions::new(signer, address)
    }
}

async fn start_peer(
    organization: Arc<Organization>,
    tls: Credential,
    data: std::path::PathBuf,
    listener: TcpListener,
    genesis: Option<&common::Block>,
    bootstrap: Option<Vec<String>>,
    adjust: Adjust,
) -> Member {
    let port = listener.local_addr().expect("an address").port();
    let address = format!("127.0.0.1:{port}");
    let client_tls = ClientTls::new(Some(identity(&tls)), &[]).expect("a client's TLS");
    let signer: Arc<dyn Signer> = organization.signer("peer", NodeOu::Peer);
    let mut options = PeerOptions {
        client_tls: Some(client_tls.clone()),
        address: address.clone(),
        contracts: contracts(),
        gossip: bootstrap
            .clone()
            .map(|others| gossip(signer.clone(), &address, client_tls, others)),
        private: PrivateOptions {
            pull_retry_threshold: Duration::from_secs(5),
            reconcile_sleep_interval: Duration::from_millis(200),
            deprioritized_interval: Duration::from_millis(500),
            ..PrivateOptions::default()
        },
        ..PeerOptions::new(data.clone(), signer, organization.msp())
    };
    adjust(&mut options);
    let server_tls = ServerTls::new(identity(&tls), ClientAuth::Request, &[]).expect("TLS");
    let genesis = genesis.cloned();
    let listener = listener.into_std().expect("a listener");
    let island = Island::new();
    let start = async move {
        let listener = TcpListener::from_std(listener).expect("a listener");
        let peer = Peer::open(options).expect("a peer");
        if let Some(genesis) = genesis {
            peer.join(&genesis).expect("joined");
        }
        let gateway = Gateway::new(peer.clone(), GatewayOptions::default());
        let discovery = Discovery::new(peer.clone(), DiscoveryOptions::default());
        let gossip = peer.gossip_service();
        let serving = grpc_server()
            .add_service(peer.endorser_service().into_server())
            .add_service(peer.deliver_service())
            .add_service(peer.snapshot_service().into_server())
            .add_service(gateway.service())
            .add_service(discovery.service())
            .add_optional_service(gossip.map(|gossip| gossip.into_server()))
            .serve_with_incoming(incoming(listener, Some(server_tls)));
        tokio::spawn(async move { serving.await.expect("the server runs") });
        peer
    };
    let peer = island.run(start).await;
    let client = Client::connect(&organization, &address, "user", NodeOu::Client).await;
    let admin = Client {
        signer: organization.signer("admin", NodeOu::Admin),
        ..client.clone()
    };
    Member {
        organization,
        peer,
        address,
        client,
        admin,
        tls,
        data,
        bootstrap,
        adjust,
        island,
    }
}

fn as_it_is() -> Adjust {
    Arc::new(|_| {})
}

/// `kv` with indexes, called `indexed`: of documents by size, public ones and those of a collection.
struct Indexed;

impl Contract for Indexed {
    fn name(&self) -> &'static str {
        "indexed"
    }

    fn indexes(&self) -> Vec<IndexDeclaration> {
        let of = |collection| IndexDeclaration {
            collection,
            file: "size.json",
            definition: r#"{"index":{"fields":["size"]},"ddoc":"d","name":"size"}"#,
        };
        vec![of(None), of(Some("all"))]
    }

    fn invoke(&self, stub: &mut dyn Stub) -> Response {
        Kv.invoke(stub)
    }
}

fn contracts() -> Vec<Arc<dyn Contract>> {
    let mut contracts = built_in();
    contracts.push(Arc::new(Indexed));
    contracts
}

impl Member {
    /// Where the peer's files are.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// TLS with a certificate of this member's organization, trusting its peer.
    pub fn client_tls(&self) -> Arc<ClientTls> {
        let roots = [self.organization.tls_root_pem()];
        ClientTls::new(Some(identity(&self.tls)), &roots).expect("a client's TLS")
    }

    pub fn channel(&self) -> Arc<consilium_peer::PeerChannel> {
        self.peer.channel(CHANNEL).expect("a joined channel")
    }
}

impl RunningOrderer {
    /// Takes it away: connections break at once.
    pub async fn kill(&self) {
        self.server.abort();
        self.orderer.shutdown().await;
    }
}

impl Client {
    pub async fn connect(
        organization: &Organization,
        address: &str,
        name: &str,
        unit: NodeOu,
    ) -> Self {
        let roots = [organization.tls_root_pem()];
        let tls = ClientTls::new(None, &roots).expect("a client's TLS");
        let channel = consilium_transport::connect(address, Some(tls), PATIENCE)
            .await
            .expect("connected");
        Self {
            signer: organization.signer(name, unit),
            gateway: GatewayClient::new(channel.clone())
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
            channel,
        }
    }

    /// The same connection with another identity.
    pub fn with_signer(&self, signer: Arc<dyn Signer>) -> Self {
        Self {
            signer,
            ..self.clone()
        }
    }

    pub fn propose(
        &self,
        channel: &str,
        chaincode: &str,
        args: &[&[u8]],
    ) -> (protos::SignedProposal, String) {
        self.propose_with(channel, chaincode, args, BTreeMap::new())
    }

    pub fn propose_with(
        &self,
        channel: &str,
        chaincode: &str,
        args: &[&[u8]],
        transient: BTreeMap<String, Bytes>,
    ) -> (protos::SignedProposal, String) {
        let proposal = NewProposal {
            channel,
            chaincode,
            args: args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect(),
            transient,
            is_init: false,
            timestamp: envelope::timestamp(SystemTime::now()),
        };
        proposal::create(proposal, self.signer.as_ref()).expect("a signed proposal")
    }

    pub async fn endorse_locally(
        &self,
        peer: &Peer,
        channel: &str,
        chaincode: &str,
        args: &[&[u8]],
    ) -> protos::ProposalResponse {
        let (proposal, _) = self.propose(channel, chaincode, args);
        peer.process_proposal(proposal).await.expect("a response")
    }

    pub async fn evaluate(
        &self,
        chaincode: &str,
        args: &[&[u8]],
    ) -> Result<protos::Response, Status> {
        let (proposal, transaction_id) = self.propose(CHANNEL, chaincode, args);
        let request = gateway::EvaluateRequest {
            transaction_id,
            channel_id: CHANNEL.to_owned(),
            proposed_transaction: Some(proposal),
            target_organizations: Vec::new(),
        };
        let response = self.gateway.clone().evaluate(request).await?.into_inner();
        Ok(response.result.expect("a result"))
    }

    pub async fn endorse_proposal(
        &self,
        proposal: protos::SignedProposal,
        organizations: Vec<String>,
    ) -> Result<common::Envelope, Status> {
        let request = gateway::EndorseRequest {
            transaction_id: String::new(),
            channel_id: CHANNEL.to_owned(),
            proposed_transaction: Some(proposal),
            endorsing_organizations: organizations,
        };
        let response = self.gateway.clone().endorse(request).await?.into_inner();
        Ok(response.prepared_transaction.expect("a transaction"))
    }

    pub fn sign(&self, envelope: common::Envelope) -> common::Envelope {
        transaction::sign(envelope, self.signer.as_ref()).expect("signed")
    }

    pub async fn send(&self, envelope: common::Envelope) -> Result<(), Status> {
        let request = gateway::SubmitRequest {
            transaction_id: String::new(),
            channel_id: CHANNEL.to_owned(),
            prepared_transaction: Some(envelope),
        };
        self.gateway.clone().submit(request).await.map(|_| ())
    }

    pub async fn status(&self, transaction_id: &str) -> Result<(TxValidationCode, u64), Status> {
        let request = gateway::CommitStatusRequest {
            transaction_id: transaction_id.to_owned(),
            channel_id: CHANNEL.to_owned(),
            identity: self.signer.serialized().clone(),
        };
        let request = Bytes::from(request.encode_to_vec());
        let signature = self.signer.sign(&request).expect("signed");
        let signed = gateway::SignedCommitStatusRequest { request, signature };
        let response = tokio::time::timeout(PATIENCE, self.gateway.clone().commit_status(signed))
            .await
            .map_err(|_| Status::new(Code::DeadlineExceeded, "the test's patience"))??
            .into_inner();
        Ok((response.result(), response.block_number))
    }

    pub async fn submit(
        &self,
        chaincode: &str,
        args: &[&[u8]],
    ) -> Result<TxValidationCode, Status> {
        self.submit_to(Vec::new(), chaincode, args).await
    }

    pub async fn submit_to(
        &self,
        organizations: Vec<String>,
        chaincode: &str,
        args: &[&[u8]],
    ) -> Result<TxValidationCode, Status> {
        let (proposal, tx_id) = self.propose(CHANNEL, chaincode, args);
        let envelope = self.endorse_proposal(proposal, organizations).await?;
        self.send(self.sign(envelope)).await?;
        Ok(self.status(&tx_id).await?.0)
    }

    pub async fn events(
        &self,
        request: gateway::ChaincodeEventsRequest,
    ) -> Result<tonic::Streaming<gateway::ChaincodeEventsResponse>, Status> {
        let request = Bytes::from(
            gateway::ChaincodeEventsRequest {
                identity: self.signer.serialized().clone(),
                ..request
            }
            .encode_to_vec(),
        );
        let signature = self.signer.sign(&request).expect("signed");
        let signed = gateway::SignedChaincodeEventsRequest { request, signature };
        Ok(self
            .gateway
            .clone()
            .chaincode_events(signed)
            .await?
            .into_inner())
    }
}

/// A signed request for one block.
pub fn seek(signer: &dyn Signer, number: u64) -> common::Envelope {
    let position = Some(orderer::SeekPosition {
        r#type: Some(orderer::seek_position::Type::Specified(
            orderer::SeekSpecified { number },
        )),
    });
    let info = orderer::SeekInfo {
        start: position,
        stop: position,
        ..Default::default()
    };
    let now = envelope::timestamp(SystemTime::now());
    envelope::seek(CHANNEL, info, signer, now, Bytes::new()).expect("signed")
}

/// The details of a gateway's error.
pub fn details(status: &Status) -> Vec<gateway::ErrorDetail> {
    let Ok(decoded) = consilium_proto::google::rpc::Status::decode(status.details()) else {
        return Vec::new();
    };
    decoded
        .details
        .iter()
        .map(|any| {
            assert_eq!(any.type_url, "type.googleapis.com/gateway.ErrorDetail");
            gateway::ErrorDetail::decode(any.value.as_slice()).expect("an error detail")
        })
        .collect()
}
