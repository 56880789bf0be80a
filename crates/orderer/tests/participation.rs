//! The channel participation API, as `osnadmin` calls it.

mod support;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use consilium_proto::common::{HeaderType, Status};
use consilium_testkit::{NodeOu, Organization, network};
use support::{CHANNEL, Cluster, encode, status};
use tower::ServiceExt;

struct Admin {
    router: axum::Router,
}

impl Admin {
    async fn call(&self, request: Request<Body>) -> (StatusCode, Response<()>, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        (parts.status, Response::from_parts(parts, ()), text)
    }

    async fn get(&self, path: &str) -> (StatusCode, Response<()>, String) {
        self.call(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    async fn delete(&self, path: &str) -> (StatusCode, Response<()>, String) {
        self.call(Request::delete(path).body(Body::empty()).unwrap())
            .await
    }

    async fn post(&self, block: &[u8]) -> (StatusCode, Response<()>, String) {
        self.post_part("config-block", block).await
    }

    async fn post_part(&self, name: &str, block: &[u8]) -> (StatusCode, Response<()>, String) {
        let head = format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"config.block\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let body = [head.as_bytes(), block, b"\r\n--xyz--\r\n"].concat();
        let request = Request::post("/participation/v1/channels")
            .header(header::CONTENT_TYPE, "multipart/form-data; boundary=xyz")
            .body(Body::from(body))
            .unwrap();
        self.call(request).await
    }
}

fn header_of<'a>(response: &'a Response<()>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_listed_joined_and_removed() {
    let cluster = Cluster::start(1, |_| {}).await;
    let admin = Admin {
        router: cluster.orderer(0).participation_router(),
    };
    let one = "/participation/v1/channels/mychannel";

    let (code, response, body) = admin.get("/participation/v1/channels").await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(header_of(&response, "cache-control"), "no-store");
    assert_eq!(
        body,
        "{\"systemChannel\":null,\"channels\":[{\"name\":\"mychannel\",\"url\":\"/participation/v1/channels/mychannel\"}]}\n"
    );
    let (code, _, body) = admin.get(one).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(
        body,
        "{\"name\":\"mychannel\",\"url\":\"/participation/v1/channels/mychannel\",\"consensusRelation\":\"consenter\",\"status\":\"active\",\"height\":1}\n"
    );
    let (code, response, body) = admin.post(&encode(&cluster.genesis)).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header_of(&response, "allow"), "GET, DELETE");
    assert_eq!(
        body,
        "{\"error\":\"cannot join: channel already exists\"}\n"
    );

    let (code, response, body) = admin.get(&format!("{one}/blocks/newest")).await;
    assert_eq!(code, StatusCode::OK, "{body}");
    assert_eq!(
        header_of(&response, "content-type"),
        "application/octet-stream"
    );
    assert_eq!(
        admin.get(&format!("{one}/blocks/config")).await.0,
        StatusCode::OK
    );
    assert_eq!(
        admin.get(&format!("{one}/blocks/7")).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        admin.get(&format!("{one}/blocks/x")).await.0,
        StatusCode::BAD_REQUEST
    );

    assert_eq!(admin.delete(one).await.0, StatusCode::NO_CONTENT);
    let (code, _, body) = admin.delete(one).await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    assert_eq!(
        body,
        "{\"error\":\"cannot remove: channel does not exist\"}\n"
    );
    let (_, _, body) = admin.get("/participation/v1/channels").await;
    assert_eq!(body, "{\"systemChannel\":null,\"channels\":null}\n");

    let (code, response, body) = admin.post(&encode(&cluster.genesis)).await;
    assert_eq!(code, StatusCode::CREATED, "{body}");
    assert_eq!(header_of(&response, "location"), one);
    assert!(body.contains("\"height\":1"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_fabrics_answers() {
    let cluster = Cluster::start(1, |_| {}).await;
    let admin = Admin {
        router: cluster.orderer(0).participation_router(),
    };
    let channels = "/participation/v1/channels";

    let (code, response, _) = admin.get("/participation/v1/").await;
    assert_eq!(
        (code, header_of(&response, "location")),
        (StatusCode::FOUND, channels)
    );
    let (code, _, body) = admin.get("/participation/v1/channels/other").await;
    assert_eq!(
        (code, body.as_str()),
        (
            StatusCode::NOT_FOUND,
            "{\"error\":\"channel does not exist\"}\n"
        )
    );
    let (code, _, body) = admin.get("/participation/v1/channels/BAD").await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        body.starts_with("{\"error\":\"invalid channel ID: "),
        "{body}"
    );
    let html = Request::get(channels)
        .header(header::ACCEPT, "text/html")
        .body(Body::empty())
        .unwrap();
    let (code, _, body) = admin.call(html).await;
    assert_eq!(code, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(
        body,
        "{\"error\":\"response Content-Type is application/json only\"}\n"
    );
    let patch = Request::patch(channels).body(Body::empty()).unwrap();
    let (code, response, body) = admin.call(patch).await;
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(header_of(&response, "allow"), "GET, POST, PUT");
    assert_eq!(body, "{\"error\":\"invalid request method: PATCH\"}\n");

    let plain = Request::post(channels)
        .header(header::CONTENT_TYPE, "text/plain")
        .body(Body::empty())
        .unwrap();
    let (code, _, body) = admin.call(plain).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(
        body,
        "{\"error\":\"unsupported Content-Type: [text/plain]\"}\n"
    );
    let (code, _, body) = admin.post_part("other", b"x").await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(
        body,
        "{\"error\":\"form does not contains part key: config-block\"}\n"
    );
    let (code, _, body) = admin.post(&[0xff; 10]).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        body.starts_with("{\"error\":\"cannot unmarshal file part config-block into a block: "),
        "{body}"
    );
    let (code, _, body) = admin.post(b"").await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        body.starts_with("{\"error\":\"invalid join block: "),
        "{body}"
    );

    assert_eq!(cluster.orderer(0).channels(), [CHANNEL]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_of_other_consenters_is_followed() {
    let cluster = Cluster::start(1, |_| {}).await;
    let admin = Admin {
        router: cluster.orderer(0).participation_router(),
    };
    let others = Organization::new("OtherMSP", "other.example.com");
    let genesis = network::genesis("otherchannel", &[&others], Vec::new());
    let (code, _, body) = admin.post(&encode(&genesis)).await;
    assert_eq!(code, StatusCode::CREATED, "{body}");
    assert!(
        body.contains("\"consensusRelation\":\"follower\",\"status\":\"active\",\"height\":1"),
        "{body}"
    );
    let message = support::message_of(
        &*cluster.organization.signer("client", NodeOu::Client),
        "otherchannel",
        HeaderType::EndorserTransaction,
        b"x",
    );
    let answer = cluster.broadcast(0, message).await;
    assert_eq!(status(&answer), Status::ServiceUnavailable);
    assert_eq!(answer.info, "orderer is a follower of channel otherchannel");
}
