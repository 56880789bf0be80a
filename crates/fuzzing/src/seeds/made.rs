//! Made here.

use std::collections::BTreeMap;

use bytes::Bytes;
use consilium_gossip::{handshake, membership, wire};
use consilium_ledger::BlockStore;
use consilium_msp::Signer;
use consilium_proto::consilium::replication as raft;
use consilium_proto::gossip::{PeerTime, gossip_message::Content, gossip_message::Tag};
use consilium_proto::protos::chaincode_message::Type;
use consilium_proto::protos::{self, ChaincodeMessage};
use consilium_protocol::block::{header_hash, new_block};
use consilium_protocol::proposal::{self, NewProposal};
use consilium_testkit::{NodeOu, Organization};
use prost::Message;

use super::{Seed, kind, seed};
use crate::input::put_part;
use crate::package::{packed, tarred, zipped};
use crate::world;

pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    texts(&mut seeds);
    packages(&mut seeds);
    block_files(&mut seeds);
    records(&mut seeds);
    messages(&mut seeds);
    orderers(&mut seeds);
    chaincode(&mut seeds);
    seeds
}

const POLICIES: [&str; 6] = [
    "AND('Org1MSP.peer', 'Org2MSP.peer')",
    "OR('Org1MSP.member',\"Org2MSP.admin\")",
    "OutOf(2, 'Org1MSP.client', 'Org2MSP.orderer', AND('Org1MSP.peer', 'Org2MSP.member'))",
    "outof('1', OR('A.member', and('Org1MSP.admin', 'Org1MSP.admin')))",
    "MAJORITY Endorsement",
    "OutOf(0, 'Org1MSP.peer')",
];

const QUERIES: [(&str, &str, &str, &str); 6] = [
    (
        "fields",
        r#"{"selector":{"a":1,"b.c":{"$gt":null}},"fields":["a","b.c"],"sort":[{"a":"desc"}],"skip":1}"#,
        r#"{"index":{"fields":["a","b.c"]},"ddoc":"d","name":"n","type":"json"}"#,
        "{\"a\":1,\"b\":{\"c\":\"x\"}}\n{\"a\":1.5,\"b\":{\"c\":[1]}}\n{\"a\":-0.0}",
    ),
    (
        "gates",
        r#"{"selector":{"$or":[{"a":{"$in":[1,"z"]}},{"$not":{"a":{"$lt":5}}},{"$nor":[{"b":2}]}]},"use_index":["d","n"]}"#,
        r#"{"index":{"fields":["a"],"partial_filter_selector":{"a":{"$exists":true}}},"ddoc":"d","name":"n"}"#,
        "{\"a\":\"z\"}\n{\"a\":9007199254740993,\"b\":2}\n{\"a\":null}",
    ),
    (
        "arrays",
        r#"{"selector":{"list":{"$elemMatch":{"x":{"$gte":1}}},"all":{"$all":[1,2]},"n":{"$size":2},"m":{"$allMatch":{"$ne":3}}}}"#,
        r#"{"index":{"fields":["list"]}}"#,
        "{\"list\":[{\"x\":1}],\"all\":[1,2,3],\"n\":[0,0],\"m\":[1]}",
    ),
    (
        "strings",
        r#"{"selector":{"s":{"$regex":"^a.*\\d$"},"t":{"$beginsWith":"b"},"k":{"$keyMapMatch":{"$eq":"x"}},"y":{"$type":"string"}},"bookmark":"nil"}"#,
        r#"{"index":{"fields":["s"]}}"#,
        "{\"s\":\"abc1\",\"t\":\"bé\",\"k\":{\"x\":1},\"y\":\"\"}\n{\"s\":\"Äb\",\"t\":\"ß\"}",
    ),
    (
        "ranges",
        r#"{"selector":{"$and":[{"n":{"$gt":1}},{"n":{"$lte":1e300}},{"n":{"$mod":[3,1]}},{"n":{"$nin":[7]}}]},"sort":["n"]}"#,
        r#"{"index":{"fields":[{"n":"asc"}]}}"#,
        "{\"n\":4}\n{\"n\":18446744073709551615}\n{\"n\":-9223372036854775808}\n{\"n\":1e-7}",
    ),
    ("bookmark", "AQAAAAAAAAAAa2V5", "{}", "{}"),
];

