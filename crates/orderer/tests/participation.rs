//! The channel participation API, as `osnadmin` calls it.

mod support;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::Response;
use consilium_proto::common::{
    Block, ConfigUpdate, ConfigUpdateEnvelope, Envelope, HeaderType, Status,
};
use consilium_testkit::{NodeOu, Organization, network};
use prost::Message;
use support::config::{set_max_messages, update_of};
use support::{CHANNEL, Cluster, encode, status};
use tower::ServiceExt;

/// A part of a form: its name, its file name if it is a file, and its content.
type Part<'a> = (&'a str, Option<&'a str>, &'a [u8]);

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
        self.form(Method::POST, &[(name, Some("config.block"), block)])
            .await
    }

    async fn put(&self, update: &[u8]) -> (StatusCode, Response<()>, String) {
        let part = ("config-update-envelope", Some("update.pb"), update);
        self.form(Method::PUT, &[part]).await
    }

    /// Sends a form.
    async fn form(&self, method: Method, parts: &[Part<'_>]) -> (StatusCode, Response<()>, String) {
        let mut body = Vec::new();
        for (name, file, content) in parts {
            let file = file.map_or(String::new(), |file| format!("; filename=\"{file}\""));
            let head =
                format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
            body.extend([head.as_bytes(), content, b"\r\n"].concat());
        }
        body.extend(b"--xyz--\r\n");
        let request = Request::builder()
            .method(method)
            .uri("/participation/v1/channels")
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
    let (code, _, body) = admin.post(&[0xff; 10]).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(
        body.starts_with("{\"error\":\"cannot unmarshal file part config-block into a block: "),
        "{body}"
    );

    assert_eq!(cluster.orderer(0).channels(), [CHANNEL]);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_hold_no_join_block_get_fabrics_answers() {
    let cluster = Cluster::start(1, |_| {}).await;
    let admin = Admin {
        router: cluster.orderer(0).participation_router(),
    };
    let genesis = encode(&cluster.genesis);
    let altered = |change: fn(&mut Block)| {
        let mut block = cluster.genesis.clone();
        change(&mut block);
        encode(&block)
    };
    let no_metadata = altered(|block| block.metadata = None);
    let other_hash =
        altered(|block| block.header.as_mut().unwrap().data_hash = bytes::Bytes::from_static(b"x"));
    fn file(content: &[u8]) -> Part<'_> {
        ("config-block", Some("x"), content)
    }
    let cases: [(&str, Vec<Part<'_>>, &str); 9] = [
        (
            "no part",
            vec![],
            "form does not contains part key: config-block",
        ),
        (
            "another name",
            vec![("other", Some("x"), &genesis)],
            "form does not contains part key: config-block",
        ),
        (
            "no file",
            vec![("config-block", None, &genesis)],
            "form does not contains part key: config-block",
        ),
        (
            "two files",
            vec![file(&genesis), ("other", Some("x"), b"x")],
            "form contains too many parts",
        ),
        (
            "a file and a value",
            vec![file(&genesis), ("other", None, b"x")],
            "form contains too many parts",
        ),
        (
            "empty",
            vec![file(b"")],
            "invalid join block: block is not a config block",
        ),
        (
            "no metadata",
            vec![file(&no_metadata)],
            "invalid join block: invalid block: does not have metadata",
        ),
        (
            "another hash",
            vec![file(&other_hash)],
            "invalid join block: invalid block: Header.DataHash is different from Hash(block.Data)",
        ),
        (
            "twice",
            vec![file(&genesis), file(b"x")],
            "cannot join: channel already exists",
        ),
    ];
    for (name, parts, error) in cases {
        let (code, _, body) = admin.form(Method::POST, &parts).await;
        let expected = match name {
            "twice" => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::BAD_REQUEST,
        };
        assert_eq!(code, expected, "{name}: {body}");
        assert_eq!(body, format!("{{\"error\":\"{error}\"}}\n"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_asked_for_by_number_or_name_and_as_json() {
    let cluster = Cluster::start(1, |_| {}).await;
    let admin = Admin {
        router: cluster.orderer(0).participation_router(),
    };
    let cases = [
        ("newest", "", StatusCode::OK, ""),
        ("newest", "*/*", StatusCode::OK, ""),
        (
            "newest",
            "text/html",
            StatusCode::NOT_ACCEPTABLE,
            "response Content-Type is application/json only",
        ),
        ("oldest", "", StatusCode::OK, ""),
        ("config", "", StatusCode::OK, ""),
        ("0", "", StatusCode::OK, ""),
        ("7", "", StatusCode::NOT_FOUND, "block does not exist"),
        ("-1", "", StatusCode::NOT_FOUND, "block does not exist"),
        (
            "first",
            "",
            StatusCode::BAD_REQUEST,
            "invalid block ID: 'first' not equal <newest|oldest|config|(number)>",
        ),
    ];
    for (block, accept, expected, error) in cases {
        let path = format!("/participation/v1/channels/mychannel/blocks/{block}");
        let request = Request::get(path)
            .header(header::ACCEPT, accept)
            .body(Body::empty())
            .unwrap();
        let (code, _, body) = admin.call(request).await;
        assert_eq!(code, expected, "{block} {accept}: {body}");
        if !error.is_empty() {
            assert_eq!(body, format!("{{\"error\":\"{error}\"}}\n"), "{block}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_update_is_put_as_it_is_broadcast() {
    let cluster = Cluster::start(1, |_| {}).await;
    let admin = Admin {
        router: cluster.orderer(0).participation_router(),
    };
    let good = cluster.config_update(NodeOu::Admin, |root| set_max_messages(root, 7));
    let bad = cluster.config_update(NodeOu::Admin, |root| set_max_messages(root, 0));
    let signer = cluster.organization.signer("client", NodeOu::Client);
    let message = |kind, channel| support::message_of(&*signer, channel, kind, b"").encode_to_vec();
    // The inside says which channel is updated.
    let stranger = ConfigUpdateEnvelope {
        config_update: ConfigUpdate {
            channel_id: "elsewhere".into(),
            ..Default::default()
        }
        .encode_to_vec()
        .into(),
        signatures: Vec::new(),
    };
    let stranger = support::message_of(
        &*signer,
        "elsewhere",
        HeaderType::ConfigUpdate,
        &stranger.encode_to_vec(),
    );
    let no_payload = Envelope {
        payload: bytes::Bytes::from_static(b"garbage"),
        signature: bytes::Bytes::new(),
    };
    let cases = [
        (
            vec![0xff; 9],
            StatusCode::BAD_REQUEST,
            "cannot unmarshal file part config-update-envelope into an envelope: ",
        ),
        (
            no_payload.encode_to_vec(),
            StatusCode::BAD_REQUEST,
            "invalid config update envelope: bad payload",
        ),
        (
            Vec::new(),
            StatusCode::BAD_REQUEST,
            "invalid config update envelope: bad header",
        ),
        (
            message(HeaderType::Config, CHANNEL),
            StatusCode::BAD_REQUEST,
            "invalid config update envelope: bad type",
        ),
        (
            message(HeaderType::ConfigUpdate, ""),
            StatusCode::BAD_REQUEST,
            "invalid config update envelope: empty channel id",
        ),
        (
            stranger.encode_to_vec(),
            StatusCode::METHOD_NOT_ALLOWED,
            "cannot update: channel does not exist",
        ),
        (
            bad.encode_to_vec(),
            StatusCode::BAD_REQUEST,
            "cannot update: failed update config of channel mychannel: \
             error applying config update to existing channel 'mychannel': \
             initializing channelconfig failed: ",
        ),
    ];
    for (update, expected, error) in cases {
        let (code, _, body) = admin.put(&update).await;
        assert_eq!(code, expected, "{error}: {body}");
        assert!(
            body.starts_with(&format!("{{\"error\":\"{error}")),
            "{body}"
        );
    }
    let (code, _, body) = admin
        .form(Method::PUT, &[("config-block", Some("x"), b"")])
        .await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert_eq!(
        body,
        "{\"error\":\"form does not contains part key: config-update-envelope\"}\n"
    );

    let (code, response, body) = admin.put(&good.encode_to_vec()).await;
    assert_eq!(code, StatusCode::CREATED, "{body}");
    assert_eq!(
        header_of(&response, "location"),
        "/participation/v1/channels/mychannel"
    );
    assert_eq!(
        body,
        "{\"name\":\"mychannel\",\"url\":\"/participation/v1/channels/mychannel\",\"consensusRelation\":\"consenter\",\"status\":\"active\",\"height\":2}\n"
    );
    let config = cluster.orderer(0).config(CHANNEL).unwrap();
    assert_eq!(config.batch_size().max_message_count, 7);
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

    let config = cluster.orderer(0).config("otherchannel").unwrap();
    let signer = others.signer("admin", NodeOu::Admin);
    let update = update_of(&config, &*signer, |root| set_max_messages(root, 7));
    let (code, _, body) = admin.put(&update.encode_to_vec()).await;
    assert_eq!(code, StatusCode::FORBIDDEN);
    assert_eq!(
        body,
        "{\"error\":\"cannot update: channel is not ready, he is a follower\"}\n"
    );
}
