//! Requests that come while another is under way, and callers who hang up.

mod setup;

use futures_util::FutureExt;
use http::Method;
use serde_json::{Value, json};
use setup::*;

fn observation(patient: &str) -> Value {
    json!({"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "subject": {"reference": format!("Patient/{patient}")}})
}

fn path(reply: &Reply) -> &str {
    reply.header("location").trim_start_matches(BASE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_again_while_it_is_under_way_waits_for_its_answer() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let (header, body) = ([("x-request-id", "r-1")], observation(&johnnie.patient));
    let height = world.height();
    let post = || world.send(Method::POST, "/Observation", CLINIC, &header, Some(&body));
    let (first, second) = tokio::join!(post(), post());
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.header("location"), second.header("location"));
    assert_eq!(world.height(), height + 1);
    ok(&world.get(path(&first), CLINIC).await);
}

#[tokio::test]
async fn what_is_on_its_way_is_settled_although_the_caller_hangs_up() {
    let world = world();
    let johnnie = johnnie(&world).await;
    let (header, body) = ([("x-request-id", "r-1")], observation(&johnnie.patient));
    let height = world.height();
    let post = || world.send(Method::POST, "/Observation", CLINIC, &header, Some(&body));
    assert!(post().now_or_never().is_none());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.height(), height + 1, "nobody asked a second time");
    let again = post().await;
    assert_eq!((again.status, world.height()), (201, height + 1));
    ok(&world.get(path(&again), CLINIC).await);
}
