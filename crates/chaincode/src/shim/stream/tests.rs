//! A connection without a peer around it.

use super::*;
use futures_util::stream;

/// A payload that can be seen to be kept.
struct Payload(#[allow(dead_code)] Arc<()>);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        b"payload"
    }
}

#[tokio::test]
async fn requests_of_no_transaction_pile_up_nowhere_when_nobody_reads_the_refusals() {
    let kept = Arc::new(());
    let requests = |count: usize| {
        (0..count)
            .map(|number| {
                let payload = Bytes::from_owner(Payload(kept.clone()));
                Ok(message(Type::GetState, payload, "c", &number.to_string()))
            })
            .collect::<Vec<_>>()
    };
    let id = ChaincodeId {
        name: "cc:1".to_owned(),
        ..ChaincodeId::default()
    };
    let register = message(Type::Register, id.encode_to_vec().into(), "", "");
    let too_long = message(Type::GetState, Bytes::new(), "c", &"x".repeat(2000));
    let (taken, all_taken) = oneshot::channel();
    let incoming = stream::iter([Ok(register), Ok(too_long)])
        .chain(stream::iter(requests(5000)))
        .chain(
            stream::once(async move {
                let _ = taken.send(());
                std::future::pending().await
            })
            .boxed(),
        );
    let limits = Limits {
        total_query: 1,
        history: false,
        write_batch: None,
        multiple_keys: None,
    };
    let (outgoing, mut answers) = mpsc::channel(2);
    let link = Link::new(incoming.boxed(), outgoing);
    let stream = ShimStream::establish("cc:1", link, limits, Weak::new())
        .await
        .unwrap();
    all_taken.await.unwrap();
    assert_eq!(Arc::strong_count(&kept), 1);
    assert!(stream.is_open());

    let mut refused = Vec::new();
    for _ in 0..20_000 {
        tokio::task::yield_now().await;
        while let Ok(answer) = answers.try_recv() {
            refused.push(answer);
        }
    }
    // After REGISTERED and READY.
    let refused = &refused[2..];
    assert_eq!(refused.len(), REFUSALS);
    assert_eq!(
        refused[0],
        failed(Type::GetState, "c", "0", "no ledger context")
    );
}
