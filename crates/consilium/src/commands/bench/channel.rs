//! A channel to measure with: organizations with their own authorities, clients, peers and orderers,
//! and blocks as their orderer would make them.

use std::{path::Path, time::Duration, time::SystemTime};

use bytes::Bytes;
use consilium_ca::{OfflineAuthority, client::Enrollment, folders};
use consilium_msp::SoftwareSigner;
use consilium_proto::{common, etcdraft, lifecycle, protos};
use consilium_protocol::{
    block,
    config::genesis::{self, Organization, Profile},
    endorsement, envelope,
    proposal::{self, NewProposal},
    rwset::{KvWrite, NsRwSet, TxRwSet},
    transaction,
};
use prost::Message;

use crate::definition::signature_policy;

/// The channel.
pub const CHANNEL: &str = "bench";
/// The chaincode that all transactions call.
pub const CHAINCODE: &str = "kv";
const POLICY: &str = "OutOf(2, 'Org1MSP.peer', 'Org2MSP.peer', 'Org3MSP.peer')";
const VERSION: &str = "1.0";

const ORGANIZATIONS: [(&str, &str); 3] = [
    ("Org1MSP", "org1.example"),
    ("Org2MSP", "org2.example"),
    ("Org3MSP", "org3.example"),
];
const PEERS: usize = 3;
const CLIENTS: usize = 50;
const VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);

struct Members {
    peers: Vec<SoftwareSigner>,
    clients: Vec<SoftwareSigner>,
}

/// The people of the channel and its block 0. Keys are in memory only.
pub struct Channel {
    members: Vec<Members>,
    orderer: SoftwareSigner,
    genesis: common::Block,
}

impl Channel {
    /// With new keys; `scratch` is for the authorities' files, and not needed afterwards.
    ///
    /// # Errors
    /// A certificate cannot be made, or the configuration is not valid.
    pub fn new(scratch: &Path) -> anyhow::Result<Self> {
        let mut organizations = Vec::new();
        let mut members = Vec::new();
        let mut consenters = Vec::new();
        let mut orderer = None;
        for (msp_id, domain) in ORGANIZATIONS {
            let home = scratch.join(domain);
            let authority = OfflineAuthority::open(&home.join("ca"), domain)?;
            let enroll = |name: String, role: &str| -> anyhow::Result<SoftwareSigner> {
                signer(msp_id, &authority.enroll(&name, role, VALIDITY)?)
            };
            let all = |count, role: &str| -> anyhow::Result<Vec<SoftwareSigner>> {
                let names = (0..count).map(|number| format!("{role}{number}.{domain}"));
                names.map(|name| enroll(name, role)).collect()
            };
            members.push(Members {
                peers: all(PEERS, "peer")?,
                clients: all(CLIENTS, "client")?,
            });
            orderer = orderer.or(Some(enroll(format!("orderer.{domain}"), "orderer")?));
            let root = Bytes::copy_from_slice(authority.root_pem().as_bytes());
            let msp = home.join("msp");
            folders::write_verifying_msp(&msp, &root, std::slice::from_ref(&root))?;
            let mut organization = Organization::new(folders::read_msp_config(&msp, msp_id)?);
            // Nobody listens there.
            organization.endpoints = vec![format!("orderer.{domain}:7050")];
            organizations.push(organization);
            let host = format!("orderer.{domain}");
            let tls = authority.enroll_tls(&host, &[&host], VALIDITY)?;
            let certificate = Bytes::from(tls.certificate_pem);
            consenters.push(etcdraft::Consenter {
                host,
                port: 7050,
                client_tls_cert: certificate.clone(),
                server_tls_cert: certificate,
            });
        }
        let profile = Profile::new(CHANNEL, organizations, consenters);
        let now = envelope::timestamp(SystemTime::now());
        Ok(Self {
            members,
            orderer: orderer.ok_or_else(|| anyhow::anyhow!("no organization"))?,
            genesis: genesis::block(&profile, now)?,
        })
    }

    /// Block 0.
    pub fn genesis(&self) -> &common::Block {
        &self.genesis
    }