fn texts(seeds: &mut Vec<Seed>) {
    for (number, policy) in POLICIES.iter().enumerate() {
        seeds.push(seed("policy", &format!("text{number}"), *policy));
        if let Ok(policy) = consilium_msp::dsl::parse(policy) {
            let encoded = kind(0, &policy.encode_to_vec());
            seeds.push(seed("policy", &format!("encoded{number}"), encoded));
        }
    }
    for (name, query, index, documents) in QUERIES {
        let lines = format!("{query}\n{index}\n{documents}");
        seeds.push(seed("mango", name, lines));
    }
    let form = "multipart/form-data; boundary=\"b-1\"\n--b-1\r\nContent-Disposition: form-data; \
                name=\"config-block\"; filename=\"a\\\"b\"\r\nContent-Type: x\r\n\r\ncontent\r\n\
                --b-1\r\nContent-Disposition: form-data; name=value\r\n\r\n1\r\n--b-1--\r\n";
    seeds.push(seed("form", "two", form));
}

fn packages(seeds: &mut Vec<Seed>) {
    let connection = br#"{"address":"{{.peername}}:9999","dial_timeout":"10s","tls_required":true,"client_auth_required":true,"client_key":"k","client_cert":"c","root_cert":"r","domain":"d"}"#;
    let plain = br#"{"address":"localhost:9999","dial_timeout":3000000000}"#;
    let index = br#"{"index":{"fields":["a"]},"ddoc":"d","name":"n","type":"json"}"#;
    let code = tarred(&[
        ("connection.json", plain),
        ("META-INF/statedb/couchdb/indexes/i.json", index),
        (
            "META-INF/statedb/couchdb/collections/c/indexes/i.json",
            index,
        ),
    ]);
    let metadata = br#"{"path":"","type":"ccaas","label":"kv_1.0"}"#;
    let whole = packed(metadata, &zipped(&code));
    let outer = tarred(&[("metadata.json", metadata), ("code.tar.gz", b"code")]);
    seeds.push(seed("package", "whole", kind(0, &whole)));
    seeds.push(seed("package", "outer", kind(1, &outer)));
    seeds.push(seed("package", "code", kind(2, &code)));
    seeds.push(seed("package", "metadata", kind(3, metadata)));
    seeds.push(seed("package", "connection", kind(4, connection)));
    seeds.push(seed("package", "plain", kind(4, plain)));
}

fn block_files(seeds: &mut Vec<Seed>) {
    let folder = world::folder();
    let path = folder.path().join("chain");
    let store = BlockStore::open(&path).expect("a block store");
    let mut previous = Bytes::new();
    for number in 0..3u8 {
        let data = vec![Bytes::from(vec![number; 20]), Bytes::from_static(b"other")];
        let block = new_block(number.into(), previous, data);
        let hash = header_hash(block.header.as_ref().expect("a header"));
        previous = Bytes::copy_from_slice(&hash);
        let extra = [(b"key".to_vec(), vec![number; 3])];
        store.append(&block, &extra, true).expect("a block");
    }
    store
        .put_extra(&[(b"raft/applied".to_vec(), vec![1, 2])], true)
        .expect("a record");
    drop(store);
    let file = std::fs::read(path.join("blocks/blocks_000000")).expect("a block file");
    seeds.push(seed("block_file", "as_it_is", kind(0, &file)));
    seeds.push(seed("block_file", "mended", kind(1, &file)));
    let mut two = vec![3];
    put_part(&mut two, &file);
    two.extend_from_slice(b"CBLOCKS1\0\0\0\x01\0\0\0\0\0\0\0\x03\0\0\0\0");
    two.extend_from_slice(&file[24..]);
    seeds.push(seed("block_file", "two", two));
}

fn records(seeds: &mut Vec<Seed>) {
    let all: [(&str, &[u8]); 5] = [
        ("value", b"\x05\x80\x01\x04\x0a\x01avalue"),
        ("transaction", b"\0\0\0\0\0\0\0\x05\0\0\0\x02\x0bid"),
        ("position", b"\0\0\0\x01\0\0\0\0\0\0\x10\0\0\0\x02\0"),
        ("data", b"d\0\0\0\0\0\0\0\x05\0\0\0\x01kv\0collection"),
        ("collections", b"ckv\0\xff\xff\xff\xff\xff\xff\xff\xfa"),
    ];
    seeds.extend(all.map(|(name, content)| seed("records", name, content)));
}

