//! What the scripted chaincode does: one function per feature of the shim protocol.

use super::service::{Call, Final};
use bytes::Bytes;
use consilium_proto::protos::chaincode_message::Type;
use consilium_proto::protos::{
    ChaincodeId, ChaincodeInput, ChaincodeMessage, ChaincodeSpec, DelState, GetHistoryForKey,
    GetQueryResult, GetState, GetStateByRange, GetStateMetadata, GetStateMultiple, PutState,
    PutStateMetadata, QueryMetadata, QueryResponse, QueryStateClose, QueryStateNext, Response,
    StateMetadata, WriteBatchState, WriteRecord, write_record,
};
use consilium_proto::queryresult::Kv;
use prost::Message;
use std::time::Duration;

fn put(key: &str, value: &str) -> PutState {
    PutState {
        key: key.into(),
        value: Bytes::copy_from_slice(value.as_bytes()),
        collection: String::new(),
    }
}

/// A script with one function per protocol feature, by its first argument.
pub async fn everything(mut call: Call) -> Final {
    let args = call.args.clone();
    let arg = |index: usize| args.get(index).cloned().unwrap_or_default();
    match arg(0).as_str() {
        "put" => {
            let outcome = call.request(Type::PutState, &put(&arg(1), &arg(2))).await;
            call.told(outcome)
        }
        "get" => {
            let get = GetState {
                key: arg(1),
                collection: arg(2),
            };
            let outcome = call.request(Type::GetState, &get).await;
            call.told(outcome)
        }
        "del" => {
            let outcome = call
                .request(
                    Type::DelState,
                    &DelState {
                        key: arg(1),
                        collection: arg(2),
                    },
                )
                .await;
            call.told(outcome)
        }
        "fill" => {
            for index in 0..arg(1).parse().expect("a number") {
                call.request(Type::PutState, &put(&format!("k{index:03}"), "v"))
                    .await
                    .expect("put");
            }
            call.completed(200, "")
        }
        "walk" => walk(&mut call, arg(1).parse().expect("a number")).await,
        "page" => {
            let metadata = QueryMetadata {
                page_size: arg(1).parse().expect("a number"),
                bookmark: arg(2),
            };
            let range = GetStateByRange {
                start_key: "k".into(),
                end_key: "l".into(),
                metadata: metadata.encode_to_vec().into(),
                ..GetStateByRange::default()
            };
            let page = call
                .request(Type::GetStateByRange, &range)
                .await
                .expect("a page");
            if arg(3) == "write" {
                let outcome = call.request(Type::PutState, &put("a", "1")).await;
                return call.told(outcome);
            }
            call.completed(200, page)
        }
        "history" => {
            let outcome = call
                .request(Type::GetHistoryForKey, &GetHistoryForKey { key: arg(1) })
                .await;
            call.told(outcome)
        }
        "rich" => {
            // Query, then maybe page size, bookmark and collection.
            let metadata = QueryMetadata {
                page_size: arg(2).parse().unwrap_or_default(),
                bookmark: arg(3),
            };
            let query = GetQueryResult {
                query: arg(1),
                collection: arg(4),
                metadata: metadata.encode_to_vec().into(),
            };
            let outcome = call.request(Type::GetQueryResult, &query).await;
            call.told(outcome)
        }
        "private" => {
            let value = PutState {
                collection: arg(2),
                ..put(&arg(1), "secret")
            };
            let outcome = call.request(Type::PutState, &value).await;
            call.told(outcome)
        }
        "hash" => {
            let get = GetState {
                key: arg(1),
                collection: arg(2),
            };
            let outcome = call.request(Type::GetPrivateDataHash, &get).await;
            call.told(outcome)
        }
        "purge" => {
            let outcome = call
                .request(
                    Type::PurgePrivateData,
                    &DelState {
                        key: arg(1),
                        collection: arg(2),
                    },
                )
                .await;
            call.told(outcome)
        }
        "policy" => {
            let entry = StateMetadata {
                metakey: "VALIDATION_PARAMETER".into(),
                value: arg(2).into(),
            };
            let put = PutStateMetadata {
                key: arg(1),
                metadata: Some(entry),
                ..PutStateMetadata::default()
            };
            let outcome = call.request(Type::PutStateMetadata, &put).await;
            call.told(outcome)
        }
        "policy of" => {
            let get = GetStateMetadata {
                key: arg(1),
                ..GetStateMetadata::default()
            };
            let outcome = call.request(Type::GetStateMetadata, &get).await;
            call.told(outcome)
        }
        "batch" => batch(&mut call, &arg(1)).await,
        "several" => {
            let get = GetStateMultiple {
                keys: args[1..].to_vec(),
                collection: String::new(),
            };
            let outcome = call.request(Type::GetStateMultiple, &get).await;
            call.told(outcome)
        }
        "invoke" => {
            let input = args[2..]
                .iter()
                .map(|arg| Bytes::from(arg.clone()))
                .collect();
            let spec = ChaincodeSpec {
                chaincode_id: Some(ChaincodeId {
                    name: arg(1),
                    ..ChaincodeId::default()
                }),
                input: Some(ChaincodeInput {
                    args: input,
                    ..ChaincodeInput::default()
                }),
                ..ChaincodeSpec::default()
            };
            match call.request(Type::InvokeChaincode, &spec).await {
                Err(text) => call.completed(200, format!("error: {text}")),
                Ok(payload) => {
                    let message = ChaincodeMessage::decode(payload).expect("a message");
                    let callee = Response::decode(message.payload.clone()).expect("a response");
                    call.completed(callee.status, callee.payload)
                }
            }
        }
        "event" => call.completed_with_event("happened"),
        "status" => call.completed(arg(1).parse().expect("a number"), "told"),
        "fail" => Some(call.reply(Type::Error, "deliberately")),
        "hang" => None,
        "crash" => {
            let _ = call
                .outgoing
                .send(Err(tonic::Status::aborted("crash")))
                .await;
            None
        }
        "twice" => {
            // Both requests in one breath: the second one is dropped without an answer.
            let get = GetState {
                key: "a".into(),
                collection: String::new(),
            }
            .encode_to_vec();
            call.send(call.reply(Type::GetState, get.clone())).await;
            call.send(call.reply(Type::GetState, get)).await;
            call.answers.recv().await;
            let rest = tokio::time::timeout(Duration::from_millis(200), call.answers.recv()).await;
            call.completed(
                200,
                if rest.is_err() {
                    "one answer"
                } else {
                    "two answers"
                },
            )
        }
        "malformed" => {
            let outcome = call.request_raw(Type::GetState, &b"\xff\xff\xff"[..]).await;
            call.told(outcome)
        }
        "unknown iterator" => {
            let outcome = call
                .request(Type::QueryStateNext, &QueryStateNext { id: "no".into() })
                .await;
            let closed = call
                .request(Type::QueryStateClose, &QueryStateClose { id: "no".into() })
                .await;
            assert!(closed.is_ok());
            call.told(outcome)
        }
        "nonsense" => {
            let message = ChaincodeMessage {
                r#type: 99,
                ..call.reply(Type::Error, "")
            };
            call.send(message).await;
            None
        }
        "proposal" => {
            let signed = call.message.proposal.clone().unwrap_or_default();
            call.completed(200, signed.encode_to_vec())
        }
        "input" => call.completed(200, call.message.payload.to_vec()),
        "garbled" => Some(call.reply(Type::Completed, &b"\xff\xff"[..])),
        "late" => {
            let late = GetState {
                key: "a".into(),
                collection: String::new(),
            }
            .encode_to_vec();
            let done = call.completed(200, "done")?;
            call.send(done).await;
            // The transaction is over at the peer when it answers this.
            loop {
                call.send(call.reply(Type::GetState, late.clone())).await;
                let answer = call.answers.recv().await?;
                if answer.r#type() == Type::Error {
                    LATE.lock()
                        .push(String::from_utf8_lossy(&answer.payload).into_owned());
                    return None;
                }
            }
        }
        other => call.completed(400, format!("no function {other}")),
    }
}

