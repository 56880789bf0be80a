//! Two organizations with one peer each: real ledgers and hosts, no network between them.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod collections;
pub mod contracts;
pub mod scripts;
pub mod service;

use bytes::Bytes;
use consilium_chaincode::lifecycle;
use consilium_chaincode::{ChaincodeError, Execution, Host, HostOptions, PeerSupport};
use consilium_contracts::{Contract, built_in};
use consilium_ledger::{Committed, Ledger, SimulationResults};
use consilium_msp::{Msp, Signer};
use consilium_proto::common::Block;
use consilium_proto::lifecycle::{
    ApproveChaincodeDefinitionForMyOrgArgs, ChaincodeSource, CommitChaincodeDefinitionArgs,
    chaincode_source,
};
use consilium_proto::protos::{
    ChaincodeAction, CollectionConfigPackage, ProposalResponse, ProposalResponsePayload, Response,
    SignedProposal, TxValidationCode,
};
use consilium_protocol::config::ChannelConfig;
use consilium_protocol::proposal::{self, NewProposal, ParsedProposal};
use consilium_protocol::{block, endorsement, transaction};
use consilium_testkit::{NodeOu, Organization, network};
use parking_lot::Mutex;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

pub const CHANNEL: &str = "mychannel";
pub const ORG1: usize = 0;
pub const ORG2: usize = 1;

/// A channel's ledger and configuration.
type Joined = (Arc<Ledger>, Arc<ChannelConfig>);

/// The world around a host in tests.
pub struct Support {
    pub msp: Arc<Msp>,
    pub ledgers: Mutex<BTreeMap<String, Joined>>,
    /// Resources that nobody may use.
    pub refused: Mutex<BTreeSet<String>>,
    pub joined: Mutex<Vec<Block>>,
    /// The folder of the last join by snapshot, which never ends.
    pub joining: Mutex<Option<String>>,
}

impl PeerSupport for Support {
    fn ledger(&self, channel: &str) -> Option<Arc<Ledger>> {
        self.ledgers
            .lock()
            .get(channel)
            .map(|(ledger, _)| ledger.clone())
    }

    fn config(&self, channel: &str) -> Option<Arc<ChannelConfig>> {
        self.ledgers
            .lock()
            .get(channel)
            .map(|(_, config)| config.clone())
    }

    fn channels(&self) -> Vec<String> {
        self.ledgers.lock().keys().cloned().collect()
    }

    fn join(&self, genesis: Block) -> Result<(), String> {
        self.joined.lock().push(genesis);
        Ok(())
    }

    fn join_by_snapshot(&self, folder: &str) -> Result<(), String> {
        *self.joining.lock() = Some(folder.to_owned());
        Ok(())
    }

    fn joining_by_snapshot(&self) -> Option<String> {
        self.joining.lock().clone()
    }

    fn local_msp(&self) -> Arc<Msp> {
        self.msp.clone()
    }

    fn msp_id(&self) -> &str {
        self.msp.id()
    }

    fn check_acl(&self, resource: &str, _: &str, _: &ParsedProposal) -> Result<(), String> {
        if self.refused.lock().contains(resource) {
            return Err(format!("{resource} is refused"));
        }
        Ok(())
    }
}

/// One organization's peer.
pub struct Peer {
    pub organization: Organization,
    pub support: Arc<Support>,
    pub host: Arc<Host>,
    pub client: Arc<dyn Signer>,
    signer: Arc<dyn Signer>,
    pub folder: TempDir,
}

impl Peer {
    pub fn ledger(&self) -> Arc<Ledger> {
        self.support.ledger(CHANNEL).expect("the channel")
    }

    pub fn packages(&self) -> PathBuf {
        self.folder.path().join("packages")
    }

    pub fn add_channel(&self, genesis: &Block) {
        let config = ChannelConfig::from_block(genesis).expect("genesis");
        let name = config.channel_id().to_owned();
        let ledger = Ledger::create(self.folder.path().join(&name), genesis).expect("ledger");
        self.support
            .ledgers
            .lock()
            .insert(name, (ledger, Arc::new(config)));
    }
}

/// Both peers on one channel.
pub struct Consortium {
    pub peers: Vec<Peer>,
}

/// What to ask a chaincode.
#[derive(Clone)]
pub struct Ask {
    pub channel: String,
    pub chaincode: String,
    pub args: Vec<Bytes>,
    pub is_init: bool,
    pub transient: BTreeMap<String, Bytes>,
}

pub fn ask(chaincode: &str, args: &[&str]) -> Ask {
    Ask {
        channel: CHANNEL.to_owned(),
        chaincode: chaincode.to_owned(),
        args: args
            .iter()
            .map(|arg| Bytes::copy_from_slice(arg.as_bytes()))
            .collect(),
        is_init: false,
        transient: BTreeMap::new(),
    }
}

/// A call of `_lifecycle`.
pub fn ask_lifecycle(function: &str, argument: &impl Message) -> Ask {
    let mut ask = ask(lifecycle::NAMESPACE, &[function]);
    ask.args.push(argument.encode_to_vec().into());
    ask
}