fn messages(seeds: &mut Vec<Seed>) {
    let organization = Organization::new("Org1MSP", "org1.example.com");
    let signer = organization.signer("peer0", NodeOu::Peer);
    let time = PeerTime {
        inc_num: 5,
        seq_num: 7,
    };
    let alive = consilium_proto::gossip::AliveMessage {
        membership: Some(consilium_proto::gossip::Member {
            endpoint: "peer0:7051".into(),
            pki_id: wire::pki_id(signer.serialized()).unwrap_or_default(),
            ..Default::default()
        }),
        timestamp: Some(time),
        identity: Bytes::new(),
    };
    let alive = wire::message(Tag::Empty, "", 0, Content::AliveMsg(alive));
    let mut alive = wire::signed(&alive, &*signer).expect("a signature");
    alive.secret_envelope = wire::secret_endpoint("peer0:7052", &*signer).ok();
    seeds.push(seed("gossip", "alive", alive.encode_to_vec()));
    let hello = handshake::introduce(&*signer, Some([7; 32])).expect("a signature");
    seeds.push(seed("gossip", "hello", hello.encode_to_vec()));
    let request = wire::message(Tag::Empty, "", 1, Content::MemReq(Default::default()));
    let request = wire::unsigned(&request).encode_to_vec();
    seeds.push(seed("gossip", "request", request));
    let payload = consilium_proto::gossip::Payload {
        seq_num: 7,
        data: Bytes::from_static(b"a block"),
        private_data: Vec::new(),
    };
    let word = consilium_proto::gossip::LeadershipMessage {
        pki_id: wire::pki_id(signer.serialized()).unwrap_or_default(),
        timestamp: Some(time),
        is_declaration: true,
    };
    let pushed = consilium_proto::gossip::DataMessage {
        payload: Some(payload.clone()),
    };
    let answered = consilium_proto::gossip::RemoteStateResponse {
        payloads: vec![payload],
    };
    for (name, tag, content) in [
        ("leader", Tag::ChanAndOrg, Content::LeadershipMsg(word)),
        ("block", Tag::ChanAndOrg, Content::DataMsg(pushed)),
        ("blocks", Tag::ChanOrOrg, Content::StateResponse(answered)),
    ] {
        let message = wire::message(tag, world::CHANNEL, 1, content);
        let message = wire::unsigned(&message).encode_to_vec();
        seeds.push(seed("gossip", name, message));
    }
    let _ = membership::alive_message;

    let transient = BTreeMap::from([("secret".to_owned(), Bytes::from_static(b"value"))]);
    for (name, transient) in [("plain", BTreeMap::new()), ("transient", transient)] {
        let new = NewProposal {
            channel: world::CHANNEL,
            chaincode: "kv",
            args: vec![Bytes::from_static(b"put"), Bytes::from_static(b"key")],
            transient,
            is_init: false,
            timestamp: prost_types::Timestamp::default(),
        };
        let (signed, _) = proposal::create(new, &*signer).expect("a signature");
        seeds.push(seed("proposal", name, signed.encode_to_vec()));
    }
}