/// Answers to requests that came too late.
pub static LATE: parking_lot::Mutex<Vec<String>> = parking_lot::Mutex::new(Vec::new());

/// Iterates over all keys, in as many portions as asked for, and tells their sizes.
async fn walk(call: &mut Call, portions: usize) -> Final {
    let range = GetStateByRange {
        start_key: "k".into(),
        end_key: "l".into(),
        ..GetStateByRange::default()
    };
    let payload = call
        .request(Type::GetStateByRange, &range)
        .await
        .expect("a portion");
    let mut portion = QueryResponse::decode(payload).expect("a portion");
    let mut told = Vec::new();
    loop {
        let first = portion
            .results
            .first()
            .map(|result| Kv::decode(result.result_bytes.clone()).expect("a key and value"));
        if let Some(first) = first {
            assert_eq!(
                (first.namespace.as_str(), &first.value[..]),
                ("cc", &b"v"[..])
            );
            told.push(format!("{}+{}", first.key, portion.results.len()));
        }
        if !portion.has_more {
            told.push("end".to_owned());
            let again = QueryStateNext { id: portion.id };
            let again = call
                .request(Type::QueryStateNext, &again)
                .await
                .expect_err("forgotten");
            assert!(again.ends_with("query iterator not found"), "{again}");
            break;
        }
        if told.len() == portions {
            let close = QueryStateClose { id: portion.id };
            call.request(Type::QueryStateClose, &close)
                .await
                .expect("closed");
            break;
        }
        let next = QueryStateNext { id: portion.id };
        let payload = call
            .request(Type::QueryStateNext, &next)
            .await
            .expect("a portion");
        portion = QueryResponse::decode(payload).expect("a portion");
    }
    call.completed(200, told.join(" "))
}

async fn batch(call: &mut Call, kind: &str) -> Final {
    let record = |kind: write_record::Type, key: &str, value: &'static str| WriteRecord {
        key: key.into(),
        value: Bytes::from_static(value.as_bytes()),
        r#type: kind.into(),
        ..WriteRecord::default()
    };
    let mut rec = vec![
        record(write_record::Type::PutState, "b1", "1"),
        record(write_record::Type::DelState, "b2", ""),
        WriteRecord {
            metadata: Some(StateMetadata {
                metakey: "VALIDATION_PARAMETER".into(),
                value: Bytes::new(),
            }),
            ..record(write_record::Type::PutStateMetadata, "b1", "")
        },
        WriteRecord {
            collection: "both".into(),
            ..record(write_record::Type::PutState, "p1", "1")
        },
    ];
    if kind == "spoilt" {
        rec.insert(1, record(write_record::Type::Undefined, "x", ""));
    }
    let outcome = call
        .request(Type::WriteBatchState, &WriteBatchState { rec })
        .await;
    call.told(outcome)
}
