//! Launches without a peer around them.

use super::*;
use crate::shim::{Limits, Link};
use consilium_proto::protos::{ChaincodeId, ChaincodeMessage, chaincode_message::Type};
use futures_util::{StreamExt, stream};
use prost::Message;
use std::sync::Weak;
use tokio::sync::{mpsc, oneshot};

const LONG: Duration = Duration::from_secs(60);

/// The stream of a chaincode that has registered and says nothing more.
async fn registered(ccid: &str) -> Result<Arc<ShimStream>, String> {
    let id = ChaincodeId {
        name: ccid.to_owned(),
        ..ChaincodeId::default()
    };
    let register = ChaincodeMessage {
        r#type: Type::Register.into(),
        payload: id.encode_to_vec().into(),
        ..ChaincodeMessage::default()
    };
    let incoming = stream::iter([Ok(register)]).chain(stream::pending());
    let limits = Limits {
        total_query: 1,
        history: false,
        write_batch: None,
        multiple_keys: None,
    };
    let (outgoing, mut sent) = mpsc::channel(8);
    tokio::spawn(async move { while sent.recv().await.is_some() {} });
    let link = Link::new(incoming.boxed(), outgoing);
    ShimStream::establish(ccid, link, limits, Weak::new()).await
}

/// A launch of `cc:1` that somebody has asked for and nobody waits for any more. It goes on when it is
/// told; what it gives is handed out too.
fn begun(launches: &Launches) -> (oneshot::Sender<()>, oneshot::Receiver<Arc<ShimStream>>) {
    let (go, may_go) = oneshot::channel();
    let (made, stream) = oneshot::channel();
    let once = Mutex::new(Some((may_go, made)));
    let start = || {
        let (may_go, made) = once.lock().take().unwrap();
        async move {
            may_go.await.unwrap();
            let stream = registered("cc:1").await?;
            made.send(stream.clone()).ok();
            Ok(stream)
        }
    };
    let asked = launches.stream("cc:1", LONG, start).now_or_never();
    assert!(asked.is_none());
    (go, stream)
}

async fn eventually(what: impl Fn() -> bool) {
    let looked = async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, looked).await.unwrap();
}

#[tokio::test]
async fn a_launch_that_nobody_waits_for_any_more_is_seen_when_it_is_done() {
    let launches = Launches::default();
    let (go, stream) = begun(&launches);
    assert_eq!(launches.state("cc:1"), State::Starting);
    go.send(()).unwrap();
    let stream = stream.await.unwrap();
    eventually(|| launches.state("cc:1") == State::Ready).await;
    assert!(launches.open("cc:1").is_some());
    launches.terminate();
    assert!(!stream.is_open());
}

#[tokio::test]
async fn a_chaincode_that_is_still_being_launched_is_ended_as_well() {
    let launches = Launches::default();
    let (go, stream) = begun(&launches);
    let ((), stream) = tokio::join!(launches.end("cc:1"), async {
        go.send(()).unwrap();
        stream.await.unwrap()
    });
    assert!(!stream.is_open());
    assert_eq!(launches.state("cc:1"), State::NotStarted);
}

#[tokio::test]
async fn who_came_by_himself_and_went_is_not_remembered_for_ever() {
    let launches = Launches::default();
    let lasting = registered("lasting:1").await.unwrap();
    assert!(launches.adopt("lasting:1", lasting));
    for number in 0..2 * REMEMBERED {
        let name = format!("flood:{number}");
        let stream = registered(&name).await.unwrap();
        assert!(launches.adopt(&name, stream.clone()));
        stream.terminate();
    }
    assert!(launches.names_without::<()>(&BTreeMap::new()).len() <= REMEMBERED);
    assert!(launches.open("lasting:1").is_some());
}