    /// The committed definition of [`CHAINCODE`], as organizations that agreed would write it.
    ///
    /// # Errors
    /// Signing failed.
    pub fn definition(&self) -> anyhow::Result<Bytes> {
        let data = |value| {
            let data = lifecycle::StateData {
                r#type: Some(value),
            };
            Bytes::from(data.encode_to_vec())
        };
        let bytes = |bytes: Vec<u8>| data(lifecycle::state_data::Type::Bytes(bytes.into()));
        let endorsement = lifecycle::ChaincodeEndorsementInfo {
            version: VERSION.to_owned(),
            init_required: false,
            endorsement_plugin: "escc".to_owned(),
        };
        let validation = lifecycle::ChaincodeValidationInfo {
            validation_plugin: "vscc".to_owned(),
            validation_parameter: signature_policy(POLICY)?,
        };
        let collections = protos::CollectionConfigPackage::default();
        let fields = [
            ("Collections", bytes(collections.encode_to_vec())),
            ("EndorsementInfo", bytes(endorsement.encode_to_vec())),
            ("Sequence", data(lifecycle::state_data::Type::Int64(1))),
            ("ValidationInfo", bytes(validation.encode_to_vec())),
        ];
        let metadata = lifecycle::StateMetadata {
            datatype: "ChaincodeDefinition".to_owned(),
            fields: fields.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        let fields = fields.into_iter().map(|(field, value)| {
            let key = format!("namespaces/fields/{CHAINCODE}/{field}");
            (key, value)
        });
        let key = format!("namespaces/metadata/{CHAINCODE}");
        let writes = fields.chain([(key, metadata.encode_to_vec().into())]);
        let namespace = NsRwSet {
            name: "_lifecycle".to_owned(),
            writes: writes.map(|(key, value)| write(&key, value)).collect(),
            ..NsRwSet::default()
        };
        let args = ["CommitChaincodeDefinition", CHAINCODE];
        self.transaction(0, "_lifecycle", &args, namespace)
    }

    /// The encoded envelope of transaction `number`: a client of one organization calls `chaincode`,
    /// peers of two others endorse what it does. Everybody has a turn.
    ///
    /// # Errors
    /// Signing failed.
    pub fn transaction(
        &self,
        number: usize,
        chaincode: &str,
        args: &[&str],
        namespace: NsRwSet,
    ) -> anyhow::Result<Bytes> {
        let count = self.members.len();
        let member = |behind: usize| (&self.members[(number + behind) % count], number / count);
        let (members, turn) = member(0);
        let client = &members.clients[turn % CLIENTS];
        let call = NewProposal {
            channel: CHANNEL,
            chaincode,
            args: args
                .iter()
                .map(|arg| arg.as_bytes().to_vec().into())
                .collect(),
            transient: Default::default(),
            is_init: false,
            timestamp: envelope::timestamp(SystemTime::now()),
        };
        let (signed, _) = proposal::create(call, client)?;
        let parsed = proposal::parse(&signed)?;
        let results = TxRwSet {
            namespaces: vec![namespace],
        };
        let version = match chaincode {
            "_lifecycle" => "syscc",
            _ => VERSION,
        };
        let response = protos::Response {
            status: 200,
            ..protos::Response::default()
        };
        let action = protos::ChaincodeAction {
            results: results.encode(),
            response: Some(response.clone()),
            chaincode_id: Some(protos::ChaincodeId {
                name: chaincode.to_owned(),
                version: version.to_owned(),
                ..protos::ChaincodeId::default()
            }),
            ..protos::ChaincodeAction::default()
        };
        let payload = endorsement::response_payload(&parsed.hash, &action);
        let responses = [1, 2].map(|behind| {
            let (members, turn) = member(behind);
            let endorser = &members.peers[turn % PEERS];
            Ok(protos::ProposalResponse {
                version: 1,
                response: Some(response.clone()),
                payload: payload.clone(),
                endorsement: Some(endorsement::endorse(&payload, endorser)?),
                ..protos::ProposalResponse::default()
            })
        });
        let responses = responses.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let unsigned = transaction::assemble(&signed, &responses)?;
        Ok(transaction::sign(unsigned, client)?.encode_to_vec().into())
    }

    /// The block behind `previous`, signed as an orderer does it.
    ///
    /// # Errors
    /// Signing failed.
    pub fn block(
        &self,
        previous: &common::BlockHeader,
        envelopes: Vec<Bytes>,
    ) -> anyhow::Result<common::Block> {
        let hash = Bytes::copy_from_slice(&block::header_hash(previous));
        let number = previous.number + 1;
        let mut block = block::new_block(number, hash, envelopes);
        let raft = etcdraft::BlockMetadata {
            consenter_ids: vec![1, 2, 3],
            next_consenter_id: 4,
            raft_index: number + 10,
        };
        let consenter_metadata = block::wrap_consenter_metadata(&raft);
        block::sign(&mut block, 0, consenter_metadata, &self.orderer)?;
        Ok(block)
    }
}

/// A write of one key.
pub fn write(key: &str, value: Bytes) -> KvWrite {
    KvWrite {
        key: key.to_owned(),
        is_delete: false,
        value,
    }
}

fn signer(msp_id: &str, enrollment: &Enrollment) -> anyhow::Result<SoftwareSigner> {
    let (certificate, key) = (&enrollment.certificate_pem, &enrollment.key_pem);
    Ok(SoftwareSigner::from_pem(
        msp_id,
        certificate.as_bytes(),
        key.as_bytes(),
    )?)
}
