//! Private data on a whole network: two organizations with two peers each, over mutual TLS.

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use consilium_gossip::{handshake, wire};
use consilium_ledger::{MissingKind, PrivatePlace};
use consilium_msp::Signer;
use consilium_proto::{
    gossip::{
        Acknowledgement, Envelope, PrivateDataMessage, PrivatePayload, PvtDataDigest,
        RemotePvtDataRequest,
        gossip_client::GossipClient,
        gossip_message::{Content, Tag},
    },
    protos::{self, TxValidationCode},
};
use consilium_protocol::hash::sha256;
use consilium_testkit::{NodeOu, Organization};
use prost::Message;
use support::{CHANNEL, Member, Network, PATIENCE, details};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

const BOTH: &str = "OR('Org1MSP.member','Org2MSP.member')";

fn collection(name: &str, members: &str, required: i32, maximum: i32) -> protos::CollectionConfig {
    protos::CollectionConfig {
        payload: Some(protos::collection_config::Payload::StaticCollectionConfig(
            protos::StaticCollectionConfig {
                name: name.to_owned(),
                member_orgs_policy: Some(protos::CollectionPolicyConfig {
                    payload: Some(protos::collection_policy_config::Payload::SignaturePolicy(
                        consilium_msp::dsl::parse(members).unwrap(),
                    )),
                }),
                required_peer_count: required,
                maximum_peer_count: maximum,
                ..Default::default()
            },
        )),
    }
}

/// A collection that a peer shows to members only; others hear that it has none.
fn readable_by_members(name: &str, members: &str) -> protos::CollectionConfig {
    let mut config = collection(name, members, 0, 0);
    let Some(protos::collection_config::Payload::StaticCollectionConfig(of)) = &mut config.payload
    else {
        unreachable!("made above")
    };
    of.member_only_read = true;
    config
}

/// Two organizations, four peers: 0 and 2 are the first one's, 1 and 3 the second one's.
async fn start() -> Network {
    let mut network = Network::start_gossiping(1, 2).await;
    let package = protos::CollectionConfigPackage {
        config: vec![
            collection("all", BOTH, 3, 3),
            collection("lazy", BOTH, 0, 0),
            collection("first", "OR('Org1MSP.member')", 1, 3),
            collection("greedy", BOTH, 4, 5),
            readable_by_members("closed", BOTH),
            readable_by_members("own", "OR('Org1MSP.member')"),
        ],
    };
    network
        .deploy_with(
            "kv",
            Some("OR('Org1MSP.peer','Org2MSP.peer')"),
            Some(package),
        )
        .await;
    network.add_peer(0).await;
    network.add_peer(1).await;
    network.level().await;
    network.acquainted().await;
    network
}

/// What was endorsed for `function collection key` with a value in the transient map.
fn proposal(
    member: &Member,
    function: &[u8],
    collection: &str,
    key: &str,
    value: &str,
) -> (protos::SignedProposal, String) {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let transient = BTreeMap::from([("value".to_owned(), value)]);
    let args: [&[u8]; 3] = [function, collection.as_bytes(), key.as_bytes()];
    member.client.propose_with(CHANNEL, "kv", &args, transient)
}

/// Submits through the first organization's gateway; the block that it came into.
async fn submit(member: &Member, function: &[u8], collection: &str, key: &str, value: &str) -> u64 {
    let own = vec![member.organization.msp_id().to_owned()];
    let (proposal, tx_id) = proposal(member, function, collection, key, value);
    let envelope = member.client.endorse_proposal(proposal, own).await.unwrap();
    member
        .client
        .send(member.client.sign(envelope))
        .await
        .unwrap();
    let (code, block) = member.client.status(&tx_id).await.unwrap();
    assert_eq!(code, TxValidationCode::Valid);
    block
}