fn orderers(seeds: &mut Vec<Seed>) {
    let id = |term, index| Some(raft::LogId { term, index });
    let entry = |index, payload| raft::Entry {
        id: id(2, index),
        payload: Some(payload),
    };
    let envelopes = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let membership = raft::Membership {
        voters: vec![raft::Voters { ids: vec![1, 2, 3] }],
        nodes: (1..4).map(|id| (id, raft::Node::default())).collect(),
    };
    let entries = [
        entry(0, raft::entry::Payload::Membership(membership.clone())),
        entry(1, raft::entry::Payload::Blank(raft::Blank {})),
        entry(2, raft::entry::Payload::Batch(raft::Batch { envelopes })),
        entry(3, raft::entry::Payload::Config(Bytes::from_static(b"c"))),
    ];
    let vote = raft::Vote {
        term: 3,
        node: 1,
        committed: true,
    };
    let append = raft::AppendRequest {
        channel: "channel".into(),
        vote: Some(vote),
        previous: None,
        committed: id(2, 1),
        entries: entries.to_vec(),
        to: 2,
    };
    let request = raft::VoteRequest {
        channel: "channel".into(),
        vote: Some(vote),
        last: id(2, 3),
        leadership_transfer: false,
        pre_vote: true,
        to: 2,
    };
    let snapshot = raft::Snapshot {
        id: id(2, 3),
        membership: Some(raft::StoredMembership {
            id: id(2, 0),
            membership: Some(membership),
        }),
        height: 9,
        header_hash: Bytes::from(vec![1; 32]),
    };
    for (name, message) in [
        ("append", append.encode_to_vec()),
        ("vote", request.encode_to_vec()),
        ("snapshot", snapshot.encode_to_vec()),
        ("entry", entries[2].encode_to_vec()),
    ] {
        seeds.push(seed("raft", name, kind(0, &message)));
    }
    let mut log = vec![1];
    let mut value = |kind: u8, index: u8, value: &[u8]| {
        log.extend_from_slice(&[kind, index]);
        put_part(&mut log, value);
    };
    for (index, entry) in entries.iter().enumerate() {
        value(b'l', index as u8, &entry.encode_to_vec());
    }
    value(b'n', 0, &1u64.to_be_bytes());
    value(b'v', 0, &vote.encode_to_vec());
    value(b'p', 0, &id(1, 0).unwrap_or_default().encode_to_vec());
    value(b's', 0, &snapshot.encode_to_vec());
    seeds.push(seed("raft", "log", log));
}

fn chaincode(seeds: &mut Vec<Seed>) {
    let call = |messages: &[(Type, Vec<u8>)]| {
        let mut input = Vec::new();
        for (kind, payload) in messages {
            let message = ChaincodeMessage {
                r#type: *kind as i32,
                payload: Bytes::copy_from_slice(payload),
                txid: "tx".into(),
                channel_id: world::CHANNEL.into(),
                ..Default::default()
            };
            put_part(&mut input, &message.encode_to_vec());
        }
        input
    };
    let put = protos::PutState {
        key: "key01".into(),
        value: Bytes::from_static(b"value"),
        collection: String::new(),
    };
    let get = protos::GetState {
        key: "key00".into(),
        collection: String::new(),
    };
    let range = protos::GetStateByRange {
        start_key: "key".into(),
        end_key: "key20".into(),
        ..Default::default()
    };
    let query = protos::GetQueryResult {
        query: r#"{"selector":{"n":{"$gt":10}}}"#.into(),
        metadata: protos::QueryMetadata {
            page_size: 5,
            bookmark: String::new(),
        }
        .encode_to_vec()
        .into(),
        ..Default::default()
    };
    let private = protos::PutState {
        collection: "_implicit_org_Org1MSP".into(),
        ..put.clone()
    };
    let batch = protos::WriteBatchState {
        rec: vec![protos::WriteRecord {
            key: "key02".into(),
            value: Bytes::from_static(b"batch"),
            r#type: protos::write_record::Type::PutState as i32,
            ..Default::default()
        }],
    };
    let metadata = protos::PutStateMetadata {
        key: "key03".into(),
        metadata: Some(protos::StateMetadata {
            metakey: "VALIDATION_PARAMETER".into(),
            value: Bytes::from_static(b"policy"),
        }),
        ..Default::default()
    };
    let done = protos::Response {
        status: 200,
        ..Default::default()
    };
    let register = protos::ChaincodeId {
        name: "kv".into(),
        ..Default::default()
    };
    seeds.push(seed(
        "shim",
        "reads",
        call(&[
            (Type::Register, register.encode_to_vec()),
            (Type::GetState, get.encode_to_vec()),
            (Type::GetStateByRange, range.encode_to_vec()),
            (Type::GetHistoryForKey, get.encode_to_vec()),
            (Type::GetStateMetadata, get.encode_to_vec()),
            (Type::GetQueryResult, query.encode_to_vec()),
            (Type::Completed, done.encode_to_vec()),
        ]),
    ));
    seeds.push(seed(
        "shim",
        "writes",
        call(&[
            (Type::PutState, put.encode_to_vec()),
            (Type::DelState, get.encode_to_vec()),
            (Type::PutState, private.encode_to_vec()),
            (Type::PutStateMetadata, metadata.encode_to_vec()),
            (Type::WriteBatchState, batch.encode_to_vec()),
            (Type::Completed, done.encode_to_vec()),
        ]),
    ));
}
