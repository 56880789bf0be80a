//! Clients ask a peer's discovery service over gRPC and mutual TLS.

mod support;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use consilium_gossip::wire;
use consilium_msp::{Identity, Signer};
use consilium_proto::{
    discovery::{
        AuthInfo, ChaincodeQuery, ConfigQuery, ConfigResult, EndorsementDescriptor, LocalPeerQuery,
        Peer, PeerMembershipQuery, PeerMembershipResult, Query, Request, SignedRequest,
        discovery_client::DiscoveryClient, query::Query as Kind, query_result::Result as Answer,
    },
    gossip::{Properties, gossip_message::Content},
    protos::{ChaincodeCall, ChaincodeInterest},
};
use consilium_testkit::{NodeOu, Organization};
use consilium_transport::{ClientTls, MAX_MESSAGE};
use prost::Message;
use support::{CHANNEL, Member, Network, PATIENCE};
use tonic::{Code, Status, transport::Channel};

const DENIED: &str = "access denied";

/// Somebody who asks one peer.
struct Asker {
    client: DiscoveryClient<Channel>,
    hash: Bytes,
    signer: Arc<dyn Signer>,
}

impl Asker {
    async fn new(member: &Member, signer: Arc<dyn Signer>) -> Self {
        Self::with_tls(&member.address, member.client_tls(), signer).await
    }

    async fn with_tls(address: &str, tls: Arc<ClientTls>, signer: Arc<dyn Signer>) -> Self {
        let hash = tls
            .identity_hash()
            .map(|hash| Bytes::copy_from_slice(&hash));
        let channel = consilium_transport::connect(address, Some(tls), PATIENCE)
            .await
            .expect("connected");
        Self {
            client: DiscoveryClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
            hash: hash.unwrap_or_default(),
            signer,
        }
    }

    fn request(&self, queries: Vec<Query>) -> Request {
        Request {
            authentication: Some(AuthInfo {
                client_identity: self.signer.serialized().clone(),
                client_tls_cert_hash: self.hash.clone(),
            }),
            queries,
        }
    }

    fn sign(&self, request: &Request) -> SignedRequest {
        let payload = Bytes::from(request.encode_to_vec());
        let signature = self.signer.sign(&payload).expect("signed");
        SignedRequest { payload, signature }
    }

    async fn send(&self, signed: SignedRequest) -> Result<Vec<Answer>, Status> {
        let mut client = self.client.clone();
        let sent = client.discover(signed);
        let response = tokio::time::timeout(PATIENCE, sent)
            .await
            .expect("in time")?;
        let results = response.into_inner().results.into_iter();
        Ok(results
            .map(|result| result.result.expect("a result"))
            .collect())
    }

    async fn ask_all(&self, queries: Vec<Query>) -> Vec<Answer> {
        let signed = self.sign(&self.request(queries));
        self.send(signed).await.expect("answers")
    }

    async fn ask(&self, channel: &str, kind: Kind) -> Result<Answer, String> {
        let mut answers = self.ask_all(vec![query(channel, Some(kind))]).await;
        assert_eq!(answers.len(), 1);
        match answers.remove(0) {
            Answer::Error(error) => Err(error.content),
            answer => Ok(answer),
        }
    }

    async fn config(&self) -> Result<ConfigResult, String> {
        let answer = self.ask(CHANNEL, Kind::ConfigQuery(ConfigQuery {})).await?;
        let Answer::ConfigResult(config) = answer else {
            panic!("a configuration, not {answer:?}")
        };
        Ok(config)
    }

    async fn peers(
        &self,
        filter: Option<ChaincodeInterest>,
    ) -> Result<PeerMembershipResult, String> {
        let answer = self
            .ask(CHANNEL, Kind::PeerQuery(PeerMembershipQuery { filter }))
            .await?;
        let Answer::Members(members) = answer else {
            panic!("members, not {answer:?}")
        };
        Ok(members)
    }

    async fn endorsers(
        &self,
        interest: ChaincodeInterest,
    ) -> Result<EndorsementDescriptor, String> {
        let interests = vec![interest];
        let answer = self
            .ask(CHANNEL, Kind::CcQuery(ChaincodeQuery { interests }))
            .await?;
        let Answer::CcQueryRes(mut found) = answer else {
            panic!("endorsers, not {answer:?}")
        };
        assert_eq!(found.content.len(), 1);
        Ok(found.content.remove(0))
    }