fn value(member: &Member, collection: &str, key: &str) -> Result<Option<String>, String> {
    let channel = member.channel();
    let state = channel.ledger().reader().unwrap();
    match state.get_private("kv", collection, key) {
        Ok(value) => Ok(value.map(|value| String::from_utf8(value.value.to_vec()).unwrap())),
        Err(error) => Err(error.to_string()),
    }
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let waiting = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// Missing sets of the test's chaincode; approvals of other organizations are missing as well.
fn missing(member: &Member, kind: MissingKind) -> usize {
    let channel = member.channel();
    let all = channel.ledger().missing_private(kind, None, 100).unwrap();
    all.iter()
        .filter(|missing| missing.place.namespace == "kv")
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_get_private_data_and_others_never_do() {
    let network = start().await;
    let [one, two, one_more, two_more] = &network.members[..] else {
        panic!("four peers")
    };

    // Pushed: every member has it before the transaction is even sent.
    let (proposal, tx_id) = proposal(one, b"putPrivate", "all", "k", "secret");
    let own = vec!["Org1MSP".to_owned()];
    let envelope = one.client.endorse_proposal(proposal, own).await.unwrap();
    for member in [one, two, one_more, two_more] {
        let staged = member.channel().ledger().staged_private(&tx_id).unwrap();
        assert_eq!(staged.len(), 1, "at {}", member.address);
        assert_eq!(staged[0].collection_configs["kv"].config.len(), 1);
    }
    one.client.send(one.client.sign(envelope)).await.unwrap();
    let (_, block) = one.client.status(&tx_id).await.unwrap();
    network.level_from(block + 1).await;
    for member in &network.members {
        assert_eq!(value(member, "all", "k"), Ok(Some("secret".into())));
        let left = member.channel().ledger().staged_private(&tx_id).unwrap();
        assert!(left.is_empty(), "nothing waits after the commit");
    }

    // Not pushed to anybody: pulled at commit.
    let block = submit(one, b"putPrivate", "lazy", "k", "pulled").await;
    network.level_from(block + 1).await;
    for member in &network.members {
        assert_eq!(value(member, "lazy", "k"), Ok(Some("pulled".into())));
        assert_eq!(missing(member, MissingKind::Eligible), 0);
    }

    // A collection of the first organization: the second one knows hashes alone.
    let block = submit(one, b"putPrivate", "first", "k", "ours").await;
    network.level_from(block + 1).await;
    for member in [one, one_more] {
        assert_eq!(value(member, "first", "k"), Ok(Some("ours".into())));
    }
    for member in [two, two_more] {
        value(member, "first", "k").unwrap_err();
        let ledger = member.channel().ledger().clone();
        let hash = ledger
            .reader()
            .unwrap()
            .get_hashed("kv", "first", &sha256(b"k"));
        assert_eq!(hash.unwrap().unwrap().value, sha256(b"ours")[..]);
        let place = PrivatePlace::new(0, "kv", "first");
        assert_eq!(ledger.private_set(block, &place).unwrap(), None);
        assert_eq!(missing(member, MissingKind::Ineligible), 1);
        assert_eq!(missing(member, MissingKind::Eligible), 0);
    }

    // An endorser of the second organization may write there blindly, but keeps nothing.
    let block = submit(two, b"putPrivate", "first", "blind", "given").await;
    network.level_from(block + 1).await;
    for member in [one, one_more] {
        assert_eq!(value(member, "first", "blind"), Ok(Some("given".into())));
    }
    for member in [two, two_more] {
        value(member, "first", "blind").unwrap_err();
    }

    // The implicit collection of an organization, by its default policy: one other peer gets it.
    let block = submit(one, b"putPrivate", "_implicit_org_Org1MSP", "k", "implicit").await;
    network.level_from(block + 1).await;
    for member in [one, one_more] {
        let kept = value(member, "_implicit_org_Org1MSP", "k");
        assert_eq!(kept, Ok(Some("implicit".into())));
    }
    for member in [two, two_more] {
        value(member, "_implicit_org_Org1MSP", "k").unwrap_err();
    }

    // All of them agree on what is public.
    let fingerprints: Vec<_> = network
        .members
        .iter()
        .map(|member| member.channel().ledger().state_fingerprint().unwrap())
        .collect();
    assert!(fingerprints.windows(2).all(|pair| pair[0] == pair[1]));

    // Purged: gone everywhere, from history too; and the chain shows it.
    let purged = submit(one, b"purgePrivate", "all", "k", "").await;
    network.level_from(purged + 1).await;
    for member in &network.members {
        assert_eq!(value(member, "all", "k"), Ok(None));
    }
    let block = one.channel().ledger().block(purged).unwrap().unwrap();
    let content =
        consilium_ledger::PreparedTransaction::parse(&block.data.unwrap().data[0]).content;
    let consilium_ledger::mvcc::TxContent::Endorsed(rwset) = content else {
        panic!("an endorsed transaction")
    };
    let kv = rwset.namespace("kv").unwrap();
    assert!(kv.collections[0].hashed_writes[0].is_purge);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_members_fail_the_endorsement_in_fabrics_words() {
    let mut network = start().await;
    let refused = async |network: &Network, name: &str| {
        let one = &network.members[0];
        let (proposal, tx_id) = proposal(one, b"putPrivate", name, "k", "v");
        let own = vec!["Org1MSP".to_owned()];
        let status = one
            .client
            .endorse_proposal(proposal, own)
            .await
            .unwrap_err();
        let texts: Vec<String> = details(&status)
            .into_iter()
            .map(|detail| detail.message)
            .collect();
        let prefix = format!(
            "error in simulation: failed to distribute private collection, txID {tx_id}, channel mychannel: "
        );
        let staged = one.channel().ledger().staged_private(&tx_id).unwrap();
        assert!(staged.is_empty(), "nothing is kept of it");
        texts[0]
            .strip_prefix(&prefix)
            .unwrap_or(&texts[0])
            .to_owned()
    };
    assert_eq!(
        refused(&network, "greedy").await,
        "could not build private data dissemination plan for chaincode kv and collection greedy: required to disseminate to at least 4 peers, but know of only 3 eligible peers"
    );
    // A peer that is gone but still counts as alive does not acknowledge.
    network.stop_peer(3).await;
    let text = refused(&network, "all").await;
    let plans = "Failed disseminating 1 out of 3 private dissemination plans";
    let dead = "could not build private data dissemination plan for chaincode kv and collection all: required to disseminate to at least 3 peers, but know of only 2 eligible peers";
    assert!(text == plans || text == dead, "{text}");
    network.acquainted_but(&[3]).await;
    assert_eq!(refused(&network, "all").await, dead);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_was_away_gets_what_it_missed() {
    let mut network = start().await;
    network.stop_peer(2).await;
    let first = submit(&network.members[0], b"putPrivate", "lazy", "k", "old").await;
    submit(&network.members[0], b"putPrivate", "lazy", "k", "new").await;
    submit(
        &network.members[0],
        b"putPrivate",
        "lazy",
        "purged",
        "secret",
    )
    .await;
    let last = submit(&network.members[0], b"purgePrivate", "lazy", "purged", "").await;

    // While nobody else is there it commits without, and says so.
    for index in [0, 1, 3] {
        network.stop_peer(index).await;
    }
    network.restart_peer(2).await;
    let member = &network.members[2];
    eventually("the peer catches up without data", || {
        *member.channel().subscribe_height().borrow() > last
    })
    .await;
    value(member, "lazy", "k").unwrap_err();
    let wanted =
        missing(member, MissingKind::Eligible) + missing(member, MissingKind::Deprioritized);
    assert_eq!(wanted, 4);

    network.restart_peer(0).await;
    let member = &network.members[2];
    eventually("reconciliation brings the value", || {
        value(member, "lazy", "k") == Ok(Some("new".into()))
    })
    .await;
    eventually("nothing is missing any more", || {
        missing(member, MissingKind::Eligible) + missing(member, MissingKind::Deprioritized) == 0
    })
    .await;
    // History is whole, but for what was purged.
    let place = PrivatePlace::new(0, "kv", "lazy");
    let set = |block| {
        member
            .channel()
            .ledger()
            .private_set(block, &place)
            .unwrap()
            .unwrap()
    };
    let set_of = |block: u64| consilium_proto::kvrwset::KvrwSet::decode(set(block)).unwrap();
    assert_eq!(set_of(first).writes[0].value, "old");
    assert!(
        set_of(last - 1).writes.is_empty(),
        "the purged value does not come back"
    );
    assert_eq!(value(member, "lazy", "purged"), Ok(None));
}

/// A raw gossip stream to a peer.
struct Stream {
    outgoing: mpsc::Sender<Envelope>,
    incoming: tonic::Streaming<Envelope>,
}

impl Stream {
    /// Opens a stream to `to` with the TLS certificate of `with`; reads its introduction.
    async fn open(to: &Member, with: &Member) -> Self {
        let tls = with.client_tls();
        tls.set_roots(&[to.organization.tls_root_pem()]).unwrap();
        let channel = consilium_transport::connect(&to.address, Some(tls), PATIENCE)
            .await
            .unwrap();
        let (outgoing, queue) = mpsc::channel(16);
        let mut client = GossipClient::new(channel).max_encoding_message_size(usize::MAX);
        let incoming = client
            .gossip_stream(ReceiverStream::new(queue))
            .await
            .unwrap()
            .into_inner();
        Self { outgoing, incoming }
    }

    async fn introduce(&self, signer: &dyn Signer, with: &Member) {
        let hash = with.client_tls().identity_hash();
        self.outgoing
            .send(handshake::introduce(signer, hash).unwrap())
            .await
            .unwrap();
    }

    async fn send(&self, tag: Tag, nonce: u64, content: Content) {
        let message = wire::message(tag, CHANNEL, nonce, content);
        self.outgoing.send(wire::unsigned(&message)).await.unwrap();
    }

    /// The answer with this nonce; `None` when the stream ends before.
    async fn answer(&mut self, nonce: u64) -> Option<Content> {
        let reading = async {
            while let Ok(Some(envelope)) = self.incoming.message().await {
                let message = wire::open(&envelope).unwrap();
                if message.nonce == nonce && nonce != 0 {
                    return message.content;
                }
            }
            None
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .expect("an answer or an end")
    }
}

fn push(collection: &str, members: &str, tx_id: &str) -> Content {
    let set = consilium_proto::kvrwset::KvrwSet {
        writes: vec![consilium_proto::kvrwset::KvWrite {
            key: "k".into(),
            value: Bytes::copy_from_slice(members.as_bytes()),
            ..Default::default()
        }],
        ..Default::default()
    };
    Content::PrivateData(PrivateDataMessage {
        payload: Some(PrivatePayload {
            collection_name: collection.into(),
            namespace: "kv".into(),
            tx_id: tx_id.into(),
            private_rwset: set.encode_to_vec().into(),
            private_sim_height: u64::MAX,
            collection_configs: Some(protos::CollectionConfigPackage {
                config: vec![self::collection(collection, members, 0, 1)],
            }),
        }),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_replays_garbage_and_too_much_are_refused_at_the_gossip_port() {
    let network = start().await;
    let [one, two, ..] = &network.members[..] else {
        panic!("four peers")
    };
    let friend: Arc<dyn Signer> = two.organization.signer("peer9", NodeOu::Peer);
    let before = one.peer.known_members(CHANNEL).len();

    // Who says nothing is let go after a while.
    let mut silent = Stream::open(one, two).await;
    assert_eq!(silent.answer(1).await, None);

    // A stranger, also one that calls itself by a known name.
    for msp_id in ["Org9MSP", "Org2MSP"] {
        let stranger = Organization::new(msp_id, "org9.example.com");
        let mut stream = Stream::open(one, two).await;
        stream
            .introduce(stranger.signer("peer0", NodeOu::Peer).as_ref(), two)
            .await;
        assert_eq!(stream.answer(1).await, None, "{msp_id}");
    }

    // A first message that was seen on another connection is bound to that one's certificate.
    let mut replay = Stream::open(one, &network.members[3]).await;
    replay.introduce(friend.as_ref(), two).await;
    assert_eq!(replay.answer(1).await, None);

    // Garbage, first and later.
    let garbage = Envelope {
        payload: Bytes::from_static(b"\xff\xff\xff"),
        ..Default::default()
    };
    let mut stream = Stream::open(one, two).await;
    stream.outgoing.send(garbage.clone()).await.unwrap();
    assert_eq!(stream.answer(1).await, None);
    let mut stream = Stream::open(one, two).await;
    stream.introduce(friend.as_ref(), two).await;
    stream.outgoing.send(garbage).await.unwrap();
    assert_eq!(stream.answer(1).await, None);

    // Too much: the test's limit is a mebibyte.
    let mut stream = Stream::open(one, two).await;
    stream.introduce(friend.as_ref(), two).await;
    let huge = Envelope {
        payload: vec![0; 2 * 1024 * 1024].into(),
        ..Default::default()
    };
    stream.outgoing.send(huge).await.unwrap();
    assert_eq!(stream.answer(1).await, None);

    // A member is heard, but not believed.
    let mut stream = Stream::open(one, two).await;
    stream.introduce(friend.as_ref(), two).await;
    let id = "ab".repeat(32);
    let mut nonce = 1;
    let mut refused = async |content: Content| {
        nonce += 1;
        stream.send(Tag::ChanOnly, nonce, content).await;
        match stream.answer(nonce).await {
            Some(Content::Ack(Acknowledgement { error })) => error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(push("all", BOTH, &id)).await, "");
    assert_eq!(refused(push("all", BOTH, &id)).await, "", "sent again");
    assert_eq!(one.channel().ledger().staged_private(&id).unwrap().len(), 1);
    for (content, text) in [
        (
            push("second", "OR('Org2MSP.member')", &id),
            "this peer is not a member of collection second of chaincode kv",
        ),
        (
            push("all", BOTH, "no id"),
            "malformed private data message, no transaction id",
        ),
        (
            Content::PrivateData(PrivateDataMessage::default()),
            "malformed private data message, no payload provided",
        ),
    ] {
        assert_eq!(refused(content).await, text);
    }

    // What it may not have it does not get, neither before the commit nor after.
    let block = submit(one, b"putPrivate", "first", "k", "ours").await;
    let digest = |block_seq, tx_id: &str| PvtDataDigest {
        tx_id: tx_id.into(),
        namespace: "kv".into(),
        collection: "first".into(),
        block_seq,
        seq_in_block: 0,
    };
    let (proposal, waiting) = proposal(one, b"putPrivate", "first", "l", "soon");
    let own = vec!["Org1MSP".to_owned()];
    one.client.endorse_proposal(proposal, own).await.unwrap();
    assert_eq!(
        one.channel()
            .ledger()
            .staged_private(&waiting)
            .unwrap()
            .len(),
        1
    );
    let ask = || {
        let digests = vec![
            digest(block, ""),
            digest(block + 50, &waiting),
            digest(u64::MAX, ""),
        ];
        Content::PrivateReq(RemotePvtDataRequest { digests })
    };
    for (signer, with, count) in [
        (friend.clone(), two, 0),
        (
            one.organization.signer("peer8", NodeOu::Peer) as Arc<dyn Signer>,
            one,
            2,
        ),
    ] {
        let mut stream = Stream::open(one, with).await;
        stream.introduce(signer.as_ref(), with).await;
        stream.send(Tag::ChanOnly, 7, ask()).await;
        let Some(Content::PrivateRes(response)) = stream.answer(7).await else {
            panic!("an answer")
        };
        assert_eq!(response.elements.len(), count, "{}", signer.msp_id());
    }

    // Nor does it by saying itself who the members are. Where the channel has no definition yet,
    // each set goes to those whom its own sender named.
    let novel = "cd".repeat(32);
    let ours: Arc<dyn Signer> = one.organization.signer("peer7", NodeOu::Peer);
    let pushes = [
        (&ours, one, push("novel", "OR('Org1MSP.member')", &novel)),
        (&friend, two, push("novel", BOTH, &novel)),
        (&friend, two, push("first", BOTH, &waiting)),
    ];
    for (signer, with, content) in pushes {
        let mut stream = Stream::open(one, with).await;
        stream.introduce(signer.as_ref(), with).await;
        stream.send(Tag::ChanOnly, 3, content).await;
        assert_eq!(
            stream.answer(3).await,
            Some(Content::Ack(Acknowledgement::default()))
        );
    }
    let staged = |id: &str| one.channel().ledger().staged_private(id).unwrap().len();
    assert_eq!((staged(&novel), staged(&waiting)), (2, 2));
    let ask = |collection: &str, tx_id: &str| {
        let digest = PvtDataDigest {
            collection: collection.into(),
            ..digest(block + 50, tx_id)
        };
        // Asked twice, answered once.
        Content::PrivateReq(RemotePvtDataRequest {
            digests: vec![digest.clone(), digest],
        })
    };
    for (signer, with, first, novel_sets) in [(&friend, two, 0, 1), (&ours, one, 2, 2)] {
        let mut stream = Stream::open(one, with).await;
        stream.introduce(signer.as_ref(), with).await;
        for (nonce, content, expected) in [
            (5, ask("first", &waiting), first),
            (6, ask("novel", &novel), novel_sets),
        ] {
            stream.send(Tag::ChanOnly, nonce, content).await;
            let Some(Content::PrivateRes(response)) = stream.answer(nonce).await else {
                panic!("an answer")
            };
            let sets: usize = response.elements.iter().map(|e| e.payload.len()).sum();
            assert_eq!(sets, expected, "{} {nonce}", signer.msp_id());
        }
    }

    // The peer is none the worse for it.
    network.acquainted_but(&[]).await;
    assert_eq!(one.peer.known_members(CHANNEL).len(), before);
    let block = submit(one, b"putPrivate", "all", "k", "still well").await;
    network.level_from(block + 1).await;
    assert_eq!(value(two, "all", "k"), Ok(Some("still well".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_asks_peers_that_gossip_alone_tells_of() {
    let mut network = Network::start_gossiping(1, 1).await;
    network
        .deploy("kv", Some("OutOf(2,'Org1MSP.peer','Org1MSP.peer')"))
        .await;
    let added = network.add_peer(0).await;
    network.level().await;
    let [one, other] = &network.members[..] else {
        panic!("two peers")
    };
    assert_eq!(added, 1);
    let alone = one.client.submit("kv", &[b"put", b"k", b"v"]).await;
    alone.expect_err("one peer is not enough");

    let package = consilium_chaincode::lifecycle::package_in_process("kv_1", "kv").unwrap();
    other.peer.host().install(&package).unwrap();
    eventually("the other peer tells that it runs the chaincode", || {
        let told = one.peer.known_members(CHANNEL);
        told.iter()
            .any(|peer| peer.chaincodes.iter().any(|cc| cc.name == "kv"))
    })
    .await;
    let code = one.client.submit("kv", &[b"put", b"k", b"v"]).await;
    assert_eq!(code.unwrap(), TxValidationCode::Valid);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_that_joins_a_collection_gets_what_was_written_before() {
    let network = Network::start_gossiping(1, 2).await;
    let policy = Some("OR('Org1MSP.peer','Org2MSP.peer')");
    let package = |members| protos::CollectionConfigPackage {
        config: vec![collection("c", members, 0, 1)],
    };
    network
        .deploy_with("kv", policy, Some(package("OR('Org1MSP.member')")))
        .await;
    network.acquainted().await;
    let [one, two] = &network.members[..] else {
        panic!("two peers")
    };
    let block = submit(one, b"putPrivate", "c", "k", "before").await;
    network.level_from(block + 1).await;
    value(two, "c", "k").unwrap_err();
    assert_eq!(missing(two, MissingKind::Ineligible), 1);

    network.define("kv", policy, Some(package(BOTH)), 2).await;
    eventually("the new member gets the value", || {
        value(two, "c", "k") == Ok(Some("before".into()))
    })
    .await;
    assert_eq!(missing(two, MissingKind::Ineligible), 0);
    assert_eq!(missing(two, MissingKind::Eligible), 0);
}

/// What the peer of `at` shows of a block's private data to a client of `of`: collections and values.
async fn delivered(of: &Member, at: &Member, block: u64) -> Vec<(String, String)> {
    let client = &of.client;
    let mut deliver = protos::deliver_client::DeliverClient::new(at.client.channel.clone());
    let seek = support::seek(client.signer.as_ref(), block);
    let stream = deliver.deliver_with_private_data(tokio_stream::iter([seek]));
    let answer = stream.await.unwrap().into_inner().message().await.unwrap();
    let Some(protos::deliver_response::Type::BlockAndPrivateData(answer)) =
        answer.and_then(|answer| answer.r#type)
    else {
        panic!("a block with private data")
    };
    let stored = at.channel().ledger().block(block).unwrap();
    assert_eq!(answer.block, stored, "the block itself is whole");
    let mut shown = Vec::new();
    for (index, set) in answer.private_data_map {
        assert_eq!(index, 0);
        for namespace in set.ns_pvt_rwset {
            assert_eq!(namespace.namespace, "kv");
            for collection in namespace.collection_pvt_rwset {
                let set = consilium_proto::kvrwset::KvrwSet::decode(collection.rwset).unwrap();
                let value = set.writes[0].value.to_vec();
                shown.push((
                    collection.collection_name,
                    String::from_utf8(value).unwrap(),
                ));
            }
        }
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_come_with_the_private_data_that_the_reader_may_see() {
    let network = start().await;
    let [one, two, ..] = &network.members[..] else {
        panic!("four peers")
    };
    for (collection, to_the_other) in [
        // Fabric's rule: a definition that is not memberOnlyRead shows it to every reader of blocks.
        ("first", true),
        ("own", false),
        ("closed", true),
    ] {
        let block = submit(one, b"putPrivate", collection, "k", "secret").await;
        let shown = vec![(collection.to_owned(), "secret".to_owned())];
        assert_eq!(delivered(one, one, block).await, shown, "{collection}");
        let other = delivered(two, one, block).await;
        assert_eq!(
            other,
            if to_the_other { shown } else { Vec::new() },
            "{collection}"
        );
    }
    // A peer that does not have it has nothing to show, whoever asks.
    let block = submit(one, b"putPrivate", "own", "k2", "secret").await;
    network.level().await;
    assert!(delivered(one, two, block).await.is_empty());
    // A block without private data is delivered as before.
    assert!(delivered(one, one, 0).await.is_empty());
}