impl Ask {
    pub fn on(mut self, channel: &str) -> Self {
        self.channel = channel.to_owned();
        self
    }

    pub fn init(mut self) -> Self {
        self.is_init = true;
        self
    }

    pub fn signed(&self, client: &dyn Signer) -> SignedProposal {
        let proposal = NewProposal {
            channel: &self.channel,
            chaincode: &self.chaincode,
            args: self.args.clone(),
            transient: self.transient.clone(),
            is_init: self.is_init,
            timestamp: prost_types::Timestamp {
                seconds: 1_700_000_000,
                nanos: 5,
            },
        };
        proposal::create(proposal, client).expect("proposal").0
    }
}

/// A call that was carried out at one or more peers.
pub struct Endorsed {
    pub response: Response,
    pub results: SimulationResults,
    pub tx_id: String,
    signed: SignedProposal,
    responses: Vec<ProposalResponse>,
    signers: Vec<Arc<dyn Signer>>,
}

impl Endorsed {
    /// The same transaction with other results, as endorsers without scruples would sign it.
    pub fn replace_results(&mut self, results: Bytes) {
        let hash = proposal::parse(&self.signed).expect("proposal").hash;
        for (response, signer) in self.responses.iter_mut().zip(&self.signers) {
            let payload =
                ProposalResponsePayload::decode(response.payload.clone()).expect("payload");
            let mut action = ChaincodeAction::decode(payload.extension).expect("action");
            action.results = results.clone();
            response.payload = endorsement::response_payload(&hash, &action);
            response.endorsement =
                Some(endorsement::endorse(&response.payload, &**signer).expect("endorsement"));
        }
    }
}

impl Consortium {
    pub fn new() -> Self {
        Self::with(|options| options)
    }

    pub fn with(adjust: impl Fn(HostOptions) -> HostOptions) -> Self {
        let organizations = [
            Organization::new("Org1MSP", "org1.example.com"),
            Organization::new("Org2MSP", "org2.example.com"),
        ];
        let genesis =
            network::genesis(CHANNEL, &[&organizations[0], &organizations[1]], Vec::new());
        Self::of(organizations.into(), &genesis, adjust)
    }

    /// Peers of `organizations` on a channel that somebody else made.
    pub fn of(
        organizations: Vec<Organization>,
        genesis: &Block,
        adjust: impl Fn(HostOptions) -> HostOptions,
    ) -> Self {
        let peers = organizations
            .into_iter()
            .map(|organization| {
                let folder = tempfile::tempdir().expect("folder");
                let support = Arc::new(Support {
                    msp: organization.msp(),
                    ledgers: Mutex::default(),
                    refused: Mutex::default(),
                    joined: Mutex::default(),
                    joining: Mutex::default(),
                });
                let options = adjust(HostOptions::new(folder.path().join("packages")));
                let mut known = built_in();
                known.extend(contracts::unruly());
                let host = Host::new(options, known, support.clone()).expect("host");
                let peer = Peer {
                    client: organization.signer("user", NodeOu::Client),
                    signer: organization.signer("peer0", NodeOu::Peer),
                    organization,
                    support,
                    host,
                    folder,
                };
                peer.add_channel(genesis);
                peer
            })
            .collect();
        Self { peers }
    }

    pub fn host_with(
        folder: &Path,
        contracts: Vec<Arc<dyn Contract>>,
        support: Arc<Support>,
    ) -> Arc<Host> {
        Host::new(HostOptions::new(folder), contracts, support).expect("host")
    }

    /// Carries a call out at one peer.
    pub async fn execute(&self, peer: usize, ask: &Ask) -> Result<Execution, ChaincodeError> {
        let peer = &self.peers[peer];
        execute_signed(peer, ask.signed(&*peer.client)).await
    }

    /// The response of a call at one peer.
    pub async fn respond(&self, peer: usize, ask: &Ask) -> Response {
        self.execute(peer, ask).await.expect("a response").response
    }

    /// Carries a call out at `peers`, which must agree, and keeps private data for its commit.
    pub async fn endorse(&self, peers: &[usize], ask: &Ask) -> Endorsed {
        let signed = ask.signed(&*self.peers[peers[0]].client);
        let parsed = proposal::parse(&signed).expect("proposal");
        let tx_id = parsed.tx_id().to_owned();
        let mut endorsed: Option<Endorsed> = None;
        for peer in peers.iter().map(|peer| &self.peers[*peer]) {
            let execution = execute_signed(peer, signed.clone())
                .await
                .expect("a response");
            let results = execution
                .simulator
                .expect("a simulator")
                .finish()
                .expect("results");
            if let Some(private) = results.private.clone() {
                peer.ledger().stage_private(&tx_id, private).expect("room");
            }
            let action = ChaincodeAction {
                results: results.public.clone(),
                events: execution
                    .event
                    .map(|event| event.encode_to_vec().into())
                    .unwrap_or_default(),
                response: Some(execution.response.clone()),
                chaincode_id: Some(execution.chaincode_id),
            };
            let payload = endorsement::response_payload(&parsed.hash, &action);
            let response = ProposalResponse {
                version: 1,
                response: Some(execution.response.clone()),
                endorsement: Some(
                    endorsement::endorse(&payload, &*peer.signer).expect("endorsement"),
                ),
                payload,
                ..ProposalResponse::default()
            };
            let endorsed = endorsed.get_or_insert_with(|| Endorsed {
                response: execution.response,
                results,
                tx_id: tx_id.clone(),
                signed: signed.clone(),
                responses: Vec::new(),
                signers: Vec::new(),
            });
            endorsed.responses.push(response);
            endorsed.signers.push(peer.signer.clone());
        }
        endorsed.expect("at least one peer")
    }