    /// Waits until all peers have told that they run the chaincode.
    async fn until_told(&self, chaincode: &str, peers: usize) {
        let told = async {
            while names(&self.peers(Some(calls(&[chaincode]))).await.unwrap()).len() != peers {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("told");
    }
}

fn query(channel: &str, kind: Option<Kind>) -> Query {
    Query {
        channel: channel.to_owned(),
        query: kind,
    }
}

fn calls(chaincodes: &[&str]) -> ChaincodeInterest {
    let calls = chaincodes.iter().map(|name| ChaincodeCall {
        name: (*name).to_owned(),
        ..Default::default()
    });
    ChaincodeInterest {
        chaincodes: calls.collect(),
    }
}

/// Endpoint and organization of a peer, after its messages' signatures were checked.
fn checked(network: &Network, msp_id: &str, peer: &Peer) -> (String, Option<Properties>) {
    let organizations = network.members.iter().map(|member| &member.organization);
    let identity: Identity = organizations
        .filter(|organization| organization.msp_id() == msp_id)
        .find_map(|organization| organization.msp().deserialize(&peer.identity).ok())
        .expect("an identity of its organization");
    let alive = peer.membership_info.as_ref().expect("an alive message");
    assert!(
        alive.secret_envelope.is_none(),
        "internal endpoints stay inside"
    );
    wire::verify(alive, &identity).expect("the peer's signature");
    let Some(Content::AliveMsg(message)) = wire::open(alive).unwrap().content else {
        panic!("an alive message")
    };
    let member = message.membership.expect("a member");
    assert_eq!(Some(&member.pki_id), wire::pki_id(&peer.identity).as_ref());
    let told = peer.state_info.as_ref().map(|envelope| {
        wire::verify(envelope, &identity).expect("the peer's signature");
        let Some(Content::StateInfo(info)) = wire::open(envelope).unwrap().content else {
            panic!("state info")
        };
        assert_eq!(info.pki_id, member.pki_id);
        assert_eq!(info.channel_mac, wire::channel_mac(&info.pki_id, CHANNEL));
        info.properties.expect("properties")
    });
    (member.endpoint, told)
}

/// `organization endpoint` of all peers.
fn names(result: &PeerMembershipResult) -> BTreeSet<(String, Bytes)> {
    let organizations = result.peers_by_org.iter();
    organizations
        .flat_map(|(msp_id, peers)| {
            let peers = peers.peers.iter();
            peers.map(move |peer| (msp_id.clone(), peer.identity.clone()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_learns_configuration_peers_and_endorsers() {
    let network = Network::start_gossiping(1, 3).await;
    network
        .deploy(
            "kv",
            Some("OR(AND('Org1MSP.peer','Org2MSP.peer'),AND('Org3MSP.peer','Org3MSP.member'))"),
        )
        .await;
    network.acquainted().await;
    let [one, two, three] = &network.members[..] else {
        panic!("three members")
    };
    let asker = Asker::new(one, one.client.signer.clone()).await;
    asker.until_told("kv", 3).await;

    let config = asker.config().await.unwrap();
    let msps: Vec<&str> = config.msps.keys().map(String::as_str).collect();
    assert_eq!(msps, ["OrdererMSP", "Org1MSP", "Org2MSP", "Org3MSP"]);
    assert_eq!(config.msps["Org2MSP"], two.organization.msp_config());
    let orderers: Vec<_> = config.orderers.keys().collect();
    assert_eq!(orderers, ["OrdererMSP"]);
    let endpoint = &config.orderers["OrdererMSP"].endpoint[0];
    let address = format!("{}:{}", endpoint.host, endpoint.port);
    assert_eq!(address, network.orderers[0].address);

    // Every peer tells of the same, itself included.
    for member in &network.members {
        let asker = Asker::new(member, member.client.signer.clone()).await;
        asker.until_told("kv", 3).await;
        let height = *member.channel().subscribe_height().borrow();
        let found = asker.peers(None).await.unwrap();
        assert_eq!(found.peers_by_org.len(), 3);
        for member in &network.members {
            let msp_id = member.organization.msp_id();
            let peers = &found.peers_by_org[msp_id].peers;
            assert_eq!(peers.len(), 1);
            let (endpoint, told) = checked(&network, msp_id, &peers[0]);
            assert_eq!(endpoint, member.address);
            let told = told.expect("state info");
            assert!(told.ledger_height > 1 && told.ledger_height <= height);
            let chaincodes = told.chaincodes.iter();
            let chaincodes: Vec<_> = chaincodes
                .map(|cc| (&cc.name[..], &cc.version[..]))
                .collect();
            // The sequence of the definition, not its version `1.0`.
            assert_eq!(chaincodes, [("_lifecycle", "1"), ("kv", "1")]);
        }
    }

    let found = asker.endorsers(calls(&["kv"])).await.unwrap();
    assert_eq!(found.chaincode, "kv");
    // The third organization has one peer, and two are asked for.
    assert_eq!(found.layouts.len(), 1, "{:?}", found.layouts);
    let quantities: Vec<_> = found.layouts[0].quantities_by_group.iter().collect();
    let [(first, 1), (second, 1)] = quantities[..] else {
        panic!("one peer of two groups each: {quantities:?}")
    };
    let endorsers: BTreeSet<String> = [first, second]
        .into_iter()
        .map(|group| {
            let peers = &found.endorsers_by_groups[group].peers;
            assert_eq!(peers.len(), 1);
            let serialized = peers[0].identity.clone();
            let identity = consilium_proto::msp::SerializedIdentity::decode(serialized).unwrap();
            checked(&network, &identity.mspid, &peers[0]).0
        })
        .collect();
    assert_eq!(
        endorsers,
        BTreeSet::from([one.address.clone(), two.address.clone()])
    );
    assert_eq!(found.endorsers_by_groups.len(), 2);

    // Several questions at once, answered in order; one bad one spoils no other.
    let cc_query = |interests| Kind::CcQuery(ChaincodeQuery { interests });
    let answers = asker
        .ask_all(vec![
            query(CHANNEL, Some(cc_query(vec![calls(&["kv", "nope"])]))),
            query(CHANNEL, Some(Kind::ConfigQuery(ConfigQuery {}))),
            query(
                CHANNEL,
                Some(cc_query(vec![calls(&["kv"]), calls(&["_lifecycle"])])),
            ),
        ])
        .await;
    let [
        Answer::Error(error),
        Answer::ConfigResult(_),
        Answer::CcQueryRes(both),
    ] = &answers[..]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(
        error.content,
        r#"failed constructing descriptor for chaincodes:{name:"kv"} chaincodes:{name:"nope"}"#
    );
    assert_eq!(both.content[1].chaincode, "_lifecycle");
    assert_eq!(both.content[1].layouts.len(), 3, "a majority of three");

    // A peer that is gone endorses nothing.
    drop(asker);
    let asker = Asker::new(one, one.client.signer.clone()).await;
    three.peer.shutdown().await;
    let forgotten = async {
        while names(&asker.peers(None).await.unwrap()).len() != 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten)
        .await
        .expect("forgotten");
    let lifecycle = asker.endorsers(calls(&["_lifecycle"])).await.unwrap();
    assert_eq!(lifecycle.layouts.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_are_answered_and_bad_requests_are_refused() {
    let network = Network::start_gossiping(1, 1).await;
    let one = &network.members[0];
    let asker = Asker::new(one, one.client.signer.clone()).await;
    let config = || Kind::ConfigQuery(ConfigQuery {});
    let local = || Kind::LocalPeers(LocalPeerQuery {});

    // Nothing asked, nothing answered.
    assert!(asker.ask_all(Vec::new()).await.is_empty());
    // Members of the channel that are not administrators do not hear of peers elsewhere; a channel
    // that is not there looks like one that they may not see.
    assert!(asker.ask(CHANNEL, config()).await.is_ok());
    assert_eq!(asker.ask("", local()).await.unwrap_err(), DENIED);
    assert_eq!(asker.ask("nope", config()).await.unwrap_err(), DENIED);
    assert_eq!(asker.ask("", config()).await.unwrap_err(), DENIED);

    let admin = Asker::new(one, one.admin.signer.clone()).await;
    let answer = admin.ask("", local()).await.unwrap();
    let Answer::Members(found) = answer else {
        panic!("members, not {answer:?}")
    };
    let peers = &found.peers_by_org["Org1MSP"].peers;
    assert_eq!(peers.len(), 1);
    let (endpoint, told) = checked(&network, "Org1MSP", &peers[0]);
    assert_eq!((endpoint, told), (one.address.clone(), None));

    const UNKNOWN: &str = "unknown or missing request type";
    for (asker, channel, kind, expected) in [
        (&admin, "", Some(config()), UNKNOWN),
        (&admin, "", None, UNKNOWN),
        (&asker, CHANNEL, Some(local()), UNKNOWN),
        (&asker, CHANNEL, None, UNKNOWN),
        (&asker, "", None, DENIED),
        (
            &asker,
            CHANNEL,
            Some(Kind::CcQuery(ChaincodeQuery::default())),
            "chaincode query must have at least one chaincode interest",
        ),
        (
            &asker,
            CHANNEL,
            Some(Kind::CcQuery(ChaincodeQuery {
                interests: vec![ChaincodeInterest::default()],
            })),
            "chaincode interest must contain at least one chaincode",
        ),
        (
            &asker,
            CHANNEL,
            Some(Kind::PeerQuery(PeerMembershipQuery {
                filter: Some(calls(&["nope"])),
            })),
            "No metadata was found for chaincode nope in channel mychannel",
        ),
    ] {
        let answers = asker.ask_all(vec![query(channel, kind.clone())]).await;
        let [Answer::Error(error)] = &answers[..] else {
            panic!("{kind:?}: {answers:?}")
        };
        assert_eq!(error.content, expected, "{kind:?}");
    }

    // Others' identities, whoever vouches for them; asked twice, as verdicts are remembered.
    let foreign = Organization::new("Org9MSP", "org9.example.com");
    let impostor = Organization::new("Org1MSP", "org1.example.com");
    for signer in [
        foreign.signer("user", NodeOu::Client),
        impostor.signer("user", NodeOu::Admin),
        network.orderer_organization.signer("user", NodeOu::Client),
    ] {
        let stranger = Asker::new(one, signer).await;
        let queries = || vec![query(CHANNEL, Some(config())), query("", Some(local()))];
        let signed = stranger.sign(&stranger.request(queries()));
        for _ in 0..2 {
            let answers = stranger.send(signed.clone()).await.unwrap();
            assert_eq!(answers.len(), 2);
            for answer in &answers {
                assert!(matches!(answer, Answer::Error(error) if error.content == DENIED));
            }
        }
    }

    // A signature of somebody else, of other bytes, or none.
    let good = asker.sign(&asker.request(vec![query(CHANNEL, Some(config()))]));
    assert!(matches!(
        asker.send(good.clone()).await.unwrap()[..],
        [Answer::ConfigResult(_)]
    ));
    let other = asker.sign(&asker.request(vec![query(CHANNEL, Some(local()))]));
    for signature in [
        admin.signer.sign(&good.payload).unwrap(),
        other.signature.clone(),
        Bytes::new(),
        Bytes::from_static(b"garbage"),
    ] {
        let forged = SignedRequest {
            signature,
            ..good.clone()
        };
        let answers = asker.send(forged).await.unwrap();
        assert!(matches!(&answers[..], [Answer::Error(error)] if error.content == DENIED));
    }

    // Requests that are none, or come over somebody else's connection.
    let refused = async |asker: &Asker, signed: SignedRequest| {
        let status = asker.send(signed).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let unknown = |text: &str| (Code::Unknown, text.to_owned());
    let garbage = SignedRequest {
        payload: Bytes::from_static(b"\xff\xff\xff"),
        ..good.clone()
    };
    let (code, text) = refused(&asker, garbage).await;
    assert_eq!(code, Code::Unknown);
    assert!(text.starts_with("failed parsing request: "), "{text}");
    assert_eq!(
        refused(&asker, SignedRequest::default()).await,
        unknown("access denied, no authentication info in request")
    );
    let mut nameless = asker.request(Vec::new());
    nameless.authentication.as_mut().unwrap().client_identity = Bytes::new();
    assert_eq!(
        refused(&asker, asker.sign(&nameless)).await,
        unknown("access denied, client identity wasn't supplied")
    );
    let mut elsewhere = asker.request(Vec::new());
    elsewhere
        .authentication
        .as_mut()
        .unwrap()
        .client_tls_cert_hash = Bytes::from_static(&[1; 32]);
    assert_eq!(
        refused(&asker, asker.sign(&elsewhere)).await,
        unknown("client claimed TLS hash doesn't match computed TLS hash from gRPC stream")
    );
    let roots = [one.organization.tls_root_pem()];
    let anonymous = ClientTls::new(None, &roots).unwrap();
    let anonymous = Asker::with_tls(&one.address, anonymous, asker.signer.clone()).await;
    assert_eq!(
        refused(&anonymous, good).await,
        unknown("client didn't send a TLS certificate")
    );
    assert!(
        anonymous.ask(CHANNEL, config()).await.is_ok(),
        "a request that claims no certificate is bound to none"
    );
    let many = vec![query(CHANNEL, Some(config())); 1000];
    let (code, text) = refused(&asker, asker.sign(&asker.request(many))).await;
    assert_eq!(code, Code::InvalidArgument, "{text}");
    assert!(
        asker.ask(CHANNEL, config()).await.is_ok(),
        "the peer still answers"
    );
}