    /// Commits calls as the next block of both peers.
    pub fn commit(&self, calls: &[Endorsed]) -> Vec<TxValidationCode> {
        let envelopes = calls.iter().map(|call| {
            let envelope = transaction::assemble(&call.signed, &call.responses).expect("agreement");
            transaction::sign(envelope, &*self.peers[0].client)
                .expect("signature")
                .encode_to_vec()
                .into()
        });
        self.commit_envelopes(envelopes.collect())
    }

    pub fn commit_envelopes(&self, envelopes: Vec<Bytes>) -> Vec<TxValidationCode> {
        let mut codes = Vec::new();
        for peer in &self.peers {
            let ledger = peer.ledger();
            let info = ledger.info();
            let block = block::new_block(info.height, info.current_block_hash, envelopes.clone());
            let valid = vec![TxValidationCode::Valid; envelopes.len()];
            let Committed { codes: decided, .. } = ledger.commit(block, valid).expect("commit");
            codes = decided;
        }
        codes
    }

    /// Endorses at `peers` and commits; the call must be valid.
    pub async fn submit(&self, peers: &[usize], ask: &Ask) -> Response {
        let endorsed = self.endorse(peers, ask).await;
        let response = endorsed.response.clone();
        assert_eq!(response.status, 200, "{}", response.message);
        assert_eq!(self.commit(&[endorsed]), [TxValidationCode::Valid]);
        response
    }

    /// Installs a package at both peers.
    pub fn install(&self, package: &[u8]) -> String {
        let ids: Vec<String> = self
            .peers
            .iter()
            .map(|peer| peer.host.install(package).expect("installable").id.clone())
            .collect();
        ids[0].clone()
    }

    /// Approves at one organization and commits that.
    pub async fn approve(&self, peer: usize, definition: &Proposed, package_id: &str) {
        let ask = ask_lifecycle(
            "ApproveChaincodeDefinitionForMyOrg",
            &definition.approval(package_id),
        );
        self.submit(&[peer], &ask).await;
    }

    /// From package to committed definition.
    pub async fn deploy(&self, definition: &Proposed, package: &[u8]) -> String {
        let package_id = self.install(package);
        for peer in [ORG1, ORG2] {
            self.approve(peer, definition, &package_id).await;
        }
        let ask = ask_lifecycle("CommitChaincodeDefinition", &definition.commit());
        self.submit(&[ORG1, ORG2], &ask).await;
        package_id
    }
}

/// Carries out a proposal as it came.
pub async fn execute_signed(
    peer: &Peer,
    signed: SignedProposal,
) -> Result<Execution, ChaincodeError> {
    let parsed = Arc::new(proposal::parse(&signed).expect("proposal"));
    let simulator = peer
        .support
        .ledger(parsed.channel())
        .map(|ledger| ledger.simulator(parsed.tx_id()).expect("simulator"));
    peer.host.execute(simulator, parsed, Arc::new(signed)).await
}

/// A definition as a test proposes it.
#[derive(Clone, Default)]
pub struct Proposed {
    pub name: String,
    pub sequence: i64,
    pub version: String,
    pub collections: Option<CollectionConfigPackage>,
    pub init_required: bool,
    pub validation_parameter: Bytes,
}

pub fn definition(name: &str, sequence: i64, version: &str) -> Proposed {
    Proposed {
        name: name.to_owned(),
        sequence,
        version: version.to_owned(),
        ..Proposed::default()
    }
}

impl Proposed {
    pub fn approval(&self, package_id: &str) -> ApproveChaincodeDefinitionForMyOrgArgs {
        let source = chaincode_source::Type::LocalPackage(chaincode_source::Local {
            package_id: package_id.to_owned(),
        });
        ApproveChaincodeDefinitionForMyOrgArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
            validation_parameter: self.validation_parameter.clone(),
            source: Some(ChaincodeSource {
                r#type: Some(source),
            }),
            ..ApproveChaincodeDefinitionForMyOrgArgs::default()
        }
    }

    pub fn commit(&self) -> CommitChaincodeDefinitionArgs {
        CommitChaincodeDefinitionArgs {
            sequence: self.sequence,
            name: self.name.clone(),
            version: self.version.clone(),
            collections: self.collections.clone(),
            init_required: self.init_required,
            validation_parameter: self.validation_parameter.clone(),
            ..CommitChaincodeDefinitionArgs::default()
        }
    }
}
